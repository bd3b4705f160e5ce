"""The tree of errors is that of the table in dmq/errors.h."""

import re
from pathlib import Path

import dmq
import pytest

HEADER = Path(__file__).resolve().parents[2] / "libdmq/include/dmq/errors.h"
ROWS = re.findall(r'X\((\w+), (-?\d+), (\w+),\s*(?:\\\s*)?"([^"]*)"', HEADER.read_text())
PARENTS = {
    "RETRIABLE": dmq.RetriableError,
    "FATAL": dmq.FatalError,
    "MAYBE_DONE": dmq.MaybeDoneError,
    "ABORT": dmq.errors.AbortError,
}


def test_the_table_was_read():
    assert len(ROWS) > 40 and ("TIMEOUT", "1001") in [row[:2] for row in ROWS]


@pytest.mark.parametrize(("name", "code", "kind", "text"), ROWS)
def test_one_class_for_each_code(name, code, kind, text):
    found = dmq.errors.BY_CODE.get(int(code))
    if kind == "NONE":
        assert found is None
        return
    assert found.code == int(code) and found.name == name
    assert issubclass(found, PARENTS[kind]) and issubclass(found, dmq.Error)
    assert found.retriable == (kind == "RETRIABLE")
    assert found.maybe_done == (kind == "MAYBE_DONE")
    assert getattr(dmq, found.__name__) is found and getattr(dmq.errors, found.__name__) is found
    assert found.__name__.lower() == name.replace("_", "").lower() + "error"
    assert text in str(dmq.errors.from_code(int(code)))


def test_a_code_that_nobody_knows():
    error = dmq.errors.from_code(31999, "from the future")
    assert type(error) is dmq.Error and error.code == 31999 and str(error) == "from the future"


def test_what_python_programs_catch_already():
    assert issubclass(dmq.TimeoutError, TimeoutError)
    assert issubclass(dmq.UnreachableError, ConnectionError)
    assert issubclass(dmq.InvalidArgumentError, ValueError)
    with pytest.raises(AttributeError):
        dmq.errors.NoSuchError  # noqa: B018


def test_delivery_errors_speak_for_their_first_code():
    error = dmq.DeliveryError("text", 3, dmq.TimeoutError.code)
    assert (error.failed, error.code, error.name) == (3, 1001, "TIMEOUT")
    assert error.maybe_done and not error.retriable
