"""dmq.dev()."""

import os
import signal
import subprocess
import sys
import time

import dmq
import pytest


def test_a_cluster_of_its_own():
    with dmq.dev() as cluster:
        folder = cluster.data
        assert os.path.isdir(folder)
        with dmq.connect(cluster.url) as c:
            c.topics.create("t")
            assert c.publish("t", b"x").offset == 0
        assert "ready" in cluster.log() or cluster.log() == ""
    assert not os.path.exists(folder)
    with pytest.raises(dmq.UnreachableError):
        dmq.connect(cluster.url)
    cluster.close()


def test_a_folder_that_stays(tmp_path):
    for expected in (0, 1):
        with dmq.dev(tmp_path / "data") as cluster, dmq.connect(cluster.url) as c:
            c.topics.create("t", if_not_exists=True)
            assert c.publish("t", b"x").offset == expected
    assert (tmp_path / "data/services.json").exists()


def test_it_says_why_it_does_not_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(dmq.UnreachableError, match="cannot make the folder"):
        dmq.dev(tmp_path / "file/data")


def test_it_ends_with_its_python():
    code = "import dmq, time; c = dmq.dev(); print(c._process.pid, flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    supervisor = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while is_running(supervisor):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
