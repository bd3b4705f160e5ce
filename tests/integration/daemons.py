"""One controller and one broker as processes of their own, for tests that kill them."""

import json
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from cluster import BIN


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Daemon:
    """dmq-controller or dmq-broker; its log is `folder`/<name>.log."""

    def __init__(self, folder, program, node, services, *options):
        self.log = Path(folder) / f"{program}.log"
        self.command = [BIN / program, "--services", services, "--id", str(node)]
        self.data = Path(folder) / program
        self.command += ["--data", self.data, *options]
        self.process = None

    def spawn(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )

    def wait_ready(self, timeout=30.0):
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise TimeoutError(f"{self.command[0]} is not ready:\n{self.tail()}")
        line = self.process.stdout.readline().decode()
        assert line.startswith("ready "), f"{line!r}\n{self.tail()}"

    def tail(self, lines=30):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self, timeout=30.0):
        """SIGTERM, and a clean end."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        self.process.stdout.close()
        assert code == 0, f"{self.command[0]} ended with {code}:\n{self.tail()}"

    def end(self, clean):
        """Whatever became of it; a living one is stopped, or killed if it need not end clean."""
        if self.process is None:
            return
        if self.process.poll() is None and clean:
            self.process.send_signal(signal.SIGCONT)
            self.stop()
        else:
            self.kill()


class Daemons:
    def __init__(self, folder, *broker_options):
        port, peer_port, controller_port = free_ports(3)
        services = {
            "cluster": "test",
            "controllers": [{"id": 1, "host": "127.0.0.1", "port": controller_port}],
            "brokers": [
                {
                    "id": 101,
                    "host": "127.0.0.1",
                    "port": port,
                    "peerPort": peer_port,
                    "controller": 1,
                }
            ],
        }
        path = Path(folder) / "services.json"
        path.write_text(json.dumps(services))
        self.address = "127.0.0.1", port
        self.url = f"dmq://127.0.0.1:{port}"
        self.controller = Daemon(folder, "dmq-controller", 1, path)
        self.broker = Daemon(folder, "dmq-broker", 101, path, *broker_options)

    def __enter__(self):
        self.controller.spawn()
        self.broker.spawn()
        self.controller.wait_ready()
        self.broker.wait_ready()
        return self

    def __exit__(self, kind, error, trace):
        for daemon in (self.broker, self.controller):
            daemon.end(clean=kind is None)

    def restart_broker(self):
        self.broker.spawn()
        started = time.monotonic()
        self.broker.wait_ready()
        return time.monotonic() - started
