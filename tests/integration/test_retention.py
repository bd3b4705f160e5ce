"""retention.bytes and retention.ms on a real disk, and what `dmq log` says of such a log."""

import json
import subprocess
import time

from cluster import BIN
from daemons import Daemons


def dmq(cluster, *arguments, stdin=None):
    command = [BIN / "dmq", "--url", cluster.url, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def segments(folder):
    return sorted((folder / "dmq-broker").rglob("0/0*.log"))


def wait_until(what, timeout=20):
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def numbers(cluster):
    return [int(line) for line in dmq(cluster, "consume", "orders", "--exit-at-end").split()]


def verify(folder):
    command = [BIN / "dmq", "log", "verify", folder / "dmq-broker", "--json"]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def test_old_segments_go_and_the_rest_stays_right(tmp_path):
    with Daemons(tmp_path, "--set", "log.retention.check.interval.ms=50") as cluster:
        settings = ["--config", "segment.bytes=4096", "--config", "retention.bytes=20000"]
        dmq(cluster, "topic", "create", "orders", *settings)
        for part in range(20):
            lines = b"".join(b"%060d\n" % n for n in range(100 * part, 100 * part + 100))
            dmq(cluster, "produce", "orders", stdin=lines)
        wait_until(lambda: sum(p.stat().st_size for p in segments(tmp_path)[1:-1]) < 20000)
        time.sleep(0.5)  # the newest segment's file is longer than its batches: one more may go
        left = numbers(cluster)
        assert 0 < left[0] < 1900 and left == list(range(left[0], 2000))
        first = int(segments(tmp_path)[0].stem)
        assert first == left[0]
        cluster.broker.kill()
        checked = verify(tmp_path)
        assert checked["records"] == 2000 - first
        dump = [BIN / "dmq", "log", "dump", segments(tmp_path)[0]]
        assert subprocess.run(dump, capture_output=True, timeout=60).returncode == 0
        cluster.restart_broker()
        assert numbers(cluster) == left

        # everything goes by age, and the offsets go on
        dmq(cluster, "topic", "config", "orders", "retention.ms=100")
        wait_until(lambda: numbers(cluster) == [])
        assert [path.stem for path in segments(tmp_path)] == ["00000000000000002000"]
        dmq(cluster, "topic", "config", "orders", "retention.ms=-1")
        dmq(cluster, "produce", "orders", stdin=b"2000\n")
        assert (
            dmq(cluster, "consume", "orders", "--exit-at-end", "--format", "%o %s") == b"2000 2000"
        )
    assert verify(tmp_path)["records"] == 1
