"""The figures of the table: what each is called, its unit, and the limit that it is held against.

A round of measurements is a dict of numbers by key. A limit is computed from the same round, so
that both saw the same machine: its hours differ, and on a virtual one its seconds."""

from collections.abc import Callable
from dataclasses import dataclass

RATES = ("records/s", "MB/s", "fsyncs/s", "topics/s")  # more is better, and the ratio is in percent


@dataclass(frozen=True)
class Limit:
    """What the machine (or a figure measured before) gives, in the unit of the figure."""

    title: str
    of: Callable[[dict], float]


@dataclass(frozen=True)
class Figure:
    key: str
    title: str
    unit: str
    limit: Limit | None = None

    def ratio(self, values):
        """Figure to limit, both of one round."""
        return values[self.key] / self.limit.of(values)


def records_of(key, size, title):
    """A limit in MB/s as records of that size."""
    return Limit(title, lambda v: v[key] * 1e6 / size)


def figure_of(key, title):
    return Limit(title, lambda v: v[key])


def stored(part):
    """What a single record must wait for: the disk, and the way there and back."""
    return Limit(
        "append+sync of 4 KiB, and a round trip",
        lambda v: v[f"append_4k_{part}_us"] + v[f"loopback_trip_{part}_us"],
    )


def delivered(part):
    return Limit("a loopback round trip", lambda v: v[f"loopback_trip_{part}_us"])


APPEND = "append+sync of 1 MiB"
LOOPBACK = "loopback TCP"
SYNCS = Limit("appends+syncs of 4 KiB", lambda v: 1e6 / v["append_4k_p50_us"])

MACHINE = [
    Figure("append_1m_mb_per_s", "append and fdatasync of 1 MiB", "MB/s"),
    Figure("append_1m_p50_us", "  one of them, p50", "us"),
    Figure("append_1m_ahead_mb_per_s", "  into space written before", "MB/s"),
    Figure("append_1m_ahead_p50_us", "  one of them, p50", "us"),
    Figure("append_4k_p50_us", "append and fdatasync of 4 KiB, p50", "us"),
    Figure("append_4k_p99_us", "  p99", "us"),
    Figure("append_4k_ahead_p50_us", "  into space written before, p50", "us"),
    Figure("append_4k_ahead_p99_us", "  p99", "us"),
    Figure("page_cache_mb_per_s", "write to the page cache", "MB/s"),
    Figure("loopback_mb_per_s", "loopback TCP, one way", "MB/s"),
    Figure("loopback_trip_p50_us", "loopback TCP, 100 bytes and back, p50", "us"),
    Figure("loopback_trip_p99_us", "  p99", "us"),
    Figure("memory_copy_mb_per_s", "memory copy", "MB/s"),
]

THROUGHPUT = [
    Figure(
        "produce_100", "produce 100 B", "records/s", records_of("append_1m_mb_per_s", 100, APPEND)
    ),
    Figure(
        "produce_1k", "produce 1 KiB", "records/s", records_of("append_1m_mb_per_s", 1024, APPEND)
    ),
    Figure(
        "consume_100", "consume 100 B", "records/s", records_of("loopback_mb_per_s", 100, LOOPBACK)
    ),
    Figure(
        "consume_1k", "consume 1 KiB", "records/s", records_of("loopback_mb_per_s", 1024, LOOPBACK)
    ),
    Figure("cpu_client", "processor for 1,000,000 of 100 B: client", "s"),
    Figure("cpu_broker", "  broker", "s"),
]

LATENCIES = [
    Figure("sync_p50", "one publish waited for, p50", "us", stored("p50")),
    Figure("sync_p99", "  p99", "us", stored("p99")),
    Figure("async_p50", "  durability=async, p50", "us", delivered("p50")),
    Figure("async_p99", "  p99", "us", delivered("p99")),
    Figure("e2e_p50", "sender to reader at 1,000 records/s, p50", "us", stored("p50")),
    Figure("e2e_p99", "  p99", "us", stored("p99")),
    Figure("e2e_async_p50", "  durability=async, p50", "us", delivered("p50")),
    Figure("e2e_async_p99", "  p99", "us", delivered("p99")),
]

PYTHON = [
    Figure("py_send", "send", "records/s", figure_of("produce_100", "produce 100 B in C")),
    Figure("py_send_many", "send_many", "records/s", figure_of("produce_100", "the same")),
    Figure(
        "py_batches", "batches(), each value touched", "records/s",
        figure_of("consume_100", "consume 100 B in C"),
    ),
]  # fmt: skip

DAEMONS = [
    Figure("ready_ms", "`dmq dev`, empty folder: exec to ready", "ms"),
    Figure("first_ack_ms", "  to the first record of a new topic stored", "ms"),
    Figure("restart_ms", "  with the data of a round: exec to ready", "ms"),
    Figure("stop_ms", "  SIGTERM to its end, with 1,100 partitions", "ms"),
    Figure("rss_idle", "memory of both daemons, idle", "MiB"),
    Figure("rss_load", "  after the load", "MiB"),
    Figure("rss_partitions", "  with 1,100 partitions more", "MiB"),
    Figure("idle_cpu", "processor of both daemons, idle", "% of one"),
]


def partition_figures(count):
    name = f"{count:,} partitions"
    return [
        Figure(
            f"trickle_{count}", f"{name}, 10 records/s each", "records/s",
            Limit("what is sent", lambda v: v[f"trickle_{count}_offered"]),
        ),
        Figure(f"trickle_{count}_first", "  until each has its first record", "ms"),
        Figure(f"trickle_{count}_p50", "  until a later one is stored, p50", "ms"),
        Figure(f"trickle_{count}_p99", "  p99", "ms"),
        Figure(f"trickle_{count}_fsyncs", "  files and folders synced", "fsyncs/s", SYNCS),
        Figure(
            f"beside_{count}", "  produce 100 B beside it", "records/s",
            figure_of("produce_100", "produce 100 B alone"),
        ),
    ]  # fmt: skip


CONTROLLERS = [
    Figure("failover_median", "no topic is created after kill -9 of the leader", "ms"),
    Figure("failover_max", "  the longest time of all kills", "ms"),
    Figure("topics_per_s", "topics created by four clients at once", "topics/s", SYNCS),
    Figure("topics_p50_ms", "  one of them, p50", "ms"),
    Figure("topics_p99_ms", "  p99", "ms"),
]

MUCH_METADATA = [
    Figure("image_bytes", "memory of a controller for a partition", "bytes"),
    Figure("quorum_idle", "processor of the leading controller, idle", "% of one"),
    Figure("change_bytes", "one topic more: to each broker", "bytes"),
    Figure("change_ms", "  until every broker has it", "ms"),
    Figure("change_cpu", "  processor of the leading controller", "ms"),
    Figure("controller_ready", "a controller starts again: exec to ready", "ms"),
    Figure("broker_ready", "a new broker: exec to ready", "ms"),
    Figure("core_heartbeat_us", "processor of the core: a heartbeat", "us"),
    Figure("core_snapshot_ms", "  a snapshot", "ms"),
    Figure("core_large_topic_longest_step_ms", "  a topic of 100,000 partitions", "ms"),
]

REPLICATED = [
    Figure("replicated_100", "produce 100 B", "records/s", figure_of("produce_100", "one broker")),
    Figure("replicated_1k", "produce 1 KiB", "records/s", figure_of("produce_1k", "one broker")),
    Figure("replicated_p50", "a record at 1,000 records/s, until stored, p50", "ms"),
    Figure("replicated_p99", "  p99", "ms"),
    Figure("replicated_rss", "memory of the six daemons after the load", "MiB"),
    Figure("replicated_trickle", "1,000 partitions, 1 record/s each", "records/s"),
    Figure("replicated_trickle_p50", "  until it is stored, p50", "ms"),
    Figure("replicated_trickle_p99", "  p99", "ms"),
    Figure("replicated_trickle_cpu", "  processor of the three brokers", "% of one"),
    Figure("replicated_trickle_fsyncs", "  files and folders synced", "fsyncs/s", SYNCS),
    Figure(
        "replicated_beside",
        "  produce 100 B beside it",
        "records/s",
        figure_of("replicated_100", "produce 100 B alone"),
    ),
    Figure("catch_up", "an emptied broker has all of that again", "MB/s"),
    Figure(
        "catch_up_beside",
        "  produce 100 B meanwhile",
        "records/s",
        figure_of("replicated_100", "without that"),
    ),  # fmt: skip
    Figure("leader_gap_median", "nothing acknowledged after kill -9 of a leader", "ms"),
    Figure("leader_gap_max", "  the longest time of all kills", "ms"),
]

LONG = [
    Figure("long_first", "memory of both daemons after 2,000,000 records", "MiB"),
    Figure("long_last", "  after 20,000,000", "MiB", figure_of("long_first", "after 2,000,000")),
    Figure("full_rate", "three brokers under full load, 100 B", "records/s"),
    Figure("full_fenced", "  brokers fenced meanwhile", "brokers"),
    Figure("full_elected", "  elections of controllers meanwhile", "elections"),
    Figure("full_rss", "  memory of the six daemons at its end", "MiB"),
]

PARTITION_COUNTS = (100, 1000)


def groups(is_long):
    """(heading, figures) of the table, in order."""
    found = [
        ("This machine, without DMQ", MACHINE),
        ("One producer, one partition, acks=all, synced before it is acknowledged", THROUGHPUT),
        ("Latency, 100 B", LATENCIES),
        ("Python, 100 B", PYTHON),
        ("The daemons", DAEMONS),
        ("Many partitions", [f for n in PARTITION_COUNTS for f in partition_figures(n)]),
        ("Three controllers", CONTROLLERS),
        ("Three controllers, many partitions and brokers", MUCH_METADATA),
        ("Three controllers and three brokers, three replicas, two in sync", REPLICATED),
    ]
    return [*found, ("A long run", LONG)] if is_long else found
