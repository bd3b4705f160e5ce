"""What holds for every Python test."""

import gc

import pytest


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """A socket or a file that a test did not close fails that test, not one that runs later."""
    yield
    gc.collect()


def pytest_collection_modifyitems(items):
    """As with `python -W error`: a warning, or an exception that nobody could see, is a failure."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("error"))
