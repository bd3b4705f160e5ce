"""Wrong types and extremes for every argument of every public function: what is refused is refused
in a sentence that names the argument, by TypeError or a dmq.Error, and nothing else comes out."""

import asyncio
import math
from datetime import UTC, datetime, timedelta, timezone

import dmq
import dmq.asyncio
import pytest

HUGE = 10**5000  # Python refuses to print it
HALF = "\ud800"  # half of a pair: no UTF-8
ODD = [
    None, True, False, 0, 1, -1, 2**31, -(2**31) - 1, 2**63, 10**30, HUGE, -HUGE,
    0.5, math.nan, math.inf, -math.inf, 1e300, "", " ", "a", "a\0b", HALF, "x" * 300, "\u00e4",
    b"", b"a", bytearray(b"a"), memoryview(b"a"), [], ["a"], [1], (), ("a",), {}, {"a": 1}, {1: 2},
    {"a": {1}}, {"a": math.nan}, set(), object(), int, iter("a"), 1j, range(3),
    datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), datetime.min, datetime.max,
    datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=timezone(-timedelta(hours=23))),
]  # fmt: skip

# What Python and cffi say where nobody looked: none of it tells a user which argument it was.
BARE = (
    "ctype",
    "initializer",
    "unhashable",
    "has no attribute",
    "can't be",
    "body is not",
    "codec",
)


def complaint(function, name, value):
    """The sentence of the refusal; None: it was taken."""
    try:
        function(value)
    except (dmq.Error, TypeError, ValueError, IndexError) as error:
        text = str(error)
        known = isinstance(error, dmq.Error | TypeError | IndexError)
        assert known, f"{name}={value!r:.80}: {type(error).__name__}: {text}"
        assert len(text) > 12 and not any(b in text for b in BARE), f"{name}={value!r:.80}: {text}"
        if isinstance(error, TypeError):
            assert name in text, f"{name}={value!r:.80}: {text}"
        return text
    return None


def sweep(calls):
    """Of each argument, how many of the odd values were refused."""
    refused = {}
    for name, function in calls:
        values = [v for v in ODD if not (name == "values" and v is None)]
        told = [complaint(function, name.rsplit(" ", 1)[-1], value) for value in values]
        refused[name] = sum(t is not None for t in told)
    assert all(refused.values()), refused
    return refused


def is_long(timeout):
    """None is for ever, and so is what no clock counts."""
    return timeout is None or (isinstance(timeout, int | float) and timeout > 1)


def take(iterator):
    """The first of it, at most."""
    return next(iter(iterator), None)


def test_topics(c, topic):
    t = c.topics
    sweep([
        ("create name", lambda v: t.create(v, if_not_exists=True)),
        ("partitions", lambda v: t.create("x", partitions=v) and t.delete("x")),
        ("replicas", lambda v: t.create("x", replicas=v) and t.delete("x")),
        ("config", lambda v: t.create("x", config=v) and t.delete("x")),
        ("value config", lambda v: t.create("x", config={"retention.ms": v}) and t.delete("x")),
        ("if_not_exists", lambda v: t.create(topic, if_not_exists=v)),
        ("describe name", t.describe),
        ("config name", t.config),
        ("alter name", lambda v: t.alter(v, {})),
        ("alter config", lambda v: t.alter(topic, v)),
        ("alter value config", lambda v: t.alter(topic, {"retention.ms": v})),
        ("add name", lambda v: t.add_partitions(v, total=1)),
        ("count", lambda v: t.add_partitions(topic, v if v != 1 else 0)),
        ("total", lambda v: t.add_partitions(topic, total=v)),
        ("elect name", t.elect),
        ("elect partition", lambda v: t.elect(topic, v)),
        ("unclean", lambda v: t.elect(topic, unclean=v)),
        ("accept_data_loss", lambda v: t.elect(topic, unclean=True, accept_data_loss=v)),
        ("broker", lambda v: t.elect(topic, unclean=True, accept_data_loss=True, broker=v)),
        ("delete name", lambda v: t.delete(v, if_exists=True)),
        ("if_exists", lambda v: t.delete("nowhere", if_exists=v)),
        ("partitions topic", t.partitions),
    ])  # fmt: skip


def test_sending(c, topic):
    with c.producer() as p:
        future = p.send(topic, b"x")
        sweep([
            ("publish topic", lambda v: c.publish(v, b"x", timeout=0.3)),
            ("send value", lambda v: p.send(topic, v)),
            ("send key", lambda v: p.send(topic, b"x", v)),
            ("send partition", lambda v: p.send(topic, b"x", partition=v)),
            ("send headers", lambda v: p.send(topic, b"x", headers=v)),
            ("value of headers", lambda v: p.send(topic, b"x", headers={"a": v})),
            ("send timestamp", lambda v: p.send(topic, b"x", timestamp=v)),
            ("send timeout", lambda v: p.send(topic, b"x", timestamp=1, timeout=v)),
            ("values", lambda v: p.send_many(topic, v)),
            ("one of values", lambda v: p.send_many(topic, [v])),
            ("keys", lambda v: p.send_many(topic, [b"x"], v)),
            ("one of keys", lambda v: p.send_many(topic, [b"x"], [v])),
            ("many partition", lambda v: p.send_many(topic, [b"x"], partition=v)),
            ("many timeout", lambda v: p.send_many(topic, [b"x"], timeout=v)),
            ("many topic", lambda v: p.send_many(v, [b"x"], timeout=0.3)),
            ("flush timeout", p.flush),
            ("result timeout", lambda v: p.send(topic, b"x").result(v)),
            ("exception timeout", lambda v: p.send(topic, b"x").exception(v)),
            ("function", lambda v: v is not int and future.add_done_callback(v)),
        ])  # fmt: skip
        sent = p.send(topic, b"last")
        p.flush()
    assert sent.result().offset == c.offset(topic, sent.result().partition, "end") - 1


def test_reading(c, topic):
    c.publish(topic, b"x", partition=0)
    with c.consumer(topic) as consumer:
        batch = take(consumer.batches())
        sweep([
            ("read topic", lambda v: take(c.read(v))),
            ("read partition", lambda v: take(c.read(topic, partition=v))),
            ("offset topic", lambda v: c.offset(v, 0, 0)),
            ("offset partition", lambda v: c.offset(topic, v, "end")),
            ("topics", lambda v: c.consumer(v).close()),
            ("seek topic", lambda v: consumer.seek(v, 0, 0)),
            ("seek partition", lambda v: consumer.seek(topic, v, 0)),
            ("position topic", lambda v: consumer.position(v, 0)),
            ("position partition", lambda v: consumer.position(topic, v)),
            ("watermark topic", lambda v: consumer.high_watermark(v, 0)),
            ("watermark partition", lambda v: consumer.high_watermark(topic, v)),
            ("max_records", lambda v: take(consumer.batches(v, timeout=0))),
            ("batches timeout", lambda v: is_long(v) or take(consumer.batches(timeout=v))),
            ("index", batch.headers),
        ])  # fmt: skip
        places = [
            ("place", lambda v: c.offset(topic, 0, v)),
            ("start place", lambda v: c.consumer(topic, start=v).close()),
            ("seek place", lambda v: consumer.seek(topic, 0, v)),
            ("read place", lambda v: take(c.read(topic, start=0, end=v))),
        ]
        for name, function in places:
            told = [complaint(function, "place", value) for value in ODD]
            assert sum(t is not None for t in told) > 20, name


def test_the_rest(c, cluster):
    sweep([
        ("operation", c.admin),
        ("request", lambda v: c.admin("describe_topics", v)),
        ("value of request", lambda v: c.admin("describe_topics", {"topicNames": v})),
        ("url", lambda v: v is None or dmq.connect(v, timeout=0.1).close()),
        ("timeout", lambda v: dmq.connect(cluster.url, timeout=v).close()),
        ("client.id", lambda v: dmq.connect(cluster.url, client_id=v).close()),
        ("linger.ms", lambda v: c.producer(linger_ms=v).close()),
        ("no.such.option", lambda v: c.producer(no_such_option=v).close()),
        ("fetch.max.bytes", lambda v: c.consumer("x", fetch_max_bytes=v).close()),
        ("port", lambda v: v in (0, 1) or dmq.dev(port=v).close()),
        ("data", lambda v: dmq.dev(v) if not isinstance(v, str | bytes | None) else 1 / len("x")),
    ])  # fmt: skip


def test_asyncio(cluster, topic):
    async def go():
        async with dmq.asyncio.connect(cluster.url) as c, c.producer() as p:
            for value in ODD:
                await refused_or_done(c.topics.describe(value), "name", value)
                for name in ("value", "key", "partition", "headers", "timestamp", "timeout"):
                    given = {"value": b"x", "topic": topic, name: value}
                    if name != "timeout" or value not in (False, 0, -1, -math.inf, -HUGE):
                        await refused_or_done(sent(p, **given), name, value)
                for name in ("values", "keys", "partition", "timeout"):
                    given = {"values": [b"x"], "topic": topic, name: value}
                    if name != "timeout" or value not in (False, 0, -1, -math.inf, -HUGE):
                        await refused_or_done(sent_many(p, **given), name, value)
            await p.flush()
            with pytest.raises(TypeError, match="timeout"):
                await p.flush("soon")
            with pytest.raises(TypeError, match="timeout"):
                await c.publish(topic, b"x", timeout="soon")
            with pytest.raises(TypeError, match="topic must be a str, not list"):
                p.send(["a"], b"x")
            async with c.consumer(topic) as consumer:
                with pytest.raises(TypeError, match="max_records"):
                    await anext(consumer.batches(0.5))
                with pytest.raises(TypeError, match="timeout"):
                    await anext(consumer.batches(timeout="soon"))

    async def sent(p, topic, value, **given):
        await p.send(topic, value, **given)

    async def sent_many(p, topic, values, **given):
        await p.send_many(topic, values, **given)

    async def refused_or_done(awaitable, name, value):
        try:
            await awaitable
        except Exception as error:
            raised = error

            def again(_):
                raise raised

            complaint(again, name, value)

    asyncio.run(go())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda c: c.publish("t", b"x", timestamp="noon"),
         "timestamp must be ms since 1970, from 0 (now) on, or a datetime, not str ('noon')"),
        (lambda c: c.publish("t", b"x", timestamp=-1),
         "timestamp is -1: it must be ms since 1970, from 0 (now) on, or a datetime"),
        (lambda c: c.publish("t", 5), "value must be bytes, str, dict, list or None, not int (5)"),
        (lambda c: c.publish("t", {"a": {1}}), "value cannot be JSON: Object of type set is not"),
        (lambda c: c.publish("t", HALF), "value cannot be UTF-8: the character at index 0 is half"),
        (lambda c: c.publish(b"t", b"x"), "topic must be a str, not bytes (b't')"),
        (lambda c: c.topics.create("t", partitions=10**30),
         "partitions is 1000000000000000000000000000000: it must be 1 to 100000, or None"),
        (lambda c: c.topics.create("t", partitions=HUGE), "partitions is an int of 16610 bits:"),
        (lambda c: c.topics.create("t", partitions="3"), "partitions must be 1 to 100000, or None"),
        (lambda c: c.topics.create("t", config={"retention.ms": None}),
         "config['retention.ms'] must be a str, a number or a bool, not None"),
        (lambda c: c.topics.elect("t", unclean="no"), "unclean must be True or False, not str"),
        (lambda c: c.producer(linger_ms=None), "linger.ms must be a str, a number or a bool"),
        (lambda c: c.consumer([]), "topics is []: it must be the name of a topic, or a sequence"),
        (lambda c: c.producer().send_many("t", "abc"),
         "values must be an iterable of them: send takes a single one, not str ('abc')"),
        (lambda c: c.producer().send_many("t", [b"a", 1]), "values[1] must be bytes, str, dict,"),
        (lambda c: dmq.dev(port=70000), "port is 70000: it must be 0 (any that is free) to 65535"),
    ],
)  # fmt: skip
def test_sentences(c, call, said):
    with pytest.raises((TypeError, dmq.InvalidArgumentError)) as caught:
        call(c)
    assert said in str(caught.value)


def test_datetimes_are_timestamps(c, topic):
    moment = datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)
    local = moment.astimezone().replace(tzinfo=None)
    east = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))
    for given in (moment, local, east, 1714979289123):
        assert c.publish(topic, b"x", timestamp=given, partition=0).timestamp == 1714979289123
    assert [m.time for m in c.read(topic, start=moment, partition=0)] == [moment] * 4

    async def go():
        async with dmq.asyncio.connect(c.url) as a:
            return await a.publish(topic, b"x", timestamp=moment)

    assert asyncio.run(go()).timestamp == 1714979289123


def test_headers_of_a_message_count_from_its_batch(c, topic):
    for n in range(3):
        c.publish(topic, b"x", partition=0, headers={"n": str(n)})
    with c.consumer(topic) as consumer:
        batch = take(consumer.batches(max_records=2))
        assert batch.headers(-1) == batch.headers(1) == [("n", b"1")]
        for index in (2, -3, 10**30):
            with pytest.raises((IndexError, dmq.Error), match=r"index .*2 messages"):
                batch.headers(index)
