"""dmq quorum and dmq cluster on three controllers: what people see and do when controllers fail."""

import json
import os
import re
import shutil
import subprocess
import time

import pytest
from cluster import BIN
from quorum import Quorum

OK, ERROR, UNHEALTHY = 0, 1, 10


def dmq(quorum, *arguments, timeout=60):
    return subprocess.run(
        [BIN / "dmq", *arguments],
        capture_output=True,
        timeout=timeout,
        env={**os.environ, "DMQ_URL": quorum.url},
    )


def status(quorum):
    done = dmq(quorum, "quorum", "status", "--json")
    assert done.returncode == OK, done.stderr
    return json.loads(done.stdout)


def problems(quorum):
    done = dmq(quorum, "cluster", "health", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == (OK if told["healthy"] else UNHEALTHY)
    assert told["healthy"] == (told["problems"] == [])
    return told["problems"]


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


@pytest.fixture
def quorum(folder):
    with Quorum(folder) as running:
        yield running


def test_leadership_is_transferred(quorum):
    before = status(quorum)
    assert [c["id"] for c in before["controllers"]] == [1, 2, 3]
    assert [c["id"] for c in before["controllers"] if c["leader"]] == [before["leader"]]
    assert all(c["voter"] for c in before["controllers"])
    other = 1 + before["leader"] % 3
    done = dmq(quorum, "quorum", "transfer-leader", str(other))
    assert (done.returncode, done.stderr.decode()) == (OK, f"dmq: controller {other} leads now\n")
    after = status(quorum)
    assert after["leader"] == other and after["term"] > before["term"]
    assert dmq(quorum, "topic", "create", "orders").returncode == OK
    info = json.loads(dmq(quorum, "cluster", "info", "--json").stdout)
    assert info["leader"] == other
    assert [c["id"] for c in info["controllers"] if c["leader"]] == [other]
    pairing = {c["id"]: c["brokers"] for c in info["controllers"]}
    assert pairing == {1: [101], 2: [], 3: []}
    back = dmq(quorum, "quorum", "transfer-leader", str(before["leader"]), "--json")
    assert json.loads(back.stdout) == {"leader": before["leader"]}


def test_health_names_a_controller_that_is_gone(quorum):
    assert problems(quorum) == []
    leader = status(quorum)["leader"]
    gone = 1 + leader % 3
    quorum.kill(gone)
    wait_until(lambda: any(f"controller {gone} has been silent" in p for p in problems(quorum)))
    assert len(problems(quorum)) == 1
    row = next(c for c in status(quorum)["controllers"] if c["id"] == gone)
    assert row["voter"] and row["silentMs"] > 2000
    quorum.start(gone)
    wait_until(lambda: problems(quorum) == [])


def test_health_says_that_nobody_leads(quorum):
    dmq(quorum, "topic", "create", "orders")
    leader = status(quorum)["leader"]
    for number in (1, 2, 3):
        if number != leader:
            quorum.kill(number)
    wait_until(lambda: any("no controller leads" in p for p in problems(quorum)))
    # Reads of metadata, and of records, go on.
    info = dmq(quorum, "cluster", "info")
    assert info.returncode == OK and b"\npartitions          1 (0 without a leader" in info.stdout
    quorum.start(1 if leader != 1 else 2)
    wait_until(lambda: not any("no controller leads" in p for p in problems(quorum)))


def test_a_seat_is_removed_and_given_again(quorum):
    leader = status(quorum)["leader"]
    other = 1 + leader % 3
    done = dmq(quorum, "quorum", "remove", str(other))
    assert done.returncode == OK, done.stderr
    assert b"has no seat any more: stop it" in done.stderr
    assert [c["id"] for c in status(quorum)["controllers"]] == sorted({1, 2, 3} - {other})
    assert problems(quorum) == [
        f"controller {other} stands in services.json, but has no seat in the quorum"
    ]
    done = dmq(quorum, "quorum", "remove", str(other))
    assert done.returncode == ERROR and b"has no seat" in done.stderr

    quorum.kill(other)
    shutil.rmtree(quorum.data(other))  # it comes back as a new one
    done = dmq(quorum, "quorum", "add", str(other))
    assert done.returncode == ERROR and b"does not ask for a seat: start it" in done.stderr
    quorum.controllers[other].spawn()
    wait_until(lambda: dmq(quorum, "quorum", "add", str(other)).returncode == OK)
    wait_until(lambda: problems(quorum) == [])
    assert all(c["voter"] for c in status(quorum)["controllers"])
    done = dmq(quorum, "quorum", "add", str(other))
    assert done.returncode == ERROR and b"has a seat already" in done.stderr


def test_health_names_brokers_and_partitions(folder):
    quorum = Quorum(folder, ids=(1,))
    quorum.brokers.append({"id": 102, "host": "127.0.0.1", "port": 1, "rack": "r2"})
    quorum.services.write_text(quorum.services_text(quorum.ports))
    with quorum:
        assert problems(quorum) == ["broker 102 stands in services.json, but never came"]
        text = dmq(quorum, "cluster", "brokers").stdout.decode()
        assert re.search(r"^102 +127\.0\.0\.1:1 +r2 +never came +1 +0 +0$", text, re.M)
        info = json.loads(dmq(quorum, "cluster", "info", "--json").stdout)
        assert [b["registered"] for b in info["brokers"]] == [True, False]
