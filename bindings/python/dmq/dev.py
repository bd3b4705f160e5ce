"""A real cluster of one node for tests: `dmq dev` in a temporary folder."""

import importlib.util
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import _arguments, errors
from ._native import ffi, lib


def dev(
    data: str | os.PathLike[str] | None = None, *, port: int = 0, timeout: float = 30.0
) -> "DevCluster":
    """Starts a controller and a broker on loopback and waits until they serve. data: the folder,
    which stays; None: a temporary one, removed at the end. port 0: any that is free. The cluster
    ends with this process, however that ends."""
    return DevCluster(data, port=port, timeout=timeout)


def find_tool() -> str:
    """The `dmq` program: beside the library that the binding was built against, else that of the
    package dmq-programs, else in PATH."""
    folders = [Path(ffi.string(lib.dmqpy_programs()).decode())]
    package = importlib.util.find_spec("dmq_programs")
    folders += (
        [Path(p) / "bin" for p in package.submodule_search_locations or ()] if package else []
    )
    for tool in (folder / "dmq" for folder in folders):
        if tool.is_absolute() and os.access(tool, os.X_OK):
            return str(tool)
    found = shutil.which("dmq")
    if found is None:
        raise errors.NotSupportedError(
            "dmq.dev() runs the dmq tool, and there is none: pip install dmq-programs, or have it"
            " in PATH"
        )
    return found


class DevCluster:
    """A running cluster: `url` to connect to, `data` the folder."""

    def __init__(
        self, data: str | os.PathLike[str] | None, *, port: int = 0, timeout: float = 30.0
    ) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        _arguments.whole("port", port, "0 (any that is free) to 65535", low=0, high=65535)
        limit = _arguments.seconds(timeout)
        try:
            folder = None if data is None else os.fsdecode(data)
        except TypeError:
            raise _arguments.wrong_type("data", data, "the path of a folder, or None") from None
        # /var/tmp is a disk where /tmp may be memory.
        parent = "/var/tmp" if os.path.isdir("/var/tmp") else None
        self._folder = tempfile.mkdtemp(prefix="dmq-dev-", dir=parent)
        self.data = folder if folder is not None else str(Path(self._folder) / "data")
        self._log = Path(self._folder) / "log"
        try:
            self._start(port)
            self.url = self._read_ready(limit)
        except BaseException:
            self.close()
            raise

    def _start(self, port: int) -> None:
        command = [find_tool(), "dev", "--data", self.data, "--port", str(port), "--until-eof"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )

    def _read_ready(self, timeout: float | None) -> str:
        assert self._process is not None and self._process.stdout is not None
        out = self._process.stdout.fileno()
        deadline = None if timeout is None else time.monotonic() + timeout
        said = b""
        while not said.endswith(b"\n"):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            piece = os.read(out, 4096) if select.select([out], [], [], left)[0] else b""
            if not piece:
                raise errors.from_code(
                    lib.DMQ_ERR_UNREACHABLE, f"dmq dev did not become ready:\n{self.log()}"
                )
            said += piece
        return said.decode().removeprefix("ready").strip()

    def log(self) -> str:
        """What the daemons wrote to stderr."""
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        """Ends the cluster; a temporary folder is removed."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "DevCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._process is None else "running"
        return f"<dmq.DevCluster {state} {getattr(self, 'url', '')}>"

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self.close()
