"""dmq quorum and dmq cluster on three controllers: what people see and do when controllers fail."""

import json
import os
import re
import secrets
import shutil
import subprocess
import time

import pytest
from cluster import BIN
from daemons import Daemon, free_ports
from pyzmq_client import CREATE_TOPIC, METADATA
from quorum import Call, Quorum

DESCRIBE_CONFIG, ALTER_TOPIC = 32, 44
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

    done = dmq(quorum, "quorum", "remove", str(other))  # it goes on running, and asks by itself
    assert done.returncode == OK, done.stderr
    wait_until(lambda: dmq(quorum, "quorum", "add", str(other)).returncode == OK)
    wait_until(lambda: problems(quorum) == [])


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


class Brokers(Quorum):
    """One controller and three brokers."""

    def __init__(self, folder):
        super().__init__(folder, ids=(1,))
        self.more = {}
        for number in (102, 103):
            port, peer_port = free_ports(2)
            self.brokers.append(
                {"id": number, "host": "127.0.0.1", "port": port, "peerPort": peer_port}
            )
            own = self.folder / f"broker-{number}"
            own.mkdir()
            self.more[number] = Daemon(own, "dmq-broker", number, self.services)
        self.services.write_text(self.services_text(self.ports))

    def __enter__(self):
        super().__enter__()
        for broker in self.more.values():
            broker.spawn()
        for broker in self.more.values():
            broker.wait_ready()
        return self

    def __exit__(self, kind, error, trace):
        for broker in self.more.values():
            broker.end(clean=False)
        super().__exit__(kind, error, trace)


def produce(quorum, topic, text):
    return subprocess.run(
        [BIN / "dmq", "produce", topic],
        input=text,
        capture_output=True,
        timeout=60,
        env={**os.environ, "DMQ_URL": quorum.url},
    )


def test_brokers_fail_and_min_isr_is_lowered(folder):
    with Brokers(folder) as quorum:
        made = json.loads(dmq(quorum, "topic", "create", "orders", "--json").stdout)
        assert made["replicationFactor"] == 3
        (partition,) = made["partitions"]
        assert sorted(partition["replicas"]) == sorted(partition["isr"]) == [101, 102, 103]
        settings = json.loads(dmq(quorum, "topic", "config", "orders", "--json").stdout)
        value = {s["name"]: s["value"] for s in settings["settings"]}
        assert value["min.insync.replicas"] == "2"
        assert produce(quorum, "orders", b"a\n").returncode == OK
        assert problems(quorum) == []

        quorum.more[103].kill()
        wait_until(lambda: "partitions that lack replicas in sync: orders-0" in problems(quorum))
        assert any(p.startswith("broker 103 does not serve") for p in problems(quorum))
        assert produce(quorum, "orders", b"b\n").returncode == OK

        quorum.more[102].kill()
        below = "partitions below min.insync.replicas, which refuse acks=all: orders-0"
        wait_until(lambda: below in problems(quorum))
        done = dmq(quorum, "topic", "config", "orders", "min.insync.replicas=4")
        assert done.returncode == ERROR and b"above the replication factor 3" in done.stderr
        assert dmq(quorum, "topic", "config", "orders", "min.insync.replicas=1").returncode == OK
        assert produce(quorum, "orders", b"c\n").returncode == OK  # without a restart

        for broker in quorum.more.values():
            broker.spawn()
        wait_until(lambda: problems(quorum) == [])
        assert dmq(quorum, "topic", "config", "orders", "min.insync.replicas=").returncode == OK
        done = dmq(quorum, "consume", "orders", "--exit-at-end")
        assert done.stdout == b"a\nb\nc\n"


def test_what_one_broker_answered_the_others_know(folder):
    """A topic, and a setting of it, through one broker; whoever asks another one finds them."""
    with Brokers(folder) as quorum:
        a, b = (Call(broker["port"]) for broker in quorum.brokers[:2])
        with a, b:
            for n in range(100):
                name = f"topic-{n}"
                made = a(CREATE_TOPIC, [name, secrets.token_bytes(16), 1, 3, []])
                (topic,) = b(METADATA, [False, [name], [], "127.0.0.1", 1])[4]
                assert topic[0] == 0, f"error {topic[0]} for {name}"
                a(ALTER_TOPIC, [name, made[0][1], [["retention.ms", str(n + 1), False]]])
                settings = b(DESCRIBE_CONFIG, [name])[2]
                assert [s[1] for s in settings if s[0] == "retention.ms"] == [str(n + 1)]
                # and one that answered knows it itself
                a(ALTER_TOPIC, [name, made[0][1], [["max.message.bytes", str(5000 + n), False]]])
                (topic,) = a(METADATA, [False, [name], [], "127.0.0.1", 1])[4]
                assert topic[4] == 5000 + n


def test_partitions_are_spread(folder):
    with Brokers(folder) as quorum:
        done = dmq(quorum, "topic", "create", "orders", "--replication-factor", "2")
        assert done.returncode == OK, done.stderr
        done = dmq(quorum, "topic", "add-partitions", "orders", "5", "--json")
        grown = json.loads(done.stdout)["partitions"]
        leads = [p["leader"] for p in grown]
        assert {n: leads.count(n) for n in leads} == {101: 2, 102: 2, 103: 2}
        assert all(len(set(p["replicas"])) == 2 for p in grown)
        brokers = json.loads(dmq(quorum, "cluster", "brokers", "--json").stdout)["brokers"]
        assert [(b["id"], b["leaders"], b["replicas"]) for b in brokers] == [
            (101, 2, 4),
            (102, 2, 4),
            (103, 2, 4),
        ]
        text = b"".join(b"%d\n" % i for i in range(60))
        done = subprocess.run(
            [BIN / "dmq", "produce", "orders", "--key-field", "1"],
            input=text,
            capture_output=True,
            env={**os.environ, "DMQ_URL": quorum.url},
            timeout=60,
        )
        assert done.returncode == OK, done.stderr
        read = dmq(quorum, "consume", "orders", "--exit-at-end").stdout
        assert sorted(read.split()) == sorted(text.split())
