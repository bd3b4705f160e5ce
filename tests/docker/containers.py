"""What the checks ask of the engine: `docker`, and the compose files as one project."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = "dmqtest"
NETWORK = f"{PROJECT}_default"
FLIGHTS = CHECKOUT / "tests/demo/data/flights.csv"
LINES = FLIGHTS.read_bytes()
CONTROLLERS = ["controller1", "controller2", "controller3"]
BROKERS = ["broker101", "broker102", "broker103"]
URL = "dmq://127.0.0.1:9501,127.0.0.1:9502,127.0.0.1:9503"
INSIDE = ["run", "--rm", "-i", "--network", NETWORK, "-e", "DMQ_URL=dmq://broker101:9501"]
SERVICES = ["-v", f"{CHECKOUT}/config/services.json:/etc/dmq/services.json:ro"]
REPLICAS = os.environ.get("DMQ_DOCKER_REPLICAS", "3")
OK, ERROR, USAGE, UNREACHABLE = 0, 1, 2, 3
# A cluster on loopback, for daemons that are started alone.
LOOPBACK = """{"controllers": [{"id": 1, "host": "127.0.0.1"}],
               "brokers": [{"id": 101, "host": "127.0.0.1", "port": 9501}]}"""


def run(*command, stdin=b"", timeout=120, check=False):
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, cwd=CHECKOUT)
    assert not check or done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done


def docker(*arguments, **options):
    return run("docker", *arguments, **options)


def inspect(container, key):
    """A part of what the engine knows of a container or an image."""
    return json.loads(docker("inspect", "-f", f"{{{{json .{key}}}}}", container, check=True).stdout)


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def on_host(*arguments, url=URL, **options):
    return run("build/bin/dmq", "--url", url, *arguments, **{"check": True, **options}).stdout


def ask(*arguments):
    """What the tool on the host says of the cluster."""
    return json.loads(on_host(*arguments, "--json"))


def is_well():
    """Whether nothing is wrong with the cluster: every node is there, every replica in sync."""
    return run("build/bin/dmq", "--url", URL, "cluster", "health").returncode == OK


def in_network(*arguments, **options):
    return docker(*INSIDE, "dmq", *arguments, **{"check": True, **options}).stdout


def create(topic, partitions=1, run=on_host):
    options = ["--partitions", str(partitions), "--replication-factor", REPLICAS]
    run("topic", "create", topic, *options)


def refusal(*arguments, environment=(), options=(), command=("broker", "--id", "101")):
    """Runs a daemon that must end at once; its exit code and the one sentence that it says, beside
    the settings that are in force."""
    settings = [x for e in environment for x in ("-e", e)]
    done = docker("run", "--rm", *options, *settings, "dmq", *command, *arguments, timeout=30)
    lines = [line for line in done.stderr.decode().splitlines() if " info " not in line]
    assert len(lines) == 1 and done.stdout == b"", done
    return done.returncode, lines[0]


def compose_program():
    """docker-compose 1.29 where it is, else version 2."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    return ["docker", "compose"]


def version_2():
    """`docker compose`, from an image: Debian 12 has none. Paths inside are those of the host."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    mounts = ["-v", f"{host}:/var/run/docker.sock", "-v", f"{CHECKOUT}:{CHECKOUT}:ro"]
    return ["docker", "run", "--rm", *mounts, "-w", str(CHECKOUT), "dmq:compose"]


class Load:
    """load.py with the host's Python package, while something happens to the cluster."""

    def __init__(self, topic, replicas):
        command = [".venv/bin/python", "tests/docker/load.py", topic, FLIGHTS, str(replicas)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=CHECKOUT,
            env={**os.environ, "DMQ_URL": URL},
        )

    def wait_acked(self, count):
        """Until so many records more were acknowledged, from now on."""
        goal = None
        acked = 0
        while goal is None or acked < goal:
            line = self.process.stdout.readline().decode()
            assert line.startswith("acked "), self.process.stderr.read().decode()
            acked = int(line.split()[1])
            goal = goal or acked + count

    def end(self):
        """What it says when all was read back and compared."""
        said, wrong = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, wrong.decode()
        return said.decode().splitlines()[-1]


class Compose:
    """One project of a compose file. Leaving it removes its containers, networks and volumes."""

    def __init__(self, file="docker-compose.yml", program=None):
        self.command = [*(program or compose_program()), "-p", PROJECT, "-f", file]

    def __call__(self, *arguments, **options):
        return run(*self.command, *arguments, **{"check": True, **options})

    def up(self, *services, profile=()):
        """Starts what is to run, of images that are built; returns the seconds until healthy."""
        begun = time.monotonic()
        self(*profile, "up", "-d", "--no-build", *services)
        self.wait_healthy()
        return time.monotonic() - begun

    def containers(self):
        """Id and status of each service that has a container; one call, for compose is slow."""
        form = '{{.Label "com.docker.compose.service"}} {{.ID}} {{.Status}}'
        mine = f"label=com.docker.compose.project={PROJECT}"
        listed = docker("ps", "-a", "--filter", mine, "--format", form, check=True).stdout.decode()
        rows = [line.split(" ", 2) for line in listed.splitlines()]
        return {name: (id, status) for name, id, status in rows}

    def id(self, service):
        return self.containers()[service][0]

    def wait_healthy(self, seconds=60):
        def all_are():
            found = self.containers()
            states = [s for name, (_, s) in found.items() if not name.startswith("demo")]
            return states and all("(healthy)" in state for state in states)

        wait_until(all_are, seconds, "all containers are healthy")

    def empty(self, service):
        """Stops it, removes all that its volume holds, starts it again."""
        self("stop", service)
        volume = f"{PROJECT}_{service}:/v"
        remove = ["--entrypoint", "/bin/sh", "dmq", "-c", "rm -rf /v/* && ls -A /v"]
        left = docker("run", "--rm", "-u", "0", "-v", volume, *remove, check=True)
        assert left.stdout == b""
        self("start", service)

    def kill(self, service):
        """As when it crashes. `docker kill` would count as the wish that it stays down."""
        os.kill(inspect(self.id(service), "State")["Pid"], 9)

    def __enter__(self):
        self("down", "-v", "--remove-orphans")
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self("logs", "--no-color", check=False).stdout.decode()[-20000:])
        self("--profile", "demo", "down", "-v", "--remove-orphans", "-t", "10")
