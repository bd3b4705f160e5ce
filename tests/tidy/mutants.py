"""Mutants: every known bug of tests/sim/mutants applies to the sources as they are, without fuzz,
as run_mutants.py applies it. A few of them are built each day; one that no longer applies is to be
seen at once."""

import subprocess

from tidy import Report, Sample, main, sources

APPLY = ["patch", "-p1", "--dry-run", "-F0", "-s", "-f", "-i"]


def check(root, build):
    report = Report(what="mutants")
    for path in sources(root, ".patch"):
        if path.parts[:3] != ("tests", "sim", "mutants"):
            continue
        report.checked += 1
        done = subprocess.run([*APPLY, root / path], cwd=root, capture_output=True, text=True)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip().splitlines()
            report.fault(path, f"does not apply: {said[0] if said else 'no reason given'}")
    return report


SOURCE = "int\nf(void)\n{\n    return 1;\n}\n"
PATCH = """Wrong.

--- a/a.c
+++ b/a.c
@@ -2,4 +2,4 @@
 f(void)
 {
-    return 1;
+    return 2;
 }
"""
NAME = "tests/sim/mutants/world/wrong.patch"

SAMPLES = [
    Sample({"a.c": SOURCE, NAME: PATCH}),
    Sample({"a.c": "/* moved */\n\n" + SOURCE, NAME: PATCH}),
    Sample({"a.c": SOURCE.replace("1", "3"), NAME: PATCH}, "wrong.patch: does not apply"),
    Sample({"a.c": SOURCE.replace("{\n", "{\n\n"), NAME: PATCH}, "wrong.patch: does not apply"),
    Sample({"b.c": SOURCE, NAME: PATCH}, "wrong.patch: does not apply"),
]

if __name__ == "__main__":
    main("tidy/mutants", check, SAMPLES)
