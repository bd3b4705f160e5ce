"""The images, and a daemon that cannot start, with a real engine."""

import json
import os
import time

import pytest
from containers import (
    CHECKOUT,
    ERROR,
    LOOPBACK,
    OK,
    UNREACHABLE,
    USAGE,
    docker,
    inspect,
    refusal,
    wait_until,
)

MEGABYTE = 1000 * 1000


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


def start(name, command, *options, **environment):
    settings = [x for key, value in environment.items() for x in ("-e", f"{key}={value}")]
    options = ["--name", name, "--read-only", "--cap-drop", "ALL", *options]
    docker("run", "-d", *options, *settings, "dmq", command, check=True)


def test_variables_stand_in_for_all_else():
    """No file is mounted and no option given; the image's own health check finds the broker."""
    names = ("dmqtest-controller", "dmqtest-broker")
    settings = {"DMQ_SERVICES": LOOPBACK, "DMQ_DATA_DIR": "/var/lib/dmq/elsewhere"}
    try:
        start(names[0], "controller", "--health-cmd", "true", DMQ_NODE_ID="1", **settings)
        beside = ("--network", f"container:{names[0]}")
        quick = ("--health-interval", "1s")
        start(names[1], "broker", *beside, *quick, DMQ_NODE_ID="101", **settings)
        wait_until(lambda: inspect(names[1], "State.Health.Status") == "healthy", 30, "healthy")
        said = docker("exec", names[1], "dmq", "cluster", "info", "--json", check=True).stdout
        assert [b["id"] for b in json.loads(said)["brokers"]] == [101]
        kept = docker("exec", names[1], "ls", "/var/lib/dmq/elsewhere", check=True).stdout
        assert kept != b""
        docker("stop", names[1], names[0], check=True)
        assert [inspect(name, "State.ExitCode") for name in names] == [OK, OK]
    finally:
        docker("rm", "-f", "-v", *names)


# ---- bad input -----------------------------------------------------------------------------------


def test_services_json_missing_or_wrong():
    code, said = refusal()
    assert code == USAGE and "/etc/dmq/services.json" in said
    code, said = refusal(environment=['DMQ_SERVICES={"controllers": 1}'])
    assert code == USAGE and "DMQ_SERVICES:1: controllers" in said
    good = (CHECKOUT / "config/services.json").read_text()
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
    services = [f"DMQ_SERVICES={LOOPBACK}"]
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
