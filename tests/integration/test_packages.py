"""What `./run packages` makes, as somebody gets it who has neither the checkout nor a compiler."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cluster import BUILD, CHECKOUT, DevCluster

PROGRAM = """
import dmq, shutil

assert shutil.which("cc") is None and dmq.__file__.startswith({venv!r})
with dmq.dev() as cluster, dmq.connect(cluster.url) as c:
    c.topics.create("orders", partitions=1)
    ack = c.publish("orders", {{"id": 1}})
    print(ack.offset, [m.json() for m in c.read("orders", end="now")])
maps = [line.split()[-1] for line in open("/proc/self/maps") if "/" in line]
print(*sorted({{m.rsplit("/", 1)[1].split("-")[0].split(".")[0] for m in maps if {venv!r} in m}}))
"""
SENT = """
import dmq

with dmq.connect("{url}") as c:
    c.topics.create("orders", partitions=1)
    ack = c.publish("orders", {{"id": 1}})
    print(ack.offset, [m.json() for m in c.read("orders", end="now")], dmq.__version__)
assert "libdmq" not in open("/proc/self/maps").read()
"""


def run(*command, **options):
    return subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, timeout=240, **options
    )


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    done = run(CHECKOUT / "bindings/packages.sh", BUILD, folder, cwd=CHECKOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def one(folder, pattern):
    found = list(Path(folder).glob(pattern))
    assert len(found) == 1, found
    return found[0]


class Venv:
    """A bare venv: its own programs are all that PATH has."""

    def __init__(self, folder):
        self.folder = Path(folder)
        assert run(sys.executable, "-m", "venv", self.folder).returncode == 0
        self.environment = {"PATH": str(self.folder / "bin"), "HOME": str(self.folder)}
        pip = {k: v for k, v in os.environ.items() if k.startswith("PIP_")}  # the way to cffi
        self.environment.update(pip)

    def python(self, *arguments, **environment):
        environment = {**self.environment, **environment}
        return run(self.folder / "bin/python", *arguments, env=environment, cwd=self.folder)


def test_two_wheels_are_a_cluster(packages, tmp_path):
    wheels = [one(packages, "dmq-*.whl"), one(packages, "dmq_programs-*.whl")]
    assert "cp311-abi3-manylinux" in wheels[0].name
    assert "py3-none-manylinux" in wheels[1].name
    venv = Venv(tmp_path / "venv")
    done = venv.python("-m", "pip", "install", "-q", *wheels)
    assert done.returncode == 0, done.stderr
    done = venv.python("-c", PROGRAM.format(venv=str(venv.folder)))
    first, loaded = done.stdout.splitlines()
    assert first == "0 [{'id': 1}]", done.stderr
    assert {"libdmq", "libzmq", "liblz4", "libzstd", "libjansson"} <= set(loaded.split())
    for command in (["dmq", "version"], ["dmq-broker", "--version"]):
        done = run(venv.folder / "bin" / command[0], command[1], env=venv.environment)
        assert done.returncode == 0 and "0.1.0" in done.stdout


def test_one_wheel_says_that_the_other_is_missing(packages, tmp_path):
    venv = Venv(tmp_path / "venv")
    done = venv.python("-m", "pip", "install", "-q", one(packages, "dmq-*.whl"))
    assert done.returncode == 0, done.stderr
    done = venv.python("-c", "import dmq; dmq.dev()")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install dmq-programs, or have it in PATH")


def test_the_sources_need_a_compiler_alone(packages, tmp_path):
    """Where there is no libdmq, its sources are in the sdist."""
    sources = one(packages, "dmq-*.tar.gz")
    venv = Venv(tmp_path / "venv")
    install = ("-m", "pip", "install", "-q", sources)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "cc").symlink_to("/usr/bin/cc")
    path = f"{venv.environment['PATH']}:{tools}"
    done = venv.python(*install, PATH=path)
    assert (
        done.returncode != 0 and "lacks these packages (names of Debian): pkg-config" in done.stderr
    )
    path = f"{venv.environment['PATH']}:/usr/bin:/bin"
    done = venv.python(*install, PATH=path)
    assert done.returncode == 0, done.stderr
    with DevCluster(tmp_path, "--port", "0") as cluster:
        done = venv.python("-c", SENT.format(url=cluster.url))
    assert done.stdout == "0 [{'id': 1}] 0.1.0\n", done.stderr


def test_the_sources_take_a_libdmq_that_is_there(packages, tmp_path):
    sources = one(packages, "dmq-*.tar.gz")
    prefix = tmp_path / "prefix"
    assert run("cmake", "--install", BUILD, "--prefix", prefix).returncode == 0
    venv = Venv(tmp_path / "venv")
    install = ("-m", "pip", "install", "-q", sources)
    done = venv.python(*install, DMQ_PREFIX=str(prefix))
    assert done.returncode != 0 and "no C compiler 'cc': install one, or the wheel" in done.stderr
    path = f"{venv.environment['PATH']}:/usr/bin:/bin"
    done = venv.python(*install, DMQ_PREFIX=str(prefix), PATH=path)
    assert done.returncode == 0, done.stderr
    done = venv.python("-c", PROGRAM.format(venv=str(venv.folder)))
    assert done.stdout.splitlines()[0] == "0 [{'id': 1}]", done.stderr
    with tarfile.open(sources) as archive:
        assert not [n for n in archive.getnames() if n.endswith((".so", ".pyc"))]


def test_what_the_debian_package_holds(packages):
    package = one(packages, "dmq_*.deb")
    listed = run("dpkg-deb", "-c", package).stdout
    for path in (
        "usr/bin/dmq",
        "usr/bin/dmq-broker",
        "usr/bin/dmq-controller",
        "usr/include/dmq/dmq.h",
        "usr/lib/libdmq.so.0",
        "usr/lib/pkgconfig/dmq.pc",
        "usr/lib/cmake/dmq/dmqConfig.cmake",
        "usr/lib/systemd/system/dmq-broker@.service",
        "usr/lib/systemd/system/dmq-controller@.service",
        "usr/share/doc/dmq/copyright",
    ):
        assert f" ./{path}" in listed, listed
    depends = run("dpkg-deb", "-f", package, "Depends").stdout
    for library in ("libc6", "libczmq4", "libzmq5", "libleveldb1d", "libjansson4"):
        assert library in depends
