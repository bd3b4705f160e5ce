"""What the benchmarks know of the machine: its own limits, and what a process has used of it."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path

FSYNCS = "dmq_broker_fsyncs_total"


def raw_limits(program, folder, rounds):
    """What raw_limits.c measures, as a dict of its names."""
    done = subprocess.run([program, folder, str(rounds)], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


class Processor:
    """The time that the machine's processors had, and what the host took of it, since it was made.
    On a virtual machine the host's other guests are why a figure moves from run to run."""

    def __init__(self):
        self._begin = self._read()

    @staticmethod
    def _read():
        # user nice system idle iowait irq softirq steal; guest time is part of user time.
        return [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]

    def percent(self):
        """(stolen by the host, used by programs), each in percent of all processors."""
        spent = [now - begin for now, begin in zip(self._read(), self._begin, strict=True)]
        whole = max(1, sum(spent))
        used = whole - spent[3] - spent[4] - spent[7]
        return 100.0 * spent[7] / whole, 100.0 * used / whole


def describe(folder):
    """A line about where the benchmark ran."""
    uname = os.uname()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} processors, {memory:.0f} GiB, {uname.sysname} {uname.release},"
        f" {file_system(folder)}"
    )


def file_system(folder):
    """The type of the file system that holds the folder."""
    found, best = "unknown file system", ""
    path = str(Path(folder).resolve())
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind = line.split()[:3]
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            found, best = kind, point
    return found


def cpu_seconds(pid):
    """Processor time of all threads of a process. schedstat counts nanoseconds; where the kernel
    does not keep it, stat counts ticks of 10 ms."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((t / "schedstat").read_text().split()[0]) for t in tasks) / 1e9
    except FileNotFoundError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no memory: it has ended")


def children(pid):
    """{name of the program: process id}"""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {Path(f"/proc/{child}/comm").read_text().strip(): int(child) for child in found}


def metric(port, name):
    """One value of a daemon's /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        for line in page.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
    raise KeyError(name)
