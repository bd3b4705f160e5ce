"""libdmq as a program outside the tree gets it: `cmake --install`, pkg-config or find_package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import BUILD, CHECKOUT

SOURCES = Path(__file__).parent / "installed"


def run(*command, **options):
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, timeout=120, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def prefix(folder):
    prefix = Path(folder) / "prefix"
    run("cmake", "--install", BUILD, "--prefix", prefix)
    return prefix


def library_folder(prefix):
    return next(prefix.glob("lib*/**/libdmq.so")).parent


def environment(prefix, cluster):
    return {**os.environ, "DMQ_URL": cluster.url, "LD_LIBRARY_PATH": str(library_folder(prefix))}


def test_pkg_config(prefix, cluster):
    config = library_folder(prefix) / "pkgconfig"
    moved = prefix.parent / "moved"  # an installed tree can be moved
    flags = run(
        *("pkg-config", "--cflags", "--libs", "dmq"),
        env={**os.environ, "PKG_CONFIG_PATH": str(config)},
    ).split()
    assert run("pkg-config", "--modversion", config / "dmq.pc").strip() == "0.1.0"
    run("cc", "-std=c11", "-Wall", "-Werror", SOURCES / "main.c", "-o", moved, *flags)
    assert run(moved, env=environment(prefix, cluster)) == "hello at 0\n"


def test_find_package(prefix, cluster, folder):
    build = Path(folder) / "build"
    run("cmake", "-G", "Ninja", "-S", SOURCES, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    env = environment(prefix, cluster)
    assert run(build / "by_cmake", env=env) == "hello at 0\n"
    assert run(build / "by_cmake_cxx", env=env) == "0.1.0 NOT_LEADER\n"


def test_nothing_else_is_installed_for_it(prefix):
    headers = {p.relative_to(prefix).as_posix() for p in prefix.glob("include/**/*.h")}
    assert headers == {"include/dmq/dmq.h", "include/dmq/errors.h"}
    names = {p.name for p in library_folder(prefix).glob("libdmq*")}
    assert names == {"libdmq.so", "libdmq.so.0", "libdmq.so.0.1.0"}


PYTHON = """
import dmq
with dmq.dev() as cluster, dmq.connect(cluster.url) as c:
    c.topics.create("t")
    print(c.publish("t", b"x").offset, dmq.__file__, dmq._native.__file__)
"""


def install_binding(folder, **found_by):
    """pip install of a copy of the binding that no checkout surrounds; where it went."""
    copy, target = Path(folder) / "binding", Path(folder) / "site"
    ignored = shutil.ignore_patterns("*.so", "*.egg-info", "build", "__pycache__")
    shutil.copytree(CHECKOUT / "bindings/python", copy, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps"]
    env = {k: v for k, v in os.environ.items() if k not in ("DMQ_BUILD", "PYTHONPATH")}
    done = subprocess.run(
        [*pip, "--target", target, copy],
        capture_output=True,
        text=True,
        timeout=120,
        env={**env, **found_by},
    )
    return done, target


@pytest.mark.parametrize("way", ["DMQ_PREFIX", "PKG_CONFIG_PATH"])
def test_the_python_binding(prefix, folder, way):
    place = prefix if way == "DMQ_PREFIX" else library_folder(prefix) / "pkgconfig"
    done, target = install_binding(folder, **{way: str(place)})
    assert done.returncode == 0, done.stdout + done.stderr
    env = {**os.environ, "PYTHONPATH": str(target)}
    offset, *places = run(sys.executable, "-c", PYTHON, env=env, cwd=folder).split()
    assert offset == "0"
    assert places == [
        str(target / "dmq/__init__.py"),
        str(next(target.glob("dmq/_native*.so"))),
    ]


def test_the_python_binding_without_the_library(folder):
    done, _ = install_binding(folder, PKG_CONFIG_PATH="", PKG_CONFIG_LIBDIR=folder)
    assert done.returncode != 0
    assert "dmq: libdmq is not here: build it (./run build)" in done.stdout + done.stderr
