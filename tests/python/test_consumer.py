"""Consumers, batches, messages."""

import gc
import threading
import time
from datetime import UTC, datetime

import dmq
import pytest


def fill(c, topic, count):
    with c.producer() as p:
        p.send_many(topic, [str(i) for i in range(count)])


def test_iterates_from_the_earliest_and_goes_on(c, topic):
    fill(c, topic, 3)
    later = threading.Timer(0.2, lambda: c.publish(topic, "later"))
    with c.consumer(topic) as consumer:
        messages = iter(consumer)
        assert [next(messages).text() for _ in range(3)] == ["0", "1", "2"]
        later.start()
        assert next(messages).text() == "later"
    later.join()


def test_start(c, topic):
    fill(c, topic, 5)
    for start, expected in (("start", "0"), (3, "3"), ("-1h", "0")):
        with c.consumer(topic, start=start) as consumer:
            assert next(iter(consumer)).text() == expected
    with c.consumer(topic, start="end") as consumer:
        assert list(consumer.batches(timeout=0.2)) == []
        c.publish(topic, "new")
        assert next(iter(consumer)).text() == "new"


def test_batches(c, topic):
    fill(c, topic, 2500)
    with c.consumer(topic) as consumer:
        batches = list(consumer.batches(max_records=1000, timeout=0.5))
    assert all(0 < len(b) <= 1000 for b in batches)
    assert [m.text() for b in batches for m in b] == [str(i) for i in range(2500)]
    assert [o for b in batches for o in b.offsets()] == list(range(2500))
    assert [v for b in batches for v in b.values()] == [str(i).encode() for i in range(2500)]
    assert {(b.topic, b.partition) for b in batches} == {(topic, 0)}
    with c.consumer(topic) as consumer, pytest.raises(dmq.InvalidArgumentError):
        next(consumer.batches(max_records=0))


def test_a_batch_is_a_sequence(c, topic):
    with c.producer() as p:
        p.send_many(topic, [b"a", None, b"", b"d"], [b"k", None, b"", b"kk"]).result(10)
    with c.consumer(topic) as consumer:
        batch = next(consumer.batches(max_records=None))
    assert len(batch) == 4 and batch and "4 messages" in repr(batch)
    assert batch.values() == [b"a", None, b"", b"d"]
    assert batch.keys() == [b"k", None, b"", b"kk"]
    assert batch[-1].value == b"d" and batch[3].key == b"kk" and batch[1].value is None
    assert [m.offset for m in batch[1:3]] == [1, 2]
    assert len(batch.timestamps()) == 4
    assert [m.value for m in reversed(batch)] == [b"d", b"", None, b"a"]
    with pytest.raises(IndexError):
        batch[4]


def test_messages_outlive_batch_consumer_and_client(cluster, c, topic):
    c.publish(topic, b"value", key=b"key", headers={"h": b"1"})
    client = dmq.connect(cluster.url)
    (message,) = client.read(topic)
    client.close()
    del client
    gc.collect()
    assert (message.value, message.key, message.offset) == (b"value", b"key", 0)
    assert message.headers == {"h": b"1"}


def test_messages_compare_by_place(c, topic, topic3):
    fill(c, topic, 2)
    first, second = list(c.read(topic)), list(c.read(topic))
    assert first == second and first[0] != first[1] and len({*first, *second}) == 2


def test_several_topics(c, topic, topic3):
    fill(c, topic, 10)
    fill(c, topic3, 10)
    with c.consumer([topic, topic3]) as consumer:
        found = [(m.topic, m.text()) for b in consumer.batches(timeout=0.5) for m in b]
    assert sorted(found) == sorted((t, str(i)) for t in (topic, topic3) for i in range(10))


def test_position_and_seek_among_messages(c, topic):
    fill(c, topic, 100)
    with c.consumer(topic) as consumer:
        assert consumer.position(topic, 0) == 0
        messages = iter(consumer)
        assert [next(messages).offset for _ in range(3)] == [0, 1, 2]
        assert consumer.position(topic, 0) == 3  # of what was given, not of what was fetched
        consumer.seek(topic, 0, 50)
        assert consumer.position(topic, 0) == 50
        assert next(messages).offset == 50
        consumer.seek(topic, 0, "start")
        assert next(messages).offset == 0
        consumer.seek(topic, 0, "end")
        c.publish(topic, b"new")
        assert next(messages).offset == 100
        assert consumer.high_watermark(topic, 0) == 101
        assert consumer.lag() == {(topic, 0): 0}
        consumer.seek(topic, 0, 40)
        next(messages)
        assert consumer.lag() == {(topic, 0): 60}
    with c.consumer(topic) as consumer:
        first = next(consumer.batches(max_records=10))
        assert len(first) == 10 and consumer.position(topic, 0) == 10
        assert next(iter(consumer)).offset == 10  # both ways go on where the other stopped


def test_a_seek_in_one_partition_leaves_the_others(c, topic3):
    for partition in range(3):
        for i in range(5):
            c.publish(topic3, str(i), partition=partition)
    with c.consumer(topic3) as consumer:
        seen = []
        for message in consumer:
            seen.append((message.partition, message.offset))
            if len(seen) == 1:
                consumer.seek(topic3, (message.partition + 1) % 3, 3)
            if len(seen) == 12:
                break
    skipped = {((seen[0][0] + 1) % 3, offset) for offset in range(3)}
    assert set(seen) == {(p, o) for p in range(3) for o in range(5)} - skipped
    assert len(seen) == len(set(seen)) + (12 - 12)


def test_an_offset_beyond_the_log(c, topic):
    fill(c, topic, 3)
    with c.consumer(topic, start=10) as consumer:
        with pytest.raises(dmq.OffsetOutOfRangeError):
            next(iter(consumer))
        consumer.seek(topic, 0, "start")
        assert next(iter(consumer)).offset == 0
    with c.consumer(topic, start=10, auto_offset_reset="earliest") as consumer:
        assert next(iter(consumer)).offset == 0


def test_places_at_their_extremes(c, topic):
    fill(c, topic, 3)
    for place in (datetime(1, 1, 2), datetime(1969, 12, 31, tzinfo=UTC), "1900-01-01"):
        assert len(list(c.read(topic, start=place, end="now"))) == 3
    for place in (datetime(9999, 12, 30), "9999-12-31T23:59:59"):
        assert list(c.read(topic, start=place, end="now")) == []
    for place, kind in (
        (2**63, dmq.OffsetOutOfRangeError),
        (2**70, dmq.OffsetOutOfRangeError),
        (-1, dmq.InvalidArgumentError),
        ("yesterday", dmq.InvalidArgumentError),
        (None, dmq.InvalidArgumentError),
    ):
        with pytest.raises(kind, match="offset|place"):
            c.consumer(topic, start=place)


def test_groups_do_not_exist_yet(c, topic):
    with pytest.raises(dmq.errors.NotSupportedError, match="group") as caught:
        c.consumer(topic, group="billing")
    assert isinstance(caught.value, dmq.Error) and isinstance(caught.value, NotImplementedError)


def test_what_is_not_assigned(c, topic):
    with c.consumer(topic) as consumer:
        for call in (
            lambda: consumer.seek(topic, 1, 0),
            lambda: consumer.position(topic, 1),
            lambda: consumer.position("other", 0),
            lambda: consumer.high_watermark(topic, 7),
        ):
            with pytest.raises(dmq.InvalidArgumentError):
                call()


def test_batches_end_when_nothing_comes(c, topic):
    with c.consumer(topic) as consumer:
        began = time.monotonic()
        assert list(consumer.batches(timeout=0.3)) == []
        assert 0.25 < time.monotonic() - began < 2
        assert list(consumer.batches(timeout=0)) == []


def test_the_gil_is_free_while_a_consumer_waits(c, topic):
    with c.consumer(topic) as consumer:
        waiter = threading.Thread(target=lambda: list(consumer.batches(timeout=1)))
        waiter.start()
        count, deadline = 0, time.monotonic() + 0.5
        while time.monotonic() < deadline:
            count += 1
        waiter.join()
    assert count > 10_000
