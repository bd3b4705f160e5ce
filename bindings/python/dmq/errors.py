"""The tree of errors. Under dmq.Error stands what a caller may do about a failure, and under that
one class for each code of the table in dmq/errors.h (of the library that is loaded):

    Error
      RetriableError     surely not done; the same call may succeed later
      FatalError         surely not done; the same call will fail again
      MaybeDoneError     may have been done: only an idempotent retry is safe
      AbortError         the transaction must be aborted
      DeliveryError      records of a producer were not stored
"""

import builtins
import re
from typing import Any

from ._native import ffi, lib


class Error(Exception):
    """A failure. `code` is the number and `name` the name that every part of DMQ has for it, `hint`
    what may help."""

    code: int = -1
    name: str = "UNKNOWN"
    retriable: bool = False
    maybe_done: bool = False

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message or self.name)
        self.hint = hint

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}: {self.hint}" if self.hint and self.hint not in text else text


class RetriableError(Error):
    """Surely not done; the same call may succeed later."""

    retriable = True


class FatalError(Error):
    """Surely not done; the same call will fail again."""


class MaybeDoneError(Error):
    """May have been done: only an idempotent retry is safe."""

    maybe_done = True


class AbortError(Error):
    """The transaction must be aborted."""


class DeliveryError(Error):
    """Records were not stored: `failed` of them; the code is that of the first."""

    def __init__(self, message: str, failed: int, code: int, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        kind = BY_CODE.get(code, Error)
        self.failed = failed
        self.code = code
        self.name = kind.name
        self.retriable = kind.retriable
        self.maybe_done = kind.maybe_done


class NotSupportedError(FatalError, NotImplementedError):
    """This version cannot do that yet."""

    code = lib.DMQ_ERR_UNSUPPORTED_VERSION
    name = "UNSUPPORTED_VERSION"


_PREFIX = "DMQ_ERR_"
_CLASSES: dict[int, type[Error]] = {
    lib.DMQ_CLASS_RETRIABLE: RetriableError,
    lib.DMQ_CLASS_FATAL: FatalError,
    lib.DMQ_CLASS_MAYBE_DONE: MaybeDoneError,
    lib.DMQ_CLASS_ABORT: AbortError,
}

# What Python programs already expect to catch.
_BUILTINS: dict[str, type[Exception]] = {
    "TIMEOUT": builtins.TimeoutError,
    "REQUEST_TIMED_OUT": builtins.TimeoutError,
    "DELIVERY_TIMEOUT": builtins.TimeoutError,
    "UNREACHABLE": builtins.ConnectionError,
    "NETWORK": builtins.ConnectionError,
    "INVALID_ARGUMENT": builtins.ValueError,
    "NOMEM": builtins.MemoryError,
}


def _make_class(name: str, code: int) -> type[Error] | None:
    parent = _CLASSES.get(lib.dmq_error_class(code))
    if parent is None:  # success, or the end of something: no failure
        return None
    text = ffi.string(lib.dmq_error_text(code)).decode()
    also = _BUILTINS.get(name)
    members: dict[str, Any] = {"__doc__": text, "__module__": "dmq", "code": code, "name": name}
    title = "".join(word.capitalize() for word in name.split("_")) + "Error"
    return type(title, (parent, also) if also else (parent,), members)


def _make_classes() -> dict[int, type[Error]]:
    found = {}
    for symbol in dir(lib):
        name = symbol.removeprefix(_PREFIX)
        if name != symbol and name != "LAST_":
            code = getattr(lib, symbol)
            kind = _make_class(name, code)
            if kind is not None:
                found[code] = kind
    return found


BY_CODE: dict[int, type[Error]] = _make_classes()
BY_NAME: dict[str, type[Error]] = {kind.__name__: kind for kind in BY_CODE.values()}


# What of a sentence tells what to do.
_HINT = re.compile(
    r"(did you mean [^()?]*\?|open a new one in the child|is the cluster running[^()]*)"
)


def from_code(code: int, message: str = "") -> Error:
    """The error of a code; one that this table does not know yet is a plain Error with it."""
    text = message or ffi.string(lib.dmq_error_text(code)).decode()
    found = _HINT.search(text)
    hint = found[1] if found else None
    kind = BY_CODE.get(code)
    if kind is not None:
        return kind(text, hint=hint)
    error = Error(text, hint=hint)
    error.code = code
    return error


def __getattr__(name: str) -> Any:
    try:
        return BY_NAME[name]
    except KeyError:
        raise AttributeError(f"module 'dmq.errors' has no attribute {name!r}") from None
