"""Small file systems of their own, for tests of disks that are full or read-only. A test is skipped
where mounting is not possible."""

import errno
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

FILLER = "filler"


class Mount:
    """An ext4 file system in a file, mounted at `folder`; all of it can be used (no reserve)."""

    def __init__(self, folder, megabytes):
        self.folder = Path(folder)
        self.megabytes = megabytes
        self.image = None

    def __enter__(self):
        if os.geteuid() != 0:
            pytest.skip("only root may mount a file system")
        with tempfile.NamedTemporaryFile(dir="/var/tmp", suffix=".ext4", delete=False) as image:
            image.truncate(self.megabytes << 20)
        self.image = image.name
        self.folder.mkdir()
        for command in (
            ["mkfs.ext4", "-q", "-m", "0", self.image],
            ["mount", "-o", "loop", self.image, self.folder],
        ):
            try:
                done = subprocess.run(command, capture_output=True, text=True)
                why = done.stderr.strip() if done.returncode != 0 else None
            except FileNotFoundError:
                why = "there is no such program"
            if why is not None:
                os.unlink(self.image)
                pytest.skip(f"no loop mount here: {command[0]}: {why}")
        return self

    def __exit__(self, kind, error, trace):
        subprocess.run(["umount", self.folder], check=True)
        os.unlink(self.image)

    def remount(self, option):
        subprocess.run(["mount", "-o", f"remount,{option}", self.folder], check=True)

    def free(self):
        seen = os.statvfs(self.folder)
        return seen.f_bavail * seen.f_frsize

    def fill(self, leave=0):
        """Fills it with a file of its own, down to `leave` bytes; 0: until nothing fits."""
        step = 16 << 20
        with (self.folder / FILLER).open("ab") as file:
            while step >= 4096:
                size = os.fstat(file.fileno()).st_size
                try:
                    if self.free() < leave + step:
                        raise OSError(errno.ENOSPC, "enough")
                    os.posix_fallocate(file.fileno(), size, step)
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    step //= 2

    def clear(self):
        (self.folder / FILLER).unlink()
