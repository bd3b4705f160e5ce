"""A handle that is used in a forked child says so, whatever the parent's threads were doing."""

import asyncio
import faulthandler
import os
import subprocess
import sys
import threading
import time

import dmq
import dmq.asyncio
import pytest
from test_producer import stopped_broker


def in_child(function, seconds=10):
    """The exit code of a child that runs function; if it hangs it says where."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            faulthandler.dump_traceback_later(seconds, exit=True)
            code = function() or 0
        except BaseException as error:
            os.write(2, f"in the child: {error!r}\n".encode())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def uses_of(c, producer, consumer, future, topic):
    return {
        "publish": lambda: c.publish(topic, b"x"),
        "admin": lambda: c.topics.list(),
        "partitions": lambda: c.topics.partitions(topic),
        "read": lambda: list(c.read(topic)),
        "new producer": c.producer,
        "new consumer": lambda: c.consumer(topic),
        "send": lambda: producer.send(topic, b"x"),
        "send with headers": lambda: producer.send(topic, b"x", headers={"a": b""}),
        "send_many": lambda: producer.send_many(topic, [b"x"]),
        "flush": producer.flush,
        "result": future.result,
        "exception": future.exception,
        "callback": lambda: future.add_done_callback(print),
        "iterate": lambda: next(iter(consumer)),
        "batches": lambda: next(consumer.batches()),
        "seek": lambda: consumer.seek(topic, 0, 0),
        "position": lambda: consumer.position(topic, 0),
    }


def test_each_use_is_refused_with_a_hint(c, topic):
    producer, consumer = c.producer(linger_ms=60_000), c.consumer(topic)
    future = producer.send(topic, b"x")

    def child():
        for name, use in uses_of(c, producer, consumer, future, topic).items():
            try:
                use()
            except dmq.ForkedError as error:
                assert error.hint == "open a new one in the child", name
            else:
                raise AssertionError(f"{name} was not refused")
        assert not future.done()
        consumer.close()
        producer.close()
        c.close()
        return 7

    assert in_child(child) == 7
    producer.flush()
    assert future.result().offset == 0 and next(iter(consumer)).value == b"x"


def test_the_child_may_have_its_own(cluster, c, topic):
    c.publish(topic, b"parent")

    def child():
        with dmq.connect(cluster.url) as own:
            assert own.publish(topic, b"child").offset == 1
        return 7

    assert in_child(child) == 7
    assert [m.value for m in c.read(topic)] == [b"parent", b"child"]


def test_threads_that_were_inside_are_not_waited_for(cluster, c, topic):
    """Every kind of call is under way in the parent, again and again, at the moment of the fork."""
    producer, consumer = c.producer(), c.consumer(topic, start="end")
    lingering = c.producer(linger_ms=60_000).send(topic, b"x")
    is_over = threading.Event()

    def work(call):
        while not is_over.is_set():
            try:
                call()
            except dmq.Error:
                return

    calls = [
        lambda: [producer.send(topic, b"x") for _ in range(100)],
        lambda: producer.send(topic, b"x").result(),
        producer.flush,
        lambda: next(consumer.batches(timeout=0.01), None),
        lambda: c.topics.partitions(topic),
        lambda: lingering.exception(0.01),
        lambda: c.publish(topic, b"x"),
    ]
    workers = [threading.Thread(target=work, args=(call,)) for call in calls]
    for worker in workers:
        worker.start()

    def child():
        for use in uses_of(c, producer, consumer, lingering, topic).values():
            with pytest.raises(dmq.ForkedError):
                use()
        consumer.close()
        producer.close()
        c.close()
        return 7

    try:
        for _ in range(20):
            assert in_child(child) == 7
            time.sleep(0.01)
    finally:
        is_over.set()
        c.close()
        for worker in workers:
            worker.join(20)
    assert not any(worker.is_alive() for worker in workers)


CHILD_ENDS = """
import os, sys, threading, time, dmq
URL, T = sys.argv[1:]
c = dmq.connect(URL)
p, k = c.producer(linger_ms=60000), c.consumer(T, start="end")
f = p.send(T, b"x")
for call in (f.result, lambda: next(iter(k))):
    threading.Thread(target=call, daemon=True).start()
time.sleep(0.2)
child = os.fork()
if child == 0:
    sys.exit(7)  # with all that ends a Python: threads, objects, exit handlers
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_ends_as_any_python_does(cluster, topic):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", CHILD_ENDS, cluster.url, topic],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (7, "")


def test_asyncio_in_a_child(cluster, topic):
    async def main():
        async with dmq.asyncio.connect(cluster.url) as c:
            p = c.producer()
            await p.send(topic, b"x")

            def child():
                for call in (lambda: p.send(topic, b"x"), lambda: p.send_many(topic, [b"x"])):
                    with pytest.raises(dmq.ForkedError):
                        call()
                return 7

            assert in_child(child) == 7
            assert (await p.send(topic, b"y")).offset == 1

    asyncio.run(main())


def test_a_fork_while_an_admin_call_waits(cluster, c):
    with stopped_broker(cluster):
        worker = threading.Thread(target=lambda: c.topics.list())
        worker.start()
        time.sleep(0.1)

        def child():
            with pytest.raises(dmq.ForkedError):
                c.topics.list()
            c.close()
            return 7

        assert in_child(child) == 7
    worker.join(20)
    assert not worker.is_alive()
