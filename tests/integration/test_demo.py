"""The demo, and that it would notice what it is there to notice."""

import os
import subprocess
from pathlib import Path

import pytest
from cluster import BIN, BUILD, CHECKOUT

DEMO = CHECKOUT / "tests/demo/demo.sh"


def demo(*arguments, build=BUILD):
    return subprocess.run(
        [DEMO, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "DMQ_BUILD": str(build)},
    )


def leftovers():
    return {p.name for p in Path("/var/tmp").glob("dmq-demo.*")}


def test_flights():
    before = leftovers()
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8,833 records of flights.csv" in done.stdout
    assert "kept within each of 16 keys" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("OK: ")
    assert leftovers() <= before


@pytest.mark.parametrize("content", [b"", b"one", b"a\r\n\0\xff,b\n\n,\n" * 50 + b"last"])
def test_any_file(folder, content):
    path = Path(folder) / "file"
    path.write_bytes(content)
    done = demo(path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
    assert f"produced    {lines} records of file" in done.stdout


def test_files_that_are_not_there(folder):
    for path in (f"{folder}/none", folder):
        done = demo(path)
        assert done.returncode == 1 and f"cannot read {path}" in done.stderr
    assert demo("a", "b").returncode == 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("sed 1d", "records are not what was sent"),  # lost
        ("sed -n 'p;5p'", "records are not what was sent"),  # twice
        ("sed s/UA/AA/", "records are not what was sent"),  # changed
        ("tac", "the order is another"),
        ("cat; exit 1", "the records could not be read"),
    ],
)
def test_damage_is_noticed(folder, spoil, said):
    """A tool that spoils what it reads."""
    bin_folder = Path(folder) / "bin"
    bin_folder.mkdir()
    tool = bin_folder / "dmq"
    tool.write_text(
        f'#!/bin/bash\n[ "$1" = consume ] || exec {BIN}/dmq "$@"\n{BIN}/dmq "$@" | {{ {spoil}; }}\n'
    )
    tool.chmod(0o755)
    before = leftovers()
    done = demo(build=folder)
    assert done.returncode == 1
    assert said in done.stdout, done.stdout
    assert leftovers() <= before
