"""What the tidy tests share: the sources of the checkout, C text without comments, and the frame in
which a rule runs.

A rule is a function `check(root, build)` that returns a Report. Before it looks at the checkout it
must fail on each of its bad samples and pass its good one: a rule that cannot fail is a defect. It
also fails if it found nothing to look at.
"""

import argparse
import os
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

SKIPPED_FOLDERS = re.compile(
    r"^(build(-.*)?|\.git|\.venv|\.cache|.*\.egg-info|__pycache__|\.\w+_cache)$"
)


@dataclass
class Report:
    checked: int = 0  # files, symbols, links: whatever the rule looks at
    what: str = "files"
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fault(self, place, text):
        self.faults.append(f"{place}: {text}")


@dataclass
class Sample:
    """A tiny checkout, and a piece of the fault that it must raise (None: it must be clean)."""

    files: dict[str, str]
    fault: str | None = None
    prepare: object = None  # called with the root, to build what the rule reads


def sources(root, *suffixes):
    """All files of the checkout with these suffixes or names, as paths relative to root."""
    found = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(n for n in names if not SKIPPED_FOLDERS.match(n))
        here = Path(folder).relative_to(root)
        found += [here / f for f in sorted(files) if Path(f).suffix in suffixes or f in suffixes]
    return found


COMMENT_OR_LITERAL = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""", re.S | re.X
)


def without_comments(text, literals=True):
    """C text with comments (and the insides of literals) blanked; lines keep their numbers."""

    def blank(match):
        piece = match.group(0)
        if piece[0] == "/":
            return re.sub(r"[^\n]", " ", piece)
        return piece if literals else piece[0] + " " * (len(piece) - 2) + piece[-1]

    return COMMENT_OR_LITERAL.sub(blank, text)


def run_sample(rule, check, number, sample):
    with tempfile.TemporaryDirectory(prefix="dmq-tidy-") as folder:
        root = Path(folder)
        for name, text in sample.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        if sample.prepare is not None:
            sample.prepare(root)
        report = check(root, root / "build")
    if sample.fault is None:
        wrong = report.faults or ([] if report.checked else ["it checked nothing"])
    else:
        seen = any(sample.fault in f for f in report.faults)
        wrong = [] if seen else [f"it missed '{sample.fault}', said {report.faults}"]
    for text in wrong:
        print(f"{rule}: self-test {number}: {text}")
    return not wrong


def main(rule, check, samples):
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--build", type=Path, default=None, help="build folder (default: build/)")
    args = parser.parse_args()
    root = args.root.resolve()
    build = (args.build or root / "build").resolve()

    good = all([run_sample(rule, check, i + 1, s) for i, s in enumerate(samples)])
    bad_samples = sum(s.fault is not None for s in samples)
    report = check(root, build)
    for line in report.notes + report.faults:
        print(line)
    print(
        f"{rule}: {report.checked} {report.what} checked, {len(report.faults)} faults;"
        f" self-test: {bad_samples} bad samples {'caught' if good else 'NOT all caught'}"
    )
    if report.checked == 0:
        print(f"{rule}: nothing was checked")
    sys.exit(0 if good and bad_samples and report.checked and not report.faults else 1)
