"""Three controllers and three brokers; topics with three replicas, of which two must be in sync,
and every acknowledged record fsynced on them. What they take, and for how long nothing is
acknowledged when the leader of a partition is killed."""

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import dmq
import machine
import python_program

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integration"))
from cluster import BIN  # noqa: E402
from whole import BROKERS, CONTROLLERS, Whole  # noqa: E402

RATE = 1000  # records a second while leaders are killed
QUIET_SECONDS = 0.5  # with all replicas in sync, before a kill
AFTER_SECONDS = 0.5  # behind the first acknowledgement after it: there may be a second gap
FLUSH_SECONDS = 60
TRICKLE_PARTITIONS = 1000
FULL_LOAD_STEP = 5_000_000


class Stream:
    """A thread that sends numbers at a steady rate with acks=all, and notes when each was
    acknowledged."""

    def __init__(self, url, topic):
        self.client = dmq.connect(url)
        self.topic = topic
        self.sent = 0
        self.acknowledged = []  # times
        self.failed = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _note(self, future):
        error = future.exception()
        if error is None:
            self.acknowledged.append(time.monotonic())
        else:
            self.failed.append(error)

    def _run(self):
        begin = time.monotonic()
        with self.client.producer() as producer:
            while not self.stopping.is_set():
                due = int((time.monotonic() - begin) * RATE)
                while self.sent < due:
                    future = producer.send(self.topic, str(self.sent))
                    future.add_done_callback(self._note)
                    self.sent += 1
                time.sleep(1 / RATE)
            producer.flush(FLUSH_SECONDS)

    def wait_for_one_after(self, moment, timeout=30.0):
        while not self.acknowledged or self.acknowledged[-1] <= moment:
            if time.monotonic() > moment + timeout:
                raise TimeoutError(f"nothing acknowledged in {timeout} s: {self.failed[-1:]}")
            time.sleep(0.001)

    def finish(self):
        self.stopping.set()
        self.thread.join()
        self.client.close()

    def longest_gap(self, begin, end):
        """Between two acknowledgements of which the second came in that time."""
        pairs = itertools.pairwise(self.acknowledged)
        return max(after - before for before, after in pairs if begin < after <= end)


def kill_leaders(cluster, client, stream, kills):
    """The time of each kill, and when records flowed again."""
    windows = []
    for _ in range(kills):
        cluster.wait_in_sync(client, stream.topic)
        time.sleep(QUIET_SECONDS)
        victim = cluster.partition(client, stream.topic, 0).leader
        begin = time.monotonic()
        cluster.kill(victim)
        stream.wait_for_one_after(time.monotonic())
        time.sleep(AFTER_SECONDS)
        windows.append((begin, time.monotonic()))
        cluster.start(victim)
    return windows


def require_each_once(client, stream):
    """Everything that was sent is there, once, in order."""
    found = [int(message.text()) for message in client.read(stream.topic)]
    if stream.failed:
        raise RuntimeError(f"{len(stream.failed)} records were refused: {stream.failed[0]}")
    if found != list(range(stream.sent)):
        raise RuntimeError(f"{stream.sent} records sent, {len(found)} found, or in another order")


def failover(cluster, client, kills):
    client.topics.create("failover", partitions=1, replicas=3, config={"min.insync.replicas": 2})
    stream = Stream(cluster.url, "failover")
    try:
        stream.wait_for_one_after(time.monotonic())
        windows = kill_leaders(cluster, client, stream, kills)
    finally:
        stream.finish()
    require_each_once(client, stream)
    gaps = [1e3 * stream.longest_gap(*window) for window in windows]
    return {"leader_gap_median": statistics.median(gaps), "leader_gap_max": max(gaps)}


def start_produce(cluster, topic, *options):
    command = [BIN / "dmq", "--json", "--quiet", "bench", "produce", topic, *map(str, options)]
    environment = {**os.environ, "DMQ_URL": cluster.url}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


def produced(process):
    said, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{process.args[3:]}: exit {process.returncode}")
    return json.loads(said)


def produce(cluster, topic, *options):
    return produced(start_produce(cluster, topic, *options))


def resident(cluster):
    return sum(machine.resident_mib(d.process.pid) for d in cluster.daemons.values())


def load(cluster, client, counts):
    for name in ("load-100", "load-1k", "publish"):
        client.topics.create(name, partitions=1, replicas=3, config={"min.insync.replicas": 2})
        cluster.wait_in_sync(client, name)
    small = produce(cluster, "load-100", "--records", counts.replicated_100)
    large = produce(cluster, "load-1k", "--records", counts.replicated_1k, "--size", 1024)
    after_load = resident(cluster)
    said = produce(cluster, "publish", "--records", counts.e2e, "--throughput", RATE)
    return {
        "replicated_100": small["records_per_s"],
        "replicated_1k": large["records_per_s"],
        "replicated_p50": said["latency_us"]["p50"] / 1e3,
        "replicated_p99": said["latency_us"]["p99"] / 1e3,
        "replicated_rss": after_load,
    }


def full_load(cluster, client, seconds):
    """Two producers as fast as they go while nobody dies: whoever is fenced or elected then, is it
    wrongly. What is older than a second may go, so that no disk fills up."""
    topics = ("full-1", "full-2")
    config = {"min.insync.replicas": 2, "retention.ms": 1000, "segment.bytes": 64 << 20}
    for name in topics:
        client.topics.create(name, partitions=3, replicas=3, config=config)
        cluster.wait_in_sync(client, name)
    begin, before, records = time.monotonic(), disturbances(cluster), 0
    while time.monotonic() < begin + seconds:
        started = [start_produce(cluster, name, "--records", FULL_LOAD_STEP) for name in topics]
        records += sum(produced(process)["records"] for process in started)
    fenced, elected = (a - b for a, b in zip(disturbances(cluster), before, strict=True))
    return {
        "full_rate": records / (time.monotonic() - begin),
        "full_fenced": fenced,
        "full_elected": elected,
        "full_rss": resident(cluster),
    }


def disturbances(cluster):
    """(brokers fenced since the start, elections that controllers stood for)"""

    def total(name):
        return sum(
            machine.metric(port, name) for n, port in cluster.http_ports.items() if n in CONTROLLERS
        )

    fenced = total("dmq_controller_silent_brokers_total") + total(
        "dmq_controller_gone_brokers_total"
    )
    return fenced, total("dmq_controller_elections_total")


def trickle(cluster, client, counts):
    """A record a second into each of many partitions: alone, then beside a full load."""
    client.topics.create(
        "trickle", partitions=TRICKLE_PARTITIONS, replicas=3, config={"min.insync.replicas": 2}
    )
    cluster.wait_in_sync(client, "trickle")
    process = python_program.start_trickle(cluster.url, "trickle", TRICKLE_PARTITIONS, 1)
    time.sleep(1.5)
    python_program.answer(process)  # every log has its first file
    process = python_program.start_trickle(cluster.url, "trickle", TRICKLE_PARTITIONS, 1)
    before = work(cluster)
    time.sleep(counts.trickle_seconds)
    said = python_program.answer(process)
    processor, synced = (a - b for a, b in zip(work(cluster), before, strict=True))
    process = python_program.start_trickle(cluster.url, "trickle", TRICKLE_PARTITIONS, 1)
    beside = produce(cluster, "load-100", "--records", counts.beside)
    python_program.answer(process)
    return {
        "replicated_trickle": said["records_per_s"],
        "replicated_trickle_p50": said["p50_ms"],
        "replicated_trickle_p99": said["p99_ms"],
        "replicated_trickle_cpu": 100 * processor / said["seconds"],
        "replicated_trickle_fsyncs": synced / said["seconds"],
        "replicated_beside": beside["records_per_s"],
    }


def work(cluster):
    """(seconds of processor, files and folders synced) of all brokers since their start"""
    synced = sum(machine.metric(cluster.http_ports[n], machine.FSYNCS) for n in BROKERS)
    return sum(machine.cpu_seconds(cluster.daemons[n].process.pid) for n in BROKERS), synced


def log_bytes(folder):
    return sum(path.stat().st_size for path in folder.glob("*/*/*.log"))


def catch_up(cluster, client, counts):
    """A broker that leads nothing of the loads comes back with an empty folder, while another
    producer goes on."""
    loads = ("load-100", "load-1k")
    leaders = {cluster.partition(client, topic, 0).leader for topic in loads}
    victim = next(n for n in BROKERS if n not in leaders)
    cluster.kill(victim)
    size = log_bytes(cluster.data(victim))
    shutil.rmtree(cluster.data(victim))
    begin = time.monotonic()
    cluster.start(victim)
    beside = start_produce(cluster, "publish", "--records", counts.replicated_100)
    for topic in loads:
        cluster.wait_in_sync(client, topic)
    seconds = time.monotonic() - begin
    rate = produced(beside)["records_per_s"]
    return {"catch_up": size / 1e6 / seconds, "catch_up_beside": rate}


def long_figures(counts, say):
    folder = tempfile.mkdtemp(prefix="dmq-full-load-", dir="/var/tmp")
    try:
        with Whole(folder) as cluster, dmq.connect(cluster.url) as client:
            say("ten minutes of full load")
            return full_load(cluster, client, counts.full_load_seconds)
    finally:
        shutil.rmtree(folder)


def figures(counts, say):
    folder = tempfile.mkdtemp(prefix="dmq-replicated-", dir="/var/tmp")
    try:
        with Whole(folder) as cluster, dmq.connect(cluster.url) as client:
            say("three brokers")
            found = load(cluster, client, counts)
            say(f"{TRICKLE_PARTITIONS} partitions, three replicas each")
            found |= trickle(cluster, client, counts)
            say("an emptied broker")
            found |= catch_up(cluster, client, counts)
            say(f"{counts.leader_kills} kills of a leading broker")
            return found | failover(cluster, client, counts.leader_kills)
    finally:
        shutil.rmtree(folder)
