"""A data folder that cannot be used: one sentence that names it and says what to do, and exit 1."""

import shutil
import subprocess

import pytest
from cluster import BIN
from daemons import Daemons
from mounts import Mount
from pyzmq_client import crc32c


def refused(daemon, timeout=30):
    """The one error of a daemon that must not start."""
    before = daemon.log.stat().st_size if daemon.log.exists() else 0
    daemon.spawn()
    code = daemon.process.wait(timeout)
    assert daemon.process.stdout.read() == b"", "it said that it is ready"
    daemon.process.stdout.close()
    said = daemon.log.read_text()[before:].strip().splitlines()
    assert code == 1, f"exit {code}: {said}"
    wrong = [line for line in said if " error " in line]
    assert len(wrong) == 1, said
    return wrong[0]


def used_by_a_cluster(folder):
    """The folder of a broker with a record in it, after a clean stop; its cluster is gone."""
    with Daemons(folder) as cluster:
        create = [BIN / "dmq", "--url", cluster.url, "topic", "create", "orders"]
        subprocess.run(create, check=True, capture_output=True, timeout=30)
        produce = [BIN / "dmq", "--url", cluster.url, "produce", "orders"]
        subprocess.run(produce, input=b"one\n", check=True, capture_output=True, timeout=30)
    return cluster


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_read_only_folder(tmp_path):
    with Mount(tmp_path / "dmq-broker", megabytes=64) as mount:
        cluster = used_by_a_cluster(tmp_path)
        mount.remount("ro")
        line = refused(cluster.broker)
        assert "Read-only file system: mount it so that it can be written" in line
        assert str(tmp_path / "dmq-broker") in line
        mount.remount("rw")
        with cluster:
            read = [BIN / "dmq", "--url", cluster.url, "consume", "orders", "--exit-at-end"]
            done = subprocess.run(read, capture_output=True, timeout=30)
            assert done.stdout == b"one\n"


def test_a_folder_of_a_newer_format(tmp_path):
    cluster = used_by_a_cluster(tmp_path)
    for daemon in (cluster.broker, cluster.controller):
        identity = daemon.log.with_suffix("") / "identity"
        text = identity.read_text().replace("format = 1\n", "format = 2\n")
        text = text[: text.index("check = ")]
        assert "format = 2\n" in text
        identity.write_text(f"{text}check = {crc32c(text.encode()):08x}\n")
        before = contents(identity.parent)
        line = refused(daemon)
        assert f"{identity} has format 2" in line and "use a newer version of dmq" in line
        assert {**contents(identity.parent), identity.parent / "lock": b""} == {
            **before,
            identity.parent / "lock": b"",
        }


def test_a_folder_of_another_cluster(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    used_by_a_cluster(tmp_path / "a")
    other = used_by_a_cluster(tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "dmq-broker")
    shutil.copytree(tmp_path / "a" / "dmq-broker", tmp_path / "b" / "dmq-broker")
    records = list((tmp_path / "b" / "dmq-broker").rglob("0*/0*.log"))
    before = [path.read_bytes() for path in records]
    assert len(before) == 1 and len(before[0]) > 60
    other.controller.spawn()
    try:
        other.controller.wait_ready()
        line = refused(other.broker)
    finally:
        other.controller.stop()
    assert str(tmp_path / "b" / "dmq-broker") in line
    assert "of another cluster" in line and "or an empty --data" in line
    assert [path.read_bytes() for path in records] == before


@pytest.mark.parametrize("how", ["flipped", "cut", "empty"])
def test_a_damaged_identity(tmp_path, how):
    cluster = used_by_a_cluster(tmp_path)
    identity = tmp_path / "dmq-broker" / "identity"
    data = bytearray(identity.read_bytes())
    data[20] ^= 1
    identity.write_bytes({"flipped": data, "cut": identity.read_bytes()[:-9], "empty": b""}[how])
    line = refused(cluster.broker)
    assert f"{identity} is damaged: restore it from a copy, or empty the folder" in line
