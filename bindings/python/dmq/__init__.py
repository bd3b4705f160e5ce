"""DMQ: a durable, replicated log.

    import dmq

    with dmq.connect("dmq://127.0.0.1:9501") as c:
        c.topics.create("orders", partitions=3, if_not_exists=True)
        ack = c.publish("orders", {"id": 1}, key="cust-7")  # waits until it is stored
        with c.producer(linger_ms=5) as p:  # many: p.send, p.send_many
            p.send("orders", b"x")
        for msg in c.read("orders"):  # what is there now
            print(msg.offset, msg.text())
        with c.consumer("orders") as consumer:  # and what comes
            for msg in consumer:
                print(msg.key, msg.value)

`dmq.dev()` starts a cluster of one node for tests. Every failure is a `dmq.Error`, but an
argument of a wrong type is a TypeError. Ctrl-C ends every call that blocks.
"""

from . import codes, errors
from ._native import ffi as _ffi
from ._native import lib as _lib
from .client import Client, Topics, connect

# One class per code of the table in dmq/errors.h: dmq.UnknownTopicOrPartitionError, ...
from .codes import *  # noqa: F403
from .consumer import Batch, Consumer
from .dev import DevCluster, dev
from .errors import (
    AbortError,
    DeliveryError,
    Error,
    FatalError,
    MaybeDoneError,
    NotSupportedError,
    RetriableError,
)
from .message import Ack, Election, Message, Partition, Setting, Topic
from .producer import Future, Producer

__version__: str = _ffi.string(_lib.dmq_version()).decode()

__all__ = [
    "AbortError",
    "Ack",
    "Batch",
    "Client",
    "Consumer",
    "DeliveryError",
    "DevCluster",
    "Election",
    "Error",
    "FatalError",
    "Future",
    "MaybeDoneError",
    "Message",
    "NotSupportedError",
    "Partition",
    "Producer",
    "RetriableError",
    "Setting",
    "Topic",
    "Topics",
    "connect",
    "dev",
    "errors",
]
__all__ += codes.__all__
