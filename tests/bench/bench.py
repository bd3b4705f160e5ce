"""./run bench: one table of what DMQ does here, each figure beside the machine's own limit.

Rounds are repeated, each with a cluster of its own and with the limits measured first; the table
has the minimum, median and maximum of all. docs/bench.md says what each figure means."""

import argparse
import json
import os
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path

import machine
from figures import RATES, groups
from measure import QUICK, Counts, Round

LOAD_THAT_DISTURBS = 1.5
ROUNDS, QUICK_ROUNDS = 5, 3
TITLE, NUMBER = 46, 12  # widths of columns


def number(value):
    """Three digits and more, as people write them."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


# ---- the result --------------------------------------------------------------------------------


def summary(figure, rounds):
    """A figure over the rounds that have it, as --json gives it."""
    rounds = [values for values in rounds if figure.key in values]
    values = [values[figure.key] for values in rounds]
    found = {
        "title": figure.title.strip(), "unit": figure.unit, "values": values, "min": min(values),
        "median": statistics.median(values), "max": max(values),
    }  # fmt: skip
    if figure.limit is not None:
        found["limit"] = {
            "title": figure.limit.title,
            "median": statistics.median(figure.limit.of(values) for values in rounds),
            "ratio": statistics.median(figure.ratio(values) for values in rounds),
        }
    return found


def measure(args, counts):
    """All rounds, as the object that --json writes."""
    processor = machine.Processor()
    result = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe("/var/tmp"),
        "load_before": os.getloadavg()[0],
    }
    rounds = []
    for i in range(args.rounds):
        say = sayer(i + 1, args.rounds)
        rounds.append(Round(counts, say).run(i == 0, args.long and i == 0))
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    steal, used = processor.percent()
    result |= {"rounds": args.rounds, "steal_percent": steal, "used_percent": used}
    figures = [figure for _, members in groups(args.long) for figure in members]
    result["figures"] = {figure.key: summary(figure, rounds) for figure in figures}
    return result


# ---- what is printed ---------------------------------------------------------------------------


def sayer(i, rounds):
    """Says on a terminal what is going on."""
    if not sys.stderr.isatty():
        return lambda what: None
    return lambda what: print(
        f"\r\x1b[Kround {i} of {rounds}: {what}", end="", file=sys.stderr, flush=True
    )


def line(figure, found):
    text = figure.title.ljust(TITLE)
    for column in ("min", "median", "max"):
        text += number(found[column]).rjust(NUMBER)
    text += "  " + figure.unit
    if figure.limit is None:
        return text
    limit = found["limit"]
    ratio = limit["ratio"]
    shown = f"{100 * ratio:.0f} %" if figure.unit in RATES else f"{ratio:.1f} x"
    beside = f"{shown:>7} of {limit['title']}: {number(limit['median'])}"
    return text.ljust(TITLE + 3 * NUMBER + 11) + beside


def print_result(result, is_long):
    print(f"DMQ on {result['machine']}; {result['rounds']} rounds, {result['time']}")
    print(
        f"the host took {result['steal_percent']:.1f} % of the processors away; load before the"
        f" run {result['load_before']:.1f}"
        + (": something else was at work" if result["load_before"] > LOAD_THAT_DISTURBS else "")
    )
    columns = "".join(name.rjust(NUMBER) for name in ("minimum", "median", "maximum"))
    for heading, figures in groups(is_long):
        print(f"\n{heading}")
        print(f"{'':{TITLE}}{columns}")
        for figure in figures:
            print(line(figure, result["figures"][figure.key]))


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three short rounds: half a minute")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how many ({ROUNDS})")
    parser.add_argument("--long", action="store_true", help="also memory and ten minutes of load")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, too")
    parser.add_argument("--scale", type=float, default=1.0, metavar="F", help="do F times as much")
    args = parser.parse_args()
    args.rounds = args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS)
    if args.rounds < 1 or not args.scale > 0:
        parser.error("--rounds and --scale are above 0")
    return args


def main():
    args = parse_arguments()
    counts = (QUICK if args.quick else Counts()).scaled(args.scale)
    result = measure(args, counts)
    print_result(result, args.long)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
