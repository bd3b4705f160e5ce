"""A cluster of docker-compose.yml for each file of checks that asks for one."""

import pytest
from containers import Compose


@pytest.fixture(scope="module")
def cluster():
    with Compose() as compose:
        print(f"healthy after {compose.up():.1f} s")
        yield compose
