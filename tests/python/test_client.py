"""connect, publish, read, offsets, the life of a client."""

import gc
import json
import os
import socket
import threading
import time
from datetime import datetime, timedelta

import dmq
import pytest


def test_publish_gives_the_place(c, topic3):
    before = int(time.time() * 1000)
    ack = c.publish(topic3, {"id": 1, "name": "ä"}, key="cust-7")
    assert ack.topic == topic3 and ack.partition in (0, 1, 2) and ack.offset == 0
    assert before - 1000 <= ack.timestamp <= time.time() * 1000 + 1000
    again = c.publish(topic3, b"x", key="cust-7")
    assert (again.partition, again.offset) == (ack.partition, 1)


def test_values_of_all_kinds(c, topic):
    sent = [{"a": [1, None]}, [1, 2], "ä€", b"\0\xff", bytearray(b"ba"), memoryview(b"mv"), "", b""]
    for value in (*sent, None):
        c.publish(topic, value)
    got = list(c.read(topic))
    assert got[0].json() == sent[0] and got[1].json() == [1, 2]
    assert got[0].value == b'{"a":[1,null]}'
    assert got[2].text() == "ä€" and got[2].value == "ä€".encode()
    assert [m.value for m in got[3:]] == [b"\0\xff", b"ba", b"mv", b"", b"", None]
    assert got[8].text() == "" and got[8].json() is None
    for wrong in (1, 1.5, object(), {1, 2}):
        with pytest.raises(TypeError):
            c.publish(topic, wrong)
    with pytest.raises(TypeError):
        c.publish(topic, {"a": object()})


def test_keys_headers_timestamps_partitions(c, topic3):
    ack = c.publish(
        topic3,
        b"v",
        key=b"\0k",
        headers={"t": b"1", "ü": "text", "none": None},
        partition=2,
        timestamp=1357034400000,
    )
    assert ack.partition == 2 and ack.timestamp == 1357034400000
    (m,) = c.read(topic3)
    assert (m.topic, m.partition, m.offset, m.key) == (topic3, 2, 0, b"\0k")
    assert m.headers == {"t": b"1", "ü": b"text", "none": None}
    assert m.header_list == [("t", b"1"), ("ü", b"text"), ("none", None)]
    assert m.timestamp == 1357034400000 and m.time.isoformat() == "2013-01-01T10:00:00+00:00"
    assert "offset=0" in repr(m) and repr(topic3) in repr(m)


def test_an_unknown_topic_is_named_with_what_was_meant(c):
    c.topics.create("invoices", if_not_exists=True)
    for call in (
        lambda: c.publish("invoces", b"x"),
        lambda: list(c.read("invoces")),
        lambda: c.consumer("invoces"),
        lambda: c.topics.partitions("invoces"),
        lambda: c.offset("invoces", 0, "end"),
        lambda: c.producer().send("invoces", b"x"),
    ):
        with pytest.raises(dmq.UnknownTopicOrPartitionError) as caught:
            call()
        assert caught.value.hint == "did you mean 'invoices'?"
        assert "did you mean 'invoices'?" in str(caught.value)
        assert caught.value.code == 3 and caught.value.retriable


def test_an_unknown_partition(c, topic):
    with pytest.raises(dmq.UnknownTopicOrPartitionError):
        c.publish(topic, b"x", partition=1)
    with pytest.raises(dmq.UnknownTopicOrPartitionError):
        list(c.read(topic, partition=1))
    assert list(c.read(topic, partition=0)) == []


def test_a_record_above_the_limit(c):
    c.topics.create("small", config={"max.message.bytes": 1000})
    with pytest.raises(dmq.BatchTooLargeError, match="max.message.bytes"):
        c.publish("small", b"x" * 2000)
    assert c.publish("small", b"x" * 500).offset == 0


def test_read_from_and_to(c, topic):
    for i in range(5):
        c.publish(topic, str(i))
        if i == 2:
            time.sleep(0.05)
            middle = datetime.now().astimezone()
            time.sleep(0.05)

    def texts(**places):
        return "".join(m.text() for m in c.read(topic, **places))

    assert texts() == texts(start="start", end="end") == texts(end="now") == "01234"
    assert texts(start=2) == "234" and texts(end=2) == "01" and texts(start=1, end=3) == "12"
    assert texts(start=middle) == "34" and texts(end=middle) == "012"
    assert texts(start=middle.isoformat()) == "34"
    assert texts(start=middle.replace(tzinfo=None)) == "34"  # local time, as datetime means it
    assert texts(start="-1h") == "01234" and texts(start="-1h", end="-0s") == "01234"
    assert texts(end="-1h") == "" and texts(start="end") == "" and texts(start=3, end=1) == ""
    assert texts(start=datetime.now() + timedelta(days=1)) == ""
    for wrong in ("yesterday", -1, "-1w", None, 1.5):
        with pytest.raises(dmq.InvalidArgumentError):
            texts(start=wrong)


def test_read_ends_although_somebody_writes_on(c, topic):
    for i in range(10):
        c.publish(topic, str(i))
    seen = []
    for m in c.read(topic):
        seen.append(m.text())
        c.publish(topic, "later")
    assert seen == [str(i) for i in range(10)]


def test_read_gives_all_partitions_in_order(c, topic3):
    with c.producer() as p:
        for i in range(3000):
            p.send(topic3, str(i), key=str(i % 17))
    got = list(c.read(topic3))
    assert sorted(int(m.text()) for m in got) == list(range(3000))
    for partition in range(3):
        offsets = [m.offset for m in got if m.partition == partition]
        assert offsets == list(range(len(offsets)))
    for key in range(17):
        numbers = [int(m.text()) for m in got if m.key == str(key).encode()]
        assert numbers == list(range(key, 3000, 17))


def test_offset(c, topic):
    assert c.offset(topic, 0, "start") == c.offset(topic, 0, "end") == 0
    c.publish(topic, b"x")
    assert c.offset(topic, 0, "end") == 1
    assert c.offset(topic, 0, "-1h") == 0 and c.offset(topic, 0, 7) == 7


def test_url_from_the_environment(cluster, monkeypatch):
    monkeypatch.setenv("DMQ_URL", cluster.url)
    with dmq.connect() as c:
        assert c.url == cluster.url and cluster.url in repr(c)


@pytest.mark.parametrize("url", ["http://x", "dmq://", "dmq://x:y", "dmq://h:1\0"])
def test_wrong_urls(url):
    with pytest.raises(dmq.Error) as caught:
        dmq.connect(url)
    assert isinstance(caught.value, dmq.FatalError)


def test_nobody_there():
    began = time.monotonic()
    with pytest.raises(dmq.UnreachableError) as caught:
        dmq.connect("dmq://127.0.0.1:1")
    assert isinstance(caught.value, ConnectionError) and caught.value.retriable
    assert time.monotonic() - began < 5


def test_somebody_silent_there():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(dmq.TimeoutError) as caught:
            dmq.connect(f"dmq://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        assert isinstance(caught.value, TimeoutError)


def test_unknown_options_are_refused(cluster, c):
    for call in (
        lambda: dmq.connect(cluster.url, client_idd="x"),
        lambda: c.producer(linger=5),
        lambda: c.producer(compression="gzip"),
        lambda: c.producer(transactional_id="etl"),
        lambda: c.consumer("x", fetch_min_byte=1),
    ):
        with pytest.raises(dmq.InvalidArgumentError) as caught:
            call()
        assert isinstance(caught.value, ValueError)


def test_closed_handles_say_so(cluster):
    client = dmq.connect(cluster.url)
    client.topics.create("closing", if_not_exists=True)
    producer, consumer = client.producer(), client.consumer("closing")
    producer.send("closing", b"x").result(30)
    reading = client.read("closing")
    next(reading)
    client.close()
    client.close()
    for call in (
        client.topics.list,
        lambda: client.publish("closing", b"x"),
        lambda: client.topics.partitions("closing"),
        lambda: producer.send("closing", b"x"),
        lambda: producer.send_many("closing", [b"x"]),
        producer.flush,
        lambda: next(iter(consumer)),
        lambda: consumer.position("closing", 0),
        lambda: client.consumer("closing"),
        client.producer,
    ):
        with pytest.raises(dmq.ClosedError):
            call()


def test_closing_under_threads_that_are_inside(cluster):
    """Calls end with ClosedError; none is left with memory that is gone."""
    for round_ in range(5):
        client = dmq.connect(cluster.url)
        client.topics.create("inside", partitions=2, if_not_exists=True)
        producer, consumer = client.producer(), client.consumer("inside", start="end")
        stuck = client.producer(linger_ms=60_000).send("inside", b"x")
        calls = [
            lambda p=producer: [p.send("inside", b"x") for _ in range(10_000_000)],
            lambda p=producer: [p.send("inside", b"x").result() for _ in range(10_000_000)],
            lambda p=producer: [p.send_many("inside", [b"x"] * 100) for _ in range(10_000_000)],
            lambda p=producer: [p.flush() for _ in range(10_000_000)],
            lambda k=consumer: [None for _ in k],
            stuck.result,
            lambda c=client: [c.topics.partitions("inside") for _ in range(10_000_000)],
        ]
        ends = []

        def work(call, ends=ends):
            try:
                call()
            except BaseException as error:
                ends.append(type(error))

        workers = [threading.Thread(target=work, args=(call,)) for call in calls]
        for worker in workers:
            worker.start()
        time.sleep(0.05 * round_)
        began = time.monotonic()
        client.close()
        for worker in workers:
            worker.join(10)
        assert not any(worker.is_alive() for worker in workers)
        assert set(ends) <= {dmq.ClosedError, dmq.InterruptedError} and len(ends) == len(calls)
        assert time.monotonic() - began < 5


def test_forgotten_handles_are_freed(cluster):
    threads = len(os.listdir("/proc/self/task"))
    for _ in range(3):
        client = dmq.connect(cluster.url)
        client.producer().send("freed", b"x") if "freed" in client.topics.list() else None
        client.producer()
        del client
    gc.collect()
    deadline = time.monotonic() + 5
    while len(os.listdir("/proc/self/task")) > threads and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(os.listdir("/proc/self/task")) <= threads


def test_threads_share_a_client(c, topic3):
    errors = []

    def work(number):
        try:
            for i in range(50):
                c.publish(topic3, json.dumps([number, i]))
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    got = sorted(tuple(m.json()) for m in c.read(topic3))
    assert got == [(n, i) for n in range(4) for i in range(50)]


def test_a_forked_child_is_told(c, topic):
    c.publish(topic, b"x")
    waiting = c.producer(linger_ms=60_000).send(topic, b"y")
    consumer = c.consumer(topic)
    for call in (
        lambda: c.topics.partitions(topic),
        lambda: c.publish(topic, b"z"),
        lambda: next(iter(consumer)),
        waiting.result,
    ):
        child = os.fork()
        if child == 0:
            try:
                call()
            except dmq.ForkedError:
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert c.publish(topic, b"y").offset == 1  # the parent goes on


def test_admin_takes_any_operation(c):
    cluster = c.admin("metadata")
    assert [b["brokerId"] for b in cluster["brokers"]] == [101]
    with pytest.raises(dmq.Error):
        c.admin("no_such_operation")
