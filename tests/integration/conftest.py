import shutil
import tempfile

import pytest
from cluster import DevCluster


@pytest.fixture
def folder():
    """An empty folder on a real disk (/tmp may be memory), removed afterwards."""
    path = tempfile.mkdtemp(prefix="dmq-test-", dir="/var/tmp")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def cluster(folder):
    """A fresh one-node cluster on a free port."""
    with DevCluster(folder, "--port", "0") as running:
        yield running
