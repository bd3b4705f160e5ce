"""dmq dev: the supervisor of one controller and one broker."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from cluster import BIN, DevCluster


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def run_dev(*arguments):
    return subprocess.run([BIN / "dmq", "dev", *arguments], capture_output=True, timeout=30)


def test_ready_line_and_clean_end(folder):
    for number in (signal.SIGTERM, signal.SIGINT):
        with DevCluster(folder, "--port", "0") as cluster:
            assert cluster.url.startswith("dmq://127.0.0.1:")
            daemons = cluster.daemons()
            assert set(daemons) == {"dmq-broker", "dmq-controller"}
            cluster.process.send_signal(number)
            assert cluster.process.wait(20) == 0
            assert not any(is_running(pid) for pid in daemons.values())


def test_everything_lies_in_the_folder_and_survives(folder):
    with DevCluster(folder, "--port", "0") as cluster:
        cluster.dmq("topic", "create", "t")
        cluster.dmq("produce", "t", stdin=b"a\n")
        url = cluster.url
    data = Path(folder) / "data"
    assert {p.name for p in data.iterdir()} >= {"services.json", "controller", "broker"}
    before = json.loads((data / "services.json").read_text())
    with DevCluster(folder, "--port", "0") as cluster:
        assert cluster.url == url  # the ports stay, if they are free
        assert cluster.dmq("consume", "t", "--exit-at-end").stdout == b"a\n"
    assert json.loads((data / "services.json").read_text()) == before


@pytest.mark.parametrize("program", ["dmq-broker", "dmq-controller"])
def test_a_daemon_that_dies_comes_back(cluster, program):
    cluster.dmq("topic", "create", "t")
    assert cluster.dmq("produce", "t", stdin=b"a\n").returncode == 0
    victim = cluster.daemons()[program]
    os.kill(victim, signal.SIGKILL)
    name = program.removeprefix("dmq-")
    wait_until(lambda: f"the {name} is back" in cluster.log.read_text())
    assert f"the {name} was killed by signal 9: it starts again" in cluster.log.read_text()
    wait_until(lambda: cluster.dmq("health", "--ready").returncode == 0)
    assert cluster.dmq("produce", "t", stdin=b"b\n").returncode == 0
    assert cluster.dmq("consume", "t", "--exit-at-end").stdout == b"a\nb\n"


def test_nothing_is_left_behind_when_it_is_killed(cluster):
    daemons = cluster.daemons()
    cluster.process.kill()
    wait_until(lambda: not any(is_running(pid) for pid in daemons.values()))
    cluster.process.wait()
    cluster.process.stdout.close()
    cluster.process = None
    cluster.start()  # and nothing keeps it from starting again


def test_one_folder_one_supervisor(cluster):
    done = run_dev("--data", str(cluster.folder / "data"), "--port", "0")
    assert done.returncode == 1 and done.stdout == b""
    assert b"is in use by another 'dmq dev'" in done.stderr
    assert cluster.dmq("health").returncode == 0  # it is not disturbed


def test_a_port_that_is_taken(folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run_dev("--data", f"{folder}/data", "--port", str(port))
        assert done.returncode == 1
        assert f"port {port} is in use".encode() in done.stderr


def test_a_folder_that_cannot_be_made():
    done = run_dev("--data", "/proc/none/here", "--port", "0")
    assert done.returncode == 1 and b"cannot make the folder" in done.stderr


def test_a_daemon_that_cannot_start_ends_it(folder):
    """Its data folder is a file."""
    (Path(folder) / "data").mkdir()
    (Path(folder) / "data/broker").write_text("not a folder")
    done = run_dev("--data", f"{folder}/data", "--port", "0")
    assert done.returncode == 1 and done.stdout == b""
    assert b"the broker ended with" in done.stderr and b"before it was ready" in done.stderr


def test_ready_in_json(folder):
    command = [BIN / "dmq", "dev", "--json", "--data", f"{folder}/data", "--port", "0"]
    with (
        open(f"{folder}/log", "wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        said = json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(20) == 0
    assert said["ready"] is True and said["url"].startswith("dmq://127.0.0.1:")
    assert os.path.samefile(said["data"], f"{folder}/data")


def test_until_eof_follows_its_parent(folder):
    command = [BIN / "dmq", "dev", "--data", f"{folder}/data", "--port", "0", "--until-eof"]
    pipe = subprocess.PIPE
    with (
        open(f"{folder}/log", "wb") as log,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log) as process,
    ):
        assert process.stdout.readline().startswith(b"ready ")
        process.stdin.close()
        assert process.wait(20) == 0


def test_http_when_asked_for(folder):
    with DevCluster(folder, "--port", "0", "--http", "0"):
        services = json.loads((Path(folder) / "data/services.json").read_text())
        port = services["brokers"][0]["httpPort"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=10) as page:
            assert page.status == 200
        for options, said in (["--ready"], b"ready\n"), ([], b"live\n"):
            command = [BIN / "dmq", "health", "--http", f"127.0.0.1:{port}", *options]
            done = subprocess.run(command, capture_output=True, timeout=30)
            assert (done.returncode, done.stdout) == (0, said)


def test_other_addresses_only_when_asked_for(folder):
    for options, is_reached in ([], False), (["--listen-all"], True):
        with DevCluster(folder, "--port", "0", *options) as cluster:
            port = int(cluster.url.rpartition(":")[2])
            try:
                socket.create_connection(("127.0.0.2", port), 10).close()
                assert is_reached
            except ConnectionRefusedError:
                assert not is_reached
