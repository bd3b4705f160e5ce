"""Fixtures for tests of programs that use DMQ. pytest finds them by itself where the package dmq is
installed:

    def test_orders(dmq_client, dmq_topic):
        dmq_client.publish(dmq_topic, {"id": 1})
        assert [m.json() for m in dmq_client.read(dmq_topic)] == [{"id": 1}]

    def test_of_a_program(dmq_url, monkeypatch):
        monkeypatch.setenv("DMQ_URL", dmq_url)

The first test that asks for one of them starts a real cluster of one node, which takes some tenths
of a second; the others share it. A module of its own, so that pytest starts where libdmq is amiss.
"""

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import dmq

_numbers = count(1)


@pytest.fixture(scope="session")
def dmq_cluster() -> "Iterator[dmq.DevCluster]":
    """A cluster of one node in a temporary folder (as dmq.dev()), for all tests of the session."""
    import dmq

    with dmq.dev() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def dmq_url(dmq_cluster: "dmq.DevCluster") -> str:
    """Where dmq_cluster is: for dmq.connect, dmq.asyncio.connect, or DMQ_URL."""
    return dmq_cluster.url


@pytest.fixture
def dmq_client(dmq_url: str) -> "Iterator[dmq.Client]":
    """A client of dmq_cluster, closed after the test."""
    import dmq

    with dmq.connect(dmq_url) as client:
        yield client


@pytest.fixture
def dmq_topic(dmq_client: "dmq.Client") -> Iterator[str]:
    """The name of a new topic with one partition, deleted after the test."""
    name = f"test-{next(_numbers)}"
    dmq_client.topics.create(name, partitions=1)
    yield name
    dmq_client.topics.delete(name, if_exists=True)
