"""load.py TOPIC FILE REPLICAS: creates the topic, sends the lines of the file again and again, each
with its number, until stdin ends, 50 at a time; says `acked N` after each 50; at the end reads all
back and compares: each acknowledged once, and in order. Says how long the longest wait for an
acknowledgement was: that is how long a program notices that a node died."""

import select
import sys
import time

import dmq

CHUNK = 50
PAUSE = 0.05

topic, path, replicas = sys.argv[1:]
with open(path, "rb") as file:
    lines = file.read().splitlines()
sent = []
longest = 0.0
with dmq.connect() as client:
    client.topics.create(topic, partitions=6, replicas=int(replicas))
    with client.producer(linger_ms=1) as producer:
        while not select.select([sys.stdin], [], [], 0)[0]:
            begun = time.monotonic()
            futures = []
            for number in range(len(sent), len(sent) + CHUNK):
                line = lines[number % len(lines)]
                key = line.split(b",")[9]
                sent.append((key, b"%d %s" % (number, line)))
                futures.append(producer.send(topic, sent[-1][1], key))
            for future in futures:
                future.result(60)
            longest = max(longest, time.monotonic() - begun)
            print(f"acked {len(sent)}", flush=True)
            time.sleep(PAUSE)
    records = [(m.key, m.value) for m in client.read(topic, end="now")]
assert len(records) == len(sent), f"{len(sent)} acknowledged, {len(records)} read"
for key in {key for key, _ in sent}:
    assert [r for r in records if r[0] == key] == [s for s in sent if s[0] == key], key
print(f"identical: {len(records)} records, longest wait {longest:.2f} s")
