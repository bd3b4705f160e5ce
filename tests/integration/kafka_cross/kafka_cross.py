#!/usr/bin/env python3
"""Holds our record batches against Kafka's own client (org.apache.kafka:kafka-clients).

Random batches are drawn from a seed and written down in words (below). Two programs, one with our
code (kafka_cross.c) and one with Kafka's (KafkaCross.java), both build them and both read what both
built: four readings of every batch must say the same as the words. Uncompressed batches must be the
same bytes. Batches that only a broker makes, and murmur2, are crossed as well.

    kafka_cross.py --helper PROGRAM --work FOLDER [--seed N]

Needs java and mvn (Debian: openjdk-17-jdk-headless, maven); Maven takes the client from Maven
Central into ~/.m2 the first time, and works offline from then on.

The words of a batch to build; bytes are in hex, `-` is empty, `null` is null:

    batch NAME COMPRESSION PRODUCER_ID EPOCH SEQUENCE TRANSACTIONAL
    record TIMESTAMP KEY VALUE [HEADER_KEY=HEADER_VALUE]...
    end

and of one that was read (flags: transactional, control, append time):

    file NAME
    batch BASE_OFFSET LAST_OFFSET COMPRESSION PRODUCER_ID EPOCH SEQUENCE FLAGS MAX_TIMESTAMP COUNT
    record OFFSET TIMESTAMP KEY VALUE [HEADER_KEY=HEADER_VALUE]...
"""

import argparse
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMPRESSIONS = ("none", "lz4", "zstd")
BATCHES = 150
counts = Counter()


def hexed(data):
    return "null" if data is None else data.hex() or "-"


class Batch:
    def __init__(self, rng, number):
        self.name = f"b{number:04}"
        self.compression = COMPRESSIONS[number % len(COMPRESSIONS)]
        self.producer, self.epoch, self.sequence, self.transactional = -1, -1, -1, 0
        if rng.random() < 0.6:
            self.producer = rng.choice([0, 7, 2**40, 2**62 + 12345])
            self.epoch = rng.choice([0, 1, 2**15 - 1])
            self.sequence = rng.choice([0, 1, 2**20, 2**31 - 1])
            self.transactional = rng.randint(0, 1)
        self.base = rng.choice([0, 1, 1_700_000_000_000, 2**62])
        size = rng.choice([1, 1, 2, 3, 30, 300, 3000])
        self.sizes = rng.choice([(0, 3), (0, 200), (60, 70)] + [(0, 40_000)] * (size < 30))
        self.records = [self.record(rng, i) for i in range(size)]

    def record(self, rng, number):
        timestamp = max(self.base + number + rng.choice([0, 0, 5, -3, 10**6]), 0)
        headers = []
        if rng.random() < 0.3:
            for _ in range(rng.choice([1, 2, 20])):
                key = "".join(rng.choices("abcdeéß漢", k=rng.randint(0, 6))).encode()
                headers.append((key, self.data(rng)))
        return timestamp, self.data(rng), self.data(rng), headers

    def data(self, rng):
        if rng.random() < 0.1:
            return None
        size = rng.randint(*self.sizes)
        if rng.random() < 0.5:
            return rng.randbytes(size)
        return (b"the same again and again " * (size // 25 + 1))[:size]

    def words(self):
        yield (
            f"batch {self.name} {self.compression} {self.producer} {self.epoch} {self.sequence}"
            f" {self.transactional}"
        )
        for record in self.records:
            yield " ".join(["record", str(record[0]), *fields(record)])
        yield "end"

    def reading(self, compression):
        newest = max(record[0] for record in self.records)
        yield (
            f"batch 0 {len(self.records) - 1} {compression} {self.producer} {self.epoch}"
            f" {self.sequence} {self.transactional}00 {newest} {len(self.records)}"
        )
        for offset, record in enumerate(self.records):
            yield " ".join(["record", str(offset), str(record[0]), *fields(record)])


def fields(record):
    _, key, value, headers = record
    return [hexed(key), hexed(value), *(f"{hexed(k)}={hexed(v)}" for k, v in headers)]


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))[:200]}: {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout.splitlines()


def build_java(work):
    """Compiles KafkaCross.java below work; the network is used only if ~/.m2 does not suffice."""
    for tool in ("mvn", "java"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: apt-get install maven openjdk-17-jdk-headless")
    mvn = ["mvn", "-q", "-B", "-f", HERE / "pom.xml", f"-Ddmq.build={work / 'java'}", "compile"]
    offline = subprocess.run([*map(str, mvn), "-o"], capture_output=True)
    if offline.returncode != 0:
        run(*mvn)
    classpath = f"{work / 'java/classes'}:{work / 'java/lib'}/*"
    return ["java", "-Xshare:auto", "-XX:+UseSerialGC", "-cp", classpath, "dmq.KafkaCross"]


def by_file(lines):
    files = {}
    for line in lines:
        if line.startswith("file "):
            files[line[5:]] = []
            current = files[line[5:]]
        else:
            current.append(line)
    return files


def same(what, wanted, got):
    if wanted == got:
        return
    for number, (a, b) in enumerate(zip([*wanted, "(end)"], [*got, "(end)"], strict=False)):
        if a != b:
            sys.exit(f"{what}, line {number}:\n  wanted {a[:300]}\n  got    {b[:300]}")


def compression(batch):
    attributes = int.from_bytes(batch[21:23], "big")
    return ["none", "gzip", "snappy", "lz4", "zstd"][attributes & 7]


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def cross_batches(rng, ours, kafka, work):
    batches = [Batch(rng, number) for number in range(BATCHES)]
    cases = work / "cases.txt"
    cases.write_text("".join(f"{w}\n" for batch in batches for w in batch.words()))
    built = {"ours": fresh(work / "ours"), "kafka": fresh(work / "kafka")}
    run(*ours, "build", cases, built["ours"])
    run(*kafka, "build", cases, built["kafka"])
    for maker, folder in built.items():
        paths = [folder / f"{batch.name}.batch" for batch in batches]
        frame = folder / "frame.batch"  # all of them, back to back
        frame.write_bytes(b"".join(path.read_bytes() for path in paths))
        for reader, command in (("ours", ours), ("kafka", kafka)):
            readings = by_file(run(*command, "read", *paths, frame))
            whole = []
            for batch, path in zip(batches, paths, strict=True):
                stored = compression(path.read_bytes())
                # Ours stays uncompressed where nothing is gained.
                if stored not in [batch.compression, "none"][: 1 + (maker == "ours")]:
                    sys.exit(f"{path}: {stored}, not {batch.compression}")
                wanted = list(batch.reading(stored))
                what = f"{batch.name} built by {maker}, read by {reader}"
                same(what, wanted, readings[path.name])
                whole += wanted
                counts[f"{stored} by {maker}, read by {reader}"] += 1
                counts["records"] += len(batch.records)
            same(f"all, built by {maker}, read by {reader}", whole, readings["frame.batch"])
    for batch in batches:
        if batch.compression == "none":
            theirs, mine = ((built[m] / f"{batch.name}.batch").read_bytes() for m in built)
            if theirs != mine:
                sys.exit(f"{batch.name}: uncompressed, but not the same bytes")
            counts["uncompressed, the same bytes"] += 1


def cross_special(ours, kafka, work):
    folder = fresh(work / "special")
    run(*kafka, "special", folder)
    paths = sorted(folder.iterdir())
    mine = by_file(run(*ours, "read", *paths))
    theirs = by_file(run(*kafka, "read", *paths))
    for path in paths:
        refused = path.stem.split("_")[-1] in ("gzip", "snappy")
        wanted = ["error UNSUPPORTED_COMPRESSION"] if refused else theirs[path.name]
        same(path.name, wanted, mine[path.name])
        counts["refused" if refused else "of a broker's own"] += 1


def cross_murmur2(rng, ours, kafka, work):
    keys = work / "keys.txt"
    drawn = [rng.randbytes(i % 40) for i in range(5000)]
    keys.write_text("".join(f"{hexed(key)}\n" for key in drawn))
    mine = run(*ours, "murmur2", keys)
    same("murmur2", run(*kafka, "murmur2", keys), mine)
    counts["keys hashed"] += len(mine)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--helper", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    rng = random.Random(args.seed)
    ours, kafka = [args.helper], build_java(work)
    cross_batches(rng, ours, kafka, work)
    cross_special(ours, kafka, work)
    cross_murmur2(rng, ours, kafka, work)
    for what in sorted(counts):
        print(f"{counts[what]:8} {what}")
    meant = [
        f"{c} by {m}, read by {r}"
        for c in COMPRESSIONS
        for m in ("ours", "kafka")
        for r in ("ours", "kafka")
    ]
    meant += ["refused", "of a broker's own", "keys hashed", "uncompressed, the same bytes"]
    missing = [what for what in meant if counts[what] == 0]
    if missing:
        sys.exit(f"never happened: {missing}")


if __name__ == "__main__":
    main()
