"""What comes back: acknowledgements, messages, topics."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _arguments

if TYPE_CHECKING:
    from .consumer import Batch
    from .errors import Error

Data = bytes | bytearray | memoryview | str | dict[str, Any] | list[Any]
Headers = Mapping[str, bytes | str | None]
Place = int | str | datetime
Time = int | datetime


class Ack(NamedTuple):
    """Where a record was stored: topic, partition, offset (-1 with acks=0), timestamp (ms since
    1970)."""

    topic: str
    partition: int
    offset: int
    timestamp: int


class Partition(NamedTuple):
    """A partition as the cluster describes it: its number, partition; its leader (a broker's id;
    -1: none at the moment) and leader_epoch (how many it had); the brokers that hold it, replicas,
    and those of them that are in sync, isr."""

    partition: int
    leader: int
    leader_epoch: int
    replicas: list[int]
    isr: list[int]


class Setting(NamedTuple):
    """A setting of a topic: its name; the value in force; is_default, whether the topic itself does
    not set it; the default; type, what a value must be, and help, what it does, both for people."""

    name: str
    value: str
    is_default: bool
    default: str
    type: str
    help: str


class Election(NamedTuple):
    """What became of a partition's leader: topic, partition; its leader now (-1: none) and
    leader_epoch; former_leader (-1: there was none); error, why it could not be elected; unclean,
    that it was not in sync, then last_in_sync, who was; and message, what may be lost by that."""

    topic: str
    partition: int
    leader: int
    leader_epoch: int
    former_leader: int
    error: "Error | None"
    message: str
    unclean: bool
    last_in_sync: list[int]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the cluster describes it: name; id, which another topic of that name would not
    have; replicas, how many each partition has; config, the settings that it sets itself;
    partitions."""

    name: str
    id: str
    replicas: int
    config: dict[str, str]
    partitions: list[Partition]


class Message(tuple[Any, ...]):
    """A record that was read. A tuple underneath (value, batch, index), because that is what Python
    makes fastest: everything but the value is looked up in the batch when it is asked for."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def value(self) -> bytes | None: ...
        @property
        def _batch(self) -> "Batch": ...
        @property
        def _index(self) -> int: ...
    else:
        value = property(itemgetter(0), doc="The record's value; None: null.")
        _batch = property(itemgetter(1))
        _index = property(itemgetter(2))

    @property
    def key(self) -> bytes | None:
        """The record's key; None: it has none."""
        return self._batch.keys()[self._index]

    @property
    def topic(self) -> str:
        """The topic that it was read from."""
        return self._batch.topic

    @property
    def partition(self) -> int:
        """The number of its partition."""
        return self._batch.partition

    @property
    def offset(self) -> int:
        """Its position in the partition."""
        return self._batch.offsets()[self._index]

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970."""
        return self._batch.timestamps()[self._index]

    @property
    def time(self) -> datetime:
        """The timestamp, in UTC."""
        return datetime.fromtimestamp(self.timestamp / 1000, UTC)

    @property
    def headers(self) -> dict[str, bytes | None]:
        """By name; of headers with one name the last."""
        return dict(self.header_list)

    @property
    def header_list(self) -> list[tuple[str, bytes | None]]:
        """All headers, in order, also those of one name."""
        return self._batch.headers(self._index)

    def text(self) -> str:
        """The value as UTF-8; "" for null."""
        return (self.value or b"").decode()

    def json(self) -> Any:
        """The value as JSON; None for null."""
        return json.loads(self.value or b"null")

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Message) and self._identity == other._identity)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, int, int, bytes | None]:
        return (self.topic, self.partition, self.offset, self.value)

    def __repr__(self) -> str:
        size = len(self.value or b"")
        value = repr(self.value) if size <= 64 else f"<{size} bytes>"
        return (
            f"Message(topic={self.topic!r}, partition={self.partition}, offset={self.offset},"
            f" key={self.key!r}, value={value})"
        )


def encode(data: Data | None, name: str = "value") -> bytes | None:
    """bytes as they are, str as UTF-8, dict and list as JSON."""
    if data is None or isinstance(data, bytes):
        return data
    if isinstance(data, str):
        return _arguments.utf8(name, data)
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    if isinstance(data, dict | list):
        return _arguments.to_json(name, data)
    raise _arguments.wrong_type(name, data, "bytes, str, dict, list or None")
