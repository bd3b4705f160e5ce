"""Reading: batches of the library, and messages made of them."""

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, repeat
from struct import iter_unpack
from time import time
from typing import TYPE_CHECKING, Any, overload

from . import _arguments, errors
from ._calls import (
    Deadline,
    Handle,
    check,
    encode_name,
    interruptible,
    make_options,
    new_error,
    raised,
)
from ._native import ffi, lib
from .message import Message, Place

if TYPE_CHECKING:
    from .client import Client

_AGO = re.compile(r"-(\d+)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LAST_MS = 2**63 - 1
_ASK_MS = 30_000  # how long looking up a position may take
_new_message = tuple.__new__


def parse_place(place: Place) -> tuple[int, int]:
    """(offset, timestamp) of a dmq_assignment: "start", "end" or "now", an offset, "-1h", an ISO
    time (UTC without a zone, as for the command line), a datetime (local without one, as everywhere
    in Python)."""
    if isinstance(place, datetime):
        try:
            return lib.DMQ_OFFSET_TIMESTAMP, max(0, int(place.timestamp() * 1000))
        except (OverflowError, ValueError):  # beyond what this machine's clock knows
            return lib.DMQ_OFFSET_TIMESTAMP, 0 if place.year < 1970 else _LAST_MS
    if isinstance(place, int) and not isinstance(place, bool):
        if place < 0:
            text = f"offset {_arguments.show(place)} is negative"
            raise errors.from_code(lib.DMQ_ERR_INVALID_ARGUMENT, text)
        if place >= 2**63:
            raise errors.from_code(
                lib.DMQ_ERR_OFFSET_OUT_OF_RANGE,
                f"offset {_arguments.show(place)}: none is so high",
            )
        return place, 0
    if place == "start":
        return lib.DMQ_OFFSET_START, 0
    if place in ("end", "now"):
        return lib.DMQ_OFFSET_END, 0
    ago = _AGO.fullmatch(place) if isinstance(place, str) else None
    if ago:
        past = int(ago[1]) * _UNIT_MS[ago[2]]
        return lib.DMQ_OFFSET_TIMESTAMP, max(0, int(time() * 1000) - past)
    try:
        parsed = datetime.fromisoformat(str(place))
        return parse_place(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))
    except (TypeError, ValueError):
        raise errors.from_code(
            lib.DMQ_ERR_INVALID_ARGUMENT,
            f"{_arguments.show(place)} is no place: start, end, an offset, -1h, a datetime or an"
            " ISO time",
        ) from None


class Batch(Sequence[Message]):
    """Messages of one partition that came together. Values are copied out of the library's memory
    at the first look; keys, offsets, timestamps and headers only when they are asked for."""

    def __init__(self, handle: Any, topic: str, start: int, count: int) -> None:
        self._handle = handle  # keeps the library's batch alive
        self._start = start
        self._count = count
        self._part = ffi.new("dmqpy_part *", (handle, start, count))
        self.topic = topic
        self.partition: int = lib.dmq_batch_partition(handle)
        self._values: list[bytes | None] | None = None
        self._keys: list[bytes | None] | None = None
        self._offsets: Sequence[int] | None = None
        self._timestamps: list[int] | None = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Message]:
        count = self._count
        return map(_new_message, repeat(Message), zip(self.values(), repeat(self), range(count)))

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        i = range(self._count)[index]
        return _new_message(Message, (self.values()[i], self, i))

    def values(self) -> list[bytes | None]:
        """All values; None: null."""
        if self._values is None:
            self._values = self._copy(False)
        return self._values

    def keys(self) -> list[bytes | None]:
        """All keys; None: null."""
        if self._keys is None:
            self._keys = self._copy(True)
        return self._keys

    def offsets(self) -> Sequence[int]:
        """The offset of each message."""
        if self._offsets is None:
            first = lib.dmqpy_message(self._handle, self._start).offset
            last = lib.dmqpy_message(self._handle, self._start + self._count - 1).offset
            if last - first == self._count - 1:
                self._offsets = range(first, last + 1)
            else:
                self._offsets = self._numbers(lib.dmqpy_offsets)
        return self._offsets

    def timestamps(self) -> Sequence[int]:
        """In ms since 1970."""
        if self._timestamps is None:
            self._timestamps = self._numbers(lib.dmqpy_timestamps)
        return self._timestamps

    def headers(self, index: int) -> list[tuple[str, bytes | None]]:
        """The headers of one message, in order."""
        position = self._start + _arguments.index(index, self._count, "messages")
        count = lib.dmqpy_message(self._handle, position).header_count
        if count == 0:
            return []
        array_ = ffi.new("dmq_header[]", count)
        count = lib.dmq_batch_headers(
            self._handle, position, array_, ffi.sizeof("dmq_header"), count
        )
        return [
            (_copy_bytes(h.key).decode(errors="replace"), _copy_or_none(h.value))
            for h in array_[0:count]
        ]

    def _copy(self, is_key: bool) -> list[bytes | None]:
        part, count = self._part, self._count
        each = ffi.new("int64_t *")
        size = lib.dmqpy_bytes_size(part, is_key, each)
        data = ffi.new("char[]", size) if size else ffi.NULL
        room = array("i", bytes(4 * count))
        nulls = lib.dmqpy_bytes_copy(part, is_key, data, ffi.from_buffer("int32_t[]", room))
        blob = ffi.buffer(data, size)[:] if size else b""
        if each[0] > 0:  # all of one size: Python has a quicker way to cut that
            return [piece for (piece,) in iter_unpack(f"{each[0]}s", blob)]
        ends = room.tolist()
        if nulls == count:
            return [None] * count
        if nulls == 0:
            return [blob[a:b] for a, b in zip(chain((0,), ends), ends)]  # noqa: B905
        found: list[bytes | None] = []
        begin = 0
        for end in ends:
            found.append(None if end < 0 else blob[begin:end])
            begin = -1 - end if end < 0 else end
        return found

    def _numbers(self, function: Callable[[Any, Any], None]) -> list[int]:
        numbers = array("q", bytes(8 * self._count))
        function(self._part, ffi.from_buffer("int64_t[]", numbers))
        return numbers.tolist()

    def __repr__(self) -> str:
        return f"Batch(topic={self.topic!r}, partition={self.partition}, {self._count} messages)"


def _copy_bytes(data: Any) -> bytes:
    return ffi.buffer(data.data, data.size)[:] if data.size else b""


def _copy_or_none(data: Any) -> bytes | None:
    return None if data.data == ffi.NULL else _copy_bytes(data)


class _Rest:
    """What of a library's batch was not handed out yet."""

    __slots__ = ("count", "handle", "partition", "start", "topic")

    def __init__(self, handle: Any) -> None:
        self.handle = ffi.gc(handle, lib.dmq_batch_unref)
        self.topic: str = ffi.string(lib.dmq_batch_topic(handle)).decode()
        self.partition: int = lib.dmq_batch_partition(handle)
        self.start = 0
        self.count: int = lib.dmq_batch_count(handle)

    def is_empty(self) -> bool:
        return self.start >= self.count

    def take(self, most: int | None) -> Batch:
        left = self.count - self.start
        count = left if most is None else min(most, left)
        batch = Batch(self.handle, self.topic, self.start, count)
        self.start += count
        return batch

    def offset(self) -> int:
        offset: int = lib.dmqpy_message(self.handle, self.start).offset
        return offset


class Until:
    """Which messages of a topic are below given ends, partition by partition."""

    def __init__(self, consumer: "Consumer", topic: str, ends: dict[int, int]) -> None:
        self._consumer = consumer
        self._topic = topic
        self._ends = ends
        self._open = {p for p, end in ends.items() if consumer.position(topic, p) < end}

    def is_open(self) -> bool:
        """Whether there is more to come."""
        return bool(self._open)

    def take(self, rest: _Rest) -> Iterator[Message]:
        """Those of what was fetched."""
        end = self._ends[rest.partition]
        batch = rest.take(None)
        if batch.offsets()[-1] < end:
            yield from batch
        elif rest.partition in self._open:
            for message, offset in zip(batch, batch.offsets(), strict=True):
                if offset >= end:
                    break
                yield message
        if self._consumer.position(self._topic, rest.partition) >= end:
            self._open.discard(rest.partition)


class Consumer:
    """Reads all partitions of topics. Made by Client.consumer; used by one thread at a time.

    Iterating gives messages for ever, waiting for more at the end; batches gives them in bulk."""

    def __init__(
        self,
        client: "Client",
        topics: Sequence[str],
        start: Place,
        options: dict[str, Any],
        partition: int | None = None,
    ) -> None:
        offset, timestamp = parse_place(start)
        number = None if partition is None else _arguments.partition_number(partition)
        array_, count, kept = make_options(options)
        made = ffi.new("dmq_consumer **")
        error = new_error()
        with client._handle as handle:
            check(lib.dmq_consumer_open(handle, array_, count, made, error), error)
        del kept
        self._client = client
        self._handle = Handle(made[0], "consumer")
        self._names: dict[str, Any] = {}
        self._rest: _Rest | None = None
        self._places: list[tuple[str, int]] = []  # what it reads
        client._adopt(self)
        try:
            if number is None:
                places = [
                    (t, p, offset) for t in topics for p in range(client.topics.partitions(t))
                ]
            else:
                places = [(t, number, offset) for t in topics]
            self._assign(places, timestamp)
            self._places = [(topic, partition) for topic, partition, _ in places]
        except BaseException:
            self.close()
            raise

    # ---- reading -------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Message]:
        while True:
            rest = self._fetch(None)
            while rest is self._rest and rest is not None and not rest.is_empty():
                # One at a time as far as position() and seek() can tell, one batch as far as the
                # work is concerned.
                yield from self._step(rest)

    def _step(self, rest: _Rest) -> Iterator[Message]:
        first = rest.start
        batch = Batch(rest.handle, rest.topic, first, rest.count - first)
        for i, message in enumerate(batch, first + 1):
            rest.start = i
            yield message
            if self._rest is not rest or rest.start != i:
                return

    def _until(self, topic: str, ends: dict[int, int]) -> Iterator[Message]:
        """Messages below the end of each partition; ends when all are reached."""
        until = Until(self, topic, ends)
        while until.is_open():
            rest = self._fetch(None)
            if rest is not None:
                yield from until.take(rest)

    def batches(
        self, max_records: int | None = 500, timeout: float | None = None
    ) -> Iterator[Batch]:
        """Batches of at most max_records messages of one partition each (None: as they come). Ends
        when none came for timeout seconds; None: never."""
        if max_records is not None:
            _arguments.whole("max_records", max_records, "1 or more, or None", low=1)
        while (rest := self._fetch(timeout)) is not None:
            yield rest.take(max_records)

    def _fetch(self, timeout: float | None) -> _Rest | None:
        """What is there to hand out; None: nothing came in time."""
        self._handle.check_process()  # also for what is here already
        if self._rest is not None and not self._rest.is_empty():
            return self._rest
        self._rest = None
        fetched = ffi.new("dmq_batch **")
        error = new_error()
        deadline = Deadline(timeout)
        while True:
            with self._handle as handle:
                code = lib.dmq_consumer_fetch(handle, deadline.slice_ms(), fetched, error)
            if code == lib.DMQ_ERR_OK:
                rest = _Rest(fetched[0])
                if not rest.is_empty():
                    self._rest = rest
                    return rest
            elif code not in (lib.DMQ_ERR_TIMEOUT, lib.DMQ_ERR_INTERRUPTED):
                raise raised(code, error)
            elif deadline.is_over():
                return None

    # ---- places --------------------------------------------------------------------------------

    def seek(self, topic: str, partition: int, to: Place) -> None:
        """Goes on elsewhere in a partition."""
        offset, timestamp = parse_place(to)
        partition = _arguments.partition_number(partition)
        assignment = ffi.new("dmq_assignment *")
        self._fill(assignment, (topic, partition, offset), timestamp)
        error = new_error()

        def call() -> None:
            with self._handle as handle:
                check(lib.dmq_consumer_seek(handle, assignment, _ASK_MS, error), error)

        interruptible(call, self._client._interrupt)
        if self._rest is not None and (self._rest.topic, self._rest.partition) == (
            topic,
            partition,
        ):
            self._rest = None

    def position(self, topic: str, partition: int) -> int:
        """Offset of the next message of the partition that this consumer will give."""
        self._handle.check_process()
        rest = self._rest
        if rest is not None and not rest.is_empty():
            if (rest.topic, rest.partition) == (topic, partition):
                return rest.offset()
        return self._number_of(lib.dmq_consumer_position, topic, partition)

    def high_watermark(self, topic: str, partition: int) -> int:
        """The newest end of the partition that the consumer has seen; -1: none yet."""
        return self._number_of(lib.dmq_consumer_high_watermark, topic, partition)

    def lag(self) -> dict[tuple[str, int], int]:
        """How many messages lie between each (topic, partition) that it reads and its end now, for
        which the leaders are asked. What retention takes meanwhile counts still."""
        return self._lag_to(self._ends())

    def _ends(self) -> dict[tuple[str, int], int]:
        return {place: self._client.offset(*place, "end") for place in self._places}

    def _lag_to(self, ends: dict[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        return {place: max(0, end - self.position(*place)) for place, end in ends.items()}

    def _number_of(self, function: Callable[..., int], topic: str, partition: int) -> int:
        found, error = ffi.new("int64_t *"), new_error()
        name, number = self._name(topic), _arguments.partition_number(partition)
        with self._handle as handle:
            check(function(handle, name, number, found, error), error)
        return int(found[0])

    def _name(self, topic: str) -> Any:
        name = self._names.get(_arguments.text("topic", topic))
        if name is None:
            name = self._names[topic] = encode_name(topic)
        return name

    def _fill(self, assignment: Any, place: tuple[str, int, int], timestamp: int) -> None:
        topic, partition, offset = place
        assignment.size = ffi.sizeof("dmq_assignment")
        assignment.topic = self._name(topic)
        assignment.partition = partition
        assignment.offset = offset
        assignment.timestamp = timestamp

    def _assign(self, places: list[tuple[str, int, int]], timestamp: int) -> None:
        """Replaces what is read: (topic, partition, offset) of each."""
        assignments = ffi.new("dmq_assignment[]", len(places))
        for i, place in enumerate(places):
            self._fill(assignments[i], place, timestamp)
        error = new_error()
        size = ffi.sizeof("dmq_assignment")

        def call() -> None:
            with self._handle as handle:
                code = lib.dmq_consumer_assign(
                    handle, assignments, size, len(places), _ASK_MS, error
                )
            check(code, error)

        interruptible(call, self._client._interrupt)

    # ---- end -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends it, and gives back what was fetched ahead. Messages that were read stay."""
        self._rest = None
        self._handle.close(lambda _: self._client._interrupt(), lib.dmq_consumer_close)

    def __enter__(self) -> "Consumer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "open" if self._handle.is_open() else "closed"
        topics = ", ".join(sorted(self._names))
        return f"<dmq.Consumer {state} of {topics}>"

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self.close()
