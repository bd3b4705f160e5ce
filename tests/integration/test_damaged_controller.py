"""Three controllers, and one whose store lost what it promised: it says so, sets it aside, joins as
another member and has its vote again; a lone one refuses to start."""

import json
import re
import shutil
import time
import urllib.request
from pathlib import Path

import pytest
from daemons import Daemon, free_ports


class Controller(Daemon):
    def __init__(self, folder, node, services, http):
        folder = Path(folder) / f"c{node}"
        folder.mkdir()
        super().__init__(folder, "dmq-controller", node, services)
        self.data, self.http = folder / "dmq-controller", http

    def metric(self, name):
        url = f"http://127.0.0.1:{self.http}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        return float(re.search(rf"^dmq_controller_{name} (\S+)$", text, re.M).group(1))

    def disk_id(self):
        return re.search(r"^disk = (\w+)$", (self.data / "identity").read_text(), re.M).group(1)


def make(folder, count):
    ports = free_ports(2 * count)
    listed = [
        {"id": i + 1, "host": "127.0.0.1", "port": ports[2 * i], "httpPort": ports[2 * i + 1]}
        for i in range(count)
    ]
    services = Path(folder) / "services.json"
    services.write_text(json.dumps({"controllers": listed, "brokers": []}))
    return [Controller(folder, one["id"], services, one["httpPort"]) for one in listed]


@pytest.fixture
def quorum(folder):
    controllers = make(folder, 3)
    for one in controllers:
        one.spawn()
    for one in controllers:
        one.wait_ready()
    yield controllers
    for one in controllers:
        one.end(clean=False)


def wait_for(condition, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not within the time given"
        time.sleep(0.05)


def lose_copy(data):
    (data / "quorum").unlink()


def lose_store(data):
    shutil.rmtree(data / "store")


def shorten_log(data):
    """As a damaged length does: LevelDB finds a torn tail and goes on."""
    log = max((data / "store").glob("*.log"), key=lambda path: path.stat().st_size)
    assert log.stat().st_size > 100
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 1)


def flip_bit(data):
    log = max((data / "store").glob("*.log"), key=lambda path: path.stat().st_size)
    content = bytearray(log.read_bytes())
    content[20] ^= 1
    log.write_bytes(content)


@pytest.mark.parametrize("damage", [lose_copy, lose_store, shorten_log, flip_bit])
def test_a_damaged_controller_joins_again(quorum, damage):
    damaged = quorum[1]
    before = damaged.disk_id()
    damaged.stop()  # killed, it might have written what nothing rests on yet
    damage(damaged.data)
    damaged.spawn()
    damaged.wait_ready()
    assert damaged.disk_id() != before
    assert "store_damaged" in damaged.tail(100), damaged.tail()
    assert sorted(damaged.data.glob("damaged-1-*"))
    wait_for(lambda: damaged.metric("voter") == 1)
    quorum[0].kill()  # its vote counts: the two that are left have a majority
    wait_for(lambda: damaged.metric("leading") + quorum[2].metric("leading") == 1)
    after = damaged.disk_id()
    damaged.kill()
    damaged.spawn()
    damaged.wait_ready()
    assert damaged.disk_id() == after
    assert len(sorted(damaged.data.glob("damaged-2-*"))) == 0


@pytest.mark.parametrize("damage", [lose_copy, lose_store, shorten_log, flip_bit])
def test_a_lone_damaged_controller_refuses_to_start(folder, damage):
    (alone,) = make(folder, 1)
    alone.spawn()
    alone.wait_ready()
    alone.stop()
    before = alone.disk_id()
    damage(alone.data)
    alone.spawn()
    try:
        assert alone.process.wait(20) == 1
    finally:
        alone.kill()
    assert "a lone controller cannot be repaired by others" in alone.tail()
    assert alone.disk_id() == before
    assert not list(alone.data.glob("damaged-*"))
