"""A name server that swallows every question (a UDP port that nobody reads), in a network of the
test's own: a broker whose name nobody knows any more holds up nobody but who looks for it. So it is
with a container that is stopped, on a machine whose own name server is silent.

Run as a program, this file is what runs inside that network."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from daemons import Daemon

HOSTS = {
    "controller1": "127.0.0.10",
    "broker101": "127.0.0.11",
    "broker102": "127.0.0.12",
    "broker103": "127.0.0.13",
}
BROKERS = (101, 102, 103)
GONE = 103
SECONDS = 8  # of records being sent without the broker


def hosts_text(names):
    return "127.0.0.1 localhost\n" + "".join(f"{HOSTS[name]} {name}\n" for name in names)


def test_silence_holds_up_nobody_else(folder):
    if os.geteuid() != 0:
        pytest.skip("only root may have a network of its own")
    hosts, resolv = Path(folder) / "hosts", Path(folder) / "resolv.conf"
    hosts.write_text(hosts_text(HOSTS))
    resolv.write_text("nameserver 127.0.0.1\n")
    setup = (
        "ip link set lo up",
        f"mount --bind {hosts} /etc/hosts",
        f"mount --bind {resolv} /etc/resolv.conf",
        f"exec {sys.executable} {__file__} {folder}",
    )
    command = ["unshare", "--net", "--mount", "sh", "-c", " && ".join(setup)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.stderr.startswith("unshare: "):  # not allowed, or not possible in this root
        pytest.skip("no network of its own here")
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    print(figures)
    assert figures["questions"] > 0, "nobody looked for the broker that is gone"
    assert figures["sent"] > SECONDS * 5, figures
    # A client whose first choice is the one that is gone gives its name up after 5 s.
    assert figures["slowest_s"] < 15, figures
    assert figures["back_s"] < 8, figures


def services():
    brokers = [
        {"id": n, "host": f"broker{n}", "port": 9501, "peerPort": 10501, "controller": 1}
        for n in BROKERS
    ]
    return {
        "cluster": "test",
        "controllers": [{"id": 1, "host": "controller1", "port": 9510}],
        "brokers": brokers,
    }


class Silence:
    """The name server; it counts what it is asked."""

    def __init__(self):
        import socket

        self.questions = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self.swallow, daemon=True).start()

    def swallow(self):
        while True:
            asked = self.socket.recv(512)
            self.questions += b"broker" in asked


def start(folder):
    path = folder / "services.json"
    path.write_text(json.dumps(services()))
    daemons = {}
    for n, program in ((1, "dmq-controller"), *((n, "dmq-broker") for n in BROKERS)):
        (folder / str(n)).mkdir()
        daemons[n] = Daemon(folder / str(n), program, n, path)
        daemons[n].spawn()
    for daemon in daemons.values():
        daemon.wait_ready()
    return daemons


def wait_well(client, brokers):
    """Until every partition is in sync on so many brokers."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        partitions = client.topics.describe("t").partitions
        if all(len(p.isr) == brokers for p in partitions):
            return
        time.sleep(0.05)
    raise TimeoutError(f"not in sync on {brokers} brokers: {partitions}")


def send_for(client, seconds):
    """One record after another to all partitions; how many, and the longest that one took."""
    sent, slowest = 0, 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        client.publish("t", b"x", key=str(sent), timeout=60)
        slowest = max(slowest, time.monotonic() - begun)
        sent += 1
        time.sleep(0.05)
    return sent, slowest


def inside(folder):
    import dmq

    silence = Silence()
    daemons = start(folder)
    url = "dmq://" + ",".join(f"broker{n}:9501" for n in BROKERS)
    with dmq.connect(url) as client:
        client.topics.create("t", partitions=6, replicas=3)
        wait_well(client, 3)
        (folder / "hosts").write_text(hosts_text(HOSTS.keys() - {f"broker{GONE}"}))
        daemons[GONE].kill()
        sent, slowest = send_for(client, SECONDS)
        (folder / "hosts").write_text(hosts_text(HOSTS))
        begun = time.monotonic()
        daemons[GONE].spawn()
        daemons[GONE].wait_ready()
        wait_well(client, 3)
        back = time.monotonic() - begun
    for daemon in daemons.values():
        daemon.stop()
    figures = {"sent": sent, "slowest_s": round(slowest, 2), "back_s": round(back, 2)}
    print(json.dumps({**figures, "questions": silence.questions}))


if __name__ == "__main__":
    inside(Path(sys.argv[1]))
