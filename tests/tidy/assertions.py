"""Step machines say what must hold: 40 or more assertions per thousand lines of a machine."""

import re

from tidy import Report, Sample, main, sources, without_comments
from tree import DECIDING, MACHINES, folder_of

WANTED = 40
ASSERTION = re.compile(r"\b(DMQ_ASSERT|DMQ_DEBUG_ASSERT|DMQ_UNREACHABLE)\s*\(")


def check(root, build):
    report = Report(what="folders")
    counts = {folder: [0, 0] for folder in DECIDING}
    for path in sources(root, ".c"):
        if folder_of(path) in counts:
            text = (root / path).read_text()
            counts[folder_of(path)][0] += len(ASSERTION.findall(without_comments(text, False)))
            counts[folder_of(path)][1] += text.count("\n")
    for folder, (assertions, lines) in counts.items():
        report.checked += 1
        if lines == 0:
            report.notes.append(f"{folder}: no code yet")
            continue
        density = 1000 * assertions / lines
        report.notes.append(f"{folder}: {assertions} in {lines} lines, {density:.0f} per thousand")
        if folder in MACHINES and density < WANTED:
            report.fault(folder, f"{density:.0f} assertions per thousand lines, {WANTED} wanted")
    return report


def sample(assertions, others, fault=None):
    text = "    DMQ_ASSERT(a);\n" * assertions + "    /* DMQ_ASSERT(a) */\n" * others
    return Sample({"broker/replica/a.c": text}, fault)


SAMPLES = [sample(40, 960), sample(39, 961, "39 assertions per thousand")]

if __name__ == "__main__":
    main("tidy/assertions", check, SAMPLES)
