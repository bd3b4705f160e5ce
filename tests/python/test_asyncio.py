"""dmq.asyncio: the same names, awaited; nothing blocks the loop."""

import asyncio
import functools
import gc
import inspect
import itertools
import os
import threading
import time
import warnings

import dmq as sync
import dmq.asyncio as dmq
import pytest
from test_interrupt import interrupt
from test_producer import resume_broker, stopped_broker

NUMBERS = itertools.count()


def in_loop(test):
    """Runs a test that is a coroutine, and finds what was left behind in its loop."""

    @functools.wraps(test)
    def run(**fixtures):
        async def main():
            complaints = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(context))
            await asyncio.wait_for(test(**fixtures), 60)
            gc.collect()
            await asyncio.sleep(0)
            assert complaints == []
            assert len(asyncio.all_tasks()) == 1

        asyncio.run(main())

    return run


class Ticks:
    """How long the loop was stuck at most, inside the block."""

    async def __aenter__(self):
        self.longest = 0.0
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def _watch(self):
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            self.longest = max(self.longest, time.monotonic() - began)

    async def __aexit__(self, *_):
        self._task.cancel()


async def values_of(c, topic, **places):
    return [m.value async for m in c.read(topic, **places)]


# ---- the same names ------------------------------------------------------------------------------


def test_the_names_are_those_of_dmq():
    assert set(dmq.__all__) == set(sync.__all__)
    for name in dmq.__all__:
        assert getattr(dmq, name) is not None


@pytest.mark.parametrize("name", ["Client", "Topics", "Producer", "Consumer", "DevCluster"])
def test_the_methods_are_those_of_dmq(name):
    ours, theirs = getattr(dmq, name), getattr(sync, name)
    for method, function in inspect.getmembers(theirs, inspect.isfunction):
        if not method.startswith("_"):
            mine = inspect.signature(getattr(ours, method)).parameters
            assert list(mine) == list(inspect.signature(function).parameters), method


@pytest.mark.parametrize("name", ["connect", "dev"])
def test_the_functions_are_those_of_dmq(name):
    ours, theirs = getattr(dmq, name), getattr(sync, name)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


# ---- what INTERFACES promises --------------------------------------------------------------------


@in_loop
async def test_a_day_in_the_life(cluster):
    topic = f"async-{next(NUMBERS)}"
    async with dmq.connect(cluster.url) as c:
        made = await c.topics.create(topic, partitions=3, if_not_exists=True)
        assert (await c.topics.create(topic, if_not_exists=True)).id == made.id
        assert len(made.partitions) == await c.topics.partitions(topic) == 3
        ack = await c.publish(topic, {"id": 1}, key="cust-7")
        assert ack == dmq.Ack(topic, ack.partition, 0, ack.timestamp)
        assert topic in await c.topics.list()
        async with c.producer(linger_ms=5, compression="lz4") as p:
            future = p.send(topic, b"x", headers={"t": b"1"}, partition=1)
            many = p.send_many(topic, [b"a", b"b"], partition=2)
            assert isinstance(future, dmq.Future) and "pending" in repr(future)
        assert future.done() and future.result().partition == 1 and "done" in repr(future)
        assert (await many).partition == 2
        got = [m async for m in c.read(topic, start="-1h", end="now")]
        assert sorted(m.text() for m in got) == ["a", "b", "x", '{"id":1}']
        assert [m.headers for m in got if m.value == b"x"] == [{"t": b"1"}]
        async with c.consumer(topic) as consumer:
            seen = []
            async for msg in consumer:
                seen.append(msg)
                if len(seen) == 4:
                    break
            assert sorted(seen, key=repr) == sorted(got, key=repr)
            assert consumer.position(topic, 2) == 2
            assert consumer.high_watermark(topic, 2) == 2
            assert await consumer.lag() == {(topic, partition): 0 for partition in range(3)}
            await consumer.seek(topic, 2, 1)
            async for batch in consumer.batches(max_records=1):
                assert batch.values() == [b"b"]
                break
        assert (await c.topics.config(topic))["retention.ms"].is_default
        assert (await c.topics.alter(topic, {"retention.ms": 5000})).config
        assert len((await c.topics.add_partitions(topic, 1)).partitions) == 4
        assert len((await c.topics.describe(topic)).partitions) == 4
        assert await c.topics.elect(topic, 1) == await c.topics.elect(None) == []
        assert await c.offset(topic, 2, "end") == 2
        assert (await c.admin("metadata"))["brokers"][0]["brokerId"] == 101
        await c.topics.delete(topic)
        await c.topics.delete(topic, if_exists=True)


@in_loop
async def test_a_cluster_of_its_own():
    async with dmq.dev() as cluster, dmq.connect(cluster.url) as c:
        await c.topics.create("t")
        assert (await c.publish("t", b"x")).offset == 0
        folder = cluster.data
        assert os.path.isdir(folder) and cluster.log() is not None and "running" in repr(cluster)
    assert not os.path.exists(folder) and "closed" in repr(cluster)


@in_loop
async def test_without_async_with(cluster, topic):
    c = await dmq.connect(cluster.url)
    assert "connected" in repr(c) and "asyncio" in repr(c)
    p = c.producer()
    consumer = await c.consumer(topic)
    assert (await p.send(topic, b"x")).offset == 0
    assert "open" in repr(p) and topic in repr(consumer)
    await consumer.close()
    await p.close()
    await c.close()
    await c.close()
    assert "closed" in repr(c) and "closed" in repr(p) and "closed" in repr(consumer)


# ---- sending -------------------------------------------------------------------------------------


@in_loop
async def test_order_of_many_under_way(cluster, topic):
    async with dmq.connect(cluster.url) as c, c.producer() as p:
        futures = [p.send(topic, str(i)) for i in range(5000)]  # the topic is learned meanwhile
        acks = await asyncio.gather(*futures)
        assert [a.offset for a in acks] == list(range(5000))
        assert await values_of(c, topic) == [str(i).encode() for i in range(5000)]


@in_loop
async def test_many_tasks_share_a_client(cluster, topic3):
    async def work(c, number):
        for i in range(20):
            await c.publish(topic3, f"{number}-{i}", key=str(number))

    async with dmq.connect(cluster.url) as c:
        await asyncio.gather(*(work(c, n) for n in range(50)))
        got = [m async for m in c.read(topic3)]
        for number in range(50):
            mine = [m.text() for m in got if m.key == str(number).encode()]
            assert mine == [f"{number}-{i}" for i in range(20)]


@in_loop
async def test_several_clients_in_one_loop(cluster, topic):
    async with (
        dmq.connect(cluster.url) as a,
        dmq.connect(cluster.url) as b,
        a.consumer(topic) as reading,
    ):

        async def read():
            seen = []
            async for message in reading:
                seen.append(message.text())
                if len(seen) == 20:
                    return seen

        reader = asyncio.create_task(read())
        for i in range(10):
            await a.publish(topic, f"a{i}")
            await b.publish(topic, f"b{i}")
        assert await reader == [f"{x}{i}" for i in range(10) for x in "ab"]


@in_loop
async def test_send_many(cluster, topic3):
    async with dmq.connect(cluster.url) as c, c.producer() as p:
        assert (await p.send_many(topic3, [])).offset == -1
        many = [p.send_many(topic3, [f"{n}-{i}" for i in range(1000)]) for n in range(5)]
        await asyncio.gather(*many)
        await p.send_many(topic3, ["k"] * 3, keys=["1", None, "2"])
        with pytest.raises(ValueError, match="1 values, but 2 keys"):
            p.send_many(topic3, ["a"], keys=["1", "2"])
        assert len(await values_of(c, topic3)) == 5003


@in_loop
async def test_errors_reach_who_awaits(cluster, topic):
    small = f"small-{next(NUMBERS)}"
    async with dmq.connect(cluster.url) as c:
        await c.topics.create(small, config={"max.message.bytes": 1000})
        with pytest.raises(dmq.UnknownTopicOrPartitionError) as caught:
            await c.publish(small + "x", b"x")
        assert caught.value.hint == f"did you mean '{small}'?"
        with pytest.raises(dmq.InvalidTopicError):
            await c.publish("/", b"x")
        with pytest.raises(dmq.UnknownTopicOrPartitionError):
            await c.publish(topic, b"x", partition=7)
        with pytest.raises(TypeError):
            await c.publish(topic, 1)
        async with c.producer() as p:
            await p.send(small, b"x")
            with pytest.raises(dmq.BatchTooLargeError):
                p.send(small, bytes(2000))  # known at once
            with pytest.raises(dmq.BatchTooLargeError):
                p.send_many(small, [b"1", bytes(2000), b"3"])
        assert await values_of(c, small) == [b"x", b"1"]
        with pytest.raises(dmq.DeliveryError) as failed:
            async with c.producer() as p:
                p.send(small, bytes(2000))  # the topic is not known yet
                p.send(small, b"y")
        assert failed.value.failed == 1 and failed.value.code == dmq.BatchTooLargeError.code
        assert await values_of(c, small) == [b"x", b"1", b"y"]
        with pytest.raises(dmq.InvalidArgumentError):
            c.producer(linger=5)
        with pytest.raises(dmq.NotSupportedError):
            await c.consumer(topic, group="g")
        with pytest.raises(dmq.InvalidArgumentError):
            await anext(aiter((await c.consumer(topic)).batches(max_records=0)))


@in_loop
async def test_a_lost_topic_fails_the_delivery(cluster):
    topic = f"goes-{next(NUMBERS)}"
    async with dmq.connect(cluster.url) as c:
        await c.topics.create(topic)
        with pytest.raises(dmq.DeliveryError) as caught:
            async with c.producer(linger_ms=500, delivery_timeout_ms=3000) as p:
                await p.send(topic, b"ok")
                futures = [p.send(topic, b"x") for _ in range(3)]
                many = p.send_many(topic, [b"y"] * 4)
                await c.topics.delete(topic)
        assert caught.value.failed == 7
        for future in (*futures, many):
            assert isinstance(future.exception(), dmq.Error)


@in_loop
async def test_a_full_buffer_waits_and_never_blocks(cluster, topic):
    async with dmq.connect(cluster.url) as c:
        p = c.producer(buffer_memory=200_000, batch_size=10_000)
        await p.send(topic, b"first")
        with stopped_broker(cluster):
            async with Ticks() as ticks:
                futures = [p.send(topic, b"%d" % i + bytes(1000), timeout=20) for i in range(300)]
                many = p.send_many(topic, [b"many"] * 500)
                with pytest.raises(dmq.BufferFullError, match="nothing was sent"):
                    await p.send(topic, b"hurry", timeout=0.2)
                with pytest.raises(dmq.BufferFullError) as caught:
                    for _ in range(1000):
                        futures.append(p.send(topic, bytes(1000)))
                assert caught.value.retriable and "await what you send" in str(caught.value)
                waiting = asyncio.create_task(p.flush())
                with pytest.raises(dmq.TimeoutError):
                    await p.flush(0.2)
                assert not any(f.done() for f in futures) and not waiting.done()
            assert ticks.longest < 0.5
            resume_broker(cluster)
            await waiting_or_hurry(waiting)
        assert all(f.done() for f in futures) and many.done()
        assert (await p.send(topic, b"last")).offset == len(futures) + 501
        got = await values_of(c, topic)
        assert [v[:3].strip(b"\0") for v in got[1:301]] == [b"%d" % i for i in range(300)]
        assert got[301:801] == [b"many"] * 500


async def waiting_or_hurry(waiting):
    """The record that was given up counts as one that was not stored."""
    with pytest.raises(dmq.DeliveryError) as caught:
        await waiting
    assert caught.value.failed == 1


@in_loop
async def test_leaving_flushes(cluster, topic):
    async with dmq.connect(cluster.url) as c:
        async with c.producer(linger_ms=60_000) as p:
            future = p.send(topic, b"x")
        assert future.result().offset == 0
        with pytest.raises(KeyError):
            async with c.producer(linger_ms=60_000) as p:
                p.send(topic, b"y")
                raise KeyError
        assert await values_of(c, topic) == [b"x", b"y"]


@in_loop
async def test_closing_gives_up_what_waits(cluster, topic):
    c = await dmq.connect(cluster.url)
    p = c.producer(linger_ms=60_000)
    await asyncio.wait((p.send(topic, b"x"),), timeout=0.2)
    reading = asyncio.create_task(anext(aiter(await c.consumer(topic, start="end"))))
    with stopped_broker(cluster):
        waiting = [p.send(topic, b"x"), p.send_many(topic, [b"y"])]
        flushing = asyncio.create_task(p.flush())
        await asyncio.sleep(0)
        await c.close()
    for task in (*waiting, reading, flushing):
        with pytest.raises(dmq.ClosedError):
            await task
    for call in (
        lambda: p.send(topic, b"x"),
        lambda: p.send_many(topic, [b"x"]),
        p.flush,
        c.topics.list,
        lambda: c.publish(topic, b"x"),
        lambda: c.consumer(topic),
        lambda: c.offset(topic, 0, "end"),
    ):
        with pytest.raises(dmq.ClosedError):
            await call()


# ---- reading -------------------------------------------------------------------------------------


@in_loop
async def test_batches_end_when_nothing_comes(cluster, topic):
    async with dmq.connect(cluster.url) as c, c.producer() as p, c.consumer(topic) as consumer:
        await p.send_many(topic, [str(i) for i in range(1000)])
        began = time.monotonic()
        sizes = [len(b) async for b in consumer.batches(max_records=300, timeout=0.3)]
        assert sum(sizes) == 1000 and max(sizes) == 300 and time.monotonic() - began < 5
        with pytest.raises(RuntimeError, match="one at a time"):
            await asyncio.gather(*(anext(aiter(consumer.batches(timeout=0.3))) for _ in range(2)))


@in_loop
async def test_reading_lets_others_run(cluster, topic):
    async with dmq.connect(cluster.url) as c:
        async with c.producer() as p:
            for _ in range(20):
                p.send_many(topic, [bytes(100)] * 10_000)
        async with Ticks() as ticks:
            assert sum([1 async for _ in c.read(topic)]) == 200_000
        assert ticks.longest < 0.5


@in_loop
async def test_a_consumer_that_is_left_alone_costs_nothing(cluster, topic):
    """Its batches keep the eventfd readable; the loop must sleep all the same."""
    async with dmq.connect(cluster.url) as c, c.consumer(topic) as consumer:
        await c.publish(topic, b"x")
        await asyncio.sleep(0.2)
        before = time.process_time()
        await asyncio.sleep(1)
        assert time.process_time() - before < 0.3
        assert (await c.publish(topic, b"y")).offset == 1
        assert (await anext(aiter(consumer))).value == b"x"


@in_loop
async def test_errors_of_places(cluster, topic):
    async with dmq.connect(cluster.url) as c:
        for wrong in ("yesterday", -1, None):
            with pytest.raises(dmq.InvalidArgumentError):
                await values_of(c, topic, start=wrong)
        async with c.consumer(topic) as consumer:
            with pytest.raises(dmq.InvalidArgumentError):
                consumer.position("other", 0)
            await c.publish(topic, b"x")
            await consumer.seek(topic, 0, 7)
            with pytest.raises(dmq.OffsetOutOfRangeError):
                await anext(aiter(consumer))


# ---- giving up -----------------------------------------------------------------------------------


@in_loop
async def test_cancelled_awaits_leave_everything_usable(cluster, topic):
    async with dmq.connect(cluster.url) as c, c.consumer(topic) as consumer:
        await c.publish(topic, b"0")
        assert (await anext(aiter(consumer))).value == b"0"
        with stopped_broker(cluster):
            for call in (
                c.publish(topic, b"1"),
                anext(aiter(consumer)),
                c.topics.list(),
                c.topics.create("cancelled", if_not_exists=True),
                c.offset(topic, 0, "end"),
                dmq.connect(cluster.url),
                values_of(c, topic),
            ):
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await call
                assert time.monotonic() - began < 1
            with pytest.raises(dmq.TimeoutError, match="it may be stored"):
                await c.publish(topic, b"2", timeout=0.1)
        assert topic in await c.topics.list()
        assert (await c.publish(topic, b"3")).offset == 3  # what was given up is stored
        assert [(await anext(aiter(consumer))).value for _ in range(3)] == [b"1", b"2", b"3"]


@in_loop
async def test_one_that_is_cancelled_does_not_end_another(cluster, topic):
    async with dmq.connect(cluster.url) as c:
        with stopped_broker(cluster):
            others = [asyncio.create_task(c.topics.partitions(topic)) for _ in range(3)]
            others.append(asyncio.create_task(c.topics.create(f"{topic}-made")))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await c.topics.list()
            c._sync._interrupt()  # not meant for any of them
            await asyncio.sleep(0.1)
        assert await asyncio.gather(*others[:3]) == [1, 1, 1]
        assert (await others[3]).name == f"{topic}-made"


@in_loop
async def test_a_client_is_of_one_loop(cluster, topic):
    async with dmq.connect(cluster.url) as c:

        def elsewhere():
            with pytest.raises(RuntimeError, match="another event loop"):
                asyncio.run(c.topics.list())

        await asyncio.to_thread(elsewhere)


def test_forgotten_clients_warn_and_are_freed(cluster):
    async def main():
        c = await dmq.connect(cluster.url)
        c.producer()
        del c
        gc.collect()
        await asyncio.sleep(0.05)

    threads = threading.active_count()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())
    assert [w.category for w in caught] == [ResourceWarning]
    assert "unclosed <dmq.asyncio.Client" in str(caught[0].message)
    assert threading.active_count() == threads


SCRIPT = """
import asyncio, signal, sys
import dmq.asyncio as dmq
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
URL, T = sys.argv[1:]

async def main():
    async with dmq.connect(URL) as c:
        await c.publish(T, b'warm')
        async with c.producer() as p, c.consumer(T, start='end') as consumer:
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            print("blocked", flush=True)
            CODE

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize(
    "code",
    [
        "await c.publish(T, b'x')",
        "async for m in consumer: pass",
        "await c.topics.list()",
        "await dmq.connect(URL, timeout=600)",
        "await asyncio.gather(c.topics.list(), c.topics.create('never'), consumer.seek(T, 0, 0))",
    ],
)
def test_ctrl_c(code, cluster, topic):
    said = interrupt(SCRIPT.replace("CODE", code), cluster, topic, "-W", "error")
    assert said == (0, "")
