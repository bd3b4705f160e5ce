"""The extension that cffi builds: libdmq's functions and those of native/helpers.h."""

from typing import Any

ffi: Any
lib: Any
