"""Words that must not stand in code: unfinished work, and functions that cannot be used safely."""

import re

from tidy import Report, Sample, main, sources, without_comments

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
UNSAFE = re.compile(
    r"\b(strcpy|stpcpy|strcat|strncat|sprintf|vsprintf|gets|alloca|atoi|atol|atoll|strtok|rand|srand"
    r"|setjmp|longjmp|tmpnam|mktemp|localtime|gmtime|ctime|asctime|strerror)\s*\("
)
THIS_FILE = "tests/tidy/banned.py"


def check(root, build):
    report = Report()
    suffixes = (".c", ".h", ".py", ".sh", ".cmake", ".txt", ".java", "run")
    for path in sources(root, *suffixes):
        if path.as_posix() == THIS_FILE:
            continue
        report.checked += 1
        text = (root / path).read_text(errors="replace")
        for number, line in enumerate(text.split("\n"), 1):
            if UNFINISHED.search(line):
                report.fault(f"{path}:{number}", f"unfinished: {line.strip()}")
        if path.suffix not in (".c", ".h"):
            continue
        for number, line in enumerate(without_comments(text, literals=False).split("\n"), 1):
            unsafe = UNSAFE.search(line)
            if unsafe:
                report.fault(f"{path}:{number}", f"{unsafe.group(1)} is banned")
            if path.parts[0] != "tests" and re.search(r"(?<!_)\bassert\s*\(", line):
                report.fault(f"{path}:{number}", "assert vanishes in release: DMQ_ASSERT")
    return report


SAMPLES = [
    Sample(
        {"libdmq/base/a.c": '/* strcpy(a, b) */\nsnprintf(a, 1, "gets(");\nmkstemp("aXXXXXX");\n'}
    ),
    Sample({"libdmq/base/a.c": "/* TODO: later */\n"}, "unfinished"),
    Sample({"run": "# FIXME\n"}, "unfinished"),
    Sample({"libdmq/base/a.c": "strcpy(a, b);\n"}, "strcpy is banned"),
    Sample({"tests/a.c": "sprintf(a, b);\n"}, "sprintf is banned"),
    Sample({"libdmq/base/a.h": "assert(a);\n"}, "DMQ_ASSERT"),
]

if __name__ == "__main__":
    main("tidy/banned", check, SAMPLES)
