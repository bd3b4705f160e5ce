"""The Debian package, installed, used and removed on a machine with nothing else, and on one that
runs systemd."""

import contextlib
import os

from containers import CHECKOUT, LINES, OK, USAGE, docker, run, wait_until

PACKAGES = ["-v", f"{CHECKOUT}/build/packages:/packages:ro"]
INSTALL = "apt-get -q update && apt-get -q -y install --no-install-recommends /packages/*.deb"

SCRIPT = r"""
set -e
find / -xdev -path /proc -prune -o -print | sort >/tmp/before
INSTALL >/dev/null 2>&1
dmq-broker --version
getent passwd dmq | cut -d: -f6,7
stat -c '%U %a' /var/lib/dmq
cp /usr/share/doc/dmq/services.json /etc/dmq/ 2>/dev/null || true
dmq dev --data /tmp/data >/tmp/ready & pid=$!
for i in $(seq 100); do grep -q ready /tmp/ready && break; sleep 0.1; done
dmq topic create t --replication-factor 1 2>/dev/null
dmq produce t /lines
dmq consume t --exit-at-end | cmp - /lines && echo identical
kill $pid; wait $pid
touch /var/lib/dmq/kept
apt-get -q -y purge dmq >/dev/null 2>&1
ls /var/lib/dmq
find / -xdev -path /proc -prune -o -print | sort >/tmp/after
comm -13 /tmp/before /tmp/after | grep -i dmq | grep -v ^/tmp | grep -v ^/var/lib/dmq | tr '\n' ' '
"""


def test_installed_used_and_removed(tmp_path):
    lines = tmp_path / "lines"
    lines.write_bytes(LINES)
    mounts = [*PACKAGES, "-v", f"{lines}:/lines:ro"]
    base = os.environ["DMQ_DOCKER_BASE"]
    script = SCRIPT.replace("INSTALL", f"({INSTALL})")
    done = docker("run", "--rm", "--network", "host", *mounts, base, "sh", "-c", script)
    assert done.returncode == OK, done.stderr.decode()
    said = done.stdout.decode().splitlines()
    assert said[0].startswith("dmq-broker 0.")
    assert said[1:3] == ["/var/lib/dmq:/usr/sbin/nologin", "dmq 750"]
    assert said[3:5] == ["identical", "kept"]  # data is never removed
    assert said[5:] in ([], ["/etc/dmq /etc/dmq/services.json "]), said


# ---- systemd -------------------------------------------------------------------------------------

SERVICES = """{"controllers": [{"id": 1, "host": "127.0.0.1", "port": 9710}],
  "brokers": [{"id": 101, "host": "127.0.0.1", "port": 9701, "peerPort": 10701}]}"""
UNITS = ["dmq-controller@1", "dmq-broker@101"]


class Machine:
    """A container whose first process is systemd."""

    def __init__(self, name):
        self.name = name

    def __call__(self, *command, code=OK, stdin=b""):
        settings = ["-i", "-e", "DMQ_URL=dmq://127.0.0.1:9701"]
        done = docker("exec", *settings, self.name, *command, stdin=stdin)
        assert code in (None, done.returncode), (command, done.stdout, done.stderr)
        return done.stdout.decode().strip()

    def state(self, unit, *properties):
        said = self("systemctl", "show", *(f"-P{name}" for name in properties), unit)
        return said.splitlines()

    def wait_ready(self):
        def is_ready():
            asked = docker("exec", self.name, "dmq", "--url", "dmq://127.0.0.1:9701", "health")
            return asked.returncode == OK

        wait_until(is_ready, 20, "the broker is ready")

    def configure(self, services):
        self("tee", "/etc/dmq/services.json", stdin=services.encode())


@contextlib.contextmanager
def systemd():
    """Not privileged, which needs more than a root of containers has."""
    release = os.environ["DMQ_DOCKER_BASE"].removeprefix("debian:").removesuffix("-slim")
    (package,) = (CHECKOUT / "build/packages").glob("*.deb")
    depends = run("dpkg-deb", "-f", package, "Depends", check=True).stdout.decode()
    needed = " ".join(sorted(one.split()[0] for one in depends.split(",")))
    arguments = (f"DEBIAN_RELEASE={release}", f"DEPENDS={needed}")
    build = ["-q", "--network", "host", *(x for a in arguments for x in ("--build-arg", a))]
    docker("build", *build, "-t", "dmq:systemd", "tests/docker/systemd", check=True)
    may = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"]
    may += ["--security-opt", "apparmor=unconfined", "--cgroupns", "private", "--network", "host"]
    options = ["--name", "dmqtest-systemd", *may, "--tmpfs", "/run", "--tmpfs", "/tmp"]
    docker("run", "-d", *options, *PACKAGES, "dmq:systemd", check=True)
    try:
        machine = Machine("dmqtest-systemd")
        running = "systemctl is-system-running"
        wait_until(lambda: machine(*running.split(), code=None) == "running", 30, "systemd runs")
        yield machine
    finally:
        docker("rm", "-f", "-v", "dmqtest-systemd", check=True)


def test_units_of_systemd():
    with systemd() as machine:
        machine("sh", "-c", "dpkg -i /packages/*.deb")
        assert machine("systemd-analyze", "verify", *(f"{unit}.service" for unit in UNITS)) == ""
        machine.configure(SERVICES)
        machine("systemctl", "enable", "--now", *UNITS)
        machine.wait_ready()
        machine("dmq", "topic", "create", "t")
        machine("dmq", "produce", "t", stdin=LINES)

        (pid,) = machine.state(UNITS[1], "MainPID")
        assert machine("stat", "-c", "%U", f"/proc/{pid}", "/var/lib/dmq/broker-101") == "dmq\ndmq"
        machine("systemctl", "kill", "-s", "KILL", UNITS[1])
        wait_until(lambda: machine.state(UNITS[1], "NRestarts") == ["1"], 20, "it is restarted")
        machine.wait_ready()
        assert machine("dmq", "consume", "t", "--exit-at-end") == LINES.decode().strip()

        machine("systemctl", "stop", UNITS[1])
        assert machine.state(UNITS[1], "Result", "ExecMainStatus") == ["success", str(OK)]
        machine.configure("{")
        machine("systemctl", "start", UNITS[1], code=None)
        failed = lambda: machine.state(UNITS[1], "ActiveState") == ["failed"]  # noqa: E731
        wait_until(failed, 10, "wrong settings are not tried again and again")
        assert machine.state(UNITS[1], "NRestarts", "ExecMainStatus") == ["0", str(USAGE)]
        assert "services.json:1:" in machine("journalctl", "-q", "-u", UNITS[1], "-n", "4")
        machine("systemctl", "reset-failed")

        machine("apt-get", "-q", "-y", "purge", "dmq")
        assert machine("systemctl", "list-unit-files", "--no-legend", "dmq*", code=None) == ""
        assert machine("systemctl", "is-active", UNITS[0], code=None) == "inactive"
        assert machine("systemctl", "--failed", "--no-legend") == ""
        assert machine("ls", "/var/lib/dmq").split() == ["broker-101", "controller-1"]
