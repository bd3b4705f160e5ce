"""Traps: a number that code or a test cites is a row of docs/traps.md, and every row is cited."""

import re

from tidy import Report, Sample, main, sources

TABLE = "docs/traps.md"
ROW = re.compile(r"^\| (\d+a?) \|", re.M)
CITED = re.compile(r"\btraps? (\d+a?(?:(?:, | and )\d+a?)*)", re.I)
NAMED = re.compile(r"(?:^|[^a-z])trap_0?(\d+a?)_")
LINE_BREAK = re.compile(r"\n\s*(?:\*(?!/)|#)?\s*")  # within a comment, too


def cited_in(text, name):
    text = LINE_BREAK.sub(" ", text)
    found = {number for group in CITED.findall(text) for number in re.findall(r"\d+a?", group)}
    return found | set(NAMED.findall(text)) | set(NAMED.findall(name))


def check(root, build):
    report = Report(what="files")
    rows = set(ROW.findall((root / TABLE).read_text()))
    cited = set()
    for path in sources(root, ".c", ".h", ".py", ".txt", ".def"):
        if path.parts[:2] == ("tests", "tidy"):
            continue
        report.checked += 1
        here = cited_in((root / path).read_text(errors="replace"), path.name)
        cited |= here
        for number in sorted(here - rows):
            report.fault(path, f"there is no trap {number} in {TABLE}")
    for number in sorted(rows - cited):
        report.fault(TABLE, f"nothing cites trap {number}")
    report.notes.append(f"{len(rows)} traps")
    return report


DOCUMENT = "| 3 | a | b |\n| 14a | c | d |\n"
CITES = "/* Because of x (traps 3\n * and 14a). */\n"

SAMPLES = [
    Sample({TABLE: DOCUMENT, "a.c": CITES}),
    Sample({TABLE: DOCUMENT, "trap_03_x.txt": "node\n", "a.c": "/* trap 14a */\n"}),
    Sample({TABLE: DOCUMENT, "a.c": CITES + "int trap_04_b(void);\n"}, "there is no trap 4"),
    Sample({TABLE: DOCUMENT, "a.c": "/* (trap 3) */\n"}, "nothing cites trap 14a"),
]

if __name__ == "__main__":
    main("tidy/traps", check, SAMPLES)
