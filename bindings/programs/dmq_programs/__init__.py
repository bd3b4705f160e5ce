"""The programs of DMQ as a Python package."""

import os
import sys
from pathlib import Path
from typing import NoReturn

FOLDER = Path(__file__).resolve().parent / "bin"


def _run(program: str) -> NoReturn:
    os.execv(FOLDER / program, [program, *sys.argv[1:]])


def run_dmq() -> NoReturn:
    _run("dmq")


def run_broker() -> NoReturn:
    _run("dmq-broker")


def run_controller() -> NoReturn:
    _run("dmq-controller")
