"""What a Python program does with the binding, in a process of its own, for bench.py:

    python_client.py send|send_many|batches URL TOPIC RECORDS
    python_client.py trickle URL TOPIC PARTITIONS RATE

prints one JSON object. A trickle sends RATE records a second to each partition until SECONDS have
passed or stdin is closed."""

import json
import os
import select
import sys
import time

import dmq

VALUES = 1000  # different ones of 100 bytes
MANY = 1000  # records of one send_many
SECONDS = 60
TURN = 0.001  # a trickle's records go out in turns of so many seconds
SAMPLE_EVERY = 20


def make_values():
    return [os.urandom(100) for _ in range(VALUES)]


def rate(count, begin):
    seconds = time.perf_counter() - begin
    return {"records_per_s": count / seconds, "seconds": seconds}


def send(client, topic, count):
    """A call for each record."""
    values = make_values()
    with client.producer() as producer:
        begin = time.perf_counter()
        for i in range(count):
            producer.send(topic, values[i % VALUES])
        producer.flush()
        return rate(count, begin)


def send_many(client, topic, count):
    values = [make_values()[i % VALUES] for i in range(MANY)]
    calls = max(1, count // MANY)
    with client.producer() as producer:
        begin = time.perf_counter()
        for _ in range(calls):
            producer.send_many(topic, values)
        producer.flush()
        return rate(calls * MANY, begin)


def batches(client, topic, count):
    """All values, each touched; bytes made of them."""
    taken, size = 0, 0
    with client.consumer(topic) as consumer:
        begin = time.perf_counter()
        for batch in consumer.batches():
            for value in batch.values():
                size += len(value)
            taken += len(batch)
            if taken >= count:
                break
        return rate(taken, begin) | {"bytes": size}


def trickle(client, topic, partitions, per_partition):
    """A few records a second into each partition, one after the other; how late they were, and how
    long their acknowledgements took. Before that a record into each, which makes its files."""
    per_second = partitions * per_partition
    latencies = []
    values = make_values()
    with client.producer() as producer:
        begin = time.perf_counter()
        for partition in range(partitions):
            producer.send(topic, values[0], partition=partition)
        producer.flush()
        first = time.perf_counter() - begin
        begin = time.perf_counter()
        sent = 0
        print("started", flush=True)
        while not select.select([sys.stdin], [], [], TURN)[0]:
            now = time.perf_counter()
            if now - begin > SECONDS:
                break
            while sent < (now - begin) * per_second:
                at = time.perf_counter()
                future = producer.send(topic, values[sent % VALUES], partition=sent % partitions)
                if sent % SAMPLE_EVERY == 0:
                    future.add_done_callback(
                        lambda _, at=at: latencies.append(time.perf_counter() - at)
                    )
                sent += 1
        producer.flush()
        result = rate(sent, begin) | {"offered_per_s": per_second, "first_ms": first * 1e3}
    # The producer is closed: every callback has run.
    latencies.sort()
    for name, part in (("p50_ms", 0.5), ("p99_ms", 0.99)):
        result[name] = latencies[int(len(latencies) * part)] * 1e3
    return result


def main():
    what, url, topic, *counts = sys.argv[1:]
    functions = {"send": send, "send_many": send_many, "batches": batches, "trickle": trickle}
    with dmq.connect(url) as client:
        print(json.dumps(functions[what](client, topic, *map(int, counts))), flush=True)


if __name__ == "__main__":
    main()
