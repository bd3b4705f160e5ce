"""Known bugs of Raft, each a small patch: the simulator must catch every one.

Each patch of mutants/raft is applied to a copy of the sources, which is built with assertions off and
run, seed after seed, until a checker finds it. If the checkers find nothing, it is built once more with
assertions on. The table says how many seeds it took. A patch that no longer applies fails, and so does
a mutant that lives.

    run_raft_mutants.py [--only NAME]... [--rotate N] [--seeds N] [--work FOLDER]

--rotate N takes N of them, others each day. Without patches (`--only none`) the copy must pass."""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATCHES = ROOT / "tests/sim/mutants/raft"
SOURCES = [
    *("controller/raft/*.[ch]", "libdmq/base/*.[ch]", "libdmq/include/dmq/*.h"),
    *("tests/support/raft_*.[ch]", "tests/sim/raft_*.[ch]", "tests/sim/main/raft_sim.c"),
]
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-w", "-fno-strict-aliasing", "-I.", "-Ilibdmq/include"]
BATCH = 10
ASSERTION = re.compile(r"#define DMQ_ASSERT\(expr\).*?while \(0\)\n", re.S)
SILENT = "#define DMQ_ASSERT(expr) do { (void)(expr); } while (0)\n"


def copy_sources(folder):
    for pattern in SOURCES:
        for path in ROOT.glob(pattern):
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def build(folder, assertions):
    header = folder / "libdmq/base/assert.h"
    text = (ROOT / "libdmq/base/assert.h").read_text()
    silent = ASSERTION.sub(SILENT, text, count=1)
    if silent == text:
        sys.exit("the definition of DMQ_ASSERT is not found")
    header.write_text(text if assertions else silent)
    sources = [p.relative_to(folder).as_posix() for p in folder.rglob("*.c")]
    subprocess.run(["cc", *FLAGS, *sources, "-o", "raft_sim"], cwd=folder, check=True)


def seeds_to_catch(folder, most):
    """How many seeds it took and what was said; None if all passed."""
    for first in range(1, most + 1, BATCH):
        command = ["./raft_sim", "--seeds", f"{first}..{first + BATCH - 1}"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            return first, "does not end"
        said = re.search(r"^(VIOLATION|ASSERTION) seed (\d+)(.*)$", done.stdout, re.M)
        if said:
            what = said[3].partition(": ")[2] if said[1] == "VIOLATION" else "an assertion"
            return int(said[2]), what
        if done.returncode < 0:
            return first, f"died of signal {-done.returncode}"
    return None


def run_one(patch, most, work):
    folder = Path(tempfile.mkdtemp(prefix="mutant_", dir=work))
    try:
        copy_sources(folder)
        if patch is not None:
            applied = subprocess.run(
                ["patch", "-p1", "-s", "-f", "--fuzz=0", "-i", patch],
                cwd=folder,
                capture_output=True,
                text=True,
            )
            if applied.returncode != 0:
                return None, "the patch does not apply"
        for assertions in (False, True) if patch else (True,):
            build(folder, assertions)
            caught = seeds_to_catch(folder, most)
            if caught:
                seeds, what = caught
                return seeds, what if not assertions else f"{what} (assertions on)"
        return None, "lives" if patch else "passes"
    finally:
        shutil.rmtree(folder)


def chosen(args):
    patches = sorted(PATCHES.glob("*.patch"))
    if args.only:
        return [p for p in patches if p.stem in args.only] or [None]
    if args.rotate:
        day = int(time.time() // 86400) * args.rotate
        return [patches[(day + i) % len(patches)] for i in range(args.rotate)]
    return patches


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append")
    parser.add_argument("--rotate", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", default="/var/tmp")
    args = parser.parse_args()
    patches = chosen(args)
    failed = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        results = pool.map(lambda p: (p, *run_one(p, args.seeds, args.work)), patches)
        for patch, seeds, what in results:
            name = patch.stem if patch else "none"
            good = seeds is not None if patch else what == "passes"
            failed += not good
            mark = "" if good else "FAILED "
            print(f"{mark}{name:<28} {seeds or '-':>5}  {what}", flush=True)
    print(f"{len(patches)} mutants, {failed} not caught")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
