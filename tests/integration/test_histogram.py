"""The histogram of `dmq bench` against HdrHistogram's own, value by value."""

import ctypes
import random
import subprocess

from cluster import CHECKOUT
from hdrh.histogram import HdrHistogram

PERCENTS = (1.0, 25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 100.0)


def load(folder):
    """The C code as a library of its own, with a histogram in memory of ours."""
    library = f"{folder}/histogram.so"
    source = CHECKOUT / "libdmq/cli/histogram.c"
    command = ["cc", "-shared", "-fPIC", "-O1", f"-I{CHECKOUT}", source, "-o", library]
    subprocess.run(command, check=True)
    code = ctypes.CDLL(library)
    code.histogram_record.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    code.histogram_percentile.argtypes = [ctypes.c_void_p, ctypes.c_double]
    code.histogram_percentile.restype = ctypes.c_int64
    return code


def samples(rng, shape):
    if shape == "uniform":
        return [rng.randrange(1, 1_000_000) for _ in range(5000)]
    if shape == "latencies":
        return [int(rng.lognormvariate(13, 1.5)) + 1 for _ in range(5000)]
    if shape == "powers":
        return [2 ** rng.randrange(41) + rng.randrange(2) for _ in range(2000)]
    return [rng.randrange(1, 2**41) for _ in range(2000)]


def test_percentiles_are_those_of_hdrhistogram(folder):
    code = load(folder)
    compared = 0
    for seed in range(20):
        rng = random.Random(seed)
        for shape in ("uniform", "latencies", "powers", "whole range"):
            ours = ctypes.create_string_buffer(1 << 20)
            theirs = HdrHistogram(1, 2**42 - 1, 3)
            for value in samples(rng, shape):
                code.histogram_record(ours, value)
                theirs.record_value(value)
            for percent in PERCENTS:
                expected = theirs.get_value_at_percentile(percent)
                assert code.histogram_percentile(ours, percent) == expected, (seed, shape, percent)
                compared += 1
    assert compared == 20 * 4 * len(PERCENTS)
