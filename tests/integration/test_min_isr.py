"""acks=all while too few replicas are in sync, on three brokers as real processes: what is refused
was not written, what was written and may be lost says so, and whoever reads goes on."""

import signal
import time

import dmq
import pytest
from pyzmq_client import Client, DmqError, build_batch
from test_replication import BROKERS, Replicas, lines

NOT_ENOUGH_REPLICAS = 19
NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
REQUEST_TIMED_OUT = 7


@pytest.fixture
def replicas(tmp_path):
    with Replicas(tmp_path) as running:
        running.dmq("topic", "create", "orders", "--replication-factor", "3")
        running.safe = lines("safe", 100)
        running.dmq("produce", "orders", "--acks", "all", stdin=b"".join(running.safe))
        running.leader = running.partition()["leader"]
        running.others = [n for n in BROKERS if n != running.leader]
        time.sleep(0.5)  # all of it is known to be safe
        yield running


def to_leader(replicas):
    return Client("127.0.0.1", replicas.ports[replicas.leader])


def batch(text):
    return build_batch([(1, None, text)])


def test_below_min_isr_it_is_refused_before_the_append(replicas):
    replicas.kill(*replicas.others)
    replicas.wait_isr(replicas.leader)
    with to_leader(replicas) as client:
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(DmqError) as caught:
                client.produce("orders", 0, batch(b"refused"))
            assert caught.value.number == NOT_ENOUGH_REPLICAS
            assert "has 1 replicas in sync, min.insync.replicas is 2" in str(caught.value)
            assert "nothing was written" in str(caught.value)
        assert time.monotonic() - began < 2.0  # at once: nobody is made to wait
        assert client.produce("orders", 0, batch(b"one"), acks=1) == 100  # nothing was written
        # what is safe can be read, the rest not yet
        assert [r[0] for r in client.fetch("orders", 0, 98)] == [98, 99]
        assert client.fetch("orders", 0, 100, max_wait_ms=50) == []
    replicas.start(*replicas.others)
    replicas.wait_isr(*BROKERS)
    assert replicas.consume() == [*replicas.safe, b"one\n"]


def test_after_the_append_the_truth_is_told(replicas):
    replicas.signal(signal.SIGSTOP, *replicas.others)  # they are in sync, for the moment
    with to_leader(replicas) as client:
        with pytest.raises(DmqError) as caught:
            client.produce("orders", 0, batch(b"written"))  # until they are fenced
        assert caught.value.number == NOT_ENOUGH_REPLICAS_AFTER_APPEND
        assert [r[0] for r in client.fetch("orders", 0, 98)] == [98, 99]
    replicas.signal(signal.SIGCONT, *replicas.others)
    replicas.wait_isr(*BROKERS)
    assert replicas.consume() == [*replicas.safe, b"written\n"]


def test_a_deadline_that_comes_first_says_that_it_may_be_written(replicas):
    replicas.signal(signal.SIGSTOP, *replicas.others)
    with to_leader(replicas) as client:
        connection, topic_id, epoch = client.locate("orders", 0)
        body, _ = connection.call(0, [-1, 300, "", [[topic_id, 0, epoch]]], [batch(b"late")])
        assert body[0][0][2] == REQUEST_TIMED_OUT
    replicas.signal(signal.SIGCONT, *replicas.others)
    replicas.wait_isr(*BROKERS)
    assert replicas.consume() == [*replicas.safe, b"late\n"]


def test_the_library_gives_up_at_its_deadline_and_reads_go_on(replicas):
    replicas.kill(*replicas.others)
    replicas.wait_isr(replicas.leader)
    with dmq.connect(replicas.url) as c:
        began = time.monotonic()
        with (
            pytest.raises(dmq.DeliveryError, match="nothing was written") as caught,
            c.producer(delivery_timeout_ms=2000) as p,
        ):
            p.send("orders", b"never")
        assert 1.5 < time.monotonic() - began < 6.0
        assert caught.value.failed == 1 and not caught.value.maybe_done
        read = []
        for message in c.read("orders", start="start"):
            read.append(message.value + b"\n")
            if len(read) == 100:
                break
        assert read == replicas.safe
    replicas.start(*replicas.others)
    replicas.wait_isr(*BROKERS)
    assert replicas.consume() == replicas.safe
