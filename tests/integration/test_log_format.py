"""The log of a daemon as JSON lines, and the settings that a start tells."""

import json

import pytest
from daemons import Daemons


@pytest.mark.parametrize("form", ["json", "text"])
def test_every_line_has_the_form(tmp_path, form):
    options = ("--set", f"log.format={form}", "--set", "log.segment.bytes=65536")
    with Daemons(tmp_path, *options) as cluster:
        cluster.broker.stop()
    lines = cluster.broker.log.read_text().splitlines()
    assert len(lines) > 3
    if form == "text":
        assert all(" info broker=101 " in line for line in lines)
        assert any(line.endswith('setting log.segment.bytes=65536 from="--set"') for line in lines)
        return
    said = [json.loads(line) for line in lines]
    assert all(s["node"] == "broker=101" and s["event"] and s["time"].endswith("Z") for s in said)
    settings = {s["log.segment.bytes"]: s["from"] for s in said if "log.segment.bytes" in s}
    assert settings == {65536: "--set"}
