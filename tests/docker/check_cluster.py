"""The cluster of docker-compose.yml, with a real engine: who reaches it from where, what it says,
and what stopping and starting it leaves. The checks build on one another, in this order."""

import contextlib
import json
import os
import subprocess
import time

import pytest
from containers import (
    BROKERS,
    CHECKOUT,
    ERROR,
    FLIGHTS,
    INSIDE,
    LINES,
    LOOPBACK,
    NETWORK,
    OK,
    REPLICAS,
    SERVICES,
    URL,
    ask,
    create,
    docker,
    in_network,
    inspect,
    is_well,
    on_host,
    refusal,
    wait_until,
)

ROUNDTRIP = CHECKOUT / "tests/docker/roundtrip.py"


def test_a_healthy_start_says_little(cluster):
    said = cluster("logs", "--no-color").stdout.decode().splitlines()
    assert 12 <= len(said) <= 60, said
    assert not any(" error " in line or " warn " in line for line in said), said


def test_who_is_there_and_who_asks_whom(cluster):
    said = ask("cluster", "info")
    pairs = [(b["id"], b["controller"], b["registered"], b["fenced"]) for b in said["brokers"]]
    assert pairs == [(101, 1, True, False), (102, 2, True, False), (103, 3, True, False)]
    assert [(c["id"], c["brokers"]) for c in said["controllers"]] == [
        (1, [101]),
        (2, [102]),
        (3, [103]),
    ]
    assert sum(c["leader"] for c in said["controllers"]) == 1


def test_each_side_is_told_its_addresses(cluster):
    def addresses(said):
        return [(b["host"], b["port"]) for b in json.loads(said)["brokers"]]

    ports = (9501, 9502, 9503)
    for port in ports:
        said = on_host("cluster", "info", "--json", url=f"dmq://127.0.0.1:{port}")
        assert addresses(said) == [("127.0.0.1", p) for p in ports]
    assert addresses(in_network("cluster", "info", "--json")) == [(b, 9501) for b in BROKERS]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_tool_on_the_host(cluster, host):
    url, topic = f"dmq://{host}:9501", f"tool-{host}"
    create(topic)
    on_host("produce", topic, str(FLIGHTS), url=url)
    assert on_host("consume", topic, "--exit-at-end", url=url) == LINES


def test_the_tool_in_the_network(cluster):
    create("inside", run=in_network)
    in_network("produce", "inside", stdin=LINES)
    assert in_network("consume", "inside", "--exit-at-end") == LINES


def test_one_side_reads_what_the_other_wrote(cluster):
    assert in_network("consume", "tool-127.0.0.1", "--exit-at-end") == LINES
    assert on_host("consume", "inside", "--exit-at-end") == LINES
    listed = cluster("exec", "-T", "controller1", "dmq", "topic", "list").stdout
    assert listed == on_host("topic", "list")


def test_python_on_the_host(cluster):
    environment = {**os.environ, "DMQ_URL": URL}
    command = [".venv/bin/python", ROUNDTRIP, "python-host", FLIGHTS, REPLICAS]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, cwd=CHECKOUT)
    assert done.stdout == b"identical: 8833 records\n", done.stderr


def test_python_in_the_network(cluster):
    mount = ["-v", f"{ROUNDTRIP}:/roundtrip.py:ro", "--read-only"]
    command = ["dmq:python", "python3", "/roundtrip.py", "python-inside", "-", REPLICAS]
    done = docker(*INSIDE, *mount, *command, stdin=LINES)
    assert done.stdout == b"identical: 8833 records\n", done.stderr


def assert_all_is_there():
    for topic in ("tool-127.0.0.1", "tool-localhost", "inside"):
        assert on_host("consume", topic, "--exit-at-end") == LINES
    for topic in ("python-host", "python-inside"):
        read = on_host("consume", topic, "--exit-at-end").splitlines()
        assert sorted(read) == sorted(LINES.splitlines())


def test_restart_keeps_the_data(cluster):
    cluster("restart")
    cluster.wait_healthy()
    assert_all_is_there()


def test_stop_is_clean_and_quick(cluster):
    begun = time.monotonic()
    cluster("stop")
    assert time.monotonic() - begun < 30
    ids = [id for id, _ in cluster.containers().values()]
    assert len(ids) == 6
    assert [inspect(i, "State")["ExitCode"] for i in ids] == [OK] * 6
    cluster.up()


def test_down_and_up_keeps_the_data(cluster):
    cluster("down")
    print(f"healthy after {cluster.up():.1f} s")
    assert_all_is_there()


def test_a_port_in_use(cluster):
    options = ["--network", f"container:{cluster.id('broker101')}"]
    code, said = refusal(options=options, environment=[f"DMQ_SERVICES={LOOPBACK}"])
    assert code == ERROR and "9501" in said and "in use" in said
    done = docker("run", "--rm", "-p", "127.0.0.1:9501:9501", "dmq", "version")
    assert done.returncode != OK and b"9501" in done.stderr


def test_the_demo(cluster):
    cluster("--profile", "demo", "up", "-d", "--no-build")

    def shown():
        return cluster("--profile", "demo", "logs", "--no-color", "demo-consumer").stdout

    wait_until(lambda: b"read offset 2:" in shown(), 30, "the consumer reads")
    begun = time.monotonic()
    cluster("--profile", "demo", "stop", "demo-producer", "demo-consumer")
    assert time.monotonic() - begun < 8  # they end on SIGTERM


def test_a_volume_of_another_node(cluster):
    cluster("stop")
    for volume, command in (
        ("broker101", ("broker", "--id", "102")),
        ("controller1", ("controller", "--id", "2")),
    ):
        code, said = refusal(
            options=[*SERVICES, "-v", f"dmqtest_{volume}:/var/lib/dmq"], command=command
        )
        assert code == ERROR and "/var/lib/dmq" in said and volume[-3:].lstrip("er") in said, said
    cluster.up()


def test_a_volume_of_another_cluster(cluster):
    """A broker and a controller with the folders that `dmq dev` made."""
    volume = ["-v", "dmqtest-other:/var/lib/dmq"]
    made = docker("run", "-d", *volume, "dmq", "dev", check=True).stdout.decode().strip()
    wait_until(lambda: b"ready" in docker("logs", made).stdout, 20, "dmq dev is ready")
    docker("stop", made, check=True)
    docker("rm", made, check=True)
    folder = ["--data", "/var/lib/dmq/dmq-data/broker"]
    with standing_in(cluster, "broker101", volume, folder) as name:
        code = docker("wait", name, timeout=30, check=True).stdout
        assert int(code) == ERROR
        assert_one_error(name, "is of another cluster than the controllers of services.json")
    folder = ["--data", "/var/lib/dmq/dmq-data/controller"]
    with standing_in(cluster, "controller1", volume, folder) as name:
        # One that was the only controller of its cluster still is: it says so, and goes on alone.
        wait_until(lambda: b"controller_refused" in docker("logs", name).stderr, 20, "it says why")
        said = docker("logs", name).stderr.decode()
        assert "check --services and --data" in said and said.count("\n") < 20, said
    docker("volume", "rm", "dmqtest-other", check=True)
    cluster.wait_healthy()
    wait_until(is_well, 20, "nothing is wrong")


@contextlib.contextmanager
def standing_in(cluster, service, options, command=()):
    """A container in the place of one of the cluster's, which runs again afterwards."""
    name = f"dmqtest-in-place-of-{service}"
    daemon = service.rstrip("0123456789")
    command = ["dmq", daemon, "--id", service.removeprefix(daemon), *command]
    network = ["--network", NETWORK, "--network-alias", service]
    cluster("stop", service)
    docker("run", "-d", "--name", name, *network, *SERVICES, *options, *command, check=True)
    try:
        yield name
    finally:
        docker("rm", "-f", "-v", name, check=True)
        cluster("start", service)


def assert_one_error(name, text):
    lines = docker("logs", name).stderr.decode().splitlines()
    errors = {line.split(" ", 1)[1] for line in lines if " error " in line}
    assert errors and all(text in error for error in errors), lines
    assert len(lines) < 20, lines


def test_a_full_volume(cluster):
    for service in ("broker103", "controller3"):
        with standing_in(cluster, service, ["--tmpfs", "/var/lib/dmq:uid=10001,size=4k"]) as name:
            assert int(docker("wait", name, timeout=30, check=True).stdout) == ERROR
            assert_one_error(name, "No space left on device: make room there")
    cluster.wait_healthy()
