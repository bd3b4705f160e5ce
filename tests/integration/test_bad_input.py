"""Whatever comes from outside, the answer is a clear error, others go on undisturbed, and memory
returns. What a client of the protocol can get wrong in a request is in test_pyzmq.py; here is what
comes below it: other bytes on the ports, large frames, floods, folders that are another's."""

import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

import msgpack
import pytest
import zmq
from cluster import BIN
from daemons import Daemons
from pyzmq_client import METADATA, Client, Connection, DmqError, build_batch

BATCH_TOO_LARGE = 10


@pytest.fixture
def healthy(address):
    """A client beside the bad one: it must work before, meanwhile and after."""
    with Client(*address) as client:
        topic = f"healthy-{random.getrandbits(40):x}"
        client.create_topic(topic, 1)

        def works():
            return client.produce(topic, 0, build_batch([(1, None, b"x")]))

        works()
        yield works
        works()


def memory(daemon):
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def raw(address):
    return socket.create_connection(address, timeout=5)


GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x00" * 4096,
    b"\xff" * 64 + b"\x7f" * 64,
    # a ZMTP greeting and then a frame that says it has 2^62 bytes
    b"\xff"
    + b"\0" * 8
    + b"\x7f\x03\0NULL"
    + b"\0" * 16
    + b"\0" * 32
    + b"\x06"
    + b"\x40"
    + b"\0" * 7,
    bytes(random.Random(5).randrange(256) for _ in range(100_000)),
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=["http", "zeroes", "greeting", "huge", "random"])
def test_raw_bytes_on_the_port(daemons, address, healthy, garbage):
    with raw(address) as connection:
        try:
            connection.sendall(garbage)
            connection.settimeout(0.2)
            connection.recv(4096)
        except OSError:
            pass  # cut off, which is well
        healthy()
    assert daemons.broker.process.poll() is None


def test_many_connections_that_stop_in_the_middle(daemons, address, healthy):
    halves = [raw(address) for _ in range(300)]
    for half in halves:
        half.sendall(b"\xff\0\0\0\0\0\0\0\x01\x7f")
    healthy()
    for half in halves:
        half.close()
    assert daemons.broker.process.poll() is None


def test_a_message_of_garbage_frames_is_survived(address, healthy):
    random_bytes = random.Random(7).randbytes
    with zmq.Context.instance().socket(zmq.DEALER) as socket_:
        socket_.setsockopt(zmq.LINGER, 0)
        socket_.connect("tcp://{}:{}".format(*address))
        for size in range(1, 200):
            frames = [random_bytes(size), random_bytes(size * 3), b"", random_bytes(5)]
            socket_.send_multipart(frames)
        healthy()
        answers = 0
        while socket_.poll(500):
            header = msgpack.unpackb(socket_.recv_multipart()[0])
            assert header[1] != 0 and header[4], "refused, with a sentence"
            answers += 1
        assert answers == 199


def test_declared_counts_beyond_the_frame_cost_nothing(daemons, address, healthy):
    header = [1, METADATA, 0, 1000, "bomb", 1000, 0]
    bomb = b"\x95\xc2\xdd\xff\xff\xff\xff"  # names: 4 billion of them, it says
    before = memory(daemons.broker)
    with Connection(*address) as connection:
        for _ in range(500):
            connection.socket.send_multipart([msgpack.packb(header), bomb])
        for _ in range(500):
            assert connection.socket.poll(5000)
            answer = msgpack.unpackb(connection.socket.recv_multipart()[0])
            assert answer[1] == 42 and "names" in answer[4], answer
    healthy()
    assert memory(daemons.broker) < before + (32 << 20)


def test_a_batch_above_the_limit_is_refused_and_memory_returns(daemons, address, healthy):
    largest = build_batch([(1, None, b"x" * (1048588 - 61 - 20))])
    over = build_batch([(1, None, b"x" * 1048588)])
    with Client(*address) as client:
        client.create_topic("limits", 1)
        client.produce("limits", 0, largest)
        before = memory(daemons.broker)
        for _ in range(50):
            with pytest.raises(DmqError) as refused:
                client.produce("limits", 0, over)
            assert refused.value.number == BATCH_TOO_LARGE
            assert "max.message.bytes" in str(refused.value)
    healthy()
    assert memory(daemons.broker) < before + (64 << 20)


def test_a_client_that_never_reads_its_answers_stops_alone(daemons, address, healthy):
    deaf = Connection(*address)
    header = [1, METADATA, 0, 1, "deaf", 1000, 0]
    body = msgpack.packb([True, [], [], "", 0])
    before = memory(daemons.broker)
    deadline = time.monotonic() + 10
    sent = 0
    while sent < 200_000 and time.monotonic() < deadline:
        try:
            deaf.socket.send_multipart([msgpack.packb(header), body], zmq.DONTWAIT)
            sent += 1
        except zmq.Again:
            time.sleep(0.001)
    healthy()
    deaf.socket.close(linger=0)
    time.sleep(0.5)
    healthy()
    assert memory(daemons.broker) < before + (128 << 20)


# ---- folders and ports --------------------------------------------------------------------------


def start_second(daemons, **changes):
    """The broker's command once more, changed; returns the ended process."""
    command = [str(changes.get(part, part)) for part in map(str, daemons.broker.command)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def test_a_locked_folder_is_refused(daemons, healthy):
    second = start_second(daemons)
    assert second.returncode == 1
    assert "in use" in second.stderr and str(daemons.broker.process.pid) in second.stderr
    healthy()


def test_a_taken_port_is_named(daemons, folder, healthy):
    data = str(daemons.broker.command[daemons.broker.command.index("--data") + 1])
    second = start_second(daemons, **{data: f"{folder}/other"})
    port = daemons.url.rsplit(":", 1)[1]
    assert second.returncode == 1
    assert port in second.stderr, second.stderr


def test_a_folder_of_another_node_is_refused(daemons, folder):
    controller = Path(daemons.controller.command[daemons.controller.command.index("--data") + 1])
    copy = Path(folder) / "copy"
    shutil.copytree(controller, copy)
    data = str(daemons.broker.command[daemons.broker.command.index("--data") + 1])
    second = start_second(daemons, **{data: copy})
    assert second.returncode == 1
    assert "controller" in second.stderr, second.stderr


def test_a_damaged_store_is_not_opened(folder):
    with Daemons(folder) as first:
        with Client(*first.address) as client:
            client.create_topic("t", 1)
            client.produce("t", 0, build_batch([(1, None, b"x")]))
    shutil.rmtree(Path(folder) / "dmq-broker" / "store")
    ended = subprocess.run(
        [str(part) for part in first.broker.command], capture_output=True, text=True, timeout=20
    )
    assert ended.returncode == 1
    assert "store" in ended.stderr, ended.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--services", "/no/such/file", "--id", "1"], "/no/such/file"),
        (["--services", "{", "--id", "1"], "DMQ_SERVICES:1"),
        (["--services", '{"cluster": "x"}', "--id", "1"], "controllers"),
        (["--services", "x", "--id", "many"], "many"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_wrong_usage_is_2_and_says_what(arguments, named):
    ended = subprocess.run(
        [BIN / "dmq-broker", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        env={k: v for k, v in os.environ.items() if not k.startswith("DMQ_")},
    )
    assert ended.returncode == 2
    assert named in ended.stderr, ended.stderr
