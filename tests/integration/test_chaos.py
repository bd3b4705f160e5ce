"""Three controllers and three brokers under load while they are killed, paused, emptied and
damaged, in an order drawn from a seed. Then everything that was acknowledged is there, once, in
order, at its offset, and every replica holds the same bytes.

DMQ_CHAOS_SECONDS: how long faults go on; DMQ_CHAOS_SEED: their order. `./run chaos` sets both."""

import os
import random
import time
from pathlib import Path

import pytest

dmq = pytest.importorskip("dmq")

import chaos  # noqa: E402
from whole import BROKERS, Whole  # noqa: E402

SENDERS, READERS = 3, 2
SECONDS = float(os.environ.get("DMQ_CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("DMQ_CHAOS_SEED", random.SystemRandom().randrange(10**6)))
LEAST_ACKNOWLEDGED = 1000


def create_topics(client):
    segments = {"segment.bytes": 262144}
    safe = {**segments, "min.insync.replicas": 2}
    client.topics.create(
        chaos.SAFE, partitions=chaos.PARTITIONS[chaos.SAFE], replicas=3, config=safe
    )
    client.topics.create(chaos.ALONE, partitions=1, replicas=1, config=segments)


def load(cluster, client, history):
    """Faults under load; then everything is healed and everyone has finished."""
    faults = chaos.Faults(cluster, client, SEED)
    senders = [chaos.Sender(cluster.url, history, n) for n in range(SENDERS)]
    readers = [chaos.Reader(cluster.url, history, chaos.READERS + n) for n in range(READERS)]
    begin = time.monotonic()
    try:
        faults.run(SECONDS, lambda what: print(f"{time.monotonic() - begin:7.1f} {what}"))
        for topic in chaos.TOPICS:
            cluster.wait_in_sync(client, topic)
    finally:
        for one in (*senders, *readers):
            one.stopping.set()
        for one in (*senders, *readers):
            one.finish()
    print(dict(faults.done), f"readers began anew {sum(r.reopened for r in readers)} times")


@pytest.mark.timeout(SECONDS * 4 + 300)
def test_every_process_may_die_and_every_disk(folder):
    print(f"DMQ_CHAOS_SEED={SEED}")
    history = chaos.History()
    folder = Path(folder)
    with Whole(folder) as cluster, dmq.connect(cluster.url) as client:
        create_topics(client)
        load(cluster, client, history)
        outcomes = history.outcomes()
        print(dict(outcomes), f"{len(history.polls)} polls")
        places = [(topic, p) for topic in chaos.TOPICS for p in range(chaos.PARTITIONS[topic])]
        counts = {place: chaos.drain(client, history, *place) for place in places}
        homes = {
            place: cluster.wait_in_sync(client, place[0])[place[1]].replicas for place in places
        }
        folders = {
            place: [chaos.replica_folder(cluster, client, n, *place) for n in homes[place]]
            for place in places
        }
        cluster.stop()
    for place in places:
        chaos.compare_replicas(folders[place], counts[place])
        assert len(folders[place]) == (len(BROKERS) if place[0] == chaos.SAFE else 1)
    path = folder / "history.jsonl"
    history.write(path)
    verdict = chaos.check(path)
    assert verdict.returncode == 0, f"{verdict.stdout}{verdict.stderr}"
    # no fault lasts as long as a producer tries: nothing is refused, and nothing remains unknown
    assert set(outcomes) == {"ok"} and outcomes["ok"] >= LEAST_ACKNOWLEDGED


def line(kind, value, offset, more=""):
    op, outcome, process = ("poll", "ok", chaos.DRAIN) if kind == "poll" else ("send", kind, 1)
    return (
        f'{{"op":"{op}","type":"{outcome}","process":{process},"topic":0,"partition":0,'
        f'"value":{value},"offset":{offset}{more}}}\n'
    )


FIRST = ',"start":1'
NEXT = ',"start":0'


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        ([line("ok", 1, 0), line("ok", 2, 1)], 2, "no polls"),
        ([line("ok", 1, 0), line("poll", 1, 0, FIRST)], 0, "nothing wrong"),
        ([line("ok", 1, 0), line("ok", 2, 1), line("poll", 1, 0, FIRST)], 1, "lost write"),
        (
            [line("ok", 1, 0), line("poll", 1, 0, FIRST), line("poll", 1, 1, NEXT)],
            1,
            "duplicate",
        ),
        ([line("fail", 1, -1), line("poll", 1, 0, FIRST)], 1, "undead write"),
        (["nonsense\n"], 2, "line 1 is malformed"),
    ],
)
def test_the_checker_of_this_test_finds_what_is_wrong(tmp_path, lines, code, said):
    path = tmp_path / "history.jsonl"
    path.write_text("".join(lines))
    verdict = chaos.check(path)
    assert verdict.returncode == code and said in verdict.stdout + verdict.stderr
