"""Real processes for the tests: a cluster of one controller and one broker on loopback, run by
`dmq dev` in a folder of its own, from the build folder that DMQ_BUILD names (default: build/)."""

import os
import select
import signal
import subprocess
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("DMQ_BUILD", CHECKOUT / "build")).resolve()
BIN = BUILD / "bin"


class DevCluster:
    """A running `dmq dev`. Its log is `folder`/log; SIGTERM ends it, and it must end clean."""

    def __init__(self, folder, *options):
        self.folder = Path(folder)
        self.log = self.folder / "log"
        self.options = options
        self.process = None
        self.url = None

    def start(self, timeout=30.0):
        command = [BIN / "dmq", "dev", "--data", self.folder / "data", *self.options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        self.url = self._ready_line(timeout).removeprefix("ready").strip()
        return self

    def _ready_line(self, timeout):
        deadline = time.monotonic() + timeout
        said = b""
        while not said.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.process.kill()
                raise TimeoutError(f"dmq dev was not ready within {timeout} s:\n{self.tail()}")
            piece = os.read(self.process.stdout.fileno(), 4096)
            if not piece:
                raise RuntimeError(f"dmq dev ended, {self.process.wait()}:\n{self.tail()}")
            said += piece
        line = said.decode().splitlines()[0]
        assert line.startswith("ready dmq://"), line
        return line

    def tail(self, lines=30):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, timeout=30.0):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.stdout.close()
            self.process = None
        assert code == 0, f"dmq dev ended with {code}:\n{self.tail()}"

    def daemons(self):
        """Pids of the daemons that run now, by the name of the program."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {Path(f"/proc/{child}/comm").read_text().strip(): int(child) for child in children}

    def environment(self):
        """What a program needs to find the tools and this cluster."""
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "DMQ_URL": self.url, "PATH": path}

    def dmq(self, *arguments, stdin=b"", timeout=60.0):
        """Runs the tool against this cluster; returns the finished process, output as bytes."""
        return subprocess.run(
            [BIN / "dmq", *arguments],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env=self.environment(),
        )

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, error, trace):
        self.stop()
