"""Three brokers and a controller as real processes: a topic with three replicas goes on without its
leader, comes back whole, and no acknowledged record is lost, moved or doubled."""

import json
import shutil
import signal
import subprocess
import time

import pytest
from cluster import BIN
from daemons import Daemon, free_ports

BROKERS = (101, 102, 103)
SETTINGS = ("--set", "log.retention.check.interval.ms=100")


class Replicas:
    """One controller, three brokers, and what the tool says of their one topic."""

    def __init__(self, folder, *controller_options):
        ports = free_ports(1 + 2 * len(BROKERS))
        local = {"host": "127.0.0.1"}
        services = {
            "cluster": "test",
            "controllers": [{"id": 1, **local, "port": ports[0]}],
            "brokers": [
                {"id": n, **local, "port": ports[1 + 2 * i], "peerPort": ports[2 + 2 * i]}
                for i, n in enumerate(BROKERS)
            ],
        }
        for broker in services["brokers"]:
            broker["controller"] = 1
        path = folder / "services.json"
        path.write_text(json.dumps(services))
        self.ports = dict(zip(BROKERS, ports[1::2], strict=True))
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports[1::2])
        self.url = f"dmq://{hosts}"
        self.controller = Daemon(folder, "dmq-controller", 1, path, *controller_options)
        self.brokers = {}
        for n in BROKERS:
            (folder / str(n)).mkdir()
            self.brokers[n] = Daemon(folder / str(n), "dmq-broker", n, path, *SETTINGS)

    def __enter__(self):
        self.controller.spawn()
        self.start(*BROKERS)
        self.controller.wait_ready()
        return self

    def __exit__(self, kind, error, trace):
        for daemon in (*self.brokers.values(), self.controller):
            daemon.end(clean=kind is None)

    def start(self, *numbers):
        for n in numbers:
            self.brokers[n].spawn()
        for n in numbers:
            self.brokers[n].wait_ready()

    def kill(self, *numbers):
        for n in numbers:
            self.brokers[n].process.kill()
        for n in numbers:
            self.brokers[n].kill()

    def signal(self, number, *numbers):
        for n in numbers:
            self.brokers[n].process.send_signal(number)

    def run(self, *arguments, stdin=b"", timeout=60):
        return subprocess.run(
            [BIN / "dmq", "--url", self.url, *arguments],
            input=stdin,
            capture_output=True,
            timeout=timeout,
        )

    def dmq(self, *arguments, stdin=b"", timeout=60):
        done = self.run(*arguments, stdin=stdin, timeout=timeout)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def produce(self, *options):
        command = [BIN / "dmq", "--url", self.url, "produce", "orders", *options]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)

    def consume(self):
        return self.dmq("consume", "orders", "--exit-at-end").splitlines(keepends=True)

    def partition(self):
        return json.loads(self.dmq("topic", "describe", "orders", "--json"))["partitions"][0]

    def wait_partition(self, accepts, timeout=20):
        deadline = time.monotonic() + timeout
        while not accepts(partition := self.partition()):
            assert time.monotonic() < deadline, partition
            time.sleep(0.05)
        return partition

    def wait_log(self, number, text, timeout=20):
        deadline = time.monotonic() + timeout
        while text not in self.brokers[number].tail(1000):
            assert time.monotonic() < deadline, self.brokers[number].tail()
            time.sleep(0.05)
        time.sleep(0.3)  # whoever is asked now has heard of what led to it

    def wait_isr(self, *members):
        return self.wait_partition(lambda p: sorted(p["isr"]) == sorted(members))


@pytest.fixture
def replicas(tmp_path):
    with Replicas(tmp_path) as running:
        running.dmq("topic", "create", "orders", "--replication-factor", "3")
        yield running


def lines(name, count):
    return [f"{name} {i}\n".encode() for i in range(count)]


def test_the_leader_is_killed_under_load(replicas):
    sent = []
    for turn in range(3):
        leader = replicas.partition()["leader"]
        with replicas.produce("--acks", "all") as producer:
            for i, piece in enumerate(lines(f"turn {turn}", 3000)):
                sent.append(piece)
                producer.stdin.write(piece)
                if i == 1500:
                    producer.stdin.flush()
                    replicas.kill(leader)
            producer.stdin.close()
            assert producer.wait(60) == 0, producer.stderr.read().decode()
        partition = replicas.partition()
        assert partition["leader"] != leader and partition["leaderEpoch"] > turn
        assert replicas.consume() == sent
        replicas.start(leader)
        replicas.wait_isr(*BROKERS)
    # every replica holds all of it: each leads once, alone
    for last in BROKERS:
        others = [n for n in BROKERS if n != last]
        replicas.signal(signal.SIGTERM, *others)
        for n in others:
            assert replicas.brokers[n].process.wait(30) == 0
            replicas.brokers[n].process.stdout.close()
        replicas.wait_partition(lambda p, last=last: p["leader"] == last)
        assert replicas.consume() == sent
        replicas.start(*others)
        replicas.wait_isr(*BROKERS)


def test_what_only_the_old_leader_has_is_cut(replicas):
    sent = lines("safe", 100)
    replicas.dmq("produce", "orders", "--acks", "all", stdin=b"".join(sent))
    leader = replicas.partition()["leader"]
    others = [n for n in BROKERS if n != leader]
    replicas.signal(signal.SIGSTOP, *others)
    # the first is the answer to fetches that are parked: it may be in the followers' sockets
    alone = [lines("alone, perhaps", 50), lines("alone", 50)]
    for pieces in alone:
        replicas.dmq("produce", "orders", "--acks", "1", stdin=b"".join(pieces), timeout=20)
    replicas.kill(leader)
    replicas.signal(signal.SIGCONT, *others)
    replicas.wait_partition(lambda p: p["leader"] in others)
    more = lines("more", 70)
    replicas.dmq("produce", "orders", "--acks", "all", stdin=b"".join(more))
    replicas.start(leader)
    replicas.wait_isr(*BROKERS)
    left = replicas.consume()
    assert left in (sent + more, sent + alone[0] + more)
    assert "event=truncating" in replicas.brokers[leader].tail(1000)
    assert "safe_records_lost" not in replicas.brokers[leader].tail(1000)
    # and so it is found after a crash, also on the one that was cut
    replicas.kill(*BROKERS)
    replicas.start(*BROKERS)
    replicas.wait_isr(*BROKERS)
    assert replicas.consume() == left


def test_an_emptied_folder_is_filled_again(replicas):
    sent = lines("safe", 20000)
    replicas.dmq("produce", "orders", "--acks", "all", stdin=b"".join(sent))
    for victim in BROKERS[:2]:  # whoever leads is one of them, for one of the two
        replicas.kill(victim)
        shutil.rmtree(replicas.brokers[victim].data)
        replicas.start(victim)
        replicas.wait_isr(*BROKERS)
    assert replicas.consume() == sent
    replicas.kill(BROKERS[2])
    replicas.wait_partition(lambda p: p["leader"] in BROKERS[:2])
    assert replicas.consume() == sent


def test_a_follower_that_was_away_for_too_long_begins_anew(replicas):
    sizes = ("segment.bytes=65536", "retention.bytes=131072")
    replicas.dmq("topic", "config", "orders", *sizes)
    early = lines("early", 100)
    replicas.dmq("produce", "orders", "--acks", "all", stdin=b"".join(early))
    away = next(n for n in BROKERS if n != replicas.partition()["leader"])
    replicas.kill(away)
    sent = list(early)
    first = early[0]
    deadline = time.monotonic() + 30
    while sent.index(first) <= len(early):  # retention takes more than the follower has
        assert time.monotonic() < deadline
        pieces = lines(f"until {len(sent)}", 5000)
        replicas.dmq("produce", "orders", "--acks", "all", stdin=b"".join(pieces))
        sent += pieces
        first = replicas.consume()[0]
    replicas.start(away)
    replicas.wait_log(away, "event=begins_at_leaders_log_start")
    replicas.wait_isr(*BROKERS)
    # a crash right then, and it leads: nothing that is kept is missing
    replicas.kill(away)
    replicas.start(away)
    time.sleep(0.3)  # all have heard that it left the ISR
    replicas.wait_isr(*BROKERS)
    more = lines("more", 100)
    replicas.dmq("produce", "orders", "--acks", "all", stdin=b"".join(more))
    left = replicas.consume()
    time.sleep(0.3)  # the follower has heard that all of it is safe
    for last in [n for n in BROKERS if n != away]:
        replicas.kill(last)
    replicas.wait_partition(lambda p: p["leader"] == away)
    kept = replicas.consume()
    assert kept[-len(more) :] == more
    assert kept in (left, left[len(left) - len(kept) :])
    assert left == (sent + more)[-len(left) :]


def logs(replicas, broker):
    """Segments of the one partition, oldest first."""
    return sorted(replicas.brokers[broker].data.glob("*/0/*.log"))


def set_aside(replicas, broker):
    return list(replicas.brokers[broker].data.glob("*/0.damaged-*"))


def flip(path, position):
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 4]))


@pytest.mark.parametrize("led", [True, False])
def test_a_log_that_is_found_damaged_at_the_start_is_fetched_anew(replicas, led):
    sent = lines("safe", 5000)
    replicas.dmq("produce", "orders", "--acks", "all", stdin=b"".join(sent))
    replicas.wait_isr(*BROKERS)
    time.sleep(1.5)  # until the synced marks are durable
    leader = replicas.partition()["leader"]
    victim = leader if led else next(n for n in BROKERS if n != leader)
    replicas.kill(victim)
    before = logs(replicas, victim)[0].read_bytes()
    flip(logs(replicas, victim)[0], 1000)
    replicas.start(victim)
    replicas.wait_log(victim, "event=log_quarantined")
    replicas.wait_isr(*BROKERS)
    assert "event=log_not_writable" in replicas.brokers[victim].tail(1000)
    (folder,) = set_aside(replicas, victim)
    kept = (folder / logs(replicas, victim)[0].name).read_bytes()
    assert [a ^ b for a, b in zip(kept, before, strict=False) if a != b] == [4]
    assert replicas.consume() == sent
    others = [n for n in BROKERS if n != victim]
    replicas.kill(*others)
    replicas.wait_partition(lambda p: p["leader"] == victim)
    assert replicas.consume() == sent


def test_a_leader_that_finds_its_log_damaged_steps_aside(replicas):
    replicas.dmq("topic", "config", "orders", "segment.bytes=1000000")
    sent = [b"%08d %s\n" % (i, b"x" * 1000) for i in range(60000)]
    replicas.dmq("produce", "orders", "--acks", "all", stdin=b"".join(sent))
    replicas.wait_isr(*BROKERS)
    leader = replicas.partition()["leader"]
    flip(logs(replicas, leader)[1], 300000)
    assert replicas.consume() == sent
    replicas.wait_log(leader, "event=log_quarantined")
    replicas.wait_isr(*BROKERS)
    assert "event=log_damaged" in replicas.brokers[leader].tail(1000)
    assert len(set_aside(replicas, leader)) == 1
    others = [n for n in BROKERS if n != leader]
    replicas.kill(*others)
    replicas.wait_partition(lambda p: p["leader"] == leader)
    assert replicas.consume() == sent


def test_the_only_copy_is_not_set_aside(replicas):
    replicas.dmq("topic", "create", "alone", "--replication-factor", "1")
    replicas.dmq("produce", "alone", stdin=b"".join(lines("alone", 5000)))
    time.sleep(1.5)
    description = json.loads(replicas.dmq("topic", "describe", "alone", "--json"))
    keeper = description["partitions"][0]["leader"]
    folder = replicas.brokers[keeper].data / description["topicId"].replace("-", "") / "0"
    replicas.kill(keeper)
    flip(folder / f"{0:020}.log", 1000)
    before = (folder / f"{0:020}.log").read_bytes()
    replicas.start(keeper)
    replicas.wait_isr(*BROKERS)  # of the other topic, which has lost nothing
    assert "event=log_not_writable" in replicas.brokers[keeper].tail(1000)
    assert "event=log_quarantined" not in replicas.brokers[keeper].tail(1000)
    assert (folder / f"{0:020}.log").read_bytes() == before
    assert not set_aside(replicas, keeper)
    description = json.loads(replicas.dmq("topic", "describe", "alone", "--json"))
    assert description["partitions"][0]["leader"] == keeper


def test_a_damaged_leader_is_no_reason_to_cut_other_logs(replicas):
    replicas.dmq("topic", "config", "orders", "min.insync.replicas=1")
    sent = lines("safe", 5000)
    replicas.dmq("produce", "orders", "--acks", "all", stdin=b"".join(sent))
    replicas.wait_isr(*BROKERS)
    leader = replicas.partition()["leader"]
    others = [n for n in BROKERS if n != leader]
    replicas.kill(*others)
    replicas.wait_isr(leader)
    replicas.dmq("produce", "orders", stdin=b"".join(lines("alone", 10)))
    time.sleep(1.5)  # until the synced marks are durable
    replicas.kill(leader)
    flip(logs(replicas, leader)[0], 1000)
    before = [logs(replicas, n)[0].read_bytes().rstrip(b"\0") for n in others]
    replicas.start(leader)  # the last copy: it leads what is left of it
    replicas.start(*others)
    replicas.wait_isr(leader)
    time.sleep(2)
    for n, bytes_before in zip(others, before, strict=True):
        assert "event=truncating" not in replicas.brokers[n].tail(1000)
        assert logs(replicas, n)[0].read_bytes().startswith(bytes_before)
    assert not set_aside(replicas, leader)


def test_below_min_isr_nothing_is_acknowledged_and_reads_go_on(replicas):
    sent = lines("safe", 100)
    replicas.dmq("produce", "orders", "--acks", "all", stdin=b"".join(sent))
    leader = replicas.partition()["leader"]
    others = [n for n in BROKERS if n != leader]
    replicas.kill(*others)
    replicas.wait_isr(leader)
    waiting = lines("waiting", 100)
    with replicas.produce("--acks", "all") as producer:
        producer.stdin.write(b"".join(waiting))
        producer.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            producer.wait(2)
        assert replicas.consume() == sent
        replicas.start(others[0])
        assert producer.wait(60) == 0, producer.stderr.read().decode()
    assert replicas.consume() == sent + waiting


def test_the_whole_cluster_is_killed_at_once(replicas):
    sent = []
    for turn in range(3):
        pieces = lines(f"turn {turn}", 500)
        replicas.dmq("produce", "orders", "--acks", "all", stdin=b"".join(pieces))
        sent += pieces
        replicas.kill(*BROKERS)
        replicas.controller.kill()
        replicas.controller.spawn()
        replicas.start(*BROKERS)
        replicas.controller.wait_ready()
        replicas.wait_isr(*BROKERS)
        assert replicas.consume() == sent
