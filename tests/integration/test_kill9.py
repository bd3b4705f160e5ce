"""kill -9 of the broker at random moments under load: the client's own log of what was acknowledged
(value, partition, offset) is compared with what the log holds afterwards: nothing is lost, nothing
there twice, everything in order."""

import random
import threading
import time
from collections import Counter

import pytest
from daemons import Daemons

dmq = pytest.importorskip("dmq")

KILLS = 30
KILLS_IN_FLIGHT = 25
PARTITIONS = 3


class Load:
    """A thread that sends numbered values, one producer a partition, and notes each answer."""

    def __init__(self, url, partition):
        self.client = dmq.connect(url)
        self.partition = partition
        self.sent = 0
        self.acked = {}
        self.failed = {}
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def unanswered(self):
        return self.sent - len(self.acked) - len(self.failed)

    def note(self, value, future):
        error = future.exception()
        if error is None:
            ack = future.result()
            self.acked[value] = (ack.partition, ack.offset)
        else:
            self.failed[value] = error

    def run(self):
        with self.client.producer() as producer:
            while not self.stopping.is_set():
                for _ in range(20):
                    value = f"{self.partition}:{self.sent}"
                    self.sent += 1
                    future = producer.send("load", value, partition=self.partition)
                    future.add_done_callback(lambda done, value=value: self.note(value, done))
                time.sleep(0.001)

    def finish(self):
        self.stopping.set()
        self.thread.join(120)
        assert not self.thread.is_alive(), "the producer did not flush"
        self.client.close()


def read_all(url, partition):
    with dmq.connect(url) as client:
        return [
            (message.offset, message.text())
            for message in client.read("load", partition=partition, end="end")
        ]


def kill_at_random(daemons, loads, seed):
    chance = random.Random(seed)
    in_flight = 0
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.02, 0.3))
        waiting = sum(load.unanswered() for load in loads)
        daemons.broker.kill()
        in_flight += waiting > 0
        daemons.restart_broker()
    return in_flight


def test_kill_9_loses_nothing_and_doubles_nothing(folder):
    with Daemons(folder) as daemons:
        with dmq.connect(daemons.url) as client:
            client.topics.create(
                "load", partitions=PARTITIONS, config={"segment.bytes": str(64 * 1024)}
            )
        loads = [Load(daemons.url, partition) for partition in range(PARTITIONS)]
        in_flight = kill_at_random(daemons, loads, seed=9)
        for load in loads:
            load.finish()
        acked = 0
        for load in loads:
            records = read_all(daemons.url, load.partition)
            offsets = {value: (load.partition, offset) for offset, value in records}
            twice = [value for value, n in Counter(v for _, v in records).items() if n > 1]
            order = [int(value.split(":")[1]) for _, value in records]
            assert not twice, f"written twice: {twice[:5]}"
            assert order == sorted(order), "out of order"
            assert [offset for offset, _ in records] == list(range(len(records)))
            lost = {v: at for v, at in load.acked.items() if offsets.get(v) != at}
            assert not lost, f"lost or moved: {list(lost.items())[:5]}"
            assert not load.failed, f"refused: {list(load.failed.items())[:3]}"
            acked += len(load.acked)
        print(f"{KILLS} kills, {in_flight} with requests in flight, {acked} records acknowledged")
        assert in_flight >= KILLS_IN_FLIGHT
        assert acked > 1000
