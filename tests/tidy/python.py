"""Python: ruff's rules everywhere, mypy's strict rules in the binding."""

import subprocess

from formatting import RUFF, tool
from tidy import Report, Sample, main, sources

BINDING = "bindings/python"


def said_by(command, root):
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    return [] if done.returncode == 0 else [*done.stdout.splitlines(), *done.stderr.splitlines()]


def check(root, build):
    report = Report()
    files = [p.as_posix() for p in sources(root, ".py")]
    typed = [f for f in files if f.startswith(f"{BINDING}/dmq/")]
    report.checked = len(files)
    if files:
        ruff = [tool("ruff"), "check", "--no-cache", "--output-format=concise"]
        report.faults += said_by([*ruff, "--config", str(RUFF), *files], root)
    if typed:
        mypy = [tool("mypy"), "--strict", "--cache-dir=/dev/null", "--python-version=3.11"]
        report.faults += said_by([*mypy, "--no-error-summary", f"{BINDING}/dmq"], root)
    report.notes.append(f"{len(typed)} of them with types")
    return report


SAMPLES = [
    Sample(
        {"a.py": "A = 1\n", f"{BINDING}/dmq/__init__.py": "def f(a: int) -> int:\n    return a\n"}
    ),
    Sample({"a.py": "import os\n"}, "F401"),
    Sample({f"{BINDING}/dmq/__init__.py": "def f(a):\n    return a\n"}, "no-untyped-def"),
    Sample({f"{BINDING}/dmq/__init__.py": 'A: int = "a"\n'}, "assignment"),
]

if __name__ == "__main__":
    main("tidy/python", check, SAMPLES)
