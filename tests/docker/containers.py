"""What the checks ask of the engine: `docker`, and the compose files as one project."""

import json
import os
import subprocess
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = "dmqtest"
NETWORK = f"{PROJECT}_default"


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


def compose_program():
    """Version 2 where it is, else docker-compose 1.29."""
    has_plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
    return ["docker", "compose"] if has_plugin.returncode == 0 else ["docker-compose"]


class Compose:
    """One project of a compose file. Leaving it removes its containers, networks and volumes."""

    def __init__(self, file="docker-compose.yml"):
        self.command = [*compose_program(), "-p", PROJECT, "-f", file]

    def __call__(self, *arguments, **options):
        return run(*self.command, *arguments, **{"check": True, **options})

    def up(self, *services, profile=()):
        """Starts what is to run, of images that are built; returns the seconds until healthy."""
        begun = time.monotonic()
        self(*profile, "up", "-d", "--no-build", *services)
        self.wait_healthy()
        return time.monotonic() - begun

    def id(self, service):
        return self("ps", "-q", service).stdout.decode().strip()

    def health(self, service):
        return (inspect(self.id(service), "State").get("Health") or {}).get("Status", "none")

    def services(self):
        return self("ps", "--services").stdout.decode().split()

    def wait_healthy(self, seconds=60):
        names = [s for s in self.services() if self.id(s) and not s.startswith("demo")]
        for name in names:
            wait_until(lambda n=name: self.health(n) == "healthy", seconds, f"{name} is healthy")

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
