"""Sizes: functions, files, nesting, parameters; and our own figures beside the limits.

It leans on the formatting (another tidy test): a function's braces stand alone in the first column,
its return type on a line of its own above its name."""

import re
from dataclasses import dataclass

from tidy import Report, Sample, main, sources, without_comments

# Functions whose parameters a library dictates: it calls them.
CALLED_BY_A_LIBRARY = {("libdmq/http/http.c", "on_request")}  # libmicrohttpd

MAX_FUNCTION, MAX_FILE, MAX_NESTING, MAX_PARAMETERS = 70, 800, 3, 6
TOKEN = re.compile(r"[A-Za-z_]\w*|[(){}\[\];:]|[^\s\w]")
BLOCK_WORDS = re.compile(r"^(if|for|while|switch|[A-Z]+_FOREACH\w*|HASH_ITER)$")
CASE = re.compile(r"^\s*(case\b.*|default\s*):$")


@dataclass
class Function:
    name: str
    line: int
    lines: list[str]  # from the name to the closing brace, without comments

    def length(self):
        return len(self.lines) - one_line_arms(self.lines)

    def parameters(self):
        text = " ".join(self.lines).partition("(")[2]
        depth, count = 1, 1
        for i, char in enumerate(text):
            depth += {"(": 1, ")": -1}.get(char, 0)
            if depth == 0:
                return 0 if text[:i].strip() in ("", "void") else count
            count += char == "," and depth == 1
        return count


def one_line_arms(lines):
    """How many lines belong to the arms of a switch that hold one statement of one line."""
    count, i = 0, 0
    while i < len(lines):
        if not CASE.match(lines[i]):
            i += 1
            continue
        first = i
        while i < len(lines) and CASE.match(lines[i]):
            i += 1
        body = i
        while i < len(lines) and not CASE.match(lines[i]) and lines[i].strip() != "}":
            i += 1
        statements = [line for line in lines[body:i] if line.strip() not in ("", "break;")]
        if len(statements) <= 1:
            count += i - first
    return count


def functions_of(code):
    lines = code.split("\n")
    start = None
    for number, line in enumerate(lines):
        if line == "{":
            first = number - 1
            while first > 0 and not re.match(r"^[A-Za-z_]\w*\(", lines[first]):
                first -= 1
            start = first
        elif line == "}" and start is not None:
            name = lines[start].partition("(")[0]
            yield Function(name, start + 1, lines[start : number + 1])
            start = None


def nesting_of(function):
    """The deepest block inside a function; braces of initialisers do not count."""
    body = "\n".join(line for line in function.lines if not line.lstrip().startswith("#"))
    tokens = TOKEN.findall(body)
    parens, closed_word, deepest, braces = [], "", 0, []
    for i, token in enumerate(tokens):
        before = tokens[i - 1] if i else ""
        if token == "(":
            parens.append(before)
        elif token == ")":
            closed_word = parens.pop() if parens else ""
        elif token == "{":
            is_block = before in ("else", "do", ":", ";", "{", "}") or (
                before == ")" and bool(BLOCK_WORDS.match(closed_word))
            )
            braces.append(is_block)
            deepest = max(deepest, sum(braces))
        elif token == "}" and braces:
            braces.pop()
    return deepest


def comment_lines(text):
    code = without_comments(text).split("\n")
    lines = text.split("\n")
    filled = sum(1 for line in lines if line.strip())
    return sum(1 for a, b in zip(lines, code, strict=True) if a.strip() and not b.strip()), filled


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else 0


def judge(report, path, function):
    place = f"{path}:{function.line}"
    if function.length() > MAX_FUNCTION:
        report.fault(place, f"{function.name}: {function.length()} lines, {MAX_FUNCTION} at most")
    if nesting_of(function) > MAX_NESTING:
        report.fault(
            place, f"{function.name}: blocks {nesting_of(function)} deep, {MAX_NESTING} at most"
        )
    dictated = (path.as_posix(), function.name) in CALLED_BY_A_LIBRARY
    # What the ABI takes is decided in dmq.h: for a caller, arguments read better than a struct.
    dictated |= path.parent.as_posix() == "libdmq/api" and function.name.startswith("dmq_")
    if function.parameters() > MAX_PARAMETERS and not dictated:
        report.fault(
            place, f"{function.name}: {function.parameters()} parameters, {MAX_PARAMETERS} at most"
        )


def check(root, build):
    report = Report(what="C files")
    areas = {}
    for path in sources(root, ".c", ".h"):
        report.checked += 1
        text = (root / path).read_text()
        size = text.count("\n")
        if path.suffix == ".c" and size > MAX_FILE:
            report.fault(path, f"{size} lines, {MAX_FILE} at most")
        area = areas.setdefault(path.parts[0], {"functions": [], "files": [], "comments": [0, 0]})
        area["files"].append(size)
        for i, count in enumerate(comment_lines(text)):
            area["comments"][i] += count
        for function in functions_of(without_comments(text, literals=False)):
            area["functions"].append(function.length())
            judge(report, path, function)
    for name, area in areas.items():
        lengths, (comments, filled) = area["functions"], area["comments"]
        report.notes.append(
            f"{name}: {len(lengths)} functions, lines: median {percentile(lengths, 0.5)}, 95th"
            f" percentile {percentile(lengths, 0.95)}, longest {max(lengths, default=0)};"
            f" {len(area['files'])} files, median {percentile(area['files'], 0.5)};"
            f" comments {100 * comments // max(filled, 1)} %"
        )
    return report


def sample(body, fault=None, parameters="void"):
    return Sample({"libdmq/base/a.c": f"static int\nf({parameters})\n{{\n{body}}}\n"}, fault)


def nested(*heads):
    opening = "".join(f"{head} {{\n" for head in heads)
    return opening + "s = (struct x){\n.a = {1}};\n" + "}\n" * len(heads)


def switch(arm):
    return "    switch (a) {\n" + f"    case 1:\n{arm}        break;\n" * 40 + "    }\n"


SAMPLES = [
    sample("    return 0;\n" * 67),
    sample("    return 0;\n" * 68, "71 lines, 70 at most"),
    sample(switch("        g();\n")),
    sample(switch("        g();\n        h();\n"), "lines, 70 at most"),
    Sample({"libdmq/base/a.c": "int a;\n" * 801}, "801 lines, 800 at most"),
    sample(nested("if (a)", "for (;;)", "if (b) {\n} else")),
    sample(nested("if (a)", "for (;;)", "if (b) {\n} else", "while (c)"), "blocks 4 deep"),
    sample("    g();\n", None, "int a, int (*b)(int, int), int c, int d, int e, int f"),
    sample("    g();\n", "7 parameters", "int a, int b, int c, int d, int e, int f, int g"),
]

if __name__ == "__main__":
    main("tidy/sizes", check, SAMPLES)
