"""How the binding calls the library: errors become exceptions, and Ctrl-C works in what blocks.

Python runs signal handlers between two bytecodes of the main thread, so a call into C must not stay
there for long. Calls that can be made again wait in slices; a call that cannot (an admin request)
runs on a helper thread, while the main thread waits in Python and interrupts the library if a
handler raises."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from . import _arguments, errors
from ._native import ffi, lib

SLICE_MS = 100  # the longest stay in C while Ctrl-C may come

T = TypeVar("T")


def new_error() -> Any:
    """A dmq_error for a call; owned by the caller's thread."""
    error = ffi.new("dmq_error *")
    error.size = ffi.sizeof("dmq_error")
    return error


def raised(code: int, error: Any = None) -> errors.Error:
    """The exception for a call that returned code and filled error."""
    text = ffi.string(error.message).decode(errors="replace") if error is not None else ""
    return errors.from_code(code, text)


class Deadline:
    """A time limit in seconds (None: none; below 0: over already), spent in slices."""

    __slots__ = ("_end",)

    def __init__(self, timeout: float | None) -> None:
        limit = _arguments.seconds(timeout)
        self._end = None if limit is None else time.monotonic() + limit

    def slice_ms(self) -> int:
        if self._end is None:
            return SLICE_MS
        left = self._end - time.monotonic()
        return max(0, min(SLICE_MS, int(left * 1000) + (left > 0)))

    def is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end


class Handle:
    """A handle of the library: `with handle as pointer` uses it; close waits for those who do.

    A forked child has none of the threads that were inside, and a lock that one of them held is
    held for ever: there, nothing is touched."""

    __slots__ = ("_changed", "_pointer", "_process", "_users", "_what")

    def __init__(self, pointer: Any, what: str) -> None:
        self._pointer = pointer
        self._process = os.getpid()
        self._what = what
        self._users = 0
        self._changed = threading.Condition()

    def is_ours(self) -> bool:
        """Whether this is the process that opened it, not a forked child."""
        return os.getpid() == self._process

    def check_process(self) -> None:
        if not self.is_ours():
            raise errors.from_code(lib.DMQ_ERR_FORKED)

    def __enter__(self) -> Any:
        self.check_process()
        with self._changed:
            if self._pointer is None:
                raise errors.from_code(lib.DMQ_ERR_CLOSED, f"the {self._what} is closed")
            self._users += 1
            return self._pointer

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._users -= 1
            if self._users == 0:
                self._changed.notify_all()

    def is_open(self) -> bool:
        return self._pointer is not None

    def close(self, hurry: Callable[[Any], None], free: Callable[[Any], None]) -> None:
        """Frees it when nobody uses it any more; hurry(pointer) makes those who do come out."""
        if not self.is_ours():
            self._pointer = None  # it is the parent's
            return
        with self._changed:
            pointer, self._pointer = self._pointer, None
            if pointer is None:
                return
            while self._users > 0:
                hurry(pointer)
                self._changed.wait(SLICE_MS / 1000)
        free(pointer)


class Call:
    """A call on another thread, which may be given up."""

    def __init__(self, function: Callable[[], Any], undo: Callable[[Any], None] | None) -> None:
        self._function = function
        self._undo = undo
        self._lock = threading.Lock()
        self.is_given_up = False
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        _here.call = self
        try:
            if not self.is_given_up:  # before it began
                self.result = _persist(self._function)
        except BaseException as error:
            self.error = error
        finally:
            _here.call = None
        with self._lock:
            if self.is_given_up:
                self._undo_result()
            self.done.set()

    def give_up(self) -> None:
        """Nobody waits any more: what it gives back goes to undo."""
        with self._lock:
            self.is_given_up = True
            if self.done.is_set():
                self._undo_result()

    def _undo_result(self) -> None:
        if self.result is not None and self._undo is not None:
            self._undo(self.result)


class _Here(threading.local):
    call: Call | None = None  # that this thread is in


_here = _Here()


def _persist(function: Callable[[], T]) -> T:
    """function(); again if it was interrupted although it was not meant: an interrupt reaches all
    who wait on a client."""
    while True:
        try:
            return function()
        except errors.BY_CODE[lib.DMQ_ERR_INTERRUPTED]:
            if _here.call is not None and _here.call.is_given_up:
                raise


def interruptible(
    function: Callable[[], T],
    interrupt: Callable[[], None],
    undo: Callable[[T], None] | None = None,
) -> T:
    """function(), which may block in C for long, and may be called again if it is interrupted.
    Ctrl-C calls interrupt and raises; what function gives back although nobody waits any more goes
    to undo."""
    if threading.current_thread() is not threading.main_thread():
        return _persist(function)  # no handler runs on this thread
    call = Call(function, undo)
    threading.Thread(target=call.run, name="dmq-call", daemon=True).start()
    try:
        call.done.wait()
    except BaseException:
        call.give_up()
        interrupt()
        raise
    if call.error is not None:
        raise call.error
    result: T = call.result
    return result


def check(code: int, error: Any) -> None:
    if code != lib.DMQ_ERR_OK:
        raise raised(code, error)


def encode_name(name: str) -> Any:
    """A topic's name for C; the caller keeps it alive during the call."""
    data = _arguments.utf8("topic", _arguments.text("topic", name))
    if b"\0" in data:
        raise errors.from_code(lib.DMQ_ERR_INVALID_TOPIC, f"topic name {name!r} holds a NUL")
    return ffi.new("char[]", data)


def make_options(options: dict[str, Any]) -> tuple[Any, int, list[Any]]:
    """dmq_option[] of a dict: linger_ms=5 is linger.ms=5. The list keeps the strings alive."""
    kept: list[Any] = []
    array = ffi.new("dmq_option[]", max(len(options), 1))
    for i, (name, value) in enumerate(options.items()):
        text = _arguments.setting(name, value)
        kept += [ffi.new("char[]", _arguments.c_text(name, part)) for part in (name, text)]
        array[i].name, array[i].value = kept[-2:]
    return array, len(options), kept
