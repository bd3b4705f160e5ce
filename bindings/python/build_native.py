"""Builds dmq._native by cffi (API mode) from the public header of libdmq and native/helpers.h, both
run through the C preprocessor: what Python sees is what the compiler sees."""

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


def find_library() -> tuple[list[str], list[str], list[str]]:
    """Folders of the headers, of the library, of the programs."""
    prefix = os.environ.get("DMQ_PREFIX")
    if prefix:
        root = Path(prefix).resolve()
        folders = sorted({str(p.parent) for p in root.glob("lib*/**/libdmq.so")})
        if not folders:
            sys.exit(f"dmq: no libdmq.so below {root} (DMQ_PREFIX)")
        # A wheel is used elsewhere: its programs are not the ones of this machine.
        programs = "" if os.environ.get("DMQ_WHEEL") else str(root / "bin")
        return [str(root / "include")], folders, [programs]
    build = Path(os.environ.get("DMQ_BUILD", CHECKOUT / "build")).resolve()
    if (build / "lib/libdmq.so").exists():
        return [str(CHECKOUT / "libdmq/include")], [str(build / "lib")], [str(build / "bin")]
    asked = subprocess.run(
        ["pkg-config", "--variable=prefix", "--print-errors", "dmq"], capture_output=True, text=True
    )
    if asked.returncode != 0:
        sys.exit(
            "dmq: libdmq is not here: build it (./run build), or install it where pkg-config finds"
            " it, or name its prefix in DMQ_PREFIX"
        )
    include = pkg_config("--variable=includedir")
    return [include], [pkg_config("--variable=libdir")], [f"{asked.stdout.strip()}/bin"]


def pkg_config(option: str) -> str:
    return subprocess.run(
        ["pkg-config", option, "dmq"], capture_output=True, text=True, check=True
    ).stdout.strip()


def declarations(include_folders: list[str]) -> str:
    """Both headers as plain declarations: without the system's, without attributes."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        sys.exit(f"dmq: no C compiler '{compiler[0]}': install one, or the wheel, which needs none")
    with tempfile.TemporaryDirectory() as empty:
        for name in ("stddef.h", "stdint.h"):
            (Path(empty) / name).touch()
        source = "".join(f'#include "{name}"\n' for name in HEADERS)
        folders = [f"-I{folder}" for folder in (empty, HERE, *include_folders)]
        return subprocess.run(
            [*compiler, "-E", "-P", "-nostdinc", "-D__attribute__(x)=", *folders, "-xc", "-"],
            input=source,
            capture_output=True,
            text=True,
            check=True,
        ).stdout


def make() -> cffi.FFI:
    include_folders, library_folders, program_folders = find_library()
    ffi = cffi.FFI()
    ffi.cdef(declarations(include_folders))
    ffi.set_source(
        "dmq._native",
        f'#define DMQPY_PROGRAMS "{program_folders[0]}"\n#include "native/helpers.c"\n',
        include_dirs=[str(HERE), *include_folders],
        library_dirs=library_folders,
        runtime_library_dirs=library_folders,
        libraries=["dmq"],
        extra_compile_args=["-O2", "-std=c11", "-D_GNU_SOURCE"],
        depends=[str(HERE / "native" / name) for name in ("helpers.c", "helpers.h")],
    )
    return ffi


ffibuilder = make()

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
