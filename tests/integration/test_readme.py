"""The samples of README.md run as they stand there, one after the other, against a cluster of
`dmq dev`. What a sample says that it prints (its lines that begin with `#> ` or `//> `) is what it
prints."""

import re
import subprocess
import sys
from pathlib import Path

from cluster import BUILD, CHECKOUT

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)
PROMISED = re.compile(r"^(?:#|//)> (.*)$", re.M)
README = (CHECKOUT / "README.md").read_text()


def compiled(code, folder):
    """A C program built against the library of the build folder."""
    source, program = Path(folder) / "sample.c", Path(folder) / "sample"
    source.write_text(code)
    headers, library = CHECKOUT / "libdmq/include", BUILD / "lib"
    command = ["cc", "-Wall", "-Werror", source, "-o", program, "-I", headers, "-L", library]
    subprocess.run([*command, "-ldmq", f"-Wl,-rpath,{library}"], check=True)
    return [program]


RUNNERS = {
    "sh": lambda code, folder: ["bash", "-euo", "pipefail", "-c", code],
    "python": lambda code, folder: [sys.executable, "-c", code],
    "c": compiled,
}


def run(language, code, folder, environment=None):
    return subprocess.run(
        RUNNERS[language](code, folder), capture_output=True, text=True, timeout=60, env=environment
    )


def test_there_is_a_sample_of_each_language():
    samples = FENCED.findall(README)
    assert sorted({language for language, _ in samples}) == sorted(RUNNERS)
    assert all(PROMISED.findall(code) for _, code in samples), "a sample promises nothing"


def test_the_two_commands_exist():
    usage = subprocess.run([CHECKOUT / "run"], capture_output=True, text=True, check=True).stdout
    named = re.findall(r"^ {4}\./run (\w+)", README, re.M)
    assert named == ["demo", "test"]
    assert all(re.search(rf"^  {name}\b", usage, re.M) for name in named), usage


def test_samples_do_what_they_say(cluster, folder):
    for language, code in FENCED.findall(README):
        done = run(language, code, folder, cluster.environment())
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == PROMISED.findall(code), done.stderr


def test_a_sample_that_is_wrong_is_seen(folder):
    code = "echo a\n#> b\n"
    assert run("sh", code, folder).stdout.splitlines() != PROMISED.findall(code)
    assert run("sh", "false\n", folder).returncode != 0
