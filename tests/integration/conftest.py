import shutil
import tempfile
from contextlib import contextmanager

import pytest
from cluster import DevCluster
from daemons import Daemons


@contextmanager
def empty_folder():
    """On a real disk (/tmp may be memory), removed afterwards."""
    path = tempfile.mkdtemp(prefix="dmq-test-", dir="/var/tmp")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def folder():
    with empty_folder() as path:
        yield path


@pytest.fixture
def cluster(folder):
    """A fresh one-node cluster on a free port."""
    with DevCluster(folder, "--port", "0") as running:
        yield running


@pytest.fixture(scope="module")
def daemons():
    """One controller and one broker for all tests of a file: each has topics of its own."""
    with empty_folder() as path, Daemons(path) as running:
        yield running


@pytest.fixture
def address(daemons):
    """Where clients reach the broker: host and port."""
    return daemons.address
