"""DMQ for asyncio: the names of `dmq`, with await, async with, async for.

    import dmq.asyncio as dmq

    async with dmq.connect("dmq://127.0.0.1:9501") as c:
        await c.topics.create("orders", partitions=3, if_not_exists=True)
        ack = await c.publish("orders", {"id": 1}, key="cust-7")  # it is stored then
        async with c.producer(linger_ms=5) as p:
            waiting = [p.send("orders", b"x") for _ in range(1000)]  # under way together
            await asyncio.gather(*waiting)
        async for msg in c.read("orders"):  # what is there now
            print(msg.offset, msg.text())
        async with c.consumer("orders") as consumer:  # and what comes
            async for msg in consumer:
                print(msg.key, msg.value)

What may wait is awaited, what cannot is not (consumer.position, producer.send, whose future is).
Records and batches come through the event loop, without threads of this package; connecting,
administration and looking up positions run on the loop's default executor. Cancelling an await
gives up waiting: a record that was sent may be stored. A client is of the loop that it was opened
in.
"""

from .. import codes, errors

# One class per code of the table in dmq/errors.h: dmq.UnknownTopicOrPartitionError, ...
from ..codes import *  # noqa: F403
from ..consumer import Batch
from ..errors import (
    AbortError,
    DeliveryError,
    Error,
    FatalError,
    MaybeDoneError,
    NotSupportedError,
    RetriableError,
)
from ..message import Ack, Election, Message, Partition, Setting, Topic
from .client import Client, Topics, connect
from .consumer import Consumer
from .dev import DevCluster, dev
from .producer import Future, Producer

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
