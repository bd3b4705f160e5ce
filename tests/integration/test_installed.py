"""libdmq as a program outside the tree gets it: `cmake --install`, pkg-config or find_package."""

import os
import subprocess
from pathlib import Path

import pytest
from cluster import BUILD

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
    run("cmake", "-S", SOURCES, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    env = environment(prefix, cluster)
    assert run(build / "by_cmake", env=env) == "hello at 0\n"
    assert run(build / "by_cmake_cxx", env=env) == "0.1.0 NOT_LEADER\n"


def test_nothing_else_is_installed_for_it(prefix):
    headers = {p.relative_to(prefix).as_posix() for p in prefix.glob("include/**/*.h")}
    assert headers == {"include/dmq/dmq.h", "include/dmq/errors.h"}
    names = {p.name for p in library_folder(prefix).glob("libdmq*")}
    assert names == {"libdmq.so", "libdmq.so.0", "libdmq.so.0.1.0"}
