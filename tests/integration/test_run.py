"""The entry script: it lists what it can do, refuses the rest, and asks nothing."""

import re
import subprocess

from cluster import CHECKOUT


def run(*arguments):
    return subprocess.run(
        [CHECKOUT / "run", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def test_alone_it_lists_every_command():
    done = run()
    listed = set(re.findall(r"^  ([\w-]+) ", done.stdout, re.M))
    defined = set(re.findall(r"^command_([\w-]+)\(\)", (CHECKOUT / "run").read_text(), re.M))
    assert done.returncode == 0
    assert listed == defined and listed >= {"deps", "build", "test", "format", "lint"}


def test_an_unknown_command_is_refused():
    done = run("tset")
    assert done.returncode == 2
    assert "no command 'tset'" in done.stderr and "usage:" in done.stderr and not done.stdout


def test_deps_says_nothing_when_nothing_is_missing():
    assert run("deps").returncode == 0
    second = run("deps")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")


def test_deps_refuses_what_it_does_not_know():
    done = run("deps", "everything")
    assert done.returncode == 2 and "not 'everything'" in done.stderr
