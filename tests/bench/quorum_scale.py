"""Three controllers under many topics, many partitions and many brokers. Topics are created through
a real broker; the many brokers are played (quorum_load.py), so that two processors are enough."""

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import msgpack
import zmq

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
from cluster import BIN  # noqa: E402
from pyzmq_client import CREATE_TOPIC, DmqError  # noqa: E402
from quorum import Quorum  # noqa: E402

ENVELOPE, DELETE_TOPIC = 58, 20
PARTITIONS_OF_A_TOPIC, REPLICAS = 1000, 3
CHANGES, RESTARTS = 20, 3
TIMEOUT_MS = 60000
NOT_CONTROLLER, NETWORK = 41, 13
TRIES = 3


class LeaderChangedError(Exception):
    """Another controller leads now. Nothing is wrong, but the figures would be those of an
    election: what began is measured anew."""


def until_a_leader_stays(measure, counts):
    for left in reversed(range(TRIES)):
        try:
            return measure(counts)
        except LeaderChangedError:
            if left == 0:
                raise
    raise AssertionError


def load(what, port, count):
    command = [sys.executable, HERE / "quorum_load.py", what, str(port), str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def topics(counts):
    """As many topics of one partition as fast as they go, by clients at the same time."""
    return until_a_leader_stays(_topics, counts)


def _topics(counts):
    folder = tempfile.mkdtemp(prefix="dmq-topics-", dir="/var/tmp")
    try:
        with Quorum(folder) as quorum:
            process = load("create", quorum.broker_port, counts.topics)
            said, _ = process.communicate()
            if process.returncode != 0:
                raise LeaderChangedError("not every topic was created")
            said = json.loads(said)
    finally:
        shutil.rmtree(folder)
    return {f"topics_{name}": value for name, value in said.items()}


class Admin:
    """Sends what a client asks for to the leading controller, as a broker would."""

    def __init__(self, port):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def __call__(self, key, body):
        head, outer = ([1, k, 0, 1, "bench", TIMEOUT_MS, 0] for k in (key, ENVELOPE))
        frames = [outer, ["bench", "127.0.0.1"], head, body]
        self.socket.send_multipart([msgpack.packb(frame) for frame in frames])
        if not self.socket.poll(TIMEOUT_MS):
            raise TimeoutError(f"api {key}: no answer")
        for head in self.socket.recv_multipart()[0:3:2]:
            _, error, _, _, message = msgpack.unpackb(head)[:5]
            if error in (NOT_CONTROLLER, NETWORK):
                raise LeaderChangedError(message)
            if error:
                raise DmqError(error, message)

    def create(self, name, partitions):
        self(CREATE_TOPIC, [name, secrets.token_bytes(16), partitions, REPLICAS, []])

    def delete(self, name):
        self(DELETE_TOPIC, [name, b"\0" * 16])


class Scale:
    def __init__(self, counts, quorum):
        self.counts, self.quorum, self.values = counts, quorum, {}
        for controller in quorum.controllers.values():
            controller.spawn()
        for controller in quorum.controllers.values():
            controller.wait_ready()
        self.leader = quorum.leader()
        self.follower = next(n for n in quorum.controllers if n != self.leader)
        self.admin = Admin(quorum.ports[self.leader])
        self.brokers = load("brokers", quorum.ports[self.leader], counts.brokers)
        self._line()

    def close(self):
        self.brokers.kill()
        self.brokers.communicate()
        self.admin.socket.close()

    def _pid(self, number):
        return self.quorum.controllers[number].process.pid

    def _line(self):
        said = self.brokers.stdout.readline()
        if not said:
            raise LeaderChangedError("the played brokers were told to go elsewhere")
        return said

    def _seen(self):
        try:
            self.brokers.stdin.write("seen\n")
            self.brokers.stdin.flush()
        except BrokenPipeError:
            pass  # they have ended: there is no line either
        return json.loads(self._line())

    def _settle(self, than=0):
        """What the brokers have seen, when all of them have all of it and more than that."""
        deadline = time.monotonic() + TIMEOUT_MS / 1e3
        while True:
            seen = self._seen()
            if seen["applied"] > than and seen["applied"] >= seen["version"]:
                return seen
            if time.monotonic() > deadline:
                raise TimeoutError(f"brokers did not apply all: {seen}")

    def fill(self):
        """Topics that go again come first, so that there is a snapshot, and a log behind it."""
        before = machine.resident_mib(self._pid(self.follower))
        each = min(self.counts.partitions, PARTITIONS_OF_A_TOPIC)
        for i in range(self.counts.partitions * 4 // 5 // each):
            self.admin.create(f"former-{i}", each)
            self.admin.delete(f"former-{i}")
        for i in range(self.counts.partitions // each):
            self.admin.create(f"topic-{i}", each)
        self._settle()
        used = machine.resident_mib(self._pid(self.follower)) - before
        self.values["image_bytes"] = max(0.0, used * 2**20 / self.counts.partitions)

    def idle(self):
        time.sleep(1.0)
        spent = machine.cpu_seconds(self._pid(self.leader))
        begin = time.monotonic()
        time.sleep(self.counts.idle_seconds)
        spent = machine.cpu_seconds(self._pid(self.leader)) - spent
        self.values["quorum_idle"] = 100.0 * spent / (time.monotonic() - begin)

    def changes(self):
        """A topic more: what each broker gets, and until all have said that they have it."""
        before, spent = self._settle(), machine.cpu_seconds(self._pid(self.leader))
        begin, seen = time.monotonic(), before
        for i in range(CHANGES):
            self.admin.create(f"more-{i}", 1)
            seen = self._settle(than=seen["applied"])
        seconds = time.monotonic() - begin
        spent = machine.cpu_seconds(self._pid(self.leader)) - spent
        pushed = seen["push_bytes"] - before["push_bytes"]
        self.values |= {
            "change_bytes": pushed / CHANGES / self.counts.brokers,
            "change_ms": 1e3 * seconds / CHANGES,
            "change_cpu": 1e3 * spent / CHANGES,
        }

    def starts(self):
        daemon, took = self.quorum.controllers[self.follower], []
        for _ in range(RESTARTS):
            daemon.stop()
            begin = time.monotonic()
            daemon.spawn()
            daemon.wait_ready()
            took.append(time.monotonic() - begin)
        self.values["controller_ready"] = 1e3 * min(took)
        begin = time.monotonic()
        self.quorum.broker.spawn()
        self.quorum.broker.wait_ready()
        self.values["broker_ready"] = 1e3 * (time.monotonic() - begin)


def core(counts):
    """The core alone, in processor time."""
    each = min(counts.partitions, 100)
    command = [BIN / "bench_metadata", counts.partitions // each, each, counts.brokers]
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, check=True)
    said = json.loads(done.stdout)
    names = ("heartbeat_us", "snapshot_ms", "large_topic_longest_step_ms")
    return {f"core_{name}": said[name] for name in names}


def partitions(counts):
    """All figures with so many partitions and brokers."""
    return until_a_leader_stays(_partitions, counts) | core(counts)


def _partitions(counts):
    folder = tempfile.mkdtemp(prefix="dmq-scale-", dir="/var/tmp")
    quorum = Quorum(folder)
    try:
        scale = Scale(counts, quorum)
        try:
            scale.fill()
            scale.idle()
            scale.changes()
            scale.starts()
        finally:
            scale.close()
    finally:
        for daemon in (quorum.broker, *quorum.controllers.values()):
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()
        shutil.rmtree(folder)
    return scale.values
