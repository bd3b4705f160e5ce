"""How the library meets an event loop.

What is delivered and fetched is told by the library's eventfd. It is watched for edges, through an
epoll of our own: a consumer whose batches nobody wants at the moment keeps it readable, and a loop
that watched its level would spin. Each edge is answered by taking everything there is.

Calls that block in C (connecting, administration, looking up positions) run on the loop's default
executor. One that is given up is interrupted in C as soon as all are given up: an interrupt reaches
all. Otherwise it ends by itself, or when the client is closed."""

import asyncio
import select
import weakref
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from .._calls import Call

T = TypeVar("T")


class Source(Protocol):
    """What has something to take when the eventfd says so."""

    def _on_ready(self) -> None: ...


class Events:
    """Tells the producers and consumers of a client that there may be something for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        self._loop = loop
        self._sources: weakref.WeakSet[Any] = weakref.WeakSet()
        self._epoll = select.epoll(1)
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)
        loop.add_reader(self._epoll.fileno(), _on_edge, weakref.ref(self))

    def add(self, source: Source) -> None:
        self._sources.add(source)

    def take(self) -> None:
        self._epoll.poll(0)
        for source in list(self._sources):
            source._on_ready()

    def close(self) -> None:
        """On the loop's thread, or when the loop is closed."""
        if not self._epoll.closed:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()


def _on_edge(events: "weakref.ref[Events]") -> None:
    found = events()
    if found is not None:
        found.take()


class Calls:
    """Runs what blocks on the loop's executor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interrupt: Callable[[], None]) -> None:
        self._loop = loop
        self._interrupt = interrupt
        self._wanted = 0  # calls that run and were not given up

    async def run(self, function: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
        """function(); if it is given up, undo gets what it gave back."""
        call = Call(function, undo)
        done = self._loop.run_in_executor(None, call.run)
        self._wanted += 1
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            call.give_up()
            if self._wanted == 1:
                self._interrupt()
            raise
        finally:
            self._wanted -= 1
        if call.error is not None:
            raise call.error
        result: T = call.result
        return result


class Closing:
    """Closes at the end of `async with`."""

    async def close(self) -> None:
        """Ends it, whoever uses it."""
        raise NotImplementedError

    async def _leave(self, error: BaseException | None) -> None:
        """The end of `async with`; error ends it."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._leave(error)


C = TypeVar("C", bound=Closing)


class Opening(Generic[C]):
    """Something that is being opened: await it, or use it in `async with`, which closes it."""

    def __init__(self, coroutine: Coroutine[Any, Any, C]) -> None:
        self._coroutine = coroutine
        self._opened: C | None = None

    def __await__(self) -> Generator[Any, None, C]:
        return self._coroutine.__await__()

    async def __aenter__(self) -> C:
        self._opened = await self._coroutine
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened._leave(error)
