"""Documents: every relative link leads to a file, every anchor to a heading."""

import re

from tidy import Report, Sample, main, sources

FENCE = re.compile(r"^(```|~~~).*?^\1", re.S | re.M)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.M)
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$", re.M)


def anchors_of(text):
    """The names that a heading gets where Markdown is shown as pages."""
    found = set(re.findall(r'<a\s+(?:name|id)="([^"]+)"', text))
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (name if number == 0 else f"{name}-{number}") in found:
            number += 1
        found.add(name if number == 0 else f"{name}-{number}")
    return found


def check(root, build):
    report = Report(what="documents")
    links = 0
    for path in sources(root, ".md"):
        report.checked += 1
        text = (root / path).read_text()
        prose = INLINE_CODE.sub("", FENCE.sub("", text))
        for match in LINK.findall(prose):
            target = match[0] or match[1]
            if re.match(r"^[a-z]+:", target):
                continue
            links += 1
            name, _, anchor = target.partition("#")
            file = root / path if not name else (root / path).parent / name
            if not file.exists():
                report.fault(path, f"dead link {target}")
            elif anchor and file.suffix == ".md" and anchor not in anchors_of(file.read_text()):
                report.fault(path, f"dead anchor {target}")
    report.notes.append(f"{links} links")
    return report


SAMPLES = [
    Sample(
        {"a.md": "# A `b` c\n[x](#a-b-c) [y](d/e.md#f)\n```\n[z](none)\n```\n", "d/e.md": "## F\n"}
    ),
    Sample({"a.md": "[x](none.md)\n"}, "dead link none.md"),
    Sample({"a.md": "[x]: none.md\n"}, "dead link none.md"),
    Sample({"a.md": "# A\n[x](#b)\n"}, "dead anchor #b"),
    Sample({"a.md": "[x](b.md#c)\n", "b.md": "```\n# c\n```\n"}, "dead anchor b.md#c"),
]

if __name__ == "__main__":
    main("tidy/links", check, SAMPLES)
