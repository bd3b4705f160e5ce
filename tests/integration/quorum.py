"""Three controllers and a broker as processes of their own, for tests and measurements that kill
controllers."""

import json
import secrets
import signal
import time
from pathlib import Path

import msgpack
import zmq
from daemons import Daemon, free_ports
from pyzmq_client import API_VERSIONS, CREATE_TOPIC, DmqError

NOT_CONTROLLER = 41
DESCRIBE_TOPICS, DESCRIBE_QUORUM = 75, 55
MAYBE_DONE = {-1, 7, 13, 1001}


class Call:
    """One request over a connection of its own, so that nothing of another is in the way."""

    def __init__(self, port):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def __call__(self, key, body, timeout_ms=10000):
        """The decoded body; DmqError, or TimeoutError if nothing comes."""
        head = [1, key, 0, 1, "test", timeout_ms, 0]
        self.socket.send_multipart([msgpack.packb(head), msgpack.packb(body)])
        if not self.socket.poll(timeout_ms):
            raise TimeoutError(f"api {key}: no answer in {timeout_ms} ms")
        head, *rest = self.socket.recv_multipart()
        _, error, _, _, message = msgpack.unpackb(head)[:5]
        if error:
            raise DmqError(error, message)
        return msgpack.unpackb(rest[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def ask(port, key, body, timeout_ms=10000):
    with Call(port) as call:
        return call(key, body, timeout_ms)


class Quorum:
    def __init__(self, folder, ids=(1, 2, 3), options=()):
        self.folder = Path(folder)
        *ports, self.broker_port, peer_port = free_ports(len(ids) + 2)
        self.ports = dict(zip(ids, ports, strict=True))
        self.services = self.folder / "services.json"
        broker = {"id": 101, "host": "127.0.0.1", "port": self.broker_port, "peerPort": peer_port}
        self.brokers = [{**broker, "controller": ids[0]}]
        self.services.write_text(self.services_text(self.ports))
        self.url = f"dmq://127.0.0.1:{self.broker_port}"
        self.controllers = {i: self.controller(i, *options) for i in self.ports}
        self.broker = Daemon(self.folder, "dmq-broker", 101, self.services)
        self.stopped = set()  # by SIGSTOP

    def services_text(self, ports):
        return json.dumps(
            {
                "cluster": "test",
                "controllers": [
                    {"id": i, "host": "127.0.0.1", "port": port} for i, port in ports.items()
                ],
                "brokers": self.brokers,
            }
        )

    def controller(self, number, *options):
        folder = self.folder / f"controller-{number}"
        folder.mkdir(exist_ok=True)
        return Daemon(folder, "dmq-controller", number, self.services, *options)

    def data(self, number):
        return self.folder / f"controller-{number}" / "dmq-controller"

    def __enter__(self):
        for daemon in (*self.controllers.values(), self.broker):
            daemon.spawn()
        for daemon in (*self.controllers.values(), self.broker):
            daemon.wait_ready()
        return self

    def __exit__(self, kind, error, trace):
        for number in list(self.stopped):
            self.resume(number)
        for daemon in (self.broker, *self.controllers.values()):
            daemon.end(clean=kind is None)
            if kind is not None:
                print(f"{daemon.log}:\n{daemon.tail()}")

    # ---- who leads ---------------------------------------------------------------------------

    def runs(self, number):
        process = self.controllers[number].process
        return process is not None and process.poll() is None and number not in self.stopped

    def leader_now(self):
        """Whom a majority of those that run name as leader, itself among them; None: nobody."""
        named = {}
        for number, port in self.ports.items():
            if self.runs(number):
                try:
                    named[number] = ask(port, API_VERSIONS, ["test", "1"], 1000)[8]
                except TimeoutError:
                    pass
        for number, leader in named.items():
            if number == leader and sum(x == leader for x in named.values()) * 2 > len(self.ports):
                return number
        return None

    def leader(self, timeout=10.0, other_than=None):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = self.leader_now()
            if found is not None and found != other_than:
                return found
            time.sleep(0.02)
        raise TimeoutError("no controller leads")

    # ---- processes ---------------------------------------------------------------------------

    def kill(self, number):
        self.controllers[number].kill()

    def start(self, number):
        self.controllers[number].spawn()
        self.controllers[number].wait_ready()

    def pause(self, number):
        self.controllers[number].process.send_signal(signal.SIGSTOP)
        self.stopped.add(number)

    def resume(self, number):
        self.controllers[number].process.send_signal(signal.SIGCONT)
        self.stopped.discard(number)

    # ---- topics, through the broker ----------------------------------------------------------

    def create(self, name, timeout_ms=10000, request_id=None):
        request_id = request_id or secrets.token_bytes(16)
        body = [name, request_id, 1, 1, []]
        return ask(self.broker_port, CREATE_TOPIC, body, timeout_ms)[0][1]

    def topics(self, timeout_ms=10000):
        """Topic ids by name, as the leading controller has them."""
        described = ask(self.broker_port, DESCRIBE_TOPICS, [[]], timeout_ms)[0]
        names = [topic[0] for topic in described]
        assert len(set(names)) == len(names), "a topic is there twice"
        return {topic[0]: topic[1] for topic in described}
