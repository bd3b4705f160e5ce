"""Sending: futures, and the producer that makes them."""

import os
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _arguments, errors
from ._calls import SLICE_MS, Deadline, check, encode_name, make_options, new_error, raised
from ._native import ffi, lib
from .message import Ack, Data, Headers, Time, encode

if TYPE_CHECKING:
    from .client import Client

_SLOTS = 1024  # futures whose slots are made at once
_BLOCK_SECONDS = 60.0  # how long a full buffer may block a send
_EXIT_SECONDS = 5.0  # how long leaving on Ctrl-C still waits for what was sent
_SLOT_BYTES: int = ffi.sizeof("dmqpy_slot")
_send = lib.dmqpy_send
_NULL = ffi.NULL


class Future:
    """What becomes of a record, or of all records of one send_many."""

    __slots__ = ("_index", "_producer", "_slots", "_topic")

    def __init__(self, producer: "Producer", slots: Any, index: int, topic: str) -> None:
        self._producer = producer
        self._slots = slots
        self._index = index
        self._topic = topic

    def done(self) -> bool:
        """Whether the outcome is known."""
        slot = self._slots + self._index
        if lib.dmqpy_is_done(slot):
            return True
        self._producer._poll()
        return bool(lib.dmqpy_is_done(slot))

    def result(self, timeout: float | None = None) -> Ack:
        """Waits until the record is stored as acks asks for, and tells where; raises the Error if
        it was not, dmq.TimeoutError if that is not known in time. Of a send_many it is the place of
        the record that was stored last."""
        slot = self._slots + self._index
        if not lib.dmqpy_is_done(slot):
            self._producer._wait(slot, timeout)
        error = self._error(slot)
        if error is not None:
            raise error
        return Ack(self._topic, slot.partition, slot.offset, slot.timestamp)

    def exception(self, timeout: float | None = None) -> errors.Error | None:
        """Waits like result; the Error instead of raising it, None if it is stored."""
        slot = self._slots + self._index
        if not lib.dmqpy_is_done(slot):
            self._producer._wait(slot, timeout)
        return self._error(slot)

    def add_done_callback(self, function: Callable[["Future"], object]) -> None:
        """Calls function(future) when it is done: now, or later on a thread of the producer."""
        if not callable(function):
            raise _arguments.wrong_type("function", function, "callable")
        if lib.dmqpy_is_done(self._slots + self._index):
            function(self)
        else:
            self._producer._check_process()
            self._producer._callbacks.add(self, function)

    def _error(self, slot: Any) -> errors.Error | None:
        if not lib.dmqpy_is_done(slot):
            return errors.from_code(
                lib.DMQ_ERR_CLOSED, "the producer was closed before it was done"
            )
        return None if slot.code == lib.DMQ_ERR_OK else errors.from_code(slot.code)

    def __repr__(self) -> str:
        state = "done" if lib.dmqpy_is_done(self._slots + self._index) else "pending"
        return f"<Future {state} topic={self._topic!r}>"


def _is_done(future: Future) -> bool:
    return bool(lib.dmqpy_is_done(future._slots + future._index))


_Waiting = tuple[Future, Callable[[Future], object]]


class _Callbacks:
    """Calls back on a thread of its own, which lives only while callbacks wait."""

    STUCK_SECONDS = 0.1  # a future that holds up others so long is stepped over

    def __init__(self, producer: "Producer") -> None:
        self._producer = producer
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._thread: threading.Thread | None = None
        self._is_closed = False  # no thread starts any more
        self._is_finished = False  # nothing waits any more

    def add(self, future: Future, function: Callable[[Future], object]) -> None:
        with self._lock:
            if not self._is_finished:
                self._waiting.append((future, function))
                self._start()
                return
        function(future)  # nothing will change any more

    def _start(self) -> None:
        if self._thread is None and not self._is_closed:
            self._thread = threading.Thread(target=self._run, name="dmq-callbacks", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread: the producer is about to go."""
        with self._lock:
            self._is_closed = True
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def finish(self) -> None:
        """Calls back for whatever is left: what is not done now never will be."""
        with self._lock:
            self._is_finished = True
            left, self._waiting = self._waiting, deque()
        _call_all(left)

    def _run(self) -> None:
        last = time.monotonic()
        while True:
            with self._lock:
                if not self._waiting or self._is_closed:
                    self._thread = None
                    return
                head = self._waiting[0][0]
            now = time.monotonic()
            if self._call_done_ones(whole=now - last >= self.STUCK_SECONDS):
                last = now
            else:
                self._producer._wait_slice(head._slots + head._index)

    def _call_done_ones(self, whole: bool) -> bool:
        """Mostly they are done in the order in which they were sent: then the front is enough."""
        ready: list[_Waiting] = []
        with self._lock:
            while self._waiting and _is_done(self._waiting[0][0]):
                ready.append(self._waiting.popleft())
            if whole:
                rest: deque[_Waiting] = deque()
                for item in self._waiting:
                    (ready if _is_done(item[0]) else rest).append(item)
                self._waiting = rest
        _call_all(ready)
        return bool(ready)


def _call_all(items: Iterable[_Waiting]) -> None:
    for future, function in items:
        try:
            function(future)
        except Exception as error:  # it must not keep the others from being called
            args = (type(error), error, error.__traceback__, threading.current_thread())
            threading.excepthook(threading.ExceptHookArgs(args))


class Producer:
    """Sends records in batches. Made by Client.producer; any number of threads may use it.

    send returns at once with a Future; nothing but a full buffer makes it wait. Leaving the `with`
    block flushes: it raises DeliveryError if a record was not stored since the last flush."""

    def __init__(
        self, client: "Client", options: dict[str, Any], *, is_async: bool = False
    ) -> None:
        array_, option_count, kept = make_options(options)
        made = ffi.new("dmq_producer **")
        error = new_error()
        with client._handle as handle:
            check(lib.dmq_producer_open(handle, array_, option_count, made, error), error)
        del kept
        poller = lib.dmqpy_poller_new(made[0], is_async)
        if poller == ffi.NULL:
            lib.dmq_producer_close(made[0])
            raise MemoryError
        self._client = client
        self._process = os.getpid()
        self._is_closed = False
        self._poller: Any = ffi.gc(poller, lib.dmqpy_poller_free)
        self._routes: dict[str, Any] = {}
        self._names: list[Any] = []  # what the routes point to
        self._callbacks = _Callbacks(self)
        self._live: deque[Any] = deque()  # lots of slots that deliveries may still be written into
        # The lot in use, its address, and the index of its next slot: taken without a lock.
        self._take: tuple[Any, int, Callable[[], int]] = (None, 0, count(_SLOTS).__next__)
        client._adopt(self)

    # ---- sending -------------------------------------------------------------------------------

    def send(
        self,
        topic: str,
        value: Data | None,
        key: bytes | str | None = None,
        *,
        partition: int | None = None,
        headers: Headers | None = None,
        timestamp: Time = 0,
        timeout: float | None = _BLOCK_SECONDS,
    ) -> Future:
        """Hands a record to the producer; a full buffer, or the first record of a topic, waits up
        to timeout seconds. Records with equal keys go to one partition, in order. timestamp: ms
        since 1970 or a datetime (local without a zone, as everywhere in Python); 0: now."""
        data = value if type(value) is bytes else encode(value)
        key_data = key if key is None or type(key) is bytes else encode(key, "key")
        try:
            route = self._routes.get(topic)
        except TypeError:  # not even hashable
            raise _arguments.wrong_type("topic", topic, "a str") from None
        slots, address, take = self._take  # one load: another thread may be replacing them
        index = take()
        if index >= _SLOTS:
            slots, address, index = self._new_slots(index)
        slot = address + index * _SLOT_BYTES
        if route is not None and headers is None and partition is None and timestamp == 0:
            code = _send(
                route,
                slot,
                _NULL if key_data is None else key_data,
                -1 if key_data is None else len(key_data),
                _NULL if data is None else data,
                -1 if data is None else len(data),
            )
            if code == 0:
                return Future(self, slots, index, topic)
        try:
            record, kept = _make_record(data, key_data, partition, headers)
            record.timestamp = _arguments.time_ms(timestamp)
            self._send_slowly(topic, slot, record, timeout)
            del kept  # what the record points to had to live until here
        except BaseException:
            lib.dmqpy_abandon(slots + index, 1, lib.DMQ_ERR_CANCELLED)
            raise
        return Future(self, slots, index, topic)

    def send_many(
        self,
        topic: str,
        values: Iterable[Data],
        keys: Iterable[bytes | str | None] | None = None,
        *,
        partition: int | None = None,
        timeout: float | None = _BLOCK_SECONDS,
    ) -> Future:
        """Sends a record for each value, in order, at one crossing into C; one future for all.
        keys: as many as values. If it raises, the first ones may have been sent."""
        packed, kept = _pack(values, keys, partition)
        route = self._route(topic)
        slots = self._new_lot(1)
        slots[0].pending = packed.count
        try:
            self._send_packed(route, slots, packed, timeout)
        except BaseException:
            lib.dmqpy_abandon(slots, packed.count - packed.sent, lib.DMQ_ERR_CANCELLED)
            raise
        del kept  # what packed points to had to live until here
        return Future(self, slots, 0, topic)

    def _send_slowly(self, topic: str, slot: int, record: Any, timeout: float | None) -> None:
        """With everything that a record can have, and a wait in slices; names the error."""
        route = self._route(topic)
        error = new_error()
        deadline = Deadline(timeout)
        while True:
            code = lib.dmqpy_send_record(route, slot, record, deadline.slice_ms(), error)
            if code == lib.DMQ_ERR_OK:
                return
            self._raise_unless_waiting(code, error, deadline)

    def _prepare(self, topic: str, timeout: float | None) -> None:
        """Waits until it is known what the topic consists of."""
        route = self._route(topic)
        error = new_error()
        deadline = Deadline(timeout)
        while True:
            code = lib.dmqpy_prepare(route, deadline.slice_ms(), error)
            if code == lib.DMQ_ERR_OK:
                return
            self._raise_unless_waiting(code, error, deadline)

    def _send_packed(self, route: Any, slots: Any, packed: Any, timeout: float | None) -> None:
        error = new_error()
        deadline = Deadline(timeout)
        while True:
            code = lib.dmqpy_send_packed(route, slots, packed, deadline.slice_ms(), error)
            if code == lib.DMQ_ERR_OK:
                return
            self._raise_unless_waiting(code, error, deadline)

    def _raise_unless_waiting(self, code: int, error: Any, deadline: Deadline) -> None:
        if code == lib.DMQ_ERR_CLOSED:
            raise errors.from_code(code, "the producer is closed")
        if code == lib.DMQ_ERR_FORKED:
            raise errors.from_code(code)
        waits = code in (lib.DMQ_ERR_BUFFER_FULL, lib.DMQ_ERR_TIMEOUT, lib.DMQ_ERR_INTERRUPTED)
        if not waits or deadline.is_over():
            raise raised(code, error)

    def _route(self, topic: str) -> Any:
        route = self._routes.get(_arguments.text("topic", topic))
        if route is None:
            name = encode_name(topic)
            route = ffi.new("dmqpy_route *", (self._poller, name))
            self._names.append(name)
            self._routes[topic] = route
        return route

    # ---- slots ---------------------------------------------------------------------------------

    # Any number of threads at a time, without a lock: a fork would leave a lock that is held.

    def _new_slots(self, index: int) -> tuple[Any, int, int]:
        """A lot, its address and the index of the caller's slot, for the index that was too high.
        The thread that got the first such index replaces the lot in use; those that come meanwhile
        get a slot of their own."""
        is_first = index == _SLOTS
        slots = self._new_lot(_SLOTS if is_first else 1)
        address = int(ffi.cast("uintptr_t", slots))
        if is_first:
            self._take = (slots, address, count(1).__next__)
        return slots, address, 0

    def _new_lot(self, size: int) -> Any:
        """Deliveries write into slots, also if nobody kept the future: a lot lives until all of its
        slots are done, among them those that are taken but not sent yet."""
        slots = ffi.new("dmqpy_slot[]", size)
        lib.dmqpy_reserve(slots, size)
        live = self._live
        for _ in range(2):  # two for a new one: it never grows by those that are done
            try:
                oldest = live.popleft()
            except IndexError:
                break
            if lib.dmqpy_has_pending(oldest, len(oldest)):
                live.append(oldest)
        live.append(slots)
        return slots

    # ---- waiting -------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> None:
        """Waits until everything sent is stored. DeliveryError if a record was not, of those sent
        since the last flush; TimeoutError if that is not known in time."""
        failed, error = ffi.new("uint64_t *"), new_error()
        deadline = Deadline(timeout)
        lost = 0
        while True:
            code = lib.dmqpy_flush(self._poller, deadline.slice_ms(), failed, error)
            if code not in (lib.DMQ_ERR_TIMEOUT, lib.DMQ_ERR_INTERRUPTED) or deadline.is_over():
                break
            lost = failed[0]  # so far, or for good: the next slice tells
        if code == lib.DMQ_ERR_CLOSED:
            raise errors.from_code(code, "the producer is closed")
        if code == lib.DMQ_ERR_FORKED:
            raise errors.from_code(code)
        lost = max(lost, failed[0])
        if lost > 0:
            text = ffi.string(error.message).decode(errors="replace")
            raise errors.DeliveryError(f"{lost} records were not stored: {text}", lost, error.code)
        if code != lib.DMQ_ERR_OK:
            raise raised(code, error)

    def _poll(self) -> None:
        lib.dmqpy_poll(self._poller)

    def _wait(self, slot: Any, timeout: float | None) -> None:
        """Until the slot is done or the producer is closed."""
        deadline = Deadline(timeout)
        while not self._is_closed:
            self._check_process()
            if lib.dmqpy_wait(self._poller, slot, deadline.slice_ms()):
                return
            if deadline.is_over():
                raise errors.from_code(
                    lib.DMQ_ERR_TIMEOUT,
                    f"not acknowledged within {_arguments.show(timeout)} s: it may be stored",
                )

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise errors.from_code(lib.DMQ_ERR_FORKED)

    def _wait_slice(self, slot: Any) -> None:
        lib.dmqpy_wait(self._poller, slot, SLICE_MS)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<dmq.Producer {state} {self._client.url}>"

    # ---- end -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Gives up what was not delivered: flush first."""
        if os.getpid() != self._process:
            self._is_closed = True  # it is the parent's, and so are those who are inside
            return
        with self._client._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._callbacks.stop()
        lib.dmqpy_poll(self._poller)  # what is known already
        lib.dmqpy_poller_close(self._poller)
        self._callbacks.finish()

    def __del__(self) -> None:
        if hasattr(self, "_poller"):
            self.close()

    def __enter__(self) -> "Producer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._flush_at_exit(error)
        finally:
            self.close()

    def _flush_at_exit(self, error: BaseException | None) -> None:
        """What was sent before an exception is still stored; the caller sees the exception."""
        if error is None:
            self.flush()
            return
        try:
            self.flush(None if isinstance(error, Exception) else _EXIT_SECONDS)
        except errors.Error as failure:
            error.add_note(f"dmq: {failure}")


def _set_bytes(field: Any, data: bytes | None) -> Any:
    """Fills a dmq_bytes; returns what keeps its memory alive."""
    if data is None:
        return None
    kept = ffi.from_buffer(data)
    field.data, field.size = kept, len(data)
    return kept


def _partition(number: int | None) -> int:
    return lib.DMQ_PARTITION_AUTO if number is None else _arguments.partition_number(number)


def _make_record(
    value: bytes | None, key: bytes | None, partition: int | None, headers: Headers | None
) -> tuple[Any, list[Any]]:
    """A dmq_record, and what it points to."""
    record = ffi.new("dmq_record *")
    record.partition = _partition(partition)
    kept = [_set_bytes(record.value, value), _set_bytes(record.key, key)]
    if headers is not None and _arguments.mapping("headers", headers):
        array_ = ffi.new("dmq_header[]", len(headers))
        for i, (name, data) in enumerate(headers.items()):
            kept += [_set_bytes(array_[i].key, _arguments.utf8("a name in headers", name))]
            kept += [_set_bytes(array_[i].value, encode(data, f"headers[{name!r}]"))]
        record.headers, record.header_count = array_, len(headers)
        kept.append(array_)
    return record, kept


def _join(items: list[Any], name: str) -> tuple[bytes, "array[int]"]:
    """Items back to back, and the size of each; -1: null."""
    try:
        joined = b"".join(items)  # the quick way, when all are bytes
        sizes = array("i", map(len, items))
        if sum(sizes) == len(joined):
            return joined, sizes
    except TypeError:
        pass
    encoded = [encode(item, f"{name}[{i}]") for i, item in enumerate(items)]
    sizes = array("i", [-1 if item is None else len(item) for item in encoded])
    return b"".join(item or b"" for item in encoded), sizes


def _pack(
    values: Iterable[Any], keys: Iterable[Any] | None, partition: int | None
) -> tuple[Any, list[Any]]:
    """A dmqpy_packed, and what it points to."""
    packed = ffi.new("dmqpy_packed *")
    items = _arguments.items("values", values)
    joined, sizes = _join(items, "values")
    kept: list[Any] = [ffi.from_buffer(joined), ffi.from_buffer("int32_t[]", sizes)]
    packed.count = len(items)
    packed.partition = _partition(partition)
    packed.values, packed.value_sizes = kept
    if keys is not None:
        key_items = _arguments.items("keys", keys)
        if len(key_items) != len(items):
            raise errors.from_code(
                lib.DMQ_ERR_INVALID_ARGUMENT, f"{len(items)} values, but {len(key_items)} keys"
            )
        joined, sizes = _join(key_items, "keys")
        kept += [ffi.from_buffer(joined), ffi.from_buffer("int32_t[]", sizes)]
        packed.keys, packed.key_sizes = kept[2:]
    return packed, kept
