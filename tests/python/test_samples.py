"""The samples in the binding's README run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "bindings/python/README.md"
ALL = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.M | re.S)
TESTS = [code for code in ALL if code.startswith("def test_")]
SAMPLES = [code for code in ALL if code not in TESTS]


def test_there_are_samples():
    assert len(SAMPLES) >= 2 and len(TESTS) == 1


@pytest.mark.parametrize("code", SAMPLES)
def test_the_sample_does_what_it_says(code):
    promised = [line.removeprefix("#> ") for line in code.splitlines() if line.startswith("#> ")]
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert promised and done.stdout.splitlines() == promised
