"""The layer table: who includes whom, which header of a library stands where, in which order."""

import re
from pathlib import PurePosixPath

from tidy import Report, Sample, main, sources, without_comments
from tree import C_HEADERS, LIBRARY_HEADERS, MAY_USE, folder_of

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
UNLAYERED = ("tests", "bindings", "docs")  # may include anything


def fault_of_system_header(folder, header):
    if header in C_HEADERS:
        return None
    if header.startswith("dmq/"):
        return None if folder == "libdmq/include/dmq" else f'<{header}> is ours: write "{header}"'
    for pattern, folders in LIBRARY_HEADERS:
        if pattern.search(header):
            return None if folder in folders else f"<{header}> only in {', '.join(sorted(folders))}"
    return f"<{header}> is not in the table of headers (tests/tidy/tree.py)"


def fault_of_project_header(root, build, folder, header):
    if header.startswith("dmq/"):
        target, real = "libdmq/include/dmq", root / "libdmq/include" / header
    else:
        target, real = folder_of(PurePosixPath(header)), root / header
    if not real.exists() and not (build / "generated" / header).exists():
        return f'"{header}" does not exist (paths start at the root of the repository)'
    if target in ("libdmq/include/dmq", folder):
        return None
    if target is None:
        return f'"{header}" belongs to no layer'
    if target not in MAY_USE[folder]:
        return f'"{header}": {folder} must not know {target}'
    return None


def fault_of_order(root, path, includes):
    """Own header (that of the file or of its module), then <system>, then "project"."""
    own = path.with_suffix(".h")
    headers = [header for _, header in includes]
    if path.suffix == ".c" and (root / own).exists() and own.as_posix() not in headers[:1]:
        return f'its own header, "{own}", is not the first include'
    forms = [form for form, _ in includes]
    if headers and PurePosixPath(headers[0]).parent == path.parent:
        forms = forms[1:]
    if forms != sorted(forms, reverse=True):  # '<' sorts after '"'
        return 'includes are not in the order own header, <system>, "project"'
    return None


def check(root, build):
    report = Report(what="files")
    for path in sources(root, ".c", ".h"):
        if path.parts[0] in UNLAYERED:
            continue
        folder = folder_of(path)
        report.checked += 1
        if folder is None:
            report.fault(path, "its folder is not in the layer table (tests/tidy/tree.py)")
            continue
        text = (root / path).read_text()
        includes = INCLUDE.findall(without_comments(text))
        for form, header in includes:
            if form == "<":
                fault = fault_of_system_header(folder, header)
            else:
                fault = fault_of_project_header(root, build, folder, header)
            if fault:
                report.fault(path, fault)
        order = fault_of_order(root, path, includes)
        if order:
            report.fault(path, order)
    return report


def sample(path, text, fault, *others):
    return Sample({path: text, **{o: "" for o in others}}, fault)


SAMPLES = [
    sample(
        "broker/replica/replica.c",
        '#include "broker/replica/replica.h"\n#include <math.h>\n#include "libdmq/base/bytes.h"\n',
        None,
        "broker/replica/replica.h",
        "libdmq/base/bytes.h",
    ),
    sample("libdmq/base/a.h", '#include "libdmq/wire/b.h"\n', "must not know", "libdmq/wire/b.h"),
    sample(
        "broker/log/a.h", '#include "broker/replica/b.h"\n', "must not know", "broker/replica/b.h"
    ),
    sample("broker/core/a.h", "#include <czmq.h>\n", "<czmq.h> only in"),
    sample("libdmq/api/a.h", "#include <czmq.h>\n", "<czmq.h> only in"),
    sample("libdmq/wire/a.h", "#include <zmq.h>\n", "<zmq.h> only in"),
    sample("broker/store/a.h", "#include <leveldb/c.h>\n", "<leveldb/c.h> only in"),
    sample("libdmq/meta/a.h", "#include <msgpack.h>\n", "<msgpack.h> only in"),
    sample("controller/raft/a.h", "#include <time.h>\n", "<time.h> only in"),
    sample("broker/core/a.h", "#include <sys/socket.h>\n", "<sys/socket.h> only in"),
    sample("libdmq/base/a.h", "#include <bizarre.h>\n", "not in the table of headers"),
    sample("libdmq/cli/a.h", '#include "libdmq/base/b.h"\n', "must not know", "libdmq/base/b.h"),
    sample("broker/core/a.c", '#include "core/a.h"\n', "does not exist", "broker/core/a.h"),
    sample(
        "libdmq/base/a.c",
        '#include <string.h>\n#include "libdmq/base/a.h"\n',
        "is not the first include",
        "libdmq/base/a.h",
    ),
    sample("broker/extra/a.h", "\n", "not in the layer table"),
    sample(
        "libdmq/base/a.c",
        '#include "dmq/errors.h"\n#include <string.h>\n',
        "the order",
        "libdmq/include/dmq/errors.h",
    ),
]

if __name__ == "__main__":
    main("tidy/layers", check, SAMPLES)
