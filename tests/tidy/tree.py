"""The tree as data: which folder may know which. The tidy tests `layers` and `purity` hold it."""

import re

# folder -> the project folders whose headers (and symbols) it may use, besides its own and the
# public headers. Lowest first; a folder that is not here must not hold C files.
MAY_USE = {
    "libdmq/include/dmq": [],
    "libdmq/base": [],
    "libdmq/os": ["libdmq/base"],
    "libdmq/conf": ["libdmq/base"],
    "libdmq/wire": ["libdmq/base"],
    "libdmq/store": ["libdmq/base"],
    "libdmq/meta": ["libdmq/base", "libdmq/wire"],
    "libdmq/client": ["libdmq/base", "libdmq/wire"],
    "libdmq/net": ["libdmq/base", "libdmq/wire"],
    "libdmq/http": ["libdmq/base", "libdmq/wire"],
    "controller/raft": ["libdmq/base"],
    "controller/core": ["libdmq/base", "libdmq/wire", "libdmq/meta", "controller/raft"],
    "controller/store": ["libdmq/base", "libdmq/wire", "libdmq/store", "controller/raft"],
    "broker/log": ["libdmq/base", "libdmq/wire"],
    "broker/replica": ["libdmq/base"],
    "broker/group": ["libdmq/base", "libdmq/wire"],
    "broker/txn": ["libdmq/base", "libdmq/wire"],
    "broker/store": ["libdmq/base", "libdmq/store"],
    "libdmq/cli": [],
}
MAY_USE["broker/core"] = [
    *("libdmq/base", "libdmq/wire", "libdmq/meta"),
    *("broker/log", "broker/replica", "broker/group", "broker/txn"),
]
DAEMON_PARTS = ["base", "os", "conf", "wire", "store", "meta", "net", "http"]
MAY_USE["libdmq/api"] = [
    f"libdmq/{part}" for part in ("base", "os", "conf", "wire", "meta", "client", "net")
]
MAY_USE["broker/node"] = [
    *(f"libdmq/{part}" for part in DAEMON_PARTS),
    *(f"broker/{part}" for part in ("log", "replica", "group", "txn", "core", "store")),
]
MAY_USE["controller/node"] = [
    *(f"libdmq/{part}" for part in DAEMON_PARTS),
    *(f"controller/{part}" for part in ("raft", "core", "store")),
]

# Folders that speak to the operating system. Everything else reaches it through a seam (fs.h, kv.h)
# or through its events and effects.
OS_FOLDERS = {
    *("libdmq/os", "libdmq/net", "libdmq/http", "libdmq/api", "libdmq/cli"),
    *("broker/node", "controller/node"),
}

# Headers of plain C, allowed everywhere. Not here: assert.h (DMQ_ASSERT stays on in release), and
# time.h, locale.h, signal.h, setjmp.h, threads.h, which are the operating system's.
C_HEADERS = {
    *("ctype.h", "errno.h", "float.h", "inttypes.h", "limits.h", "math.h", "stdalign.h"),
    *("stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h"),
    *("stdnoreturn.h", "string.h"),
}

# Libraries: header pattern -> the folders that may include it.
LIBRARY_HEADERS = [
    (re.compile(r"^czmq"), {"broker/node", "controller/node"}),
    (re.compile(r"^zmq\.h$"), {"libdmq/net", "libdmq/api"}),
    (re.compile(r"^leveldb/"), {"libdmq/store"}),
    (re.compile(r"^msgpack"), {"libdmq/wire"}),
    (re.compile(r"^jansson\.h$"), {"libdmq/wire", "libdmq/conf"}),
    (re.compile(r"^(lz4|lz4frame|lz4hc|zstd|zstd_errors|xxhash)\.h$"), {"libdmq/wire"}),
    (re.compile(r"^microhttpd\.h$"), {"libdmq/http"}),
    (re.compile(r"^ut(hash|list|array|string)\.h$"), set(MAY_USE) - {"libdmq/include/dmq"}),
    # Instructions of the processor: checksums.
    (re.compile(r"^(\w+intrin|cpuid|arm_acle)\.h$"), {"libdmq/base"}),
    # What the operating system gives.
    (
        re.compile(
            r"^(sys|linux|netinet|arpa|net)/|^(unistd|fcntl|pthread|poll|signal|time|dirent|netdb|pwd"
            r"|sched|termios|getopt|spawn|ftw|ifaddrs|dlfcn|syslog|locale|threads|semaphore|glob"
            r"|fnmatch|libgen|wordexp|langinfo|malloc)\.h$"
        ),
        OS_FOLDERS,
    ),
]

# Step machines: pure, and held to a density of assertions.
MACHINES = ["controller/raft", "broker/replica", "broker/group", "broker/txn", "libdmq/client"]

# Folders whose objects may reach memory, strings and lower layers, and nothing else.
DECIDING = [*MACHINES, "libdmq/meta", "broker/core", "controller/core", "broker/log"]
PURE = ["libdmq/base", "libdmq/wire", *DECIDING]


def folder_of(path):
    """The folder of the table that a source file belongs to, or None."""
    name = path.parent.as_posix()
    while name not in ("", "."):
        if name in MAY_USE:
            return name
        name = name.rpartition("/")[0]
    return None
