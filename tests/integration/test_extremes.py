"""Numbers, times, depths and amounts at their extremes: a clear error or a right answer, the
connection lives, others go on, memory returns."""

import itertools
import json
import secrets
import socket
import subprocess
import time
from pathlib import Path

import msgpack
import pytest
import zmq
from cluster import BIN
from pyzmq_client import (
    CREATE_TOPIC,
    END,
    METADATA,
    PRODUCE,
    START,
    Client,
    Connection,
    DmqError,
    build_batch,
)

OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC, INVALID_TOPIC, INVALID_REQUEST = 1, 3, 17, 42
INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR, UNKNOWN_TOPIC_ID = 37, 38, 100
INT64_MAX = 2**63 - 1
YEAR_9999 = 253402300799999  # its last millisecond
numbers = itertools.count()


@pytest.fixture
def client(daemons, address):
    """It must work before and after what a test does."""
    with Client(*address) as client:
        topic = f"calm-{next(numbers)}"
        client.create_topic(topic, 1)
        now = int(time.time() * 1000)
        assert client.produce(topic, 0, build_batch([(now, None, b"before")])) == 0
        yield client
        assert client.produce(topic, 0, build_batch([(now, None, b"after")])) == 1
        assert [record[3] for record in client.fetch(topic, 0, 0)] == [b"before", b"after"]
    assert daemons.broker.process.poll() is None and daemons.controller.process.poll() is None


def topic_of(client):
    name = f"t-{next(numbers)}"
    client.create_topic(name, 1)
    return name


def memory(daemon):
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def refusal(call, *arguments):
    with pytest.raises(DmqError) as refused:
        call(*arguments)
    assert len(str(refused.value)) > len("100: x"), "a sentence"
    return refused.value.number


def dmq(daemons, *arguments, stdin=b""):
    command = [BIN / "dmq", "--url", daemons.url, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60)


# ---- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -2, 10**9, 2**31 - 1, -(2**31)])
def test_counts_of_partitions_and_replicas(client, count):
    def create(partitions, replicas):
        request = [f"n-{next(numbers)}", secrets.token_bytes(16), partitions, replicas, []]
        client.seed.call(CREATE_TOPIC, request)

    assert refusal(create, count, 1) == INVALID_PARTITIONS
    # The field has 16 bits: what is larger is no request.
    fits = -(2**15) <= count < 2**15
    assert refusal(create, 1, count) == (INVALID_REPLICATION_FACTOR if fits else INVALID_REQUEST)


@pytest.mark.parametrize("count", ["0", "-1", "1000000000", "1e3", "99999999999999999999", ""])
def test_counts_that_people_type(daemons, count):
    for option in ("--partitions", "--replication-factor"):
        done = dmq(daemons, "topic", "create", "typed", f"{option}={count}")
        assert done.returncode in (1, 2) and done.stderr.startswith(b"dmq: "), done.stderr
    assert b"typed" not in dmq(daemons, "topic", "list").stdout


@pytest.mark.parametrize("offset", [-1, -5, 1, 2, 2**31, 2**62, INT64_MAX, -(2**63)])
def test_offsets_out_of_range(client, offset):
    topic = topic_of(client)
    if offset == 1:
        assert client.fetch(topic, 0, 0, 10) == []  # the end of an empty log is no error
    assert refusal(client.fetch, topic, 0, offset) == OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize("partition", [-1, 1, 10**9, -(2**31)])
def test_partitions_that_are_not_there(client, partition):
    connection, topic_id, epoch = client.locate(topic_of(client), 0)
    batch = build_batch([(1, None, b"x")])
    body, _ = connection.call(PRODUCE, [-1, 0, "", [[topic_id, partition, epoch]]], [batch])
    error, message = body[0][0][2], body[0][0][5]
    assert error in (UNKNOWN_TOPIC, INVALID_REQUEST) and message


def test_more_attachments_or_fewer_than_partitions(client):
    connection, topic_id, epoch = client.locate(topic_of(client), 0)
    batch = build_batch([(1, None, b"x")])
    for partitions, attachments in ((0, 0), (1, 0), (0, 1), (1, 2), (2, 1)):
        request = [-1, 0, "", [[topic_id, 0, epoch]] * partitions]
        try:
            body, _ = connection.call(PRODUCE, request, [batch] * attachments)
        except DmqError as refused:
            assert refused.number == INVALID_REQUEST
        else:
            assert partitions == attachments == 0 and body[0] == []


# ---- times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestamp", [0, YEAR_9999, YEAR_9999 + 1, 2**62])
def test_times_far_away_come_back(daemons, client, timestamp):
    topic = topic_of(client)
    now = int(time.time() * 1000)
    request = [topic, secrets.token_bytes(16), 1, 1, [["retention.ms", "-1"]]]
    topic = request[0] = f"{topic}-kept"
    client.seed.call(CREATE_TOPIC, request)
    client.produce(topic, 0, build_batch([(now, None, b"now")]))
    client.produce(topic, 0, build_batch([(timestamp, None, b"far")]))
    assert [record[1] for record in client.fetch(topic, 0, 0)] == [now, timestamp]
    assert client.offset_of(topic, 0, START) == 0 and client.offset_of(topic, 0, END) == 2
    assert client.offset_of(topic, 0, now + 1) == (1 if timestamp > now else -1)
    assert client.offset_of(topic, 0, INT64_MAX) == -1
    done = dmq(daemons, "consume", topic, "--exit-at-end", "--format", "%T %s\\n")
    assert done.stdout.decode() == f"{now} now\n{timestamp} far\n", done.stderr
    done = dmq(daemons, "consume", topic, "--exit-at-end", "--json")
    assert [json.loads(line)["timestamp"] for line in done.stdout.splitlines()] == [now, timestamp]


@pytest.mark.parametrize("place", ["9999-12-31T23:59:59Z", "@253402300799999", "-9999999d"])
def test_times_far_away_that_people_type(daemons, client, place):
    topic = topic_of(client)
    client.produce(topic, 0, build_batch([(int(time.time() * 1000), None, b"now")]))
    done = dmq(daemons, "consume", topic, "--exit-at-end", "--from", place)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (b"now\n" if place.startswith("-") else b"")


@pytest.mark.parametrize("timestamp", [-2, -(2**62)])
def test_times_before_1970_are_refused(client, timestamp):
    topic = topic_of(client)
    refusal(client.produce, topic, 0, build_batch([(timestamp, None, b"x")]))
    assert client.fetch(topic, 0, 0, 10) == []


# ---- depth and amounts ---------------------------------------------------------------------------


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\x01", b"\xdd\0\0\0\1", b"\xdf\0\0\0\1\xc0"])
def test_nesting_without_end(daemons, client, address, opening):
    before = memory(daemons.broker)
    with Connection(*address) as connection:
        for depth in (10, 1000, 1_000_000):
            number = next(numbers)
            head = msgpack.packb([1, METADATA, 0, number, "deep", 5000, 0])
            body = b"\x96\xc2\x90\x90\xa0\0" + opening * depth + b"\xc0"  # a sixth field
            connection.socket.send_multipart([head, body])
            assert connection.socket.poll(5000)
            answer = msgpack.unpackb(connection.socket.recv_multipart()[0])
            assert answer[0] == number and answer[1] in (0, INVALID_REQUEST)
            assert answer[1] == 0 or answer[4]
    assert answer[1] == INVALID_REQUEST
    assert memory(daemons.broker) < before + (64 << 20)


def test_a_flood_for_topics_that_do_not_exist(daemons, client, address):
    before = [memory(daemon) for daemon in (daemons.broker, daemons.controller)]
    batch = build_batch([(1, None, b"x")])
    sent = 0
    with Connection(*address) as connection:
        for n in range(60):
            names = [f"nothing-{n}-{i}" for i in range(250)]
            answer, _ = connection.call(METADATA, [False, names, [], "", 0])
            assert {topic[0] for topic in answer[4]} == {UNKNOWN_TOPIC}
            for _ in range(20):
                unknown = [[secrets.token_bytes(16), 0, -1]]
                body, _ = connection.call(PRODUCE, [-1, 0, "", unknown], [batch])
                assert body[0][0][2] == UNKNOWN_TOPIC_ID
                sent += 1
    assert sent == 1200
    topic = topic_of(client)
    assert client.produce(topic, 0, batch) == 0
    after = [memory(daemon) for daemon in (daemons.broker, daemons.controller)]
    assert all(b < a + (32 << 20) for a, b in zip(before, after, strict=True))
    assert b"nothing" not in dmq(daemons, "topic", "list").stdout


def descriptors(daemon):
    return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))


def settles(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


@pytest.mark.parametrize("at_once", [1, 200])
def test_a_client_that_connects_2000_times(daemons, client, address, at_once):
    before = memory(daemons.broker)
    open_before = descriptors(daemons.broker)
    for _ in range(2000 // at_once):
        with zmq.Context() as context:
            sockets = [context.socket(zmq.DEALER) for _ in range(at_once)]
            for number, one in enumerate(sockets):
                one.setsockopt(zmq.LINGER, 0)
                one.connect("tcp://{}:{}".format(*address))
                head = [1, METADATA, 0, number, "many", 5000, 0]
                one.send_multipart([msgpack.packb(head), msgpack.packb([False, [], [], "", 0])])
            for number, one in enumerate(sockets):
                assert one.poll(10000)
                assert msgpack.unpackb(one.recv_multipart()[0])[:2] == [number, 0]
                one.close()
    settles(lambda: descriptors(daemons.broker) <= open_before + 8)
    assert memory(daemons.broker) < before + (64 << 20)


def receive(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part, "it was closed"
        data += part
    return data


GREETING = b"\xff" + b"\0" * 8 + b"\x7f\3\0NULL" + b"\0" * 16 + b"\0" + b"\0" * 31
READY = b"\5READY\x0bSocket-Type\0\0\0\6DEALER\x08Identity\0\0\0\0"


def test_clients_that_stop_in_the_middle_of_a_frame(daemons, client, address):
    open_before = descriptors(daemons.broker)
    halves = []
    for size in (1, 200, 2**20, 2**25, 2**62):
        half = socket.create_connection(address, timeout=5)
        half.sendall(GREETING)
        assert receive(half, 64)[10] == 3
        half.sendall(b"\4" + bytes([len(READY)]) + READY)
        assert receive(half, 2)[0] == 4  # its own READY: the handshake is done
        half.sendall(b"\2" + size.to_bytes(8, "big") + b"x" * min(size - 1, 100))
        halves.append(half)
    topic = topic_of(client)
    for n in range(20):
        assert client.produce(topic, 0, build_batch([(1, None, b"x")])) == n
    for half in halves:
        half.close()
    settles(lambda: descriptors(daemons.broker) <= open_before + 4)
