"""What dies, under load, in the cluster of docker-compose.yml: with a real engine. load.py compares
what it was told to be stored with what it reads back."""

import contextlib
import time

import pytest
from containers import (
    BROKERS,
    CONTROLLERS,
    LINES,
    REPLICAS,
    URL,
    Load,
    ask,
    create,
    inspect,
    is_well,
    on_host,
    run,
    wait_until,
)

replicated = pytest.mark.skipif(REPLICAS == "1", reason="there is no second copy")


def leading_controller():
    return f"controller{ask('quorum', 'status')['leader']}"


def wait_well():
    wait_until(is_well, 60, "nothing is wrong with the cluster")


def test_a_broker_and_the_leading_controller_are_killed(cluster):
    load = Load("killed", REPLICAS)
    load.wait_acked(1000)
    victims = ("broker102", leading_controller())
    starts = [inspect(cluster.id(v), "RestartCount") for v in victims]
    for victim in victims:
        cluster.kill(victim)
    load.wait_acked(2000)
    print(load.end())
    for victim, start in zip(victims, starts, strict=True):
        wait_until(
            lambda v=victim, s=start: inspect(cluster.id(v), "RestartCount") == s + 1,
            20,
            "the engine starts it again",
        )
    cluster.wait_healthy()
    wait_well()


@contextlib.contextmanager
def killed(cluster, *victims):
    """They stay down until the end of the block: others take over."""
    cluster("kill", "-s", "KILL", *victims)
    try:
        yield time.monotonic()
    finally:
        cluster("start", *victims)
        wait_well()


def write_to_all(topic):
    for partition in range(6):
        on_host("produce", topic, "--partition", str(partition), stdin=b"after\n")


@replicated
def test_partitions_of_a_killed_broker_are_written_again_soon(cluster):
    create("takeover", partitions=6)
    on_host("produce", "takeover", stdin=LINES)
    with killed(cluster, "broker103") as begun:
        write_to_all("takeover")
        took = time.monotonic() - begun
    print(f"a killed broker's partitions are written again after {took:.2f} s")
    assert took < 5


@replicated
def test_a_broker_and_the_leading_controller_stay_down(cluster):
    with killed(cluster, leading_controller(), "broker101") as begun:
        write_to_all("takeover")
        took = time.monotonic() - begun
    print(f"with the leading controller killed as well: after {took:.2f} s")
    assert took < 10


def test_a_rolling_restart_loses_nothing(cluster):
    load = Load("rolling", REPLICAS)
    load.wait_acked(200)
    for service in (*CONTROLLERS, *BROKERS):
        cluster("restart", service)
        cluster.wait_healthy()
        wait_well()
        load.wait_acked(100)
    print(load.end())


@replicated
def test_an_emptied_broker_is_filled_again(cluster):
    create("refilled", partitions=3)
    on_host("produce", "refilled", stdin=LINES)
    cluster.empty("broker102")
    wait_well()
    others = ("broker101", "broker103")
    cluster("stop", *others)
    wait_until(
        lambda: run("build/bin/dmq", "--url", URL, "health", "--ready").returncode == 0,
        30,
        "broker 102 leads all",
    )
    read = on_host("consume", "refilled", "--exit-at-end", url="dmq://127.0.0.1:9502")
    assert sorted(read.splitlines()) == sorted(LINES.splitlines())
    cluster("start", *others)
    wait_well()


def test_an_emptied_controller_is_a_voter_again(cluster):
    def seats():
        return {c["id"]: c["diskId"] for c in ask("quorum", "status")["controllers"] if c["voter"]}

    before = seats()
    cluster.empty("controller2")
    wait_until(
        lambda: seats().keys() == before.keys() and seats()[2] != before[2], 30, "it is a voter"
    )
    cluster.wait_healthy()
    wait_well()
    assert len(ask("topic", "list")) > 0
