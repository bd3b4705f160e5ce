"""Ctrl-C ends every call that blocks, at once and as KeyboardInterrupt."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from test_producer import resume_broker, stopped_broker

# Each makes what it needs, says "blocked" and blocks for ever. The broker is stopped meanwhile.
BLOCKING = {
    "iterate": "for m in consumer: pass",
    "batches": "for b in consumer.batches(): pass",
    "publish": "c.publish(T, b'x')",
    "first send": "c.producer().send(T, b'x')",
    "result": "p.send(T, b'x').result()",
    "flush": "p.send(T, b'x'); p.flush()",
    "full buffer": "while True: p.send(T, bytes(1000), timeout=600)",
    "send_many": "p.send_many(T, [bytes(1000)] * 10_000, timeout=600)",
    "create": "c.topics.create('never')",
    "list": "c.topics.list()",
    "offset": "c.offset(T, 0, 'end')",
    "partitions": "c.topics.partitions('unknown')",
    "read": "list(c.read(T))",
    "connect": "dmq.connect(URL, timeout=600)",
    "exception": "p.send(T, b'x').exception()",
    "describe": "c.topics.describe(T)",
    "config": "c.topics.config(T)",
    "alter": "c.topics.alter(T, {'retention.ms': 1})",
    "add partitions": "c.topics.add_partitions(T, total=2)",
    "elect": "c.topics.elect(T)",
    "delete": "c.topics.delete(T)",
    "admin": "c.admin('describe_cluster')",
    "consumer": "c.consumer(T)",
    "consumer by time": "c.consumer(T, start='-1h')",
    "seek": "consumer.seek(T, 0, '-1h')",
    "read by time": "list(c.read(T, end='-1s'))",
    "leave": "with c.producer() as q: q.send(T, b'x', timeout=600)",
    "a new topic": "p.send('other', b'x', timeout=600)",
}
SCRIPT = """
import signal, sys, dmq
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
URL, T = sys.argv[1:]
c = dmq.connect(URL)
c.publish(T, b'warm')
p = c.producer(buffer_memory=100_000, batch_size=10_000)
p.send(T, b'warm').result()
consumer = c.consumer(T, start='end')
print("ready", flush=True)
sys.stdin.readline()
try:
    print("blocked", flush=True)
    CODE
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def interrupt(script, cluster, topic, *options):
    """Runs a script that says "ready", and when it is told to, "blocked", and then blocks. Ctrl-C
    must end it at once. Returns its exit code and what it wrote to stderr."""
    child = subprocess.Popen(
        [sys.executable, *options, "-c", script, cluster.url, topic],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        with stopped_broker(cluster):
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.stdout.readline() == "blocked\n"
            time.sleep(0.4)
            assert child.poll() is None, child.stderr.read()
            began = time.monotonic()
            os.kill(child.pid, signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n", child.stderr.read()
            assert time.monotonic() - began < 2.5
            child.wait(20)
        return child.returncode, child.stderr.read()
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            pipe.close()


@pytest.mark.parametrize("what", BLOCKING)
def test_ctrl_c(what, cluster, topic):
    interrupt(SCRIPT.replace("CODE", BLOCKING[what]), cluster, topic)


def test_the_client_goes_on_after_ctrl_c(cluster, c, topic):
    """A handler that raises something of its own, while an admin call waits."""

    class Enough(Exception):
        pass

    def give_up(*_):
        raise Enough

    before = signal.signal(signal.SIGALRM, give_up)
    try:
        with stopped_broker(cluster):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Enough):
                c.topics.list()
            resume_broker(cluster)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert topic in c.topics.list()  # an interrupt that came too late is not felt
    assert c.publish(topic, b"x").offset == 0


def test_ctrl_c_of_one_thread_leaves_the_others_alone(cluster, c, topic):
    found = []
    calls = [
        c.topics.list,
        lambda: c.topics.partitions(topic),
        lambda: c.topics.create(f"{topic}-made"),
    ]
    workers = [threading.Thread(target=lambda call=call: found.append(call())) for call in calls]
    with stopped_broker(cluster):
        for worker in workers:
            worker.start()
        for _ in range(3):
            time.sleep(0.1)
            c._interrupt()
    for worker in workers:
        worker.join(20)
    assert len(found) == 3 and f"{topic}-made" in c.topics.list()
