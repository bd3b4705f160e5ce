"""Sending: the producer, whose futures are asyncio's.

Every record has a number, by which its delivery finds its future; a send_many has a slot of the
library's helpers, whose address stands for it. What does not fit into the library's buffer waits
here, in order, and goes when deliveries have made room; who awaits each send never has more than
one record there. What waits is bounded by buffer_memory again: beyond it send raises
BufferFullError."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from itertools import repeat
from struct import iter_unpack
from typing import TYPE_CHECKING, Any

from .. import _arguments, errors
from .. import producer as _sync
from .._calls import new_error, raised
from .._native import ffi, lib
from ..message import Ack, Data, Headers, Time, encode
from ._loop import Closing

if TYPE_CHECKING:
    from .client import Client

_BUFFER_BYTES = 64 << 20  # buffer.memory, unless it is given
_RECORD_BYTES = 100  # that a waiting record takes besides its value and key
_DELIVERIES = 1024  # taken at a time
_DELIVERY = "Qiiqq"  # dmq_delivery
_DELIVERY_BYTES: int = ffi.sizeof("dmq_delivery")
_WAITS = (lib.DMQ_ERR_BUFFER_FULL, lib.DMQ_ERR_TIMEOUT, lib.DMQ_ERR_INTERRUPTED)
_new_ack = tuple.__new__
_post = lib.dmqpy_post
_NULL = ffi.NULL
_NEVER = 1e10  # on the loop's clock


class Future(asyncio.Future[Ack]):
    """What becomes of a record, or of all records of one send_many: await it, gather it. Of a
    send_many it is the place of the record that was stored last."""

    __slots__ = ("_producer", "_topic")
    _producer: "Producer"
    _topic: str

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "pending"
        return f"<Future {state} topic={self._topic!r}>"


class _Waiting:
    """A record, or a send_many, that did not fit into the buffer yet."""

    __slots__ = ("abandon", "deadline", "number", "post", "size", "topic")

    def __init__(
        self,
        number: int,
        topic: str,
        size: int,
        deadline: float,
        post: Callable[[Any], int],
        abandon: Callable[[int], bool] | None = None,
    ) -> None:
        self.number = number
        self.topic = topic
        self.size = size + _RECORD_BYTES
        self.deadline = deadline
        self.post = post  # tries to send, and returns a code
        self.abandon = abandon  # of a send_many: gives up the rest; whether it is done then


class _Flush:
    """A flush that waits: for whom."""

    __slots__ = ("done", "left")

    def __init__(self, left: set[int], done: "asyncio.Future[None]") -> None:
        self.left = left
        self.done = done


class Producer(Closing):
    """Sends records in batches. Made by Client.producer.

    Awaiting what send returns waits until the record is stored; many may be under way. Leaving the
    `async with` block flushes: it raises DeliveryError if a record was not stored since the last
    flush."""

    def __init__(self, client: "Client", options: dict[str, Any]) -> None:
        self._client = client
        self._loop = client._loop
        self._sync = _sync.Producer(client._sync, options, is_async=True)
        self._next = 1  # number of the next record: odd
        self._futures: dict[int, Future] = {}
        self._slots: dict[int, Any] = {}  # of each send_many, with what it points to
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._most_bytes = int(options.get("buffer.memory", _BUFFER_BYTES))
        self._timer: asyncio.TimerHandle | None = None
        self._learning: asyncio.Task[None] | None = None
        self._failed = 0  # records since the last flush
        self._first_failure: errors.Error | None = None
        self._flushes: list[_Flush] = []
        self._taken = ffi.new("dmq_delivery[]", _DELIVERIES)
        self._is_closed = False
        try:
            client._adopt(self)
        except BaseException:
            self._sync.close()
            raise

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
        timeout: float | None = _sync._BLOCK_SECONDS,
    ) -> Future:
        """Hands a record over; the future that it returns is done when the record is stored.
        Records with equal keys go to one partition, in order. A full buffer, or the first record of
        a topic, keeps the future waiting up to timeout seconds more. timestamp: ms since 1970 or a
        datetime (local without a zone, as everywhere in Python); 0: now. Raises BufferFullError if
        as much waits already as the buffer holds: await what you send, or flush."""
        data = value if type(value) is bytes else encode(value)
        key_data = key if key is None or type(key) is bytes else encode(key, "key")
        number = self._next
        self._next = number + 2
        try:
            route = self._sync._routes.get(topic)
        except TypeError:  # not even hashable
            raise _arguments.wrong_type("topic", topic, "a str") from None
        is_plain = headers is None and partition is None and timestamp == 0
        if is_plain and route is not None and not self._waiting:
            code = _post(
                route,
                number,
                _NULL if key_data is None else key_data,
                -1 if key_data is None else len(key_data),
                _NULL if data is None else data,
                -1 if data is None else len(data),
            )
            if code == 0:
                return self._new_future(number, topic)
        record, kept = _sync._make_record(data, key_data, partition, headers)
        record.timestamp = _arguments.time_ms(timestamp)
        deadline = self._deadline(timeout)
        kept.append(record)
        route = self._sync._route(topic)

        def post(error: Any) -> int:
            return int(lib.dmqpy_post_record(route, number, kept[-1], error))

        size = len(data or b"") + len(key_data or b"")
        future = self._new_future(number, topic)
        self._hand_over(_Waiting(number, topic, size, deadline, post))
        return future

    def send_many(
        self,
        topic: str,
        values: Iterable[Data],
        keys: Iterable[bytes | str | None] | None = None,
        *,
        partition: int | None = None,
        timeout: float | None = _sync._BLOCK_SECONDS,
    ) -> Future:
        """Sends a record for each value, in order, at one crossing into C; one future for all.
        keys: as many as values. If it fails, the first ones may be stored."""
        packed, kept = _sync._pack(values, keys, partition)
        deadline = self._deadline(timeout)
        slot = ffi.new("dmqpy_slot *")
        slot.pending, slot.offset = packed.count, -1
        number = int(ffi.cast("uintptr_t", slot))
        route = self._sync._route(topic)

        def post(error: Any) -> int:
            return int(lib.dmqpy_send_packed(route, slot, packed, 0, error))

        def abandon(code: int) -> bool:
            lib.dmqpy_abandon(slot, packed.count - packed.sent, code)
            return bool(lib.dmqpy_is_done(slot))

        future = self._new_future(number, topic)
        if packed.count == 0:
            self._settle(number, 0, -1, -1, 0)
            return future
        self._slots[number] = (slot, packed, kept)
        size = sum(map(max, packed.value_sizes[0 : packed.count], repeat(0)))
        self._hand_over(_Waiting(number, topic, size, deadline, post, abandon))
        return future

    def _deadline(self, timeout: float | None) -> float:
        limit = _arguments.seconds(timeout)
        return _NEVER if limit is None else self._loop.time() + limit

    def _new_future(self, number: int, topic: str) -> Future:
        future = Future(loop=self._loop)
        future._producer = self  # it lives until they are delivered
        future._topic = topic
        self._futures[number] = future
        return future

    # ---- what does not fit ---------------------------------------------------------------------

    def _hand_over(self, record: _Waiting) -> None:
        """Sends it now, or lets it wait behind those that do. Raises what is wrong with it."""
        error = new_error()
        code = self._try_now(record, error)
        if code == lib.DMQ_ERR_OK:
            return
        if code not in _WAITS:
            self._forget(record, code)
            raise raised(code, error)
        if self._waiting_bytes + record.size > self._most_bytes and self._waiting:
            self._forget(record, code)
            raise errors.BY_CODE[lib.DMQ_ERR_BUFFER_FULL](
                f"the send buffer is full, and {len(self._waiting)} records wait for room",
                hint="await what you send, or flush now and then",
            )
        self._waiting.append(record)
        self._waiting_bytes += record.size
        self._watch_time(record.deadline)
        if not self._is_known(record.topic):
            self._learn_topic(record)

    def _try_now(self, record: _Waiting, error: Any) -> int:
        if self._is_closed:
            error.message = b"the producer is closed"
            return int(lib.DMQ_ERR_CLOSED)
        if self._waiting:  # it makes room for who does not let the loop do it
            self._take()
            self._pump()
        if self._waiting or not self._is_known(record.topic):
            return int(lib.DMQ_ERR_BUFFER_FULL)
        code = record.post(error)
        if code == lib.DMQ_ERR_BUFFER_FULL:
            self._take()
            code = record.post(error)
        return code

    def _forget(self, record: _Waiting, code: int) -> None:
        """The caller hears that it failed. What was sent of it may still be delivered."""
        self._futures.pop(record.number)
        if record.abandon is not None and record.abandon(code):
            del self._slots[record.number]

    def _pump(self) -> None:
        """Sends of what waits as much as there is room for."""
        error = new_error()
        while self._waiting:
            record = self._waiting[0]
            code = lib.DMQ_ERR_BUFFER_FULL
            if self._is_known(record.topic):
                code = record.post(error)
            else:
                self._learn_topic(record)
            if code in _WAITS:
                break
            self._waiting.popleft()
            self._waiting_bytes -= record.size
            if code != lib.DMQ_ERR_OK:
                self._give_up(record, raised(code, error))
        if self._flushes:
            self._push()

    def _give_up(self, record: _Waiting, error: errors.Error) -> None:
        """It waited in vain."""
        if record.abandon is None:
            self._settle_failed(record.number, error, 1)
        elif record.abandon(error.code):
            self._settle(record.number, error.code, -1, -1, 0)

    def _drop_waiting(self, is_dropped: Callable[[_Waiting], bool], error: errors.Error) -> None:
        dropped = [record for record in self._waiting if is_dropped(record)]
        self._waiting = deque(record for record in self._waiting if not is_dropped(record))
        self._waiting_bytes = sum(record.size for record in self._waiting)
        for record in dropped:
            self._give_up(record, error)

    def _watch_time(self, deadline: float) -> None:
        if self._timer is not None and self._timer.when() <= deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._on_time)

    def _on_time(self) -> None:
        """Those that waited for too long fail."""
        self._timer = None
        now = self._loop.time()
        error = errors.from_code(
            lib.DMQ_ERR_BUFFER_FULL, "the send buffer was full for too long: nothing was sent"
        )
        self._drop_waiting(lambda record: record.deadline <= now, error)
        if self._waiting:
            self._watch_time(min(record.deadline for record in self._waiting))

    # ---- topics --------------------------------------------------------------------------------

    def _is_known(self, topic: str) -> bool:
        """Whether a send need not wait for what the topic consists of."""
        code = lib.dmqpy_prepare(self._sync._route(topic), 0, _NULL)
        return bool(code != lib.DMQ_ERR_BUFFER_FULL)

    def _learn_topic(self, record: _Waiting) -> None:
        if self._learning is None and not self._is_closed:
            self._learning = self._loop.create_task(self._learn(record.topic, record.deadline))

    async def _learn(self, topic: str, deadline: float) -> None:
        try:
            left = max(0.1, deadline - self._loop.time())
            await self._client._run(lambda: self._sync._prepare(topic, left))
        except errors.Error as error:
            failure = error  # all that wait for the topic would hear the same
            self._drop_waiting(lambda record: record.topic == topic, failure)
        finally:
            self._learning = None
        self._pump()

    # ---- what is delivered ---------------------------------------------------------------------

    def _on_ready(self) -> None:
        self._take()
        if self._waiting:
            self._pump()

    def _take(self) -> None:
        """Everything that was delivered."""
        count = _DELIVERIES
        while count == _DELIVERIES:
            count = lib.dmqpy_take(self._sync._poller, self._taken, _DELIVERIES)
            for number, code, partition, offset, timestamp in iter_unpack(
                _DELIVERY, ffi.buffer(self._taken, count * _DELIVERY_BYTES)
            ):
                self._settle(number, code, partition, offset, timestamp)

    def _settle(self, number: int, code: int, partition: int, offset: int, timestamp: int) -> None:
        if code != 0:
            self._settle_code(number, code)
            return
        if number % 2 == 0:
            self._slots.pop(number, None)
        future = self._futures.pop(number, None)
        if future is not None and not future.done():
            future.set_result(_new_ack(Ack, (future._topic, partition, offset, timestamp)))
        if self._flushes:
            self._note_flushed(number)

    def _settle_code(self, number: int, code: int) -> None:
        slot = self._slots.pop(number, None)
        if number in self._futures:
            failed = 1 if slot is None else slot[0].failed
            self._settle_failed(number, errors.from_code(code), failed)
        else:  # its caller knows
            self._note_flushed(number)

    def _settle_failed(self, number: int, error: errors.Error, failed: int) -> None:
        future = self._futures.pop(number)
        if not future.done():
            future.set_exception(error)
            future.exception()  # flush says it, too: not "never retrieved"
        self._failed += failed
        self._first_failure = self._first_failure or error
        self._note_flushed(number)

    def _note_flushed(self, number: int) -> None:
        for flush in self._flushes:
            flush.left.discard(number)
            if not flush.left and not flush.done.done():
                flush.done.set_result(None)

    # ---- waiting -------------------------------------------------------------------------------

    async def flush(self, timeout: float | None = None) -> None:
        """Waits until everything sent is stored. DeliveryError if a record was not, of those sent
        since the last flush; TimeoutError if that is not known in time."""
        limit = _arguments.seconds(timeout)
        if self._is_closed:
            raise errors.from_code(lib.DMQ_ERR_CLOSED, "the producer is closed")
        self._on_ready()
        left = self._futures.keys() | self._slots.keys()  # also of those that failed halfway
        if left:
            await self._flush(_Flush(left, self._loop.create_future()), limit)
        failed, first = self._failed, self._first_failure
        self._failed, self._first_failure = 0, None
        if self._is_closed:
            raise errors.from_code(lib.DMQ_ERR_CLOSED, "the producer is closed")
        if first is not None:
            text = f"{failed} records were not stored: {first}"
            raise errors.DeliveryError(text, failed, first.code)

    async def _flush(self, flush: _Flush, timeout: float | None) -> None:
        self._flushes.append(flush)
        self._push()
        try:
            await asyncio.wait((flush.done,), timeout=timeout)
        finally:
            self._flushes.remove(flush)
        if not flush.done.done():
            raise errors.from_code(
                lib.DMQ_ERR_TIMEOUT, f"not everything was acknowledged within {timeout:g} s"
            )

    def _push(self) -> None:
        """Batches that gather leave now. What became of them comes as for all others."""
        failed = ffi.new("uint64_t *")
        lib.dmqpy_flush(self._sync._poller, 0, failed, new_error())

    # ---- end -----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Gives up what was not delivered: flush first."""
        if not self._is_closed:
            self._begin_close()
            await asyncio.shield(self._loop.run_in_executor(None, self._sync.close))

    def _begin_close(self) -> None:
        """What is not done now never will be."""
        self._take()
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._learning is not None:
            self._learning.cancel()
        self._waiting.clear()
        error = errors.from_code(lib.DMQ_ERR_CLOSED, "the producer was closed before it was done")
        for number in list(self._futures):
            self._settle_failed(number, error, 1)

    async def _leave(self, error: BaseException | None) -> None:
        """What was sent before an exception is still stored; the caller sees the exception."""
        try:
            await self._flush_at_exit(error)
        finally:
            await self.close()

    async def _flush_at_exit(self, error: BaseException | None) -> None:
        if error is None:
            await self.flush()
            return
        try:
            await self.flush(None if isinstance(error, Exception) else _sync._EXIT_SECONDS)
        except errors.Error as failure:
            error.add_note(f"dmq: {failure}")

    def __repr__(self) -> str:
        return repr(self._sync).replace("dmq.Producer", "dmq.asyncio.Producer")
