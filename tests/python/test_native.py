"""The extension declares all of the public header, so that the binding cannot drift from it."""

import re
from pathlib import Path

from dmq._native import ffi, lib

HEADER = (Path(__file__).resolve().parents[2] / "libdmq/include/dmq/dmq.h").read_text()


def test_every_function_is_declared():
    names = re.findall(r"^DMQ_EXPORT .*?\b(dmq_\w+)\(", HEADER, re.M)
    assert len(names) > 30
    assert [name for name in names if not hasattr(lib, name)] == []


def test_every_struct_has_the_members_of_the_header():
    structs = re.findall(r"typedef struct (dmq_\w+) \{(.*?)^\} \1;", HEADER, re.M | re.S)
    assert len(structs) >= 7
    for name, body in structs:
        body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
        members = re.findall(r"(\w+)(?:\[\d+\])?;", body)
        assert [field for field, _ in ffi.typeof(name).fields] == members


def test_constants():
    assert lib.DMQ_PARTITION_AUTO == -1 and lib.DMQ_OFFSET_TIMESTAMP == -3
    assert lib.DMQ_ERR_OK == 0 and lib.DMQ_CLASS_ABORT == 4
