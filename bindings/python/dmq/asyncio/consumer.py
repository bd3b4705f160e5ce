"""Reading: the batches of dmq.Consumer, awaited."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING

from .. import _arguments, errors
from .. import consumer as _sync
from .._native import lib
from ..consumer import Batch
from ..message import Message, Place
from ._loop import Closing

if TYPE_CHECKING:
    from .client import Client


class Consumer(Closing):
    """Reads all partitions of topics. Made by Client.consumer; used by one task at a time.

    Iterating gives messages for ever, waiting for more at the end; batches gives them in bulk."""

    def __init__(self, client: "Client", consumer: "_sync.Consumer") -> None:
        self._client = client
        self._sync = consumer
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False
        try:
            client._adopt(self)
        except BaseException:
            consumer.close()
            raise

    # ---- reading -------------------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            rest = await self._fetch(None)
            while rest is self._sync._rest and rest is not None and not rest.is_empty():
                for message in self._sync._step(rest):
                    yield message

    async def batches(
        self, max_records: int | None = 500, timeout: float | None = None
    ) -> AsyncIterator[Batch]:
        """Batches of at most max_records messages of one partition each (None: as they come). Ends
        when none came for timeout seconds; None: never."""
        if max_records is not None:
            _arguments.whole("max_records", max_records, "1 or more, or None", low=1)
        while (rest := await self._fetch(timeout)) is not None:
            yield rest.take(max_records)

    async def _until(self, topic: str, ends: dict[int, int]) -> AsyncIterator[Message]:
        """Messages below the end of each partition; ends when all are reached."""
        until = _sync.Until(self._sync, topic, ends)
        while until.is_open():
            rest = await self._fetch(None)
            if rest is not None:
                for message in until.take(rest):
                    yield message

    async def _fetch(self, timeout: float | None) -> "_sync._Rest | None":
        """What is there to hand out; None: nothing came in time."""
        loop = self._client._loop
        limit = _arguments.seconds(timeout)
        deadline = None if limit is None else loop.time() + limit
        if self._sync._rest is None or self._sync._rest.is_empty():
            await asyncio.sleep(0)  # the others' turn, also if there is always more
        while (rest := self._sync._fetch(0)) is None:
            if self._is_closed:
                raise errors.from_code(lib.DMQ_ERR_CLOSED, "the consumer is closed")
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                return None
            await self._wait(left)
        return rest

    async def _wait(self, timeout: float | None) -> None:
        """Until there may be something."""
        if self._waiter is not None:
            raise RuntimeError("another task waits on this consumer: it is for one at a time")
        self._waiter = self._client._loop.create_future()
        try:
            await asyncio.wait((self._waiter,), timeout=timeout)
        finally:
            self._waiter = None

    def _on_ready(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ---- places --------------------------------------------------------------------------------

    async def seek(self, topic: str, partition: int, to: Place) -> None:
        """Goes on elsewhere in a partition."""
        await self._client._run(partial(self._sync.seek, topic, partition, to))

    def position(self, topic: str, partition: int) -> int:
        """Offset of the next message of the partition that this consumer will give."""
        return self._sync.position(topic, partition)

    def high_watermark(self, topic: str, partition: int) -> int:
        """The newest end of the partition that the consumer has seen; -1: none yet."""
        return self._sync.high_watermark(topic, partition)

    async def lag(self) -> dict[tuple[str, int], int]:
        """How many messages lie between each (topic, partition) that it reads and its end now, for
        which the leaders are asked. What retention takes meanwhile counts still."""
        return self._sync._lag_to(await self._client._run(self._sync._ends))

    # ---- end -----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Ends it. Who waits on it gets a ClosedError."""
        if not self._is_closed:
            self._begin_close()
            # A seek that was given up may be inside still.
            await asyncio.shield(self._client._loop.run_in_executor(None, self._sync.close))

    def _begin_close(self) -> None:
        self._is_closed = True
        self._on_ready()

    def __repr__(self) -> str:
        return repr(self._sync).replace("dmq.Consumer", "dmq.asyncio.Consumer")
