"""Every external name is defined once in each program, whatever the order of the libraries: in both
daemons, and in what simulator and unit tests are linked from, which is all but the two nodes."""

from purity import compiled, objects_by_folder, symbols_of
from tidy import Report, Sample, main
from tree import MAY_USE

NODES = ["broker/node", "controller/node"]
PROGRAMS = {node: [*MAY_USE[node], node] for node in NODES}
PROGRAMS["tests"] = [folder for folder in MAY_USE if folder not in NODES]


def sources_by_name(pairs):
    symbols = symbols_of([obj for _, obj in pairs])
    found = {}
    for source, obj in pairs:
        if source.name != "main.c":
            for name in symbols[obj][0]:
                found.setdefault(name, set()).add(source.as_posix())
    return found


def check(root, build):
    report = Report(what="names")
    objects = objects_by_folder(root, build)
    for folders in PROGRAMS.values():
        pairs = [pair for folder in folders for pair in objects.get(folder, [])]
        found = sources_by_name(pairs)
        report.checked += len(found)
        for name, sources in sorted(found.items()):
            if len(sources) > 1:
                report.fault(name, f"is defined in {', '.join(sorted(sources))}")
    return report


OS, RAFT = "libdmq/os/log.c", "controller/raft/log.c"


def sample(os_text, raft_text, fault=None):
    return Sample({OS: os_text, RAFT: raft_text}, fault, compiled(OS, RAFT))


SAMPLES = [
    sample("void log_init(void) {}\n", "void raft_log_init(void) {}\n"),
    sample(
        "void log_init(void) {}\n", "static void log_init(void) {}\nvoid (*a)(void) = log_init;\n"
    ),
    sample("void log_init(void) {}\n", "void log_init(void) {}\n", f"defined in {RAFT}, {OS}"),
]

if __name__ == "__main__":
    main("tidy/names", check, SAMPLES)
