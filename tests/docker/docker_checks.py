"""The images and the compose files, with a real engine; docker_test.sh builds the images and runs
this. Not called test_*: it is no part of what `./run test` collects. The checks of the cluster
build on one another, in the order of this file."""

import json
import os
import subprocess
import time

import pytest
from containers import CHECKOUT, NETWORK, Compose, docker, inspect, run, wait_until

FLIGHTS = CHECKOUT / "tests/demo/data/flights.csv"
LINES = FLIGHTS.read_bytes()
ROUNDTRIP = CHECKOUT / "tests/docker/roundtrip.py"
URL = "dmq://127.0.0.1:9501"
INSIDE = ["run", "--rm", "-i", "--network", NETWORK, "-e", "DMQ_URL=dmq://broker101:9501"]
OK, ERROR, USAGE, UNREACHABLE = 0, 1, 2, 3
MEGABYTE = 1000 * 1000


def on_host(*arguments, url=URL, **options):
    return run("build/bin/dmq", "--url", url, *arguments, **{"check": True, **options}).stdout


def in_network(*arguments, **options):
    return docker(*INSIDE, "dmq", *arguments, **{"check": True, **options}).stdout


# ---- the image -----------------------------------------------------------------------------------


def test_own_layers_are_small():
    sizes = {}
    for image in ("dmq", "dmq:python"):
        own = inspect(image, "Size") - inspect(os.environ["DMQ_DOCKER_BASE"], "Size")
        sizes[image] = own / MEGABYTE
    print("own layers, MB:", sizes)
    assert 1 < sizes["dmq"] < 20


def test_how_it_is_described():
    config = inspect("dmq", "Config")
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/usr/local/bin/dmq"]  # exec form: no shell
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/dmq", "health", "--ready"]
    labels = config["Labels"]
    version = docker("run", "--rm", "dmq", "version", "--json", check=True).stdout
    assert labels["org.opencontainers.image.version"] == json.loads(version)["version"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


@pytest.mark.parametrize("release", os.environ.get("DMQ_DOCKER_OTHERS", "").split())
def test_the_other_releases_run(release):
    assert docker("run", "--rm", f"dmq:{release}", "version").returncode == OK
    for daemon in ("controller", "broker"):
        done = docker("run", "--rm", f"dmq:{release}", daemon, "--version")
        assert done.returncode == OK and done.stdout.startswith(f"dmq-{daemon} ".encode())


def test_it_starts_without_a_shell():
    made = docker("create", "dmq", "version", check=True).stdout.decode().strip()
    changed = docker("build", "-q", "-", stdin=b"FROM dmq\nUSER root\nRUN rm /bin/sh /bin/bash\n")
    docker("rm", made, check=True)
    image = changed.stdout.decode().strip()
    done = docker("run", "--rm", "--read-only", image, "version")
    docker("rmi", image, check=True)
    assert done.returncode == OK, done.stderr


def test_arguments_go_to_the_tool():
    assert b"usage: dmq COMMAND" in docker("run", "--rm", "dmq", check=True).stdout
    done = docker("run", "--rm", "dmq", "brokr")
    assert done.returncode == USAGE and b"did you mean 'broker'?" in done.stderr
    assert docker("run", "--rm", "dmq", "topic", "list").returncode == UNREACHABLE


# ---- bad input -----------------------------------------------------------------------------------


def refusal(*arguments, environment=(), options=(), command=("broker", "--id", "101")):
    """Runs a daemon that must end at once; its exit code and the one sentence that it says."""
    settings = [x for e in environment for x in ("-e", e)]
    done = docker("run", "--rm", *options, *settings, "dmq", *command, *arguments, timeout=30)
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1 and done.stdout == b"", done
    return done.returncode, lines[0]


def test_services_json_missing_or_wrong():
    code, said = refusal()
    assert code == USAGE and "/etc/dmq/services.json" in said
    code, said = refusal(environment=['DMQ_SERVICES={"controllers": 1}'])
    assert code == USAGE and "DMQ_SERVICES:1: controllers" in said
    good = (CHECKOUT / "config/services.compose.json").read_text()
    code, said = refusal(environment=[f"DMQ_SERVICES={good.replace('9501', '95010')}"])
    assert code == USAGE and "brokers[0].port: must be a port" in said
    code, said = refusal(
        environment=[f"DMQ_SERVICES={good}"], command=("controller", "--id", "101")
    )
    assert code == USAGE and "no controller has this id" in said
    folder = ["-v", f"{CHECKOUT}/config:/etc/dmq/services.json:ro"]
    code, said = refusal(options=folder)
    assert code == USAGE and "/etc/dmq/services.json" in said


def test_a_volume_that_cannot_be_written():
    services = [f"DMQ_SERVICES={(CHECKOUT / 'config/services.json').read_text()}"]
    for daemon, number in (("broker", "101"), ("controller", "1")):
        for options in (["-v", "dmqtest-ro:/var/lib/dmq:ro"], ["--tmpfs", "/var/lib/dmq:ro"]):
            code, said = refusal(
                environment=services, options=options, command=(daemon, "--id", number)
            )
            assert code == ERROR and "/var/lib/dmq" in said, said
            assert "Read-only file system: mount it" in said
    docker("volume", "rm", "dmqtest-ro", check=True)
    code, said = refusal(environment=services, options=["--tmpfs", "/var/lib/dmq:uid=1,mode=700"])
    assert code == ERROR and "Permission denied: give the folder to user 10001" in said


def test_a_wrong_file_does_not_flood_the_log():
    made = docker("run", "-d", "--restart", "unless-stopped", "dmq", "broker", "--id", "1")
    name = made.stdout.decode().strip()
    time.sleep(8)
    said = docker("logs", name).stderr.decode().splitlines()
    docker("rm", "-f", "-v", name, check=True)
    assert 2 <= len(said) <= 10, said  # the engine waits twice as long each time


# ---- the cluster ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    with Compose() as compose:
        print(f"healthy after {compose.up():.1f} s")
        yield compose


def test_a_healthy_start_says_little(cluster):
    said = cluster("logs", "--no-color").stdout.decode().splitlines()
    assert 2 <= len(said) <= 30, said
    assert not any(" error " in line for line in said), said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_tool_on_the_host(cluster, host):
    url, topic = f"dmq://{host}:9501", f"tool-{host}"
    on_host("topic", "create", topic, url=url)
    on_host("produce", topic, str(FLIGHTS), url=url)
    assert on_host("consume", topic, "--exit-at-end", url=url) == LINES


def test_the_tool_in_the_network(cluster):
    in_network("topic", "create", "inside")
    in_network("produce", "inside", stdin=LINES)
    assert in_network("consume", "inside", "--exit-at-end") == LINES


def test_one_side_reads_what_the_other_wrote(cluster):
    assert in_network("consume", "tool-127.0.0.1", "--exit-at-end") == LINES
    assert on_host("consume", "inside", "--exit-at-end") == LINES
    listed = cluster("exec", "-T", "controller1", "dmq", "topic", "list").stdout
    assert listed == on_host("topic", "list")


def test_python_on_the_host(cluster):
    environment = {**os.environ, "DMQ_URL": URL}
    command = [".venv/bin/python", ROUNDTRIP, "python-host", FLIGHTS]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, cwd=CHECKOUT)
    assert done.stdout == b"identical: 8833 records\n", done.stderr


def test_python_in_the_network(cluster):
    mount = ["-v", f"{ROUNDTRIP}:/roundtrip.py:ro", "--read-only"]
    command = ["dmq:python", "python3", "/roundtrip.py", "python-inside", "-"]
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
    assert time.monotonic() - begun < 20
    ids = cluster("ps", "-a", "-q", check=False).stdout.decode().split()
    ids = ids or cluster("ps", "-q").stdout.decode().split()
    assert len(ids) == 2
    assert [inspect(i, "State")["ExitCode"] for i in ids] == [OK, OK]
    cluster.up()


def test_down_and_up_keeps_the_data(cluster):
    cluster("down")
    print(f"healthy after {cluster.up():.1f} s")
    assert_all_is_there()


@pytest.mark.parametrize("service", ["broker101", "controller1"])
def test_killed_under_load_nothing_is_lost(cluster, service):
    topic = f"killed-{service}"
    starts = inspect(cluster.id(service), "RestartCount")
    on_host("topic", "create", topic)
    command = ["build/bin/dmq", "--url", URL, "produce", topic, "--quiet"]
    producer = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=CHECKOUT)
    lines = LINES.splitlines(keepends=True)
    for number, line in enumerate(lines):
        producer.stdin.write(line)
        if number == len(lines) // 2:
            producer.stdin.flush()
            wait_until(lambda: on_host("consume", topic, "--exit-at-end"), 20, "half is stored")
            cluster.kill(service)
    producer.stdin.close()
    assert producer.wait(60) == OK
    wait_until(
        lambda: inspect(cluster.id(service), "RestartCount") == starts + 1, 20, "it starts again"
    )
    cluster.wait_healthy()
    assert on_host("consume", topic, "--exit-at-end") == LINES
    assert_all_is_there()


def test_a_port_in_use(cluster):
    options = ["--network", f"container:{cluster.id('broker101')}"]
    services = (CHECKOUT / "config/services.json").read_text()
    code, said = refusal(options=options, environment=[f"DMQ_SERVICES={services}"])
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
    services = (CHECKOUT / "config/services.compose.json").read_text().replace("101", "102")
    code, said = refusal(
        options=["-v", "dmqtest_broker101:/var/lib/dmq"],
        environment=[f"DMQ_SERVICES={services}"],
        command=("broker", "--id", "102"),
    )
    assert code == ERROR and "/var/lib/dmq" in said and "101" in said
    cluster.up()


# ---- one container -------------------------------------------------------------------------------


def test_dev_in_one_container():
    with Compose("docker-compose.dev.yml") as compose:
        compose.up()
        on_host("topic", "create", "t")
        on_host("produce", "t", str(FLIGHTS))
        compose("down")
        compose.up()
        assert on_host("consume", "t", "--exit-at-end") == LINES
        url = ["--url", "dmq://dmq:9501"]
        assert in_network(*url, "consume", "t", "--exit-at-end") == LINES
