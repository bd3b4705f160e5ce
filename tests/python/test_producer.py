"""Producers and their futures."""

import gc
import os
import signal
import sys
import threading
import time
import weakref

import dmq
import pytest
from dmq import producer as _producer


def test_futures(c, topic):
    with c.producer() as p:
        future = p.send(topic, b"x")
        ack = future.result(10)
        assert future.done() and ack == dmq.Ack(topic, 0, 0, ack.timestamp)
        assert future.exception() is None and "done" in repr(future)
        assert future.result() == ack  # again


def test_order_and_offsets_of_many(c, topic):
    with c.producer(linger_ms=1) as p:
        futures = [p.send(topic, str(i)) for i in range(5000)]  # over several lots of slots
        p.flush()
        assert all(f.done() for f in futures)
        assert [f.result().offset for f in futures] == list(range(5000))
    assert [m.text() for m in c.read(topic)] == [str(i) for i in range(5000)]


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("acks", ["all", 1])
def test_options(c, topic, compression, acks):
    with c.producer(compression=compression, acks=acks, linger_ms=5, batch_size=1000) as p:
        p.send_many(topic, [b"abc" * 100] * 100)
    assert [m.value for m in c.read(topic)] == [b"abc" * 100] * 100


def test_acks_0_tells_no_offset(c, topic):
    with c.producer(acks=0) as p:
        assert p.send(topic, b"x").result(10).offset == -1
    with c.consumer(topic) as consumer:  # nobody said when it would be there
        assert next(iter(consumer)).value == b"x"


def test_send_many(c, topic):
    with c.producer() as p:
        one = p.send_many(topic, [b"a", "b", {"c": 1}, None, b""])
        assert one.result(10).offset == 4
        p.send_many(topic, iter([b"i", b"j"])).result(10)
        p.send_many(topic, (memoryview(b"m"), bytearray(b"n"))).result(10)
        assert p.send_many(topic, []).done()
    values = [m.value for m in c.read(topic)]
    assert values == [b"a", b"b", b'{"c":1}', None, b"", b"i", b"j", b"m", b"n"]


def test_send_many_with_keys(c, topic3):
    keys = [None if i % 5 == 0 else f"k{i % 5}" for i in range(1000)]
    with c.producer() as p:
        p.send_many(topic3, [str(i).encode() for i in range(1000)], keys)
        p.send_many(topic3, [b"at 2"], partition=2)
        with pytest.raises(ValueError, match="2 values, but 1 keys"):
            p.send_many(topic3, [b"a", b"b"], [b"k"])
    got = {m.text(): m for m in c.read(topic3)}
    assert len(got) == 1001 and got["at 2"].partition == 2
    for i, key in enumerate(keys):
        assert got[str(i)].key == (key.encode() if key else None)
    assert all(len({got[str(i)].partition for i in range(k, 1000, 5)}) == 1 for k in range(1, 5))


def test_sizes_are_those_of_the_bytes(c, topic):
    wide = memoryview(bytes(range(16))).cast("I")  # its len is 4, its bytes are 16
    with c.producer() as p:
        p.send_many(topic, [wide, b"next"])
        p.send(topic, wide)
    assert [m.value for m in c.read(topic)] == [bytes(range(16)), b"next", bytes(range(16))]


def test_leaving_flushes(c, topic):
    with c.producer(linger_ms=60_000) as p:
        future = p.send(topic, b"x")
        assert not future.done()
    assert future.done() and future.result().offset == 0
    with pytest.raises(KeyError), c.producer(linger_ms=60_000) as p:
        p.send(topic, b"y")
        raise KeyError  # what was sent before it is stored
    assert [m.value for m in c.read(topic)] == [b"x", b"y"]


def test_a_lost_topic_fails_the_delivery(c):
    """Records that wait for their linger when their topic goes."""
    c.topics.create("goes")
    with pytest.raises(dmq.DeliveryError) as caught:
        with c.producer(linger_ms=500, delivery_timeout_ms=3000) as p:
            p.send("goes", b"ok").result(10)
            futures = [p.send("goes", b"x") for _ in range(3)]
            many = p.send_many("goes", [b"y"] * 4)
            c.topics.delete("goes")
    assert caught.value.failed == 7 and "7 records were not stored" in str(caught.value)
    for future in (*futures, many):
        assert isinstance(future.exception(), dmq.Error)
        with pytest.raises(dmq.Error):
            future.result()


def test_closing_gives_up_what_waits(c, topic):
    p = c.producer(linger_ms=60_000)
    future = p.send(topic, b"x")
    called = []
    future.add_done_callback(called.append)
    p.close()
    with pytest.raises(dmq.ClosedError):
        future.result()
    assert called == [future]
    future.add_done_callback(called.append)
    assert called == [future, future]
    assert list(c.read(topic)) == []


def test_result_in_time_or_not(c, topic):
    with c.producer(linger_ms=400) as p:
        future = p.send(topic, b"x")
        with pytest.raises(dmq.TimeoutError):
            future.result(0.05)
        assert future.result(10).offset == 0


def test_flush_in_time_or_not(c, topic, cluster):
    with c.producer() as p:
        p.send(topic, b"x").result(10)  # it knows the topic then
        with stopped_broker(cluster):
            p.send(topic, b"x")
            with pytest.raises(dmq.TimeoutError):
                p.flush(0.2)
        p.flush(20)


def test_callbacks(c, topic3):
    done, event = [], threading.Event()

    def note(future):
        done.append(future.result().offset)
        if len(done) == 1000:
            event.set()

    def fail(future):
        raise RuntimeError("in a callback")

    hook, threading.excepthook = threading.excepthook, lambda args: raised.append(args.exc_value)
    raised = []
    try:
        with c.producer() as p:
            p.send(topic3, b"x").add_done_callback(fail)
            for _ in range(1000):
                p.send(topic3, b"x").add_done_callback(note)
            assert event.wait(10)
            late = p.send(topic3, b"x")
            late.result(10)
            late.add_done_callback(lambda f: done.append("at once"))
            assert done[-1] == "at once"
    finally:
        threading.excepthook = hook
    assert len(done) == 1001 and [str(e) for e in raised] == ["in a callback"]


def test_futures_may_be_forgotten(c, topic):
    """Deliveries are written into memory of futures that nobody kept."""
    with c.producer(linger_ms=20) as p:
        for i in range(20_000):
            p.send(topic, str(i))
            if i % 1000 == 0:
                p.send_many(topic, [b"m"] * 10)
    assert sum(1 for _ in c.read(topic)) == 20_000 + 20 * 10


def test_slots_outlive_their_deliveries_whatever_threads_do(c, topic, monkeypatch):
    """A delivery is written to where its future's slot lies; nobody keeps the futures here."""
    freed_too_early = []

    def look(address, count):
        slots = _producer.ffi.cast("dmqpy_slot *", address)
        if _producer.lib.dmqpy_has_pending(slots, count):
            freed_too_early.append(address)

    new_lot = _producer.Producer._new_lot

    def watched(self, size):
        slots = new_lot(self, size)
        address = int(_producer.ffi.cast("uintptr_t", slots))
        weakref.finalize(slots, look, address, size)  # its memory is still there then
        return slots

    monkeypatch.setattr(_producer, "_SLOTS", 2)
    monkeypatch.setattr(_producer.Producer, "_new_lot", watched)
    interval = sys.getswitchinterval()
    with c.producer() as p:

        def work():
            for i in range(2000):
                p.send(topic, b"x") if i % 3 else p.send_many(topic, [b"x", b"y"])
                if i % 7 == 0:
                    with pytest.raises(TypeError):
                        p.send(topic, b"x", headers={5: b""})

        threads = [threading.Thread(target=work) for _ in range(6)]
        sys.setswitchinterval(1e-6)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        p.flush()
        assert not freed_too_early
        for _ in range(100):
            for _ in range(100):
                p.send(topic, b"x")
            p.flush()
        assert len(p._live) < 200


def test_the_collector_may_close_a_producer_anywhere(c):
    def work():
        cycle = [c.producer()]
        cycle.append(cycle)
        del cycle
        with c._lock:  # as while the client opens its own producer
            gc.collect()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(20)
    assert not worker.is_alive()


def test_threads_share_a_producer(c):
    """And nobody sleeps while another takes his delivery: that would cost 100 ms each time."""
    c.topics.create("shared", partitions=3, config={"durability": "async"})
    results = []

    def work(number):
        for i in range(100):
            results.append(p.send("shared", f"{number}-{i}", key=str(number)).result(10))

    with c.producer() as p:
        workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        began = time.monotonic()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert time.monotonic() - began < 8
    assert len({(r.partition, r.offset) for r in results}) == 400
    for number in range(4):
        mine = [m.text() for m in c.read("shared") if m.key == str(number).encode()]
        assert mine == [f"{number}-{i}" for i in range(100)]


def test_a_full_buffer_waits_and_then_says_so(c, topic, cluster):
    with c.producer(buffer_memory=200_000, batch_size=10_000) as p:
        p.send(topic, b"x").result(10)
        with stopped_broker(cluster):
            with pytest.raises(dmq.BufferFullError) as caught:
                for _ in range(1000):
                    p.send(topic, b"x" * 1000, timeout=0.3)
            assert caught.value.retriable
            with pytest.raises(dmq.BufferFullError):
                p.send_many(topic, [b"y" * 1000] * 1000, timeout=0.3)
            waiting = threading.Timer(0.3, resume_broker, [cluster])
            waiting.start()
            p.send(topic, b"last", timeout=20).result(20)
            waiting.join()


def broker_of(cluster):
    supervisor = cluster._process.pid
    with open(f"/proc/{supervisor}/task/{supervisor}/children") as children:
        for pid in map(int, children.read().split()):
            with open(f"/proc/{pid}/comm") as name:
                if name.read().strip() == "dmq-broker":
                    return pid
    raise AssertionError("no broker")


class stopped_broker:
    """The broker does not answer inside the block."""

    def __init__(self, cluster):
        self.cluster = cluster

    def __enter__(self):
        os.kill(broker_of(self.cluster), signal.SIGSTOP)

    def __exit__(self, *_):
        resume_broker(self.cluster)


def resume_broker(cluster):
    os.kill(broker_of(cluster), signal.SIGCONT)
