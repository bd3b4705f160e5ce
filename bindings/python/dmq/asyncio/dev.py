"""dmq.dev() for asyncio."""

import asyncio
import os

from ..dev import DevCluster as _SyncCluster
from ._loop import Calls, Closing, Opening


def dev(
    data: str | os.PathLike[str] | None = None, *, port: int = 0, timeout: float = 30.0
) -> Opening["DevCluster"]:
    """Starts a cluster of one node, for tests: `async with dmq.dev() as cluster`. As dmq.dev."""
    return Opening(_start(data, port, timeout))


async def _start(data: str | os.PathLike[str] | None, port: int, timeout: float) -> "DevCluster":
    calls = Calls(asyncio.get_running_loop(), lambda: None)
    return DevCluster(
        await calls.run(lambda: _SyncCluster(data, port=port, timeout=timeout), _SyncCluster.close),
        calls,
    )


class DevCluster(Closing):
    """A running cluster: `url` to connect to, `data` the folder."""

    def __init__(self, cluster: _SyncCluster, calls: Calls) -> None:
        self._cluster = cluster
        self._calls = calls
        self.url = cluster.url
        self.data = cluster.data

    def log(self) -> str:
        """What the daemons wrote to stderr."""
        return self._cluster.log()

    async def close(self) -> None:
        """Ends the cluster; a temporary folder is removed."""
        await self._calls.run(self._cluster.close)

    def __repr__(self) -> str:
        return repr(self._cluster)
