"""`./run bench` runs to its end, and every figure that it promises is in its table: with counts so
small that the figures themselves mean nothing."""

import json
import subprocess
import sys

import pytest
from cluster import BIN, CHECKOUT

BENCH = CHECKOUT / "tests" / "bench"
sys.path.insert(0, str(BENCH))
from figures import groups  # noqa: E402


def run(*arguments):
    return subprocess.run(
        [sys.executable, BENCH / "bench.py", *map(str, arguments)], capture_output=True, text=True
    )


def test_a_round_has_every_figure(tmp_path):
    path = tmp_path / "bench.json"
    done = run("--quick", "--rounds", 1, "--scale", 0.02, "--json", path)
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    lines = done.stdout.splitlines()
    for heading, figures in groups(is_long=False):
        assert heading in lines
        for figure in figures:
            found = result["figures"][figure.key]
            assert 0 <= found["min"] <= found["median"] <= found["max"], figure.key
            assert ("limit" in found) == (figure.limit is not None)
            assert any(line.startswith(figure.title) for line in lines), figure.title
    assert 0 <= result["steal_percent"] <= 100


@pytest.mark.parametrize("arguments", [["--rounds", "-1"], ["--scale", "0"], ["--fast"]])
def test_usage(arguments):
    done = run(*arguments)
    assert done.returncode == 2 and "usage: ./run bench" in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["/var/tmp", "0"], ["/var/tmp", "1001"], ["a", "1", "2"]]
)
def test_usage_of_raw_limits(arguments):
    done = subprocess.run([BIN / "raw_limits", *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and "usage: raw_limits FOLDER" in done.stderr


def test_raw_limits_says_what_it_cannot_write(tmp_path):
    missing = tmp_path / "missing"
    done = subprocess.run([BIN / "raw_limits", missing, "1"], capture_output=True, text=True)
    assert done.returncode == 1 and str(missing) in done.stderr
