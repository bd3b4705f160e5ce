"""The samples of README.md run as they stand there, against a cluster of `dmq dev`. What a sample
says that it prints (its lines that begin with `#> `) is what it prints."""

import re
import subprocess
import sys

import pytest
from cluster import CHECKOUT

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)
RUNNERS = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
README = (CHECKOUT / "README.md").read_text()


def samples(text):
    return [(language, code) for language, code in FENCED.findall(text) if language in RUNNERS]


def promised(code):
    return [line.removeprefix("#> ") for line in code.splitlines() if line.startswith("#> ")]


def run(language, code, environment):
    return subprocess.run(
        [*RUNNERS[language], code], capture_output=True, text=True, timeout=60, env=environment
    )


def test_there_is_a_sample_of_each_language():
    languages = [language for language, _ in samples(README)]
    assert sorted(set(languages)) == sorted(RUNNERS)
    assert all(promised(code) for _, code in samples(README)), "a sample promises nothing"


def test_the_two_commands_exist():
    usage = subprocess.run([CHECKOUT / "run"], capture_output=True, text=True, check=True).stdout
    named = re.findall(r"^ {4}\./run (\w+)", README, re.M)
    assert named == ["demo", "test"]
    assert all(re.search(rf"^  {name}\b", usage, re.M) for name in named), usage


@pytest.mark.parametrize("language", RUNNERS)
def test_samples_do_what_they_say(cluster, language):
    for _, code in (sample for sample in samples(README) if sample[0] == language):
        done = run(language, code, cluster.environment())
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == promised(code), done.stderr


def test_a_sample_that_is_wrong_is_seen():
    code = "echo a\n#> b\n"
    assert run("sh", code, None).stdout.splitlines() != promised(code)
    assert run("sh", "false\n", None).returncode != 0
