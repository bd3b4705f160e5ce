import itertools

import dmq
import pytest

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def cluster():
    """One cluster for all tests: each uses topics of its own."""
    with dmq.dev() as running:
        yield running


@pytest.fixture
def c(cluster):
    with dmq.connect(cluster.url) as client:
        yield client


@pytest.fixture
def topic(c):
    """A fresh topic with one partition."""
    name = f"topic-{next(NUMBERS)}"
    c.topics.create(name, partitions=1)
    return name


@pytest.fixture
def topic3(c):
    """A fresh topic with three partitions."""
    name = f"topic-{next(NUMBERS)}"
    c.topics.create(name, partitions=3)
    return name
