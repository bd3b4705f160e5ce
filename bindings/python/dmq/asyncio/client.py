"""The connection to a cluster, its topics, and the short ways to publish and to read."""

import asyncio
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from .. import _arguments, errors
from .. import client as _sync
from .._native import lib
from ..consumer import Consumer as _SyncConsumer
from ..message import Ack, Data, Election, Headers, Message, Place, Setting, Time, Topic
from ._loop import Calls, Closing, Events, Opening
from .consumer import Consumer
from .producer import Producer

T = TypeVar("T")


def connect(url: str | None = None, *, timeout: float = 10.0, **options: Any) -> Opening["Client"]:
    """Connects to a cluster: `async with dmq.connect(url) as c`, or `c = await dmq.connect(url)`.
    "dmq://host:9501,host2:9501"; without a URL to $DMQ_URL, else to this machine. Options of the
    library in Python's spelling: client_id="billing"."""
    return Opening(_connect(url, timeout, options))


async def _connect(url: str | None, timeout: float, options: dict[str, Any]) -> "Client":
    limit = _arguments.seconds(timeout)
    client = Client(url, **options)
    try:
        if limit is not None:
            await client._run(partial(client._sync._wait, limit))
    except BaseException:
        await client.close()
        raise
    return client


class Topics:
    """The topics of a cluster: Client.topics."""

    def __init__(self, client: "Client") -> None:
        self._run = client._run
        self._sync = client._sync.topics

    async def create(
        self,
        name: str,
        partitions: int | None = None,
        replicas: int | None = None,
        config: dict[str, Any] | None = None,
        *,
        if_not_exists: bool = False,
    ) -> Topic:
        """Creates a topic; None: the cluster's defaults. With if_not_exists an existing one is left
        as it is, whatever it is like."""
        return await self._run(
            partial(
                self._sync.create, name, partitions, replicas, config, if_not_exists=if_not_exists
            )
        )

    async def list(self) -> list[str]:
        """The names of all topics, sorted."""
        return await self._run(self._sync.list)

    async def describe(self, name: str) -> Topic:
        """A topic with its own settings and its partitions."""
        return await self._run(partial(self._sync.describe, name))

    async def config(self, name: str) -> dict[str, Setting]:
        """All settings of a topic, by name, with what is in force."""
        return await self._run(partial(self._sync.config, name))

    async def alter(self, name: str, config: dict[str, Any]) -> Topic:
        """Sets single settings of a topic, all or none of them; None takes one back to its default:
        await c.topics.alter("orders", {"retention.ms": 3600000})"""
        return await self._run(partial(self._sync.alter, name, config))

    async def add_partitions(
        self, name: str, count: int | None = None, *, total: int | None = None
    ) -> Topic:
        """Adds count partitions to a topic; or, with total, as many as it lacks of so many, which
        may be asked for again without harm."""
        return await self._run(partial(self._sync.add_partitions, name, count, total=total))

    async def elect(
        self,
        name: str | None,
        partition: int | None = None,
        *,
        unclean: bool = False,
        accept_data_loss: bool = False,
        broker: int | None = None,
    ) -> Sequence[Election]:
        """Makes the first replica lead each partition of a topic where it is in sync, or only one
        partition; with None for the name everywhere. Returns those whose leader changed or, with an
        error, could not: at most 1000.

        unclean: gives partitions without a leader, because all who were in sync are gone, one that
        was not: broker, or the first replica that is live. What only the others hold is LOST for
        good, also if they come back; hence accept_data_loss."""
        return await self._run(
            partial(
                self._sync.elect,
                name,
                partition,
                unclean=unclean,
                accept_data_loss=accept_data_loss,
                broker=broker,
            )
        )

    async def delete(self, name: str, *, if_exists: bool = False) -> None:
        """Deletes a topic and its records."""
        await self._run(partial(self._sync.delete, name, if_exists=if_exists))

    async def partitions(self, name: str) -> int:
        """How many partitions a topic has."""
        return await self._run(partial(self._sync.partitions, name))

    def __repr__(self) -> str:
        return repr(self._sync)


class Client(Closing):
    """A connection to a cluster, of one event loop. Made by connect."""

    def __init__(self, url: str | None = None, **options: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: Events | None = None
        self._children: weakref.WeakSet[Producer | Consumer] = weakref.WeakSet()
        self._publisher: Producer | None = None
        self._sync = _sync.Client(url, timeout=None, **options)
        self._calls = Calls(self._loop, self._sync._interrupt)
        with self._sync._handle as handle:
            self._events = Events(self._loop, lib.dmq_client_fd(handle))
        self.url = self._sync.url
        self.topics = Topics(self)

    async def _run(self, function: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """What blocks, elsewhere."""
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("the client belongs to another event loop: connect in each")
        return await self._calls.run(function, undo)

    def _adopt(self, child: Producer | Consumer) -> None:
        """It ends with the client, and hears what comes."""
        if self._events is None:
            raise errors.from_code(lib.DMQ_ERR_CLOSED, "the client is closed")
        self._children.add(child)
        self._events.add(child)

    # ---- sending -------------------------------------------------------------------------------

    async def publish(
        self,
        topic: str,
        value: Data | None,
        key: bytes | str | None = None,
        *,
        partition: int | None = None,
        headers: Headers | None = None,
        timestamp: Time = 0,
        timeout: float | None = None,
    ) -> Ack:
        """Sends one record and waits until it is stored on every replica that must have it. dict
        and list become JSON, str UTF-8, None is a tombstone. timestamp: ms since 1970 or a
        datetime (local without a zone, as everywhere in Python); 0: now."""
        if self._publisher is None:
            self._publisher = self.producer()
        limit = _arguments.seconds(timeout)
        options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        future = self._publisher.send(
            topic, value, key, partition=partition, headers=headers, timestamp=timestamp, **options
        )
        if limit is None:
            return await future
        await asyncio.wait((future,), timeout=limit)
        if not future.done():
            raise errors.from_code(
                lib.DMQ_ERR_TIMEOUT, f"not acknowledged within {limit:g} s: it may be stored"
            )
        return future.result()

    def producer(self, **options: Any) -> Producer:
        """A producer, for many records: acks="all", compression="lz4", linger_ms=5, batch_size,
        buffer_memory, delivery_timeout_ms, ... as in dmq/dmq.h. `async with` flushes at its end."""
        return Producer(self, _sync._library_options(options))

    # ---- reading -------------------------------------------------------------------------------

    def consumer(
        self,
        topics: str | Sequence[str],
        *,
        group: str | None = None,
        start: Place = "start",
        **options: Any,
    ) -> Opening[Consumer]:
        """Reads all partitions of one topic or several, from the earliest record on unless start
        says otherwise ("end", "-1h", an offset, a datetime): `async with c.consumer("orders") as
        consumer`. Options as in dmq/dmq.h."""
        return Opening(
            self._open(partial(self._sync.consumer, topics, group=group, start=start, **options))
        )

    async def _open(self, make: Callable[[], _SyncConsumer]) -> Consumer:
        made = await self._run(make, _SyncConsumer.close)
        return Consumer(self, made)

    async def read(
        self,
        topic: str,
        *,
        start: Place = "start",
        end: Place = "end",
        partition: int | None = None,
    ) -> AsyncIterator[Message]:
        """The messages of a topic from start to end, partition by partition as they come; "end" is
        what is the end now, an offset or a time is exclusive: `async for msg in c.read("orders")`.
        """
        ends = await self._run(partial(self._sync._ends, topic, end, partition))
        consumer = await self._open(
            partial(_SyncConsumer, self._sync, [topic], start, {}, partition)
        )
        async with consumer:
            async for message in consumer._until(topic, ends):
                yield message

    async def offset(self, topic: str, partition: int, place: Place) -> int:
        """The offset that "start", "end", a time or an offset stands for in a partition now."""
        return await self._run(partial(self._sync.offset, topic, partition, place))

    # ---- the rest ------------------------------------------------------------------------------

    async def admin(self, operation: str, request: dict[str, Any] | None = None) -> Any:
        """Any admin operation by its name, with the names of the REST interface in and out;
        dmq/dmq.h lists them: await c.admin("describe_cluster")."""
        return await self._run(partial(self._sync.admin, operation, request))

    async def close(self) -> None:
        """Closes producers and consumers, then the connection. What was not flushed is given up."""
        if self._events is None:
            return
        self._events.close()
        self._events = None
        for child in list(self._children):
            child._begin_close()
        # It waits for calls that were given up, and interrupts them.
        await asyncio.shield(self._loop.run_in_executor(None, self._sync.close))

    def __del__(self) -> None:
        events = getattr(self, "_events", None)
        if events is not None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            events.close()

    def __repr__(self) -> str:
        return repr(self._sync).replace("dmq.Client", "dmq.asyncio.Client")
