"""Starts python_client.py, which is a Python program of a user, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent / "python_client.py"


def start(what, url, topic, *counts):
    command = [sys.executable, PROGRAM, what, url, topic, *map(str, counts)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def start_trickle(url, topic, partitions, rate):
    """Returns once its first records are on their way; `answer` ends it."""
    process = start("trickle", url, topic, partitions, rate)
    process.stdout.readline()
    return process


def answer(process):
    said, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{process.args[1:4]}: exit {process.returncode}")
    return json.loads(said)
