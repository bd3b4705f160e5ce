#!/usr/bin/env bash
# packages.sh BUILD FOLDER: packs what was built in BUILD; FOLDER gets
#   dmq-*.whl            the Python package, with libdmq and all that it needs inside
#   dmq_programs-*.whl   the programs likewise: with both, dmq.dev() works in a bare venv
#   dmq-*.tar.gz         the Python package's sources and those of libdmq: needs a compiler, and what
#                        libdmq is linked with
#   dmq_*.deb            library, headers, programs, systemd's units
# The wheels run where glibc is at least this machine's. `./run packages` calls it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=$1
out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# wheel SOURCE: builds one from a copy, so that nothing of it stays in the checkout, and puts into it
# the libraries that it needs.
wheel() {
    local name
    name=$(basename "$1")
    cp -r "$1" "$work/$name"
    find "$work/$name" -name '*.so' -delete
    rm -rf "$work/$name/build"
    DMQ_PREFIX=$work/prefix DMQ_WHEEL=1 .venv/bin/python -m pip wheel --quiet --no-deps \
        --no-build-isolation --wheel-dir "$work/$name-wheel" "$work/$name"
    PATH=$PWD/.venv/bin:$PATH LD_LIBRARY_PATH=$work/prefix/lib .venv/bin/auditwheel repair \
        --strip --wheel-dir "$out" "$work/$name-wheel"/*.whl 2>"$work/log" ||
        { cat "$work/log" >&2; exit 1; }
}

# The library's sources go along: whoever has no libdmq compiles them into the extension.
sdist() {
    local part
    for part in base os wire client net api include; do
        mkdir -p "$work/python/libdmq"
        cp -r "libdmq/$part" "$work/python/libdmq/"
    done
    (cd "$work/python" && DMQ_PREFIX=$work/prefix "$OLDPWD/.venv/bin/python" -c \
        'import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])' \
        "$work") >/dev/null
    mv "$work"/dmq-*.tar.gz "$out/"
}

mkdir -p "$out"
rm -f "$out"/*.whl "$out"/*.tar.gz "$out"/*.deb
cmake --install "$build" --strip --prefix "$work/prefix" >/dev/null
wheel bindings/python
sdist
wheel bindings/programs
cpack --config "$build/CPackConfig.cmake" -B "$out" >"$work/cpack.log" ||
    { cat "$work/cpack.log" >&2; exit 1; }
rm -rf "$out/_CPack_Packages"
ls -sh "$out"
