"""One round of measurements, in a cluster of its own that it removes at the end."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path

import dmq
import failover
import machine
import python_program
import quorum_scale
import replicated
from figures import PARTITION_COUNTS

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
from cluster import BIN, DevCluster  # noqa: E402

SETTLE_SECONDS = 0.5  # after a load, before what must be quiet
TRICKLE_RATE = 10  # records a second of each partition
LONG_STEP, LONG_STEPS = 2_000_000, 10


@dataclass(frozen=True)
class Counts:
    """How much of everything a round does."""

    raw_rounds: int = 100
    produce_100: int = 3_000_000
    produce_1k: int = 500_000
    sync: int = 2_000
    e2e: int = 3_000
    py_send: int = 300_000
    py_many: int = 1_000_000
    beside: int = 1_000_000
    kills: int = 30
    replicated_100: int = 10_000_000
    replicated_1k: int = 300_000
    leader_kills: int = 20
    full_load_seconds: float = 600.0
    topics: int = 10_000
    partitions: int = 100_000
    brokers: int = 100
    idle_seconds: float = 5.0
    trickle_seconds: float = 3.0

    def scaled(self, factor):
        """As many of everything as the factor says, and not less than makes sense."""
        found = {}
        for field in fields(self):
            value = getattr(self, field.name) * factor
            found[field.name] = max(0.2, value) if field.type is float else max(10, int(value))
        return Counts(**found)


QUICK = Counts(
    raw_rounds=30, produce_100=500_000, produce_1k=100_000, sync=500, e2e=500, py_send=100_000,
    py_many=300_000, beside=300_000, kills=10, replicated_100=500_000, replicated_1k=50_000,
    leader_kills=10, topics=3_000, partitions=20_000,
    idle_seconds=2.0, trickle_seconds=1.0, full_load_seconds=60.0,
)  # fmt: skip


def start_cluster(folder):
    """A running cluster whose broker serves /metrics, and the seconds from exec to ready."""
    cluster = DevCluster(folder, "--port", "0", "--http", "0")
    begin = time.perf_counter()
    cluster.start()
    return cluster, time.perf_counter() - begin


class Round:
    def __init__(self, counts, say):
        self.counts = counts
        self.say = say  # called with what is measured next
        self.values = {}
        self.folder = tempfile.mkdtemp(prefix="dmq-bench-", dir="/var/tmp")
        self.cluster = None
        self.client = None

    def run(self, is_first, is_long):
        """All figures of a round; what takes long, in the first one only."""
        try:
            self.say("the machine's limits")
            program = BIN / "raw_limits"
            self.values |= machine.raw_limits(program, self.folder, self.counts.raw_rounds)
            self._start()
            self._idle()
            self._throughput()
            self._python()
            self.values["rss_load"] = self._resident()
            self._latency()
            self._restart()
            self._partitions()
            if is_first:
                self._failover()
                self._scale()
                self.values |= replicated.figures(self.counts, self.say)
            if is_long:
                self._long()
            self._stop()
        finally:
            self._end()
        return self.values

    def _end(self):
        if self.client is not None:
            self.client.close()
        if self.cluster is not None and self.cluster.process is not None:
            self.cluster.process.kill()  # the daemons die with it
            self.cluster.process.wait()
        shutil.rmtree(self.folder)
        os.sync()  # so that the next round does not pay for it

    # ---- the daemons ---------------------------------------------------------------------------

    def _start(self):
        self.say("start")
        begin = time.perf_counter()
        self.cluster, seconds = start_cluster(self.folder)
        self.client = dmq.connect(self.cluster.url)
        self._topic("first")
        self.client.publish("first", b"x")
        self.values["first_ack_ms"] = (time.perf_counter() - begin) * 1e3
        self.values["ready_ms"] = seconds * 1e3
        self._find_daemons()

    def _find_daemons(self):
        found = machine.children(self.cluster.process.pid)
        self.daemons = list(found.values())
        self.broker = found["dmq-broker"]
        services = json.loads((Path(self.folder) / "data" / "services.json").read_text())
        self.http = services["brokers"][0]["httpPort"]

    def _resident(self):
        return sum(machine.resident_mib(pid) for pid in self.daemons)

    def _processor(self):
        return sum(machine.cpu_seconds(pid) for pid in self.daemons)

    def _idle(self):
        self.say("idle")
        time.sleep(SETTLE_SECONDS)
        self.values["rss_idle"] = self._resident()
        begin, spent = time.perf_counter(), self._processor()
        time.sleep(self.counts.idle_seconds)
        seconds, spent = time.perf_counter() - begin, self._processor() - spent
        self.values["idle_cpu"] = 100.0 * spent / seconds

    def _restart(self):
        """With all that the round has left in the folder."""
        self.say("restart")
        self.client.close()
        self.cluster.stop()
        self.cluster, seconds = start_cluster(self.folder)
        self.client = dmq.connect(self.cluster.url)
        self.values["restart_ms"] = seconds * 1e3
        self._find_daemons()

    def _stop(self):
        """However it ends: `dmq dev` kills a daemon that takes too long."""
        self.say("stop")
        begin = time.perf_counter()
        self.cluster.process.terminate()
        self.cluster.process.wait()
        self.values["stop_ms"] = (time.perf_counter() - begin) * 1e3

    def _topic(self, name, partitions=1, **config):
        self.client.topics.create(name, partitions=partitions, config=config)

    # ---- the tool ------------------------------------------------------------------------------

    def _bench(self, *arguments):
        """`dmq bench` with --json: what it says, and the processor time that it used."""
        command = [BIN / "dmq", "--json", "--quiet", "bench", *map(str, arguments)]
        environment = {**os.environ, "DMQ_URL": self.cluster.url}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            said = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"dmq bench {' '.join(command[4:])}: exit {process.returncode}")
        return json.loads(said), usage.ru_utime + usage.ru_stime

    def _produce(self, topic, records, size=100):
        said, processor = self._bench("produce", topic, "--records", records, "--size", size)
        return said["records_per_s"], processor

    def _throughput(self):
        counts, values = self.counts, self.values
        self._topic("load-100")
        self._topic("load-1k")
        self.say("produce 100 B")
        spent = machine.cpu_seconds(self.broker)
        values["produce_100"], processor = self._produce("load-100", counts.produce_100)
        millions = counts.produce_100 / 1e6
        values["cpu_client"] = processor / millions
        values["cpu_broker"] = (machine.cpu_seconds(self.broker) - spent) / millions
        self.say("produce 1 KiB")
        values["produce_1k"], _ = self._produce("load-1k", counts.produce_1k, size=1024)
        for name in ("100", "1k"):
            self.say(f"consume {name}")
            values[f"consume_{name}"] = self._bench("consume", f"load-{name}")[0]["records_per_s"]

    def _latency(self):
        time.sleep(SETTLE_SECONDS)
        for suffix, config in (("", {}), ("_async", {"durability": "async"})):
            topic = f"latency{suffix}"
            self._topic(topic, **config)
            self.say(f"publish {suffix}")
            said, _ = self._bench("produce", topic, "--sync", "--records", self.counts.sync)
            self._keep(suffix[1:] or "sync", said["latency_us"])
            self.say(f"end to end {suffix}")
            said, _ = self._bench("e2e", topic, "--records", self.counts.e2e)
            self._keep(f"e2e{suffix}", said["latency_us"])

    def _keep(self, name, latency):
        for part in ("p50", "p99"):
            self.values[f"{name}_{part}"] = latency[part]

    # ---- Python --------------------------------------------------------------------------------

    def _python(self):
        counts = self.counts
        self._topic("python")
        for what, count in (
            ("send", counts.py_send),
            ("send_many", counts.py_many),
            ("batches", counts.py_many),
        ):
            self.say(f"Python {what}")
            process = python_program.start(what, self.cluster.url, "python", count)
            self.values[f"py_{what}"] = python_program.answer(process)["records_per_s"]

    # ---- many partitions -----------------------------------------------------------------------

    def _partitions(self):
        for count in PARTITION_COUNTS:
            self._topic(f"trickle-{count}", partitions=count)
            self._trickle(count)
        self.values["rss_partitions"] = self._resident()

    def _trickle(self, count):
        """A few records a second into each partition: first alone, then beside a full load."""
        self.say(f"{count} partitions")
        process = self._start_trickle(count)
        synced = machine.metric(self.http, machine.FSYNCS)
        time.sleep(self.counts.trickle_seconds)
        said = python_program.answer(process)
        synced = machine.metric(self.http, machine.FSYNCS) - synced
        name = f"trickle_{count}"
        self.values |= {
            name: said["records_per_s"],
            f"{name}_offered": said["offered_per_s"],
            f"{name}_first": said["first_ms"],
            f"{name}_p50": said["p50_ms"],
            f"{name}_p99": said["p99_ms"],
            f"{name}_fsyncs": synced / said["seconds"],
        }
        self.say(f"{count} partitions beside a load")
        process = self._start_trickle(count)
        self.values[f"beside_{count}"], _ = self._produce("load-100", self.counts.beside)
        python_program.answer(process)

    def _start_trickle(self, count):
        topic = f"trickle-{count}"
        return python_program.start_trickle(self.cluster.url, topic, count, TRICKLE_RATE)

    # ---- controllers ---------------------------------------------------------------------------

    def _failover(self):
        self.say(f"{self.counts.kills} kills of a leading controller")
        gaps = failover.gaps_ms(self.counts.kills)
        self.values |= {"failover_median": statistics.median(gaps), "failover_max": max(gaps)}

    def _scale(self):
        self.say(f"{self.counts.topics} topics")
        self.values |= quorum_scale.topics(self.counts)
        self.say(f"{self.counts.partitions} partitions")
        self.values |= quorum_scale.partitions(self.counts)

    # ---- a long run ----------------------------------------------------------------------------

    def _long(self):
        self._topic("long")
        for step in range(LONG_STEPS):
            self.say(f"long run, {step + 1} of {LONG_STEPS}")
            self._produce("long", LONG_STEP)
            self.values["long_last"] = self._resident()
            self.values.setdefault("long_first", self.values["long_last"])
        self.values |= replicated.long_figures(self.counts, self.say)
