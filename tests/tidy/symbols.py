"""The exported symbols of libdmq.so are exactly those of the committed list, and all ours."""

import subprocess

from tidy import Report, Sample, main

LIST = "libdmq/libdmq.symbols"
LIBRARY = "lib/libdmq.so"


def exported(library):
    """Functions and data that the library gives, without the name of its version node."""
    said = subprocess.run(
        ["nm", "-D", "--defined-only", "--format=posix", library],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    fields = [line.split() for line in said.splitlines() if line.strip()]
    return {f[0].partition("@")[0] for f in fields if f[1] != "A"}


def check(root, build):
    report = Report(what="symbols")
    library, committed = build / LIBRARY, root / LIST
    if not any((root / "libdmq/api").glob("*.c")) and not library.exists():
        report.notes.append("libdmq has no api yet: nothing is exported")
        report.checked = 1
        return report
    for path in (library, committed):
        if not path.exists():
            report.fault(path, "is missing")
            return report
    lines = [line.strip() for line in committed.read_text().splitlines()]
    listed = [line for line in lines if line and not line.startswith("#")]
    real = exported(library)
    report.checked = len(real)
    if listed != sorted(set(listed)):
        report.fault(LIST, "is not sorted, or names a symbol twice")
    for symbol in sorted(real - set(listed)):
        report.fault(LIBRARY, f"exports {symbol}, which {LIST} does not name")
    for symbol in sorted(set(listed) - real):
        report.fault(LIBRARY, f"does not export {symbol}, which {LIST} names")
    for symbol in sorted(s for s in real if not s.startswith("dmq_")):
        report.fault(LIBRARY, f"exports {symbol}: only dmq_*")
    return report


def linked(root):
    (root / "build/lib").mkdir(parents=True)
    command = ["cc", "-shared", "-fPIC", root / "libdmq/api/a.c", "-o", root / "build" / LIBRARY]
    subprocess.run(command, check=True)


def sample(code, listed, fault=None):
    return Sample({"libdmq/api/a.c": code, LIST: listed}, fault, linked)


SAMPLES = [
    sample("int dmq_a(void) { return 1; }\nint dmq_b;\n", "dmq_a\ndmq_b\n"),
    sample("int dmq_a(void) { return 1; }\nint dmq_b;\n", "dmq_a\n", "exports dmq_b, which"),
    sample("int dmq_a(void) { return 1; }\n", "dmq_a\ndmq_b\n", "does not export dmq_b"),
    sample("int dmq_a(void) { return 1; }\nint stray;\n", "dmq_a\nstray\n", "only dmq_*"),
    sample("int dmq_a(void) { return 1; }\nint dmq_b;\n", "dmq_b\ndmq_a\n", "not sorted"),
    Sample({"libdmq/api/a.c": "int dmq_a;\n"}, "is missing", linked),
    Sample({"libdmq/api/a.c": "int dmq_a;\n", LIST: "dmq_a\n"}, "is missing"),
]

if __name__ == "__main__":
    main("tidy/symbols", check, SAMPLES)
