"""PROTOCOL.md is enough: the client in pyzmq_client.py, written from it, against a real cluster."""

import os
import re
import secrets
import socket
import subprocess
import time
from pathlib import Path

import msgpack
import pytest
from cluster import BIN, CHECKOUT
from pyzmq_client import (
    CREATE_TOPIC,
    END,
    METADATA,
    START,
    Client,
    Connection,
    DmqError,
    build_batch,
    crc32c,
    partition_for,
    read_batches,
)

CORRUPT_BATCH, UNKNOWN_TOPIC, INVALID_TOPIC, UNSUPPORTED_VERSION = 2, 3, 17, 35
INVALID_CONFIG, INVALID_REQUEST = 40, 42


def examples():
    """The bytes of the document's examples, in order."""
    text = Path(CHECKOUT, "libdmq/wire/PROTOCOL.md").read_text()
    part = text[text.index("\n## Examples") :]
    return [bytes.fromhex(block) for block in re.findall(r"```\n([0-9a-f\s]+)```", part)]


@pytest.fixture
def client(address):
    with Client(*address) as connected:
        yield connected


def drain(client, topic, partition):
    end = client.offset_of(topic, partition, END)
    records = []
    offset = client.offset_of(topic, partition, START)
    while offset < end:
        records += client.fetch(topic, partition, offset)
        offset = records[-1][0] + 1
    return records


def test_examples_of_the_document():
    header, body, refusal, batch = examples()
    assert header == msgpack.packb([1, METADATA, 0, 7, "me", 30000, 0])
    assert body == msgpack.packb([False, ["orders"], [], "127.0.0.1", 9501])
    assert msgpack.unpackb(refusal) == [7, 89, 100, 12, "slow down"]
    records = [(1700000000000, b"k", b"hello"), (1700000000001, None, b"world")]
    assert batch == build_batch(records, producer=(1000, 0), sequence=0)
    assert [record[1:] for record in read_batches(batch)] == records
    assert crc32c(b"123456789") == 0xE3069283


def test_partitions_of_keys():
    # -973932308 and -790332482, as the document has them, without their sign bit.
    assert partition_for(b"21", 1 << 31) == -973932308 & 0x7FFFFFFF
    assert partition_for(b"foobar", 1 << 31) == -790332482 & 0x7FFFFFFF


def test_what_is_produced_is_fetched(client):
    client.create_topic("orders", 3)
    producer = client.init_producer()
    sequence = [0, 0, 0]
    sent = [[], [], []]
    now = int(time.time() * 1000)
    for n in range(300):
        key = b"customer-%d" % (n % 17)
        partition = partition_for(key, 3)
        records = [(now + n, key, b"value %d.%d" % (n, i)) for i in range(n % 4 + 1)]
        batch = build_batch(records, producer, sequence[partition])
        assert client.produce("orders", partition, batch) == len(sent[partition])
        sequence[partition] += len(records)
        sent[partition] += records
    for partition in range(3):
        assert len(sent[partition]) > 50
        fetched = drain(client, "orders", partition)
        assert [record[1:] for record in fetched] == sent[partition]
        assert [record[0] for record in fetched] == list(range(len(fetched)))
        middle = fetched[len(fetched) // 2]
        assert client.offset_of("orders", partition, middle[1]) <= middle[0]


def dmq(daemons, *arguments, stdin=b""):
    done = subprocess.run(
        [BIN / "dmq", *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        env={**os.environ, "DMQ_URL": daemons.url},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tool_and_the_client_read_each_other(daemons, client):
    client.create_topic("shared", 1)
    client.produce("shared", 0, build_batch([(1, b"k", b"from python"), (2, None, b"again")]))
    dmq(daemons, "produce", "shared", "--compression", "none", stdin=b"from the tool\n")
    values = [b"from python", b"again", b"from the tool"]
    assert [record[3] for record in drain(client, "shared", 0)] == values
    assert dmq(daemons, "consume", "shared", "--exit-at-end").splitlines() == values


def test_a_retry_is_stored_once(client):
    client.create_topic("once", 1)
    producer = client.init_producer()
    batches = [build_batch([(1, None, b"%d" % n)], producer, n) for n in range(7)]
    offsets = [client.produce("once", 0, batch) for batch in batches]
    assert offsets == list(range(7))
    for n in (6, 2, 4):
        assert client.produce("once", 0, batches[n]) == n
    with pytest.raises(DmqError) as too_old:
        client.produce("once", 0, batches[0])
    assert too_old.value.number == 46  # DUPLICATE_SEQUENCE
    with pytest.raises(DmqError) as gap:
        client.produce("once", 0, build_batch([(1, None, b"x")], producer, 9))
    assert gap.value.number == 45  # OUT_OF_ORDER_SEQUENCE
    assert [record[3] for record in drain(client, "once", 0)] == [b"%d" % n for n in range(7)]


def test_a_fetch_waits_for_data(client, address):
    client.create_topic("wait", 1)
    before = time.monotonic()
    assert client.fetch("wait", 0, 0, max_wait_ms=300) == []
    assert time.monotonic() - before > 0.25
    client.produce("wait", 0, build_batch([(1, None, b"a"), (2, None, b"b")]))
    before = time.monotonic()
    # From within a batch: the answer has all of it, the client passes over what is below.
    assert client.fetch("wait", 0, 1, max_wait_ms=5000) == [(1, 2, None, b"b")]
    assert time.monotonic() - before < 2


def refused(call, *arguments):
    with pytest.raises(DmqError) as error:
        call(*arguments)
    return error.value


def test_bad_input_is_answered_and_the_connection_lives(client, address):
    client.create_topic("strict", 1)
    good = build_batch([(1, None, b"good")])
    bad = bytearray(good)
    bad[-3] ^= 1
    assert refused(client.produce, "strict", 0, bytes(bad)).number == CORRUPT_BATCH
    assert refused(client.produce, "strict", 0, good[:-1]).number == CORRUPT_BATCH
    assert refused(client.produce, "strict", 0, good + good).number == CORRUPT_BATCH
    assert refused(client.fetch, "nowhere", 0, 0).number == UNKNOWN_TOPIC

    with Connection(*address) as connection:
        error = refused(connection.call, METADATA, [False, ["strict"]])
        assert error.number == INVALID_REQUEST
        assert "metadata_request" in str(error) and "topic_ids" in str(error)
        assert refused(connection.call, 4711, []).number == UNSUPPORTED_VERSION
        # An array that promises four billion names.
        head = msgpack.packb([1, METADATA, 0, 99, "x", 5000, 0])
        connection.socket.send_multipart([head, b"\x95\xc2\xdd\xff\xff\xff\xff"])
        assert connection.socket.poll(5000)
        assert msgpack.unpackb(connection.socket.recv_multipart()[0])[:2] == [99, INVALID_REQUEST]
        # No header at all.
        connection.socket.send_multipart([b"\xc1", b""])
        assert connection.socket.poll(5000)
        assert msgpack.unpackb(connection.socket.recv_multipart()[0])[:2] == [0, INVALID_REQUEST]

    assert client.produce("strict", 0, good) == 0
    assert [record[3] for record in drain(client, "strict", 0)] == [b"good"]


def test_hostile_names_are_answered(client):
    for name in ("x" * 250, "x" * 70000, "ü" * 200, "..", "a/b", ""):
        answer, _ = client.seed.call(METADATA, [False, [name], [], "", 0])
        assert answer[4][0][0] == INVALID_TOPIC
        request_id = secrets.token_bytes(16)
        error = refused(client.seed.call, CREATE_TOPIC, [name, request_id, 1, 1, []])
        assert error.number in (INVALID_TOPIC, INVALID_REQUEST)
    # A sentence that quotes what is cut in the middle of a character.
    for setting in (["durability", "€" * 100], ["€" * 40, "x"], ["x" + "€" * 42, "x"]):
        request = ["fine", secrets.token_bytes(16), 1, 1, [setting]]
        error = refused(client.seed.call, CREATE_TOPIC, request)
        assert error.number == INVALID_CONFIG


def test_fields_of_the_future_are_skipped(client):
    body = [False, [], [], "", 0, {"later": [1, 2.5, None]}, b"more"]
    answer, _ = client.seed.call(METADATA, body)
    assert len(answer[3]) == 1  # one broker


def test_raw_bytes_on_the_port_disturb_nobody(client, address):
    client.create_topic("calm", 1)
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 200, bytes(range(256)) * 40):
        with socket.create_connection(address, timeout=5) as raw:
            raw.sendall(garbage)
            assert client.produce("calm", 0, build_batch([(1, None, garbage[:5])])) >= 0
    assert len(drain(client, "calm", 0)) == 3
