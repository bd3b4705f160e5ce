"""What a type checker sees: programs of users, and the stub of the error classes, which are made
from the library's table when it is loaded. `python test_types.py` writes that stub anew."""

import os
import subprocess
import sys
from pathlib import Path

import dmq
import pytest

BINDING = Path(__file__).resolve().parents[2] / "bindings/python"
STUB = BINDING / "dmq/codes.pyi"

GOOD = {
    "sync": """
import dmq

def main(url: str) -> list[str]:
    with dmq.connect(url, client_id="x") as c:
        topic: dmq.Topic = c.topics.create("orders", partitions=3, config={"retention.ms": 1})
        offset: int = c.publish("orders", {"id": 1}, key="cust-7").offset
        with c.producer(linger_ms=5) as p:
            future: dmq.Future = p.send("orders", b"x", headers={"t": b"1"})
            future.add_done_callback(lambda done: print(done.result().partition + offset))
        with c.consumer("orders", start="-1h") as consumer:
            for batch in consumer.batches(timeout=1.0):
                sizes = [len(value) for value in batch.values() if value is not None]
        try:
            return [msg.text() for msg in c.read(topic.name, end="now")]
        except dmq.UnknownTopicOrPartitionError as error:
            return [error.hint or ""] * error.code
        except (dmq.TimeoutError, dmq.errors.RetriableError):
            raise
""",
    "pytest": """
import dmq
import pytest_dmq

def test_it(dmq_client: dmq.Client, dmq_topic: str) -> None:
    assert dmq_client.publish(dmq_topic, b"x").offset == 0
""",
    "asyncio": """
import asyncio
import dmq.asyncio as dmq

async def main(url: str) -> list[str]:
    c: dmq.Client
    async with dmq.dev() as cluster, dmq.connect(cluster.url) as c:
        topic: dmq.Topic = await c.topics.create("orders", partitions=3)
        ack: dmq.Ack = await c.publish("orders", "x")
        async with c.producer(linger_ms=5) as p:
            acks: list[dmq.Ack] = await asyncio.gather(*[p.send("orders", b"x")])
        consumer: dmq.Consumer = await c.consumer("orders")
        async for batch in consumer.batches():
            values: list[bytes | None] = batch.values()
        try:
            return [msg.text() async for msg in c.read(topic.name, start=ack.offset)]
        except dmq.OffsetOutOfRangeError as error:
            return [str(error.retriable)]
""",
}
BAD = {
    "import dmq\ndmq.connect(timeout='soon')\n": "arg-type",
    "import dmq\ndmq.connect().publish('t', 1)\n": "arg-type",
    "import dmq\ndmq.NoSuchError\n": "attr-defined",
    "import dmq.asyncio as dmq\nasync def f(c: dmq.Client) -> int:\n"
    "    return c.topics.partitions('t')\n": "return-value",
}


def check(program, folder):
    """What mypy says."""
    source = folder / "program.py"
    source.write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", folder / "cache", source]
    environment = {**os.environ, "MYPYPATH": str(BINDING)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.parametrize("name", GOOD)
def test_programs_of_users(name, folder):
    assert check(GOOD[name], folder).startswith("Success")


@pytest.mark.parametrize("program", BAD)
def test_what_is_wrong_is_found(program, folder):
    assert f"[{BAD[program]}]" in check(program, folder)


def test_the_package_says_that_it_is_typed():
    assert (Path(dmq.__file__).parent / "py.typed").exists()


def make_stub():
    lines = ["# Written by tests/python/test_types.py from the table in dmq/errors.h.", ""]
    lines += ["import builtins", "", "from . import errors", ""]
    lines += ["__all__ = [", *(f'    "{name}",' for name in sorted(dmq.errors.BY_NAME)), "]", ""]
    for name, kind in sorted(dmq.errors.BY_NAME.items()):
        homes = {"builtins": "builtins", "dmq.errors": "errors"}
        parents = ", ".join(f"{homes[base.__module__]}.{base.__name__}" for base in kind.__bases__)
        lines += [f"class {name}({parents}):", f'    """{kind.__doc__}"""', ""]
    return "\n".join(lines).rstrip() + "\n"


def test_the_stub_lists_the_classes_of_the_table():
    assert STUB.read_text() == make_stub(), f"run {__file__}: it writes the stub anew"


if __name__ == "__main__":
    STUB.write_text(make_stub())
