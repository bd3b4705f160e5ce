"""roundtrip.py TOPIC FILE REPLICAS: creates the topic, sends the lines of the file (- is stdin),
reads them back and compares. Run by the tests on the host and inside a container."""

import sys

import dmq

topic, path, replicas = sys.argv[1:]
with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
    lines = file.read().splitlines()
assert lines
with dmq.connect() as client:
    client.topics.create(topic, partitions=3, replicas=int(replicas))
    with client.producer(compression="lz4") as producer:
        for line in lines:
            producer.send(topic, line, line.split(b",")[9])
    records = [(m.partition, m.offset, m.key, m.value) for m in client.read(topic, end="now")]
for partition in range(3):
    offsets = [r[1] for r in records if r[0] == partition]
    assert offsets == list(range(len(offsets)))
for key in {line.split(b",")[9] for line in lines}:  # the order of each key is kept
    sent = [line for line in lines if line.split(b",")[9] == key]
    assert [r[3] for r in records if r[2] == key] == sent
print(f"identical: {len(records)} records")
