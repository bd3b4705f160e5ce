"""The programs come ready, in $DMQ_PREFIX/bin: nothing is compiled here, and the wheel is for one
kind of machine, but for any Python."""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

PROGRAMS = ("dmq", "dmq-broker", "dmq-controller")


class BuildPrograms(build_py):
    def run(self):
        super().run()
        prefix = os.environ.get("DMQ_PREFIX")
        if not prefix:
            sys.exit("dmq-programs: name the prefix where DMQ is installed in DMQ_PREFIX")
        folder = Path(self.build_lib) / "dmq_programs/bin"
        folder.mkdir(parents=True, exist_ok=True)
        for program in PROGRAMS:
            shutil.copy(Path(prefix) / "bin" / program, folder / program)


class PlatformWheel(bdist_wheel):
    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return True


setup(
    distclass=PlatformDistribution,
    cmdclass={"build_py": BuildPrograms, "bdist_wheel": PlatformWheel},
)
