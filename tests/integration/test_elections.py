"""Leaders by command and by themselves, on three brokers as real processes."""

import json
import time

import dmq
import pytest
from test_replication import BROKERS, Replicas, lines


@pytest.fixture
def replicas(tmp_path):
    with Replicas(tmp_path, "--set", "auto.leader.rebalance.enable=false") as running:
        running.dmq("topic", "create", "orders", "--replication-factor", "3")
        yield running


def produce(replicas, name, count, acks="all"):
    pieces = lines(name, count)
    replicas.dmq("produce", "orders", "--acks", acks, stdin=b"".join(pieces))
    return pieces


def offset(replicas, which):
    with dmq.connect(replicas.url) as c:
        return c.offset("orders", 0, which)


def bounce(replicas, broker):
    """Another leads meanwhile, and the broker is in sync again."""
    replicas.kill(broker)
    replicas.wait_partition(lambda p: p["leader"] not in (broker, -1))
    replicas.start(broker)
    return replicas.wait_isr(*BROKERS)


def test_the_preferred_leader_leads_again_when_asked(replicas):
    sent = produce(replicas, "before", 100)
    preferred = replicas.partition()["replicas"][0]
    away = bounce(replicas, preferred)
    assert away["leader"] != preferred
    answer = json.loads(replicas.dmq("topic", "elect", "orders", "--partition", "0", "--json"))
    (row,) = answer.pop("partitions")
    assert answer == {"electedCount": 1, "notNeededCount": 0, "failedCount": 0, "leftCount": 0}
    assert (row["leader"], row["formerLeader"]) == (preferred, away["leader"])
    back = replicas.partition()
    assert (back["leader"], back["leaderEpoch"]) == (preferred, away["leaderEpoch"] + 1)
    again = replicas.run("topic", "elect", "--all")
    assert (again.returncode, again.stdout) == (0, b"")
    assert again.stderr == b"dmq: 0 elected, 1 had their leader already, 0 failed\n"
    sent += produce(replicas, "after", 100)
    assert replicas.consume() == sent


def test_one_that_is_not_in_sync_is_not_elected(replicas):
    preferred = replicas.partition()["replicas"][0]
    replicas.kill(preferred)
    replicas.wait_partition(lambda p: p["leader"] not in (preferred, -1))
    done = replicas.run("topic", "elect", "orders")
    assert done.returncode == 1, done.stderr
    assert f"broker {preferred}, the first replica, is not in sync".encode() in done.stderr
    done = replicas.run("topic", "elect", "orders", "--unclean", "--yes-lose-data")
    assert done.returncode == 0 and b"0 elected, 1 had their leader already" in done.stderr


def test_the_preferred_leader_leads_again_by_itself(tmp_path):
    every_second = ("--set", "leader.imbalance.check.interval.seconds=1")
    with Replicas(tmp_path, *every_second) as replicas:
        replicas.dmq("topic", "create", "orders", "--replication-factor", "3")
        preferred = replicas.partition()["replicas"][0]
        producer = replicas.produce("--acks", "all")
        sent = lines("moving", 4000)
        for i, piece in enumerate(sent):
            producer.stdin.write(piece)
            if i == 1500:
                producer.stdin.flush()
                replicas.kill(preferred)
                replicas.wait_partition(lambda p: p["leader"] not in (preferred, -1))
                replicas.start(preferred)
        producer.stdin.flush()
        replicas.wait_partition(lambda p: p["leader"] == preferred)
        producer.stdin.close()
        assert producer.wait(60) == 0, producer.stderr.read().decode()
        producer.stderr.close()
        assert "leaders_restored count=1" in replicas.controller.tail(1000)
        assert replicas.consume() == sent


def lose_all_in_sync(replicas):
    """One broker lags behind, the others die. Returns who lags, who died, and what all have."""
    sent = produce(replicas, "safe", 100)
    leader = replicas.partition()["leader"]
    behind, other = (n for n in BROKERS if n != leader)
    replicas.kill(behind)
    replicas.wait_isr(leader, other)
    produce(replicas, "lost", 50)
    time.sleep(1.0)  # both note in their stores how much was safe, which lags behind a little
    replicas.kill(other, leader)
    replicas.start(behind)
    replicas.wait_partition(lambda p: p["leader"] == -1)
    return behind, [leader, other], sent


def test_an_unclean_election_is_meant_and_says_what_it_loses(replicas):
    behind, gone, sent = lose_all_in_sync(replicas)
    done = replicas.run("topic", "elect", "orders")
    assert done.returncode == 1 and b"is not in sync" in done.stderr
    done = replicas.run("topic", "elect", "orders", "--unclean")
    assert done.returncode == 2 and b"loses acknowledged records for good" in done.stderr
    assert replicas.partition()["leader"] == -1
    done = replicas.run(
        "topic", "elect", "orders", "--unclean", "--yes-lose-data", "--broker", str(gone[0])
    )
    assert done.returncode == 1 and b"is no replica that is live" in done.stderr

    elect = ("topic", "elect", "orders", "--partition", "0", "--unclean", "--yes-lose-data")
    done = replicas.run(*elect)
    assert done.returncode == 0, done.stderr
    assert (
        f"broker {behind} was not in sync: records that it lacks are lost".encode() in done.stderr
    )
    partition = replicas.partition()
    assert (partition["leader"], partition["isr"]) == (behind, [behind])
    assert "unclean_election topic=orders partition=0" in replicas.controller.tail(1000)
    sent += produce(replicas, "alone", 20, acks="1")  # it is writable

    # They come back: what only they have is cut and said, then they count again.
    for n in gone:
        replicas.start(n)
    replicas.wait_isr(*BROKERS)
    for n in gone:
        assert "event=safe_records_lost partition=orders-0 from=100" in replicas.brokers[n].tail(
            1000
        )
    sent += produce(replicas, "together", 30)
    assert replicas.consume() == sent
    for n in gone:  # and each of them has just that
        time.sleep(0.5)  # it hears how much is safe: a new leader that does not tells no end
        others = [m for m in BROKERS if m != n]
        replicas.kill(*others)
        replicas.wait_partition(lambda p, n=n: p["leader"] == n)
        assert replicas.consume() == sent
        replicas.start(*others)
        replicas.wait_isr(*BROKERS)


def test_logs_that_begin_beyond_the_end_of_the_one_elected_begin_anew(replicas):
    small = ("segment.bytes=4096", "retention.bytes=8192")
    replicas.dmq("topic", "config", "orders", *small)
    sent = produce(replicas, "kept", 20)
    leader = replicas.partition()["leader"]
    behind, other = (n for n in BROKERS if n != leader)
    replicas.kill(behind)
    replicas.wait_isr(leader, other)
    start = 0
    for turn in range(40):  # until nothing is left of what the one behind has
        produce(replicas, f"lost {turn} {'.' * 100}", 50)
        start = offset(replicas, "start")
        if start > 20:
            break
    assert start > 20
    time.sleep(1.0)
    replicas.kill(other, leader)
    replicas.start(behind)
    replicas.wait_partition(lambda p: p["leader"] == -1)
    replicas.dmq("topic", "elect", "orders", "--unclean", "--yes-lose-data")
    sent += produce(replicas, "alone", 20, acks="1")
    replicas.start(other, leader)
    replicas.wait_isr(*BROKERS)
    sent += produce(replicas, "together", 20)
    assert replicas.consume() == sent
    for n in (other, leader):
        assert "the leader was elected uncleanly" in replicas.brokers[n].tail(1000)
        assert list(replicas.brokers[n].data.glob("*/0.damaged-*"))  # nothing was thrown away
