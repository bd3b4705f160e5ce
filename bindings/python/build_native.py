"""Builds dmq._native by cffi (API mode) from the public header of libdmq and native/helpers.h, both
run through the C preprocessor: what Python sees is what the compiler sees.

libdmq is the one of DMQ_PREFIX, else of the checkout's build/, else what pkg-config finds. Where
there is none, an sdist compiles its own copy of the sources into the extension."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cffi

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
HEADERS = ("dmq/dmq.h", "native/helpers.h")
OWN_SOURCES = HERE / "libdmq"  # of an sdist
# What libdmq is linked with: names that pkg-config may know it by, and Debian's package.
NEEDED = (
    (("libzmq",), "libzmq3-dev"),
    (("msgpack-c", "msgpack"), "libmsgpack-c-dev (Debian 12: libmsgpack-dev)"),
    (("jansson",), "libjansson-dev"),
    (("liblz4",), "liblz4-dev"),
    (("libzstd",), "libzstd-dev"),
)


def library() -> dict:
    """How libdmq is compiled with or linked: what set_source() takes."""
    include, folders, programs = find_library()
    if include:
        return {
            "include_dirs": [str(HERE), *include],
            "library_dirs": folders,
            "runtime_library_dirs": folders,
            "libraries": ["dmq"],
            "define_macros": [("DMQPY_PROGRAMS", f'"{programs}"')],
        }
    return own_library()


def own_library() -> dict:
    """The sources in this sdist."""
    names = [find_package(names) for names, _ in NEEDED]
    missing = [package for name, (_, package) in zip(names, NEEDED, strict=True) if not name]
    if shutil.which("pkg-config") is None:
        missing.insert(0, "pkg-config")
    if not has_header("uthash.h"):
        missing.append("uthash-dev")
    if missing:
        sys.exit(
            "dmq: to be built from the sources it lacks these packages (names of Debian): "
            f"{', '.join(missing)}. Install them, or libdmq, or the wheel, which needs none"
        )
    flags = shlex.split(pkg_config("--cflags", *names))
    version = (HERE / "pyproject.toml").read_text().split('\nversion = "')[1].split('"')[0]
    return {
        "sources": sorted(os.path.relpath(path, HERE) for path in OWN_SOURCES.glob("*/*.c")),
        "include_dirs": [
            *(str(HERE), str(OWN_SOURCES / "include")),
            *(flag[2:] for flag in flags if flag.startswith("-I/")),
        ],
        "libraries": [flag[2:] for flag in shlex.split(pkg_config("--libs-only-l", *names))],
        "library_dirs": [flag[2:] for flag in shlex.split(pkg_config("--libs-only-L", *names))],
        "define_macros": [("DMQPY_PROGRAMS", '""'), ("DMQ_VERSION", f'"{version}"')],
    }


def find_package(names: tuple[str, ...]) -> str | None:
    for name in names:
        if (
            shutil.which("pkg-config")
            and subprocess.run(["pkg-config", "--exists", name]).returncode == 0
        ):
            return name
    return None


def has_header(name: str) -> bool:
    command = [*compiler(), "-fsyntax-only", "-xc", "-"]
    source = f"#include <{name}>\n"
    return subprocess.run(command, input=source, capture_output=True, text=True).returncode == 0


def find_library() -> tuple[list[str], list[str], str]:
    """Folders of the headers, of the library, of the programs; none if this is an sdist, and there
    is no libdmq."""
    prefix = os.environ.get("DMQ_PREFIX")
    if prefix:
        root = Path(prefix).resolve()
        folders = sorted({str(p.parent) for p in root.glob("lib*/**/libdmq.so")})
        if not folders:
            sys.exit(f"dmq: no libdmq.so below {root} (DMQ_PREFIX)")
        # A wheel is used elsewhere: its programs are not the ones of this machine.
        programs = "" if os.environ.get("DMQ_WHEEL") else str(root / "bin")
        return [str(root / "include")], folders, programs
    build = Path(os.environ.get("DMQ_BUILD", CHECKOUT / "build")).resolve()
    if (build / "lib/libdmq.so").exists():
        return [str(CHECKOUT / "libdmq/include")], [str(build / "lib")], str(build / "bin")
    if find_package(("dmq",)):
        include, libdir, prefix = (
            pkg_config(f"--variable={name}", "dmq") for name in ("includedir", "libdir", "prefix")
        )
        return [include], [libdir], f"{prefix}/bin"
    if OWN_SOURCES.exists():
        return [], [], ""
    sys.exit(
        "dmq: libdmq is not here: build it (./run build), or install it where pkg-config finds"
        " it, or name its prefix in DMQ_PREFIX"
    )


def pkg_config(*arguments: str) -> str:
    command = ["pkg-config", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def compiler() -> list[str]:
    command = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(command[0]) is None:
        sys.exit(f"dmq: no C compiler '{command[0]}': install one, or the wheel, which needs none")
    return command


def declarations(include_folders: list[str]) -> str:
    """Both headers as plain declarations: without the system's, without attributes."""
    with tempfile.TemporaryDirectory() as empty:
        for name in ("stddef.h", "stdint.h"):
            (Path(empty) / name).touch()
        source = "".join(f'#include "{name}"\n' for name in HEADERS)
        folders = [f"-I{folder}" for folder in (empty, HERE, *include_folders)]
        return subprocess.run(
            [*compiler(), "-E", "-P", "-nostdinc", "-D__attribute__(x)=", *folders, "-xc", "-"],
            input=source,
            capture_output=True,
            text=True,
            check=True,
        ).stdout


def make() -> cffi.FFI:
    compiler()  # before all else: without it nothing else counts
    how = library()
    ffi = cffi.FFI()
    ffi.cdef(declarations(how["include_dirs"]))
    ffi.set_source(
        "dmq._native",
        '#include "native/helpers.c"\n',
        **how,
        extra_compile_args=["-O2", "-std=c11", "-D_GNU_SOURCE", "-fvisibility=hidden"],
        depends=[str(HERE / "native" / name) for name in ("helpers.c", "helpers.h")],
    )
    return ffi


ffibuilder = make()

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
