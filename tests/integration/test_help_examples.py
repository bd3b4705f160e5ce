"""Every example of every --help is run as it stands there, on a cluster of one node: what it shows
works, or is refused with a sentence where one node has nobody to do it with."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cluster import BIN, CHECKOUT

TOPICS = ("orders", "flights", "logs", "metrics", "load")
ENDLESS = ("consume orders", "--from end", "tail -f")  # until Ctrl-C
DAEMONS = ("controller", "broker")  # their examples name folders of the system


def help_of(*words):
    return subprocess.run([BIN / "dmq", *words, "--help"], capture_output=True, text=True).stdout


COMMANDS = re.findall(r"^  dmq ([a-z0-9-]+(?: [a-z0-9-]+)?)(?=  | [A-Z[])", help_of(), re.M)
EXAMPLES = [
    (command, line.strip())
    for command in COMMANDS
    if command not in DAEMONS
    for line in help_of(*command.split()).partition("Examples:\n")[2].splitlines()
    if "dmq" in line
]


@pytest.fixture
def desk(cluster, folder):
    """Where a person sits: the folder of `dmq dev`, some files, the tool in PATH."""
    folder = Path(folder)
    os.symlink(cluster.folder / "data", folder / "dmq-data")
    shutil.copy(CHECKOUT / "tests/demo/data/flights.csv", folder)
    (folder / "keyed.txt").write_text("k:v\n")
    (folder / "app.log").write_text("started\n")
    for made in (".local/share/bash-completion/completions", ".zfunc"):
        (folder / made).mkdir(parents=True)
    environment = cluster.environment()
    environment |= {"HOME": str(folder), "PATH": f"{BIN}:{environment['PATH']}"}
    return folder, environment


def shell(desk, line, seconds=60):
    """Runs a line; Ctrl-C after `seconds`. Exit code, and what it said."""
    folder, environment = desk
    command = ["bash", "-o", "pipefail", "-c", line]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=30)
        return process.returncode, out, err


def prepare(desk, line):
    """Makes the topics that the line names, but for one that it makes."""
    for topic in TOPICS:
        if f"create {topic}" in line:
            shell(desk, f"dmq topic delete {topic}")
        elif topic in line or (topic == "orders" and "dmq-data" in line):
            shell(desk, f"dmq topic create {topic}; seq 20 | dmq produce {topic}")


@pytest.mark.parametrize(
    ("command", "line"),
    [(c, line) for c, line in EXAMPLES if c not in ("dev", "health") and "quorum" not in c],
)
def test_it_does_what_it_shows(desk, command, line):
    prepare(desk, line)
    if command.startswith("bench"):  # as it stands, but short
        line = re.sub(r" --records \d+", "", line) + " --records 500"
    endless = any(part in line for part in ENDLESS) and not re.search(r"--(exit|count)", line)
    code, out, err = shell(desk, line, 2 if endless else 60)
    assert code in ((0, 130, -signal.SIGINT, 7) if endless else (0,)), err
    assert "dmq: unknown" not in err and "Traceback" not in err
    if line.startswith("dmq consume") and "end" not in line.split("--from ")[-1].split()[0]:
        assert out
    if line.startswith("tail -f"):
        assert "started" in shell(desk, "dmq consume logs --exit-at-end")[1]


@pytest.mark.parametrize("line", [line for command, line in EXAMPLES if "quorum" in command])
def test_a_lone_controller_says_what_it_cannot(desk, line):
    code, out, err = shell(desk, line)
    assert (code, err) == (0, "") if "status" in line else code == 1 and err.startswith("dmq: ")


@pytest.mark.parametrize("line", [line for command, line in EXAMPLES if command == "health"])
def test_health_is_told(desk, line):
    code, out, err = shell(desk, line)
    if "--http" in line:  # nobody listens at that port here
        assert code == 3 and "does not answer" in err
    else:
        assert code == 0 and out.strip(), err


@pytest.mark.parametrize("line", [line for command, line in EXAMPLES if command == "dev"])
def test_dev_runs_and_ends(folder, line):
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    line = line.replace("/var/tmp/try", f"{folder}/try")
    if "--port" not in line:
        line += " --port 0"  # others may run on this machine
    with subprocess.Popen(
        ["bash", "-c", f"exec {line}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert re.match(r"ready dmq://127\.0\.0\.1:\d+$", process.stdout.readline())
            time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_topic_that_is_not_there_says_how_it_is_made(desk):
    for line in ("echo x | dmq produce nothing-like-it", "dmq consume nothing-like-it"):
        code, _, err = shell(desk, line)
        assert code == 4 and "'dmq topic create nothing-like-it' makes it" in err
        made = re.search(r"'(dmq topic create [^']*)'", err)[1]
    assert shell(desk, made)[0] == 0
    assert shell(desk, "echo x | dmq produce nothing-like-it")[0] == 0
    code, _, err = shell(desk, "dmq consume nothing-like-t")
    assert code == 4 and "did you mean 'nothing-like-it'" in err and "makes it" not in err
