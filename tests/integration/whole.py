"""Three controllers and three brokers as processes of their own, for tests and measurements that
kill, pause, empty and damage them."""

import json
import signal
import time
from pathlib import Path

import dmq
from daemons import Daemon, free_ports
from pyzmq_client import API_VERSIONS
from quorum import ask

CONTROLLERS = (1, 2, 3)
BROKERS = (101, 102, 103)


class Whole:
    def __init__(self, folder, *broker_options):
        folder = Path(folder)
        numbers = [*CONTROLLERS, *BROKERS]
        ports = iter(free_ports(len(numbers) + len(BROKERS) + len(numbers)))
        self.ports = {n: next(ports) for n in numbers}
        self.peer_ports = {n: next(ports) for n in BROKERS}
        self.http_ports = {n: next(ports) for n in numbers}
        path = folder / "services.json"
        path.write_text(json.dumps(self._services()))
        self.url = "dmq://" + ",".join(f"127.0.0.1:{self.ports[n]}" for n in BROKERS)
        self.daemons = {}
        for n in numbers:
            home = folder / str(n)
            home.mkdir()
            program = "dmq-controller" if n in CONTROLLERS else "dmq-broker"
            options = broker_options if n in BROKERS else ()
            self.daemons[n] = Daemon(home, program, n, path, *options)
        self.paused = set()

    def _services(self):
        local = {"host": "127.0.0.1"}
        brokers = [
            {
                "id": n,
                **local,
                "port": self.ports[n],
                "peerPort": self.peer_ports[n],
                "httpPort": self.http_ports[n],
                "controller": 1,
            }
            for n in BROKERS
        ]
        controllers = [
            {"id": n, **local, "port": self.ports[n], "httpPort": self.http_ports[n]}
            for n in CONTROLLERS
        ]
        return {"cluster": "test", "controllers": controllers, "brokers": brokers}

    def data(self, number):
        daemon = self.daemons[number]
        return daemon.log.with_suffix("")

    def __enter__(self):
        self.start(*self.daemons)
        return self

    def __exit__(self, kind, error, trace):
        for n, daemon in self.daemons.items():
            if kind is not None:
                print(f"{n}:\n{daemon.tail(60)}")
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()

    # ---- processes -----------------------------------------------------------------------------

    def start(self, *numbers):
        for n in numbers:
            self.daemons[n].spawn()
        for n in numbers:
            self.daemons[n].wait_ready()

    def kill(self, *numbers):
        """kill -9 of all of them, at once. None may have ended by itself before."""
        for n in numbers:
            code = self.daemons[n].process.poll()
            assert code is None, f"{n} had ended with {code}:\n{self.daemons[n].tail()}"
            self.daemons[n].process.kill()
        for n in numbers:
            self.daemons[n].kill()
        self.paused.difference_update(numbers)

    def pause(self, number):
        self.daemons[number].process.send_signal(signal.SIGSTOP)
        self.paused.add(number)

    def resume(self, number):
        self.daemons[number].process.send_signal(signal.SIGCONT)
        self.paused.discard(number)

    def stop(self):
        """All of them, cleanly: the brokers first, together."""
        for group in (BROKERS, CONTROLLERS):
            for n in group:
                self.daemons[n].process.send_signal(signal.SIGTERM)
            for n in group:
                self.daemons[n].stop(60)

    # ---- who leads -----------------------------------------------------------------------------

    def leading_controller(self, timeout=20.0):
        """Whom two of the controllers name."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            named = []
            for n in CONTROLLERS:
                if self.daemons[n].process.poll() is None and n not in self.paused:
                    try:
                        named.append(ask(self.ports[n], API_VERSIONS, ["test", "1"], 1000)[8])
                    except TimeoutError:
                        continue
            for n in CONTROLLERS:
                if named.count(n) > 1:
                    return n
            time.sleep(0.05)
        raise TimeoutError("no controller leads")

    def partition(self, client, topic, partition, timeout=30.0):
        """What the cluster says of a partition, once it answers."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return client.topics.describe(topic).partitions[partition]
            except dmq.Error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def wait_in_sync(self, client, topic, timeout=60.0):
        """Until every partition of the topic has a leader and all its replicas in the ISR."""
        deadline = time.monotonic() + timeout
        while True:
            self.partition(client, topic, 0)
            found = client.topics.describe(topic).partitions
            if all(p.leader in p.isr and sorted(p.isr) == sorted(p.replicas) for p in found):
                return found
            assert time.monotonic() < deadline, f"not in sync in {timeout} s: {found}"
            time.sleep(0.1)
