"""dmq-controller as a real process, and a broker that is played by this test: a DEALER that
registers and sends heartbeats, a ROUTER that takes the pushes."""

import json
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import msgpack
import pytest
import zmq
from cluster import BIN
from daemons import Daemon, free_ports
from pyzmq_client import Connection, DmqError

API_VERSIONS, CREATE_TOPIC, DELETE_TOPIC, DESCRIBE_TOPICS = 18, 19, 20, 75
REGISTER_BROKER, HEARTBEAT, PRODUCER_IDS, ENVELOPE = 62, 63, 67, 58
PUSH_METADATA = 1000
TOPIC_EXISTS = 36
NOBODY = b"\0" * 16


class FakeBroker:
    """Answers API_VERSIONS and pushes on its node port, applying every range that follows."""

    def __init__(self, controller_port, broker_id=101, disk=None):
        self.id, self.disk = broker_id, disk or secrets.token_bytes(16)
        self.incarnation = secrets.token_bytes(16)
        self.epoch, self.applied, self.pushes = -1, 0, []
        self.context = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.LINGER, 100)
        self.port = self.router.bind_to_random_port("tcp://127.0.0.1")
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        self.controller = Connection("127.0.0.1", controller_port)

    def connect(self, controller_port):
        """Anew, after the controller has ended."""
        self.controller.close()
        self.controller = Connection("127.0.0.1", controller_port)

    def status(self, want_shutdown=False):
        return [
            *(self.id, self.epoch, self.incarnation, self.applied, 1, 0, 0),
            *(False, want_shutdown, []),
        ]

    def serve(self):
        while not self.stopping.is_set():
            if not self.router.poll(20):
                continue
            peer, head, body = self.router.recv_multipart()[:3]
            _, key, _, correlation = msgpack.unpackb(head)[:4]
            if key == API_VERSIONS:
                apis = [[API_VERSIONS, 0, 0], [PUSH_METADATA, 0, 0]]
                answer = [
                    NOBODY,
                    self.id,
                    self.incarnation,
                    "fake",
                    100,
                    1 << 26,
                    1 << 26,
                    apis,
                    -1,
                ]
            else:
                self.apply(msgpack.unpackb(body))
                answer = [self.status()]
            frames = [msgpack.packb([correlation, 0, 0, 0, ""]), msgpack.packb(answer)]
            self.router.send_multipart([peer, *frames])

    def apply(self, push):
        _, _, _, snapshot, prev, version, entries = push
        self.pushes.append((prev, version, len(entries)))
        if snapshot or prev == self.applied:
            self.applied = version

    def register(self):
        endpoints = [["client", "127.0.0.1", self.port, 0], ["node", "127.0.0.1", self.port, 0]]
        folders = [[self.disk, 1]]
        self.epoch, replaces = -1, -1
        while self.epoch == -1:  # another registration of this id is told, and then named
            body, _ = self.controller.call(
                REGISTER_BROKER,
                [NOBODY, self.id, self.incarnation, "", "", 0, endpoints, folders, replaces, []],
            )
            self.cluster, self.epoch, replaces = body
        return self.epoch

    def heartbeat(self, want_shutdown=False):
        """version, fenced, may shut down."""
        return self.controller.call(HEARTBEAT, [self.status(want_shutdown)])[0]

    def until_unfenced(self):
        wait_for(lambda: not self.heartbeat()[1])

    def forward(self, key, body):
        """A client's request, as a broker wraps it."""
        head = msgpack.packb([1, key, 0, 77, "client", 5000, 0])
        _, frames = self.controller.call(
            ENVELOPE, ["anonymous", "127.0.0.1"], [head, msgpack.packb(body)]
        )
        correlation, error, _, _, message = msgpack.unpackb(frames[0])[:5]
        assert correlation == 77
        if error:
            raise DmqError(error, message)
        return msgpack.unpackb(frames[1])

    def create(self, name, request_id=None, partitions=1):
        request_id = request_id or secrets.token_bytes(16)
        return self.forward(CREATE_TOPIC, [name, request_id, partitions, -1, []])[0]

    def topics(self):
        return {topic[0]: topic for topic in self.forward(DESCRIBE_TOPICS, [[]])[0]}

    def close(self):
        self.stopping.set()
        self.thread.join()
        self.router.close(0)
        self.controller.close()
        self.context.term()


def wait_for(condition, timeout=10.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not within the time given"
        time.sleep(0.01)


class Controller(Daemon):
    def __init__(self, folder):
        self.port, self.http = free_ports(2)
        self.services = Path(folder) / "services.json"
        self.services.write_text(
            json.dumps(
                {
                    "controllers": [
                        {
                            "id": 1,
                            "host": "127.0.0.1",
                            "port": self.port,
                            "httpPort": self.http,
                        }
                    ],
                    "brokers": [],
                }
            )
        )
        super().__init__(folder, "dmq-controller", 1, self.services)
        self.data = Path(folder) / "dmq-controller"

    def __enter__(self):
        self.spawn()
        self.wait_ready()
        return self

    def __exit__(self, kind, error, trace):
        self.end(clean=kind is None)

    def kill_and_restart(self):
        self.kill()
        self.spawn()
        self.wait_ready()

    def metric(self, name):
        url = f"http://127.0.0.1:{self.http}/metrics"
        for line in urllib.request.urlopen(url, timeout=5).read().decode().splitlines():
            if line.startswith(name + " "):
                return int(line.split()[1])
        raise KeyError(name)


@pytest.fixture
def controller(folder):
    with Controller(folder) as running:
        yield running


@pytest.fixture
def broker(controller):
    fake = FakeBroker(controller.port)
    fake.register()
    fake.until_unfenced()
    yield fake
    fake.close()


def test_a_broker_registers_and_a_topic_is_pushed_to_it(controller, broker):
    assert broker.epoch == 3 and broker.applied >= 4
    topic = broker.create("orders", partitions=3)
    assert topic[0] == "orders" and topic[2:4] == [3, 1] and len(topic[5]) == 3
    assert all(p[1:4] == [101, [101], [101]] for p in topic[5])
    wait_for(lambda: broker.applied == broker.heartbeat()[0])
    assert broker.forward(DELETE_TOPIC, ["orders", NOBODY])[0] == topic[1]
    assert broker.topics() == {}


def test_the_same_request_again_is_the_first_answer_again(controller, broker):
    request_id = secrets.token_bytes(16)
    first = broker.create("orders", request_id)
    assert broker.create("orders", request_id) == first
    with pytest.raises(DmqError) as refused:
        broker.create("orders")
    assert refused.value.number == TOPIC_EXISTS
    assert broker.register() == broker.epoch  # and so is a registration's


def test_state_survives_kill_9(controller, broker):
    topic = broker.create("orders", partitions=2)
    ids = broker.controller.call(PRODUCER_IDS, [101, broker.epoch])[0]
    cluster, version = broker.cluster, broker.heartbeat()[0]
    controller.kill_and_restart()
    broker.connect(controller.port)
    # Still registered, not fenced; the entry more is the first one of the new term.
    assert broker.heartbeat()[:2] == [version + 1, False]
    assert broker.topics() == {"orders": topic}
    assert broker.controller.call(PRODUCER_IDS, [101, broker.epoch])[0][0] == ids[0] + ids[1]
    assert broker.register() == broker.epoch and broker.cluster == cluster
    wait_for(lambda: broker.applied == broker.heartbeat()[0])  # pushes go on


def test_what_was_acknowledged_survives_kill_9_at_any_moment(controller, broker):
    acknowledged, tried = {}, 0
    for round_ in range(8):
        killer = threading.Timer(0.02 + 0.02 * round_, controller.process.kill)
        killer.start()
        connection = broker.controller
        while killer.is_alive() or controller.process.poll() is None:
            name = f"topic-{tried}"
            tried += 1
            head = msgpack.packb([1, CREATE_TOPIC, 0, 1, "client", 5000, 0])
            request = [head, msgpack.packb([name, secrets.token_bytes(16), 1, -1, []])]
            outer = [1, ENVELOPE, 0, next(connection.ids), "test", 5000, 0]
            try:
                connection.socket.send_multipart(
                    [msgpack.packb(outer), msgpack.packb(["", ""]), *request], zmq.DONTWAIT
                )
            except zmq.Again:
                break  # the connection has ended
            if not connection.socket.poll(200):
                break
            frames = connection.socket.recv_multipart()
            assert msgpack.unpackb(frames[2])[1] == 0
            acknowledged[name] = msgpack.unpackb(frames[3])[0]
        killer.join()
        controller.kill()
        controller.spawn()
        controller.wait_ready()
        broker.connect(controller.port)
        broker.heartbeat()
        there = broker.topics()
        lost = [name for name, topic in acknowledged.items() if there.get(name) != topic]
        assert not lost
    print(f"{tried} topics asked for, {len(acknowledged)} acknowledged, 8 kills, none lost")
    assert len(acknowledged) > 50


def test_a_new_incarnation_ends_the_old_ones_leaderships(controller, broker):
    broker.create("orders")
    again = FakeBroker(controller.port, disk=broker.disk)
    try:
        assert again.register() > broker.epoch
        partition = again.topics()["orders"][5][0]
        assert partition[1] == -1 and partition[4] == 1  # no leader, epoch + 1
        with pytest.raises(DmqError, match="another process"):
            broker.heartbeat()
        again.until_unfenced()
        partition = again.topics()["orders"][5][0]
        assert partition[1] == 101 and partition[4] == 2
    finally:
        again.close()


def test_a_stopping_broker_is_told_that_it_may(controller, broker):
    broker.create("orders")
    version, fenced, may = broker.heartbeat(want_shutdown=True)
    assert fenced and may
    assert broker.topics()["orders"][5][0][1] == -1


def test_a_process_that_ended_is_fenced_before_its_lease(controller):
    broker = FakeBroker(controller.port)
    broker.register()
    broker.until_unfenced()
    assert controller.metric("dmq_controller_brokers_fenced") == 0
    broker.close()
    started = time.monotonic()
    wait_for(lambda: controller.metric("dmq_controller_brokers_fenced") == 1)
    assert time.monotonic() - started < 1.5, "it waited for the lease"
    assert controller.metric("dmq_controller_gone_brokers_total") == 1
    assert controller.metric("dmq_controller_silent_brokers_total") == 0


def test_garbage_on_the_port_disturbs_nobody(controller, broker):
    for junk in (b"GET / HTTP/1.1\r\n\r\n", secrets.token_bytes(5000), b"\xff" * 100, b""):
        with socket.create_connection(("127.0.0.1", controller.port)) as raw:
            raw.sendall(junk)
    for frames in ([b""], [b"a", b"b"], [b"\xdd\xff\xff\xff\xff", b"\x90"], [b"x"] * 100):
        broker.controller.socket.send_multipart(frames)
    with pytest.raises(DmqError):
        broker.controller.call(12345, [])
    assert broker.heartbeat()[1] is False


def run(controller, *options, **environment):
    """The exit code and what it said, of a second process."""
    done = subprocess.run(
        [BIN / "dmq-controller", *options],
        capture_output=True,
        timeout=20,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    return done.returncode, done.stderr.decode()


def test_wrong_usage_and_what_is_in_the_way(controller, folder):
    services = str(controller.services)
    assert run(controller)[0] == 2
    code, said = run(controller, "--services", services, "--id", "9")
    assert code == 2 and "no controller has this id" in said
    code, said = run(controller, "--services", services, "--id", "1", "--set", "log.levle=info")
    assert code == 2 and "log.level" in said
    code, said = run(controller, "--services", services, "--id", "1", "--data", controller.data)
    assert code == 1 and f"in use by process {controller.process.pid}" in said
    other = f"{folder}/other"
    code, said = run(controller, "--services", services, "--id", "1", "--data", other)
    assert code == 1 and f"port {controller.port}" in said
    code, said = run(controller, "--help")
    assert code == 0


def test_a_lost_store_is_not_made_anew(controller):
    controller.stop()
    shutil.rmtree(controller.data / "store")
    code, said = run(
        controller, "--services", controller.services, "--id", "1", "--data", controller.data
    )
    assert code == 1 and "store" in said


def test_starts_fast_and_stops_clean(controller):
    controller.stop()
    started = time.monotonic()
    controller.spawn()
    controller.wait_ready()
    took = time.monotonic() - started
    print(f"from exec to ready: {1000 * took:.1f} ms")
    assert took < 1
    controller.process.send_signal(signal.SIGINT)
    assert controller.process.wait(10) == 0
