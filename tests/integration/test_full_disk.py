"""A disk that is really full: an ext4 of its own for the broker, filled by somebody else."""

import subprocess
import threading
import time

import pytest
from cluster import BIN
from daemons import Daemons
from mounts import Mount

pyzmq_client = pytest.importorskip("pyzmq_client")

DISK_FULL = 1009
RESERVE = 16 << 20


@pytest.fixture
def disk(tmp_path):
    with Mount(tmp_path / "dmq-broker", megabytes=128) as mount:
        yield mount


def dmq(cluster, *arguments, stdin=None, timeout=60):
    command = [BIN / "dmq", "--url", cluster.url, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=timeout)


def wait_for(cluster, event, timeout=10):
    deadline = time.monotonic() + timeout
    while f"event={event} " not in cluster.broker.log.read_text():
        assert time.monotonic() < deadline, cluster.broker.tail()
        time.sleep(0.05)


def events(cluster, event):
    return cluster.broker.log.read_text().count(f"event={event} ")


def lines(count, size=200):
    return b"".join(b"%08d %s\n" % (i, b"x" * size) for i in range(count))


def feed(stdin, data):
    stdin.write(data)
    stdin.close()


def publish(cluster, value):
    record = (int(time.time() * 1000), None, value)
    with pyzmq_client.Client("127.0.0.1", int(cluster.url.rsplit(":", 1)[1])) as client:
        return client.produce("orders", 0, pyzmq_client.build_batch([record]))


def test_produce_is_refused_at_the_reserve_and_goes_on_by_itself(tmp_path, disk):
    with Daemons(tmp_path, "--set", f"log.disk.reserve.bytes={RESERVE}") as cluster:
        pid = cluster.broker.process.pid
        assert dmq(cluster, "topic", "create", "orders").returncode == 0
        assert dmq(cluster, "topic", "create", "big").returncode == 0
        assert dmq(cluster, "produce", "big", stdin=lines(50_000)).returncode == 0
        assert publish(cluster, b"one") == 0
        disk.fill(leave=RESERVE - (1 << 20))
        wait_for(cluster, "disk_full")
        with pytest.raises(pyzmq_client.DmqError) as refused:
            publish(cluster, b"two")
        assert refused.value.number == DISK_FULL
        assert "nothing was written to orders-0" in str(refused.value)
        assert "log.disk.reserve.bytes" in str(refused.value)
        assert dmq(cluster, "consume", "orders", "--exit-at-end").stdout == b"one\n"
        # A topic that goes makes room, and a producer that waits goes on by itself.
        waits = [BIN / "dmq", "--url", cluster.url, "produce", "orders"]
        with subprocess.Popen(waits, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as producer:
            producer.stdin.write(b"two\n")
            producer.stdin.close()
            time.sleep(2.5)
            assert producer.poll() is None
            assert dmq(cluster, "topic", "delete", "big").returncode == 0
            assert producer.wait(30) == 0
            began, ended = producer.stderr.read().decode().splitlines()
            assert "dmq: waiting: 1 records are not stored yet: partition 0 of 'orders'" in began
            assert "log.disk.reserve.bytes" in began and "Ctrl-C" in began
            assert ended.startswith("dmq: it goes on, after ")
        wait_for(cluster, "disk_has_space")
        assert dmq(cluster, "consume", "orders", "--exit-at-end").stdout == b"one\ntwo\n"
        assert cluster.broker.process.pid == pid and cluster.broker.process.poll() is None
        assert events(cluster, "disk_full") == 1


def test_a_disk_without_a_byte_left_loses_nothing_and_needs_no_restart(tmp_path, disk):
    with Daemons(tmp_path, "--set", "log.disk.reserve.bytes=0") as cluster:
        assert dmq(cluster, "topic", "create", "orders", "--partitions", "3").returncode == 0
        data = lines(200_000)
        command = [BIN / "dmq", "--url", cluster.url, "produce", "orders"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as producer:
            half = len(data) // 2
            producer.stdin.write(data[:half])
            disk.fill()
            time.sleep(1.2)
            rest = threading.Thread(target=feed, args=(producer.stdin, data[half:]))
            rest.start()
            wait_for(cluster, "disk_full")
            read = dmq(cluster, "consume", "orders", "--exit-at-end")
            assert read.returncode == 0
            assert cluster.broker.process.poll() is None
            assert producer.poll() is None
            disk.clear()
            rest.join(60)
            assert producer.wait(60) == 0, producer.stderr.read()
        done = dmq(cluster, "consume", "orders", "--exit-at-end")
        assert sorted(done.stdout.splitlines()) == data.splitlines()
        assert events(cluster, "folder_offline") == 0
    # and after a clean stop
    verified = subprocess.run([BIN / "dmq", "log", "verify", disk.folder], capture_output=True)
    assert verified.returncode == 0, verified.stdout


def test_metadata_that_finds_no_space_waits_for_it(tmp_path, disk):
    """The store (LevelDB) meets the full disk: what it is to hold waits, not the broker."""
    with Daemons(tmp_path, "--set", "log.disk.reserve.bytes=0") as cluster:
        pid = cluster.broker.process.pid
        disk.fill()
        for n in range(12):  # by the controller, which has a disk of its own
            assert dmq(cluster, "topic", "create", f"t{n}").returncode == 0
        time.sleep(1)
        assert cluster.broker.process.poll() is None, cluster.broker.tail()
        disk.clear()
        for n in (0, 11):
            assert dmq(cluster, "produce", f"t{n}", stdin=b"x\n", timeout=60).returncode == 0
        assert cluster.broker.process.pid == pid and cluster.broker.process.poll() is None
        cluster.broker.kill()
        cluster.restart_broker()
        for n in (0, 11):
            assert dmq(cluster, "consume", f"t{n}", "--exit-at-end").stdout == b"x\n"


def test_a_stop_does_not_wait_for_space(tmp_path, disk):
    with Daemons(tmp_path, "--set", "log.disk.reserve.bytes=0") as cluster:
        assert dmq(cluster, "topic", "create", "orders").returncode == 0
        assert dmq(cluster, "produce", "orders", stdin=b"one\n").returncode == 0
        disk.fill()
        time.sleep(1.5)
        cluster.broker.process.terminate()
        assert cluster.broker.process.wait(20) in (0, 1)  # its last row may or may not have fitted
        cluster.broker.process.stdout.close()
        disk.clear()
        cluster.restart_broker()
        assert dmq(cluster, "consume", "orders", "--exit-at-end").stdout == b"one\n"
