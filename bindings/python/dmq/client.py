"""The connection to a cluster, its topics, and the short ways to publish and to read."""

import json
import os
import threading
import uuid
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from . import _arguments, errors
from ._calls import Handle, check, encode_name, interruptible, make_options, new_error
from ._native import ffi, lib
from .consumer import Consumer, parse_place
from .message import Ack, Data, Election, Headers, Message, Partition, Place, Setting, Time, Topic
from .producer import Producer

_ADMIN_MS = 30_000
_OPTION_NAMES = {"compression": "compression.type", "idempotence": "enable.idempotence"}


def connect(url: str | None = None, *, timeout: float = 10.0, **options: Any) -> "Client":
    """Connects to a cluster: "dmq://host:9501,host2:9501"; without a URL to $DMQ_URL, else to this
    machine. Options of the library in Python's spelling: client_id="billing"."""
    return Client(url, timeout=timeout, **options)


def _library_options(options: dict[str, Any]) -> dict[str, Any]:
    """linger_ms is linger.ms."""
    return {_OPTION_NAMES.get(k, k.replace("_", ".")): v for k, v in options.items()}


class Topics:
    """The topics of a cluster: Client.topics."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def create(
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
        request = {
            "requestId": uuid.uuid4().hex,  # asked for again, it is the same request
            "topicName": _name(name),
            "partitionCount": _number("partitions", partitions, "1 to 100000, or None"),
            "replicationFactor": _number("replicas", replicas, "1 to 64, or None", 2**15 - 1),
            "config": _arguments.settings(
                "config", {} if config is None else config, may_remove=False
            ),
        }
        may_exist = _arguments.flag("if_not_exists", if_not_exists)
        try:
            return _topic(self._client.admin("create_topic", request))
        except errors.Error as error:
            if may_exist and error.code == lib.DMQ_ERR_TOPIC_EXISTS:
                return self.describe(name)
            raise

    def list(self) -> list[str]:
        """The names of all topics, sorted."""
        answer = self._client.admin("describe_topics", {})
        return sorted(topic["topicName"] for topic in answer["topics"])

    def describe(self, name: str) -> Topic:
        """A topic with its own settings and its partitions."""
        request = {"topicNames": [_name(name)]}
        return _topic(self._client.admin("describe_topics", request)["topics"][0])

    def config(self, name: str) -> dict[str, Setting]:
        """All settings of a topic, by name, with what is in force."""
        answer = self._client.admin("describe_config", {"topicName": _name(name)})
        return {
            s["name"]: Setting(
                s["name"], s["value"], s["isDefault"], s["defaultValue"], s["type"], s["help"]
            )
            for s in answer["settings"]
        }

    def alter(self, name: str, config: dict[str, Any]) -> Topic:
        """Sets single settings of a topic, all or none of them; None takes one back to its default.
        They take effect without a restart: c.topics.alter("orders", {"retention.ms": 3600000})"""
        changes = _arguments.settings("config", config, may_remove=True)
        request = {"topicName": _name(name), "config": changes}
        return _topic(self._client.admin("alter_topic", request))

    def add_partitions(
        self, name: str, count: int | None = None, *, total: int | None = None
    ) -> Topic:
        """Adds count partitions to a topic; or, with total, as many as it lacks of so many, which
        may be asked for again without harm. Records stay where they are, but a key may lead to
        another partition from now on."""
        added = _number("count", count, "how many to add, from 1 on")
        wanted = _number("total", total, "how many there are to be, 1 to 100000")
        if (count is None) == (total is None) or (count is not None and added < 1):
            raise errors.from_code(
                lib.DMQ_ERR_INVALID_ARGUMENT, "give how many to add, from 1 on, or total="
            )
        if count is not None:
            wanted = min(len(self.describe(name).partitions) + added, 2**31 - 1)
        request = {"topicName": _name(name), "partitionCount": wanted}
        return _topic(self._client.admin("create_partitions", request))

    def elect(
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
        request: dict[str, Any] = (
            {"allTopics": True} if name is None else {"topicName": _name(name)}
        )
        request["partition"] = -1 if partition is None else _arguments.partition_number(partition)
        accepts_loss = _arguments.flag("accept_data_loss", accept_data_loss)
        if _arguments.flag("unclean", unclean):
            request.update(unclean=True, acceptDataLoss=accepts_loss)
            request["brokerId"] = _number("broker", broker, "the id of a broker, or None")
        elif accepts_loss or broker is not None:
            raise errors.from_code(
                lib.DMQ_ERR_INVALID_ARGUMENT, "accept_data_loss and broker belong to unclean=True"
            )
        answer = self._client.admin("elect_leaders", request)
        return [_election(p) for p in answer["partitions"]]

    def delete(self, name: str, *, if_exists: bool = False) -> None:
        """Deletes a topic and its records."""
        may_be_gone = _arguments.flag("if_exists", if_exists)
        try:
            self._client.admin("delete_topic", {"topicName": _name(name)})
        except errors.Error as error:
            if not may_be_gone or error.code != lib.DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION:
                raise

    def partitions(self, name: str) -> int:
        """How many partitions a topic has."""
        client, topic = self._client, encode_name(name)

        def call() -> int:
            count, error = ffi.new("int32_t *"), new_error()
            with client._handle as handle:
                check(lib.dmq_topic_partitions(handle, topic, _ADMIN_MS, count, error), error)
            return int(count[0])

        return interruptible(call, client._interrupt)

    def __repr__(self) -> str:
        return f"<dmq.Topics of {self._client.url}>"


def _name(name: str) -> str:
    _arguments.utf8("name", _arguments.text("name", name))
    return name


def _number(name: str, value: int | None, allowed: str, most: int = 2**31 - 1) -> int:
    """-1: the cluster decides. What is too small or too large for it the cluster says."""
    return -1 if value is None else _arguments.whole(name, value, allowed, -most - 1, most)


def _election(p: dict[str, Any]) -> Election:
    return Election(
        topic=p["topicName"],
        partition=p["partition"],
        leader=p["leader"],
        leader_epoch=p["leaderEpoch"],
        former_leader=p["formerLeader"],
        error=errors.from_code(p["error"], p["message"]) if p["error"] else None,
        message=p["message"],
        unclean=p["unclean"],
        last_in_sync=p["lastInSync"],
    )


def _topic(answer: dict[str, Any]) -> Topic:
    return Topic(
        name=answer["topicName"],
        id=answer["topicId"],
        replicas=answer["replicationFactor"],
        config=answer["config"],
        partitions=[
            Partition(p["partition"], p["leader"], p["leaderEpoch"], p["replicas"], p["isr"])
            for p in answer["partitions"]
        ],
    )


class Client:
    """A connection to a cluster. Any number of threads may use it."""

    def __init__(
        self, url: str | None = None, *, timeout: float | None = 10.0, **options: Any
    ) -> None:
        """What connect does; timeout None: waits for nothing."""
        self._children: weakref.WeakSet[Producer | Consumer] = weakref.WeakSet()
        self._lock = threading.RLock()  # the collector may close a producer inside of it
        self._publisher: Producer | None = None
        limit = _arguments.seconds(timeout)
        text = ffi.NULL if url is None else ffi.new("char[]", _arguments.c_text("url", url))
        array, count, kept = make_options(_library_options(options))
        made, error = ffi.new("dmq_client **"), new_error()
        check(lib.dmq_client_start(text, array, count, made, error), error)
        del kept
        self._handle = Handle(made[0], "client")
        self.url = url if url is not None else os.environ.get("DMQ_URL", "dmq://127.0.0.1:9501")
        self.topics = Topics(self)
        if limit is not None:
            self._wait(limit)

    def _wait(self, timeout: float) -> None:
        """Until a broker has answered."""

        def call() -> None:
            error = new_error()
            with self._handle as handle:
                check(lib.dmq_client_wait(handle, int(timeout * 1000), error), error)

        try:
            interruptible(call, self._interrupt)
        except BaseException:
            self.close()
            raise

    # ---- sending -------------------------------------------------------------------------------

    def publish(
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
        options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        future = self._get_publisher().send(
            topic, value, key, partition=partition, headers=headers, timestamp=timestamp, **options
        )
        return future.result(timeout)

    def producer(self, **options: Any) -> Producer:
        """A producer, for many records: acks="all", compression="lz4", linger_ms=5, batch_size,
        buffer_memory, delivery_timeout_ms, ... as in dmq/dmq.h."""
        return Producer(self, _library_options(options))

    def _get_publisher(self) -> Producer:
        found = self._publisher
        if found is None:
            self._handle.check_process()  # a forked child may never get the lock
            with self._lock:
                found = self._publisher = self._publisher or Producer(self, {})
        return found

    # ---- reading -------------------------------------------------------------------------------

    def consumer(
        self,
        topics: str | Sequence[str],
        *,
        group: str | None = None,
        start: Place = "start",
        **options: Any,
    ) -> Consumer:
        """Reads all partitions of one topic or several, from the earliest record on unless start
        says otherwise ("end", "-1h", an offset, a datetime). Options as in dmq/dmq.h."""
        if group is not None:
            raise errors.NotSupportedError(
                "consumer groups do not exist yet: leave group= out, and all partitions are read"
            )
        return Consumer(self, _arguments.names(topics), start, _library_options(options))

    def read(
        self,
        topic: str,
        *,
        start: Place = "start",
        end: Place = "end",
        partition: int | None = None,
    ) -> Iterator[Message]:
        """The messages of a topic from start to end, partition by partition as they come; "end" is
        what is the end now, an offset or a time is exclusive."""
        ends = self._ends(topic, end, partition)
        with Consumer(self, [topic], start, {}, partition) as consumer:
            yield from consumer._until(topic, ends)

    def _ends(self, topic: str, end: Place, partition: int | None) -> dict[int, int]:
        if partition is None:
            numbers: Sequence[int] = range(self.topics.partitions(topic))
        else:
            numbers = [_arguments.partition_number(partition)]
        last = {p: self.offset(topic, p, "end") for p in numbers}
        if end in ("end", "now"):
            return last
        return {p: min(last[p], self.offset(topic, p, end)) for p in numbers}

    def offset(self, topic: str, partition: int, place: Place) -> int:
        """The offset that "start", "end", a time or an offset stands for in a partition now."""
        name, number = encode_name(topic), _arguments.partition_number(partition)
        offset, timestamp = parse_place(place)
        if offset >= 0:
            return offset

        def call() -> int:
            found, error = ffi.new("int64_t *"), new_error()
            with self._handle as handle:
                code = lib.dmq_topic_offset(
                    handle, name, number, offset, timestamp, _ADMIN_MS, found, error
                )
            check(code, error)
            return int(found[0])

        return interruptible(call, self._interrupt)

    # ---- the rest ------------------------------------------------------------------------------

    def admin(self, operation: str, request: dict[str, Any] | None = None) -> Any:
        """Any admin operation by its name, with the names of the REST interface in and out;
        dmq/dmq.h lists them: c.admin("describe_cluster"), c.admin("describe_quorum"), ..."""
        name = ffi.new("char[]", _arguments.c_text("operation", operation))
        asked = {} if request is None else dict(_arguments.mapping("request", request))
        text = ffi.new("char[]", _arguments.to_json("request", asked))

        def call() -> Any:
            answer, error = ffi.new("char **"), new_error()
            with self._handle as handle:
                check(lib.dmq_admin(handle, name, text, _ADMIN_MS, answer, error), error)
            try:
                return json.loads(ffi.string(answer[0]))
            finally:
                lib.dmq_free(answer[0])

        return interruptible(call, self._interrupt)

    def _adopt(self, child: Producer | Consumer) -> None:
        """Closing the client closes it, too."""
        with self._lock:
            self._children.add(child)

    def _interrupt(self) -> None:
        try:
            with self._handle as handle:
                lib.dmq_client_interrupt(handle)
        except errors.BY_CODE[lib.DMQ_ERR_CLOSED]:
            pass  # nobody is inside any more, or is being told

    def _open_children(self) -> list[Producer | Consumer]:
        if not self._handle.is_ours():
            return list(self._children)  # no other thread is here, and who has the lock is not
        with self._lock:
            return list(self._children)

    def close(self) -> None:
        """Closes producers and consumers, then the connection. What was not flushed is given up."""
        for child in self._open_children():
            child.close()
        self._handle.close(lib.dmq_client_interrupt, lib.dmq_client_close)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self.close()

    def __repr__(self) -> str:
        state = "connected" if self._handle.is_open() else "closed"
        return f"<dmq.Client {state} {self.url}>"
