"""Looks at what callers hand over, before C sees it: who gave something wrong hears which argument
it was and what is allowed. A wrong type is a TypeError, as everywhere in Python; a value that
cannot be is dmq.InvalidArgumentError, which is a ValueError."""

import json
import math
import operator
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from . import errors
from ._native import lib

_INT32 = 2**31
_SHOWN = 60  # characters of a value that an error repeats
_FOREVER = 1e9  # seconds, more than 30 years: longer times are none


def show(value: Any) -> str:
    # Python refuses to print an int of more than some thousand digits.
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an int of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def wrong_type(name: str, value: Any, allowed: str) -> TypeError:
    what = "None" if value is None else f"{type(value).__name__} ({show(value)})"
    return TypeError(f"{name} must be {allowed}, not {what}")


def wrong_value(name: str, value: Any, allowed: str) -> errors.Error:
    return errors.from_code(
        lib.DMQ_ERR_INVALID_ARGUMENT, f"{name} is {show(value)}: it must be {allowed}"
    )


def whole(name: str, value: Any, allowed: str, low: int = -_INT32, high: int = _INT32 - 1) -> int:
    """An int, also one of numpy; True is none."""
    try:
        number = operator.index(value)
    except TypeError:
        raise wrong_type(name, value, allowed) from None
    if isinstance(value, bool):
        raise wrong_type(name, value, allowed)
    if not low <= number <= high:
        raise wrong_value(name, value, allowed)
    return number


def partition_number(value: Any) -> int:
    return whole("partition", value, "the number of a partition, from 0 on", low=0)


def flag(name: str, value: Any) -> bool:
    """ "no" would be true."""
    if not isinstance(value, bool):
        raise wrong_type(name, value, "True or False")
    return value


def text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_type(name, value, "a str")
    return value


def utf8(name: str, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise errors.from_code(
            lib.DMQ_ERR_INVALID_ARGUMENT,
            f"{name} cannot be UTF-8: the character at index {error.start} is half of a pair",
        ) from None


def to_json(name: str, value: Any) -> bytes:
    """Without NaN, which JSON does not have."""
    try:
        data = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise TypeError(f"{name} cannot be JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise errors.from_code(
            lib.DMQ_ERR_INVALID_ARGUMENT, f"{name} cannot be JSON: {error}"
        ) from None
    return utf8(name, data)


def c_text(name: str, value: Any) -> bytes:
    """For a string of C."""
    data = utf8(name, text(name, value))
    if b"\0" in data:
        raise wrong_value(name, value, "without NUL characters")
    return data


def seconds(value: Any, name: str = "timeout") -> float | None:
    """None: for ever; 0: not at all, and so is what lies below."""
    if value is None:
        return None
    if isinstance(value, bool | type) or not hasattr(value, "__float__"):
        raise wrong_type(name, value, "seconds as int or float, or None")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else 0.0
    if math.isnan(number):
        raise wrong_value(name, value, "seconds as int or float, or None")
    return None if number > _FOREVER else max(number, 0.0)


def time_ms(value: Any) -> int:
    """A record's timestamp: 0 is now."""
    allowed = "ms since 1970, from 0 (now) on, or a datetime"
    if isinstance(value, datetime):
        try:
            return whole("timestamp", int(value.timestamp() * 1000), allowed, 0, 2**63 - 1)
        except (OverflowError, ValueError):  # of a year that this machine's clock does not know
            raise wrong_value("timestamp", value, allowed) from None
    return whole("timestamp", value, allowed, 0, 2**63 - 1)


def names(value: Any) -> list[str]:
    """One topic, or several."""
    allowed = "the name of a topic, or a sequence of names"
    if isinstance(value, str):
        return [value]
    if isinstance(value, bytes | bytearray | memoryview | Mapping):
        raise wrong_type("topics", value, allowed)
    try:
        found = list(value)
    except TypeError:
        raise wrong_type("topics", value, allowed) from None
    if not found:
        raise wrong_value("topics", value, allowed)
    return [text(f"topics[{i}]", name) for i, name in enumerate(found)]


def items(name: str, value: Any) -> list[Any]:
    """What send_many takes. A str or bytes is one value, whatever iterating over it would give."""
    if type(value) is list:
        return value
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping):
        raise wrong_type(name, value, "an iterable of them: send takes a single one")
    try:
        return list(value)
    except TypeError:
        if hasattr(value, "__iter__"):
            raise  # of a generator's own
        raise wrong_type(name, value, "an iterable") from None


def mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise wrong_type(name, value, "a dict")
    for key in value:
        utf8(f"a name in {name}", text(f"a name in {name}", key))
    return value


def setting(name: str, value: Any) -> str:
    """A value as it is written in a file of settings."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise wrong_type(name, value, "a str, a number or a bool")
    if isinstance(value, int) and value.bit_length() > 200:
        raise wrong_value(name, value, "a number that a setting can have")
    utf8(name, str(value))
    return str(value)


def settings(name: str, value: Any, *, may_remove: bool) -> dict[str, str | None]:
    return {
        key: None if may_remove and item is None else setting(f"{name}[{key!r}]", item)
        for key, item in mapping(name, value).items()
    }


def index(value: Any, count: int, what: str) -> int:
    """A place in a sequence; below 0: from its end."""
    number = whole("index", value, f"one of {count} {what}", low=-(2**63), high=2**63 - 1)
    if not -count <= number < count:
        raise IndexError(f"index {number}: there are {count} {what}")
    return number % count
