"""Formatting: clang-format for C, ruff for Python, at the versions of requirements.txt."""

import re
import shutil
import subprocess
from pathlib import Path

from tidy import Report, Sample, main, sources

CHECKOUT = Path(__file__).resolve().parents[2]
STYLE = CHECKOUT / ".clang-format"
RUFF = CHECKOUT / "ruff.toml"
COLUMNS = 100


def tool(name):
    """The path of a tool at its pinned version: of .venv (made by ./run), or of PATH."""
    requirements = (CHECKOUT / "tests/requirements.txt").read_text()
    pinned = re.search(rf"^{name}==(\S+)", requirements, re.M).group(1)
    for path in (CHECKOUT / ".venv/bin" / name, shutil.which(name)):
        if path is None or not Path(path).exists():
            continue
        said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        if re.search(rf"\b{re.escape(pinned)}\b", said):
            return path
    raise SystemExit(f"no {name} {pinned}: `./run format` makes one in .venv")


def faults_of(command, root):
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode == 0:
        return []
    said = (done.stderr + done.stdout).split("\n")
    return [
        line for line in said if "error:" in line or line.startswith(("Would", "error"))
    ] or said


def check(root, build):
    report = Report()
    c_files = [p.as_posix() for p in sources(root, ".c", ".h")]
    py_files = [p.as_posix() for p in sources(root, ".py")]
    report.checked = len(c_files) + len(py_files)
    if c_files:
        command = [tool("clang-format"), "--dry-run", "-Werror", f"--style=file:{STYLE}", *c_files]
        report.faults += faults_of(command, root)
        for name in c_files:
            for number, line in enumerate((root / name).read_text().split("\n"), 1):
                if len(line) > COLUMNS:  # the formatter leaves comments as they are
                    report.fault(f"{name}:{number}", f"{len(line)} columns, {COLUMNS} at most")
    if py_files:
        report.faults += faults_of(
            [tool("ruff"), "format", "--no-cache", "--check", "--config", str(RUFF), *py_files],
            root,
        )
    return report


SAMPLES = [
    Sample({"a.c": "int\nf(void)\n{\n    return 0;\n}\n", "b.py": "a = 1\n"}),
    Sample({"a.c": "int f(void) { return 0; }\n"}, "a.c:1"),
    Sample({"a.c": f"/* {'a' * 96} */\n"}, "a.c:1: 102 columns"),
    Sample({"b.py": "a=1\n"}, "b.py"),
]

if __name__ == "__main__":
    main("tidy/formatting", check, SAMPLES)
