"""Purity of what decides: the objects of step machines, both cores and the log may reach memory,
strings and the folders below them, and nothing else. No clock, no disk, no socket, no thread, no
output: those are events and effects. Read from the objects themselves by `nm`."""

import re
import subprocess
from pathlib import Path

from tidy import Report, Sample, main
from tree import MAY_USE, PURE, folder_of

# What memory and strings are, in the words of the C library.
PLAIN = {
    *("malloc", "calloc", "realloc", "free", "aligned_alloc", "abort"),
    *("memcpy", "memmove", "memset", "memcmp", "memchr", "memrchr", "memmem", "bcmp"),
    *("strlen", "strnlen", "strcmp", "strncmp", "strchr", "strrchr", "strstr", "strdup", "strndup"),
    *("strspn", "strcspn", "snprintf", "vsnprintf", "qsort", "bsearch"),
    *("strtol", "strtoll", "strtoul", "strtoull"),
    "__assert_fail",  # of utlist.h
    "_GLOBAL_OFFSET_TABLE_",
}
# What the compiler adds: stack protector, fortified forms of the above, sanitizers, coverage.
ADDED = re.compile(
    r"^__stack_chk_fail$|^__(memcpy|memmove|memset|snprintf|vsnprintf)_chk$"
    r"|^__(asan|ubsan|lsan|sanitizer|odr_asan|sanitizer_cov|gcov)_|^__isoc23_strto"
    r"|^__popcountdi2$|^__cpu_(model|indicator_init)$|^___asan_"
)


# What two folders reach beyond that: the assertion's last words, and the codecs' libraries.
MORE = {
    "libdmq/base": re.compile(r"^(fprintf|__fprintf_chk|fputs|fflush|stderr)$"),
    "libdmq/wire": re.compile(r"^(msgpack_|json_|LZ4F?_|ZSTD_)"),
}


def symbols_of(objects):
    """Object -> (external symbols that it defines, those that it wants), in one call of nm."""
    found = {obj: (set(), set()) for obj in objects}
    if objects:
        command = ["nm", "--format=posix", "--extern-only", "--print-file-name", *objects]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            name, _, rest = line.partition(": ")
            symbol, kind = rest.split()[:2]
            found[Path(name)][kind in "Uwv"].add(symbol)
    return found


def objects_by_folder(root, build):
    """Folder of the layer table -> [(source, object)], for sources that still exist."""
    found = {}
    for obj in sorted(build.glob("**/CMakeFiles/*.dir/**/*.c.o")):
        parts = obj.relative_to(build).parts
        at = parts.index("CMakeFiles")
        path = obj.relative_to(build / "/".join(parts[: at + 2]))
        source = root / "/".join(parts[:at]) / path.with_suffix("")
        if source.exists():
            relative = source.relative_to(root)
            found.setdefault(folder_of(relative), []).append((relative, obj))
    return found


def check(root, build):
    report = Report(what="objects")
    objects = objects_by_folder(root, build)
    symbols = symbols_of([obj for pairs in objects.values() for _, obj in pairs])
    defined = {
        folder: {symbol for _, obj in pairs for symbol in symbols[obj][0]}
        for folder, pairs in objects.items()
    }
    for folder in PURE:
        below = {s for f in (folder, *MAY_USE[folder]) for s in defined.get(f, ())}
        for source, obj in objects.get(folder, []):
            report.checked += 1
            for symbol in sorted(symbols[obj][1] - below - PLAIN):
                if not ADDED.match(symbol) and not MORE.get(folder, ADDED).match(symbol):
                    report.fault(source, f"reaches {symbol}")
        sources_here = {p.relative_to(root) for p in (root / folder).glob("*.c")}
        for missing in sorted(sources_here - {source for source, _ in objects.get(folder, [])}):
            report.fault(missing, f"has no object in {build.name}: build first")
    empty = [folder for folder in PURE if folder not in objects]
    if empty:
        report.notes.append(f"no code yet: {', '.join(empty)}")
    return report


def compiled(*names):
    def prepare(root):
        for name in names:
            top, _, rest = name.partition("/")
            obj = root / "build" / top / "CMakeFiles/x.dir" / f"{rest}.o"
            obj.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cc", "-O1", "-c", root / name, "-o", obj], check=True)

    return prepare


BASE = "libdmq/base/b.c"
MACHINE = "broker/replica/a.c"


def sample(text, fault=None, objects=(BASE, MACHINE)):
    files = {BASE: "int b_value(void) { return 1; }\n", MACHINE: text}
    return Sample(files, fault, compiled(*objects))


GOOD = """#include <string.h>
int b_value(void);
int a(char *s, size_t size) { return memchr(s, 1, size) == 0 ? b_value() : 0; }
"""
SAMPLES = [
    sample(GOOD),
    sample("#include <time.h>\nlong a(void) { return (long)time(0); }\n", "reaches time"),
    sample('#include <stdio.h>\nvoid a(void) { puts("a"); }\n', "reaches puts"),
    sample("int plog_x(void);\nint a(void) { return plog_x(); }\n", "reaches plog_x"),
    sample("int a;\n", "has no object", objects=(BASE,)),
]

if __name__ == "__main__":
    main("tidy/purity", check, SAMPLES)
