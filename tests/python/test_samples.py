"""The sample in the binding's README runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "bindings/python/README.md"


def test_the_sample_does_what_it_says():
    (code,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.M | re.S)
    promised = [line.removeprefix("#> ") for line in code.splitlines() if line.startswith("#> ")]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert promised and done.stdout.splitlines() == promised
