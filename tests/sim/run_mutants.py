"""Known bugs, each a patch in tests/sim/mutants, applied to a copy of the sources: a simulator must
catch every one. Prints how many seeds that took, with assertions on and with assertions off, and
the seconds.

    run_mutants.py [--some N] [--both] [--off] [--jobs N] [--copy FOLDER] [NAME...]

--some N: N of them, others each day (for CI). --both: those of one machine also in the simulator of
whole clusters, though their own has caught them. --off: only without assertions, in half of the
time; what only an assertion sees survives then. A patch that no longer applies fails. A NAME is
that of a mutant, or of a folder of them."""

import argparse
import datetime
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = ROOT / "tests/sim/mutants"
SEEDS = 400
WORLD = ["dmq-sim", "--seconds", "20"]
LONG = ["dmq-sim", "--seconds", "60"]
AT_MOST = 120  # seconds
# Which programs may catch the mutants of a folder; the next one where the former did not.
PROGRAMS = {
    "world": [["dmq-sim"], LONG, [*LONG, "--retention"]],
    "quorum": [WORLD],
    "raft": [["raft_sim"]],
    "broker": [["crash_broker"]],
    "replica": [["replica_sim"], WORLD, LONG],
}
SKIPPED = shutil.ignore_patterns("build*", ".git", ".venv", "__pycache__", "*.egg-info")


class Copy:
    """A copy of the sources with a build folder beside it, used for one mutant after another."""

    def __init__(self, folder, jobs, assertions):
        self.sources = folder / "sources"
        self.build = folder / ("on" if assertions else "off")
        self.jobs = jobs
        if not self.sources.exists():
            shutil.copytree(ROOT, self.sources, ignore=SKIPPED, symlinks=True)
        state = "ON" if assertions else "OFF"
        ccache = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        subprocess.run(
            ["cmake", "-G", "Ninja", "-S", self.sources, "-B", self.build, *ccache]
            + [f"-DDMQ_ASSERTIONS={state}", "-DCMAKE_C_FLAGS=-w", "-DCMAKE_BUILD_TYPE=Release"],
            check=True,
            capture_output=True,
        )

    def patch(self, path, *options):
        command = ["patch", "-p1", "--no-backup-if-mismatch", "-F0", "-s", *options, "-i", path]
        return subprocess.run(command, cwd=self.sources, capture_output=True, text=True)

    def make(self, program):
        target = program[0].replace("-", "_")
        subprocess.run(
            ["cmake", "--build", self.build, "-j", str(self.jobs), "--target", target],
            check=True,
            capture_output=True,
        )

    def seeds_to_catch(self, program):
        """The number of seeds until the mutant failed, and how; None if it survived."""
        if program[0] == "crash_broker":
            return self.found_by_crashes()
        command = [self.build / "bin" / program[0], "--seeds", f"1..{SEEDS}", "--first"]
        command += program[1:]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=AT_MOST)
        except subprocess.TimeoutExpired:
            return None
        failed = re.search(r"^seed (\d+): .*?: (.*)$", ran.stdout, re.M)
        if failed and "ok" != failed[2]:
            return int(failed[1]), re.sub(r"\d+", "n", failed[2])[:60]
        if ran.returncode < 0:
            begun = re.findall(r"^seed (\d+)", ran.stderr, re.M)
            said = (ran.stderr.strip().splitlines() or ["crashed"])[-1]
            return int(begun[-1]) if begun else 1, said.removeprefix("dmq: ")[:60]
        return None

    def found_by_crashes(self):
        """crash_broker has one script a seed, and all its crash points."""
        command = [self.build / "bin" / "crash_broker", "1"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=600)
        said = (ran.stderr.strip().splitlines() or ["crashed"])[-1]
        said = said.removeprefix("crash_broker: ").removeprefix("dmq: ")
        return None if ran.returncode == 0 else (1, re.sub(r"\d+", "n", said)[:60])


def chosen(arguments):
    found = sorted(MUTANTS.glob("*/*.patch"))
    if not found:
        sys.exit("run_mutants: no patches")
    if arguments.names:
        names = arguments.names
        return [path for path in found if path.stem in names or path.parent.name in names]
    if arguments.some:
        first = datetime.date.today().toordinal() * arguments.some % len(found)
        return (found + found)[first : first + arguments.some]
    return found


def row_of(caught, program):
    """For each build its seeds and seconds; then how the last one saw it."""
    columns = [f"{c[0] if c else '-':>4} {seconds:>4.0f} s" for c, seconds in caught]
    how = next((c[1] for c, _ in reversed(caught) if c), "SURVIVED")
    return f"{'  '.join(columns)}  {program[0]}: {how}"


def timed(copy, program):
    copy.make(program)
    begun = time.monotonic()
    return copy.seeds_to_catch(program), time.monotonic() - begun


def run(path, copies, both):
    """The rows of the table, and whether the mutant was caught where it must be."""
    programs = PROGRAMS[path.parent.name]
    applied = copies[0].patch(path, "--dry-run")
    if applied.returncode == 0:
        applied = copies[0].patch(path)
    if applied.returncode != 0:
        return [f"does not apply: {applied.stdout.strip()[:80]}"], False
    rows, caught, wanted = [], False, 2 if both and path.parent.name == "replica" else 1
    try:
        for program in programs:
            if len(rows) >= wanted and caught:
                break
            found = [timed(copy, program) for copy in copies]
            caught = caught or any(c for c, _ in found)
            rows.append(row_of(found, program))
    finally:
        copies[0].patch(path, "-R")
    return rows, caught


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--some", type=int)
    parser.add_argument("--both", action="store_true")
    parser.add_argument("--off", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--copy", type=Path, default=Path("/var/tmp/dmq-mutants"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.copy, ignore_errors=True)
    builds = (False,) if arguments.off else (True, False)
    copies = [Copy(arguments.copy, arguments.jobs, on) for on in builds]
    where = "without assertions" if arguments.off else "with assertions, without"
    print(f"seeds to catch, and seconds: {where}; how it was seen")
    survived = 0
    for path in chosen(arguments):
        rows, caught = run(path, copies, arguments.both)
        survived += not caught
        for row in rows:
            print(f"  {path.parent.name}/{path.stem:<34} {row}", flush=True)
    total = len(chosen(arguments))
    shutil.rmtree(arguments.copy, ignore_errors=True)
    print(f"{total - survived} passed, {survived} failed")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
