"""The leading controller of three is killed, again and again, while a client creates topics one
after another: how long is nothing acknowledged?"""

import itertools
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import dmq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integration"))
from quorum import Quorum  # noqa: E402

PAUSE_SECONDS = 0.01  # between two topics: the disk is not what is measured
QUIET_SECONDS = 0.2  # between a controller's return and the next kill


class Stream:
    """A thread that creates topics and notes when each was acknowledged."""

    def __init__(self, url):
        self.url = url
        self.acknowledged = []  # times
        self.failed = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        with dmq.connect(self.url) as client:
            for number in itertools.count():
                if self.stopping.is_set():
                    return
                try:
                    client.topics.create(f"topic-{number}", partitions=1, replicas=1)
                    self.acknowledged.append(time.monotonic())
                except dmq.Error as error:
                    self.failed.append(error)
                time.sleep(PAUSE_SECONDS)

    def wait_for_one_after(self, moment, timeout=30.0):
        while not self.acknowledged or self.acknowledged[-1] <= moment:
            if time.monotonic() > moment + timeout:
                raise TimeoutError(f"no topic in {timeout} s after a kill: {self.failed[-1:]}")
            time.sleep(0.001)

    def finish(self):
        self.stopping.set()
        self.thread.join()

    def longest_gap(self, begin, end):
        """Between two acknowledgements of which the second came in that time."""
        pairs = itertools.pairwise(self.acknowledged)
        return max(after - before for before, after in pairs if begin < after <= end)


def gaps_ms(kills):
    """The gap of each kill, in ms."""
    folder = tempfile.mkdtemp(prefix="dmq-failover-", dir="/var/tmp")
    windows = []
    try:
        with Quorum(folder) as quorum:
            stream = Stream(quorum.url)
            try:
                stream.wait_for_one_after(time.monotonic())
                for _ in range(kills):
                    victim = quorum.leader()
                    time.sleep(QUIET_SECONDS)
                    begin = time.monotonic()
                    quorum.kill(victim)
                    quorum.leader(other_than=victim)
                    stream.wait_for_one_after(time.monotonic())
                    windows.append((begin, time.monotonic()))
                    quorum.start(victim)
            finally:
                stream.finish()
            if stream.failed:
                raise RuntimeError(f"{len(stream.failed)} creations failed: {stream.failed[0]}")
    finally:
        shutil.rmtree(folder)
    return [1e3 * stream.longest_gap(*window) for window in windows]
