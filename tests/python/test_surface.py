"""Each public name is documented, says what it is when it is printed, and leaves nothing behind."""

import inspect
import subprocess
import sys
import typing

import dmq
import dmq.asyncio
import pytest

MODULES = [dmq, dmq.asyncio]
NAMES = [(module, name) for module in MODULES for name in module.__all__]
CLASSES = sorted(
    {
        getattr(module, name)
        for module, name in NAMES
        if isinstance(getattr(module, name), type)
        and not issubclass(getattr(module, name), BaseException)
    },
    key=lambda kind: (kind.__module__, kind.__name__),
)


def own_members(kind):
    """Public methods and properties that dmq itself defines."""
    for base in kind.__mro__:
        if base.__module__.startswith("dmq"):
            for name, member in vars(base).items():
                if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                    yield name, member


def fields_of(kind):
    """Of a named tuple or dataclass: what its own documentation must explain."""
    return getattr(kind, "_fields", None) or getattr(kind, "__dataclass_fields__", ())


def ids(item):
    return getattr(item, "__name__", str(item))


def test_what_is_walked():
    assert len(NAMES) > 100 and len(CLASSES) >= 15
    assert dmq.Client in CLASSES and dmq.asyncio.Producer in CLASSES
    assert "send_many" in dict(own_members(dmq.Producer))


@pytest.mark.parametrize(("module", "name"), NAMES, ids=ids)
def test_each_name_is_documented(module, name):
    doc = inspect.getdoc(getattr(module, name))
    assert doc and len(doc) > 10, name


@pytest.mark.parametrize("kind", CLASSES, ids=ids)
def test_each_method_is_documented(kind):
    missing = [name for name, member in own_members(kind) if not inspect.getdoc(member)]
    assert missing == []
    assert not (kind.__doc__ or "").startswith(f"{kind.__name__}("), "made by Python"
    assert [field for field in fields_of(kind) if field not in kind.__doc__] == []


@pytest.mark.parametrize("kind", CLASSES, ids=ids)
def test_each_class_prints_itself(kind):
    assert kind.__repr__ not in (object.__repr__, tuple.__repr__)


@pytest.mark.parametrize("kind", CLASSES, ids=ids)
def test_each_method_has_types(kind):
    for name, member in own_members(kind):
        function = member.fget if isinstance(member, property) else member
        if not inspect.isfunction(function):
            continue
        hints = typing.get_type_hints(function, vars(dmq) | {"Batch": dmq.Batch})
        parameters = [p for p in inspect.signature(function).parameters if p != "self"]
        assert "return" in hints and set(parameters) <= set(hints), name


def test_what_is_printed(cluster):
    with dmq.connect(cluster.url) as c:
        c.topics.create("printed", if_not_exists=True)
        future = c.producer().send("printed", b"x", key="k")
        ack = future.result(20)
        consumer = c.consumer("printed")
        (message,) = c.read("printed")
        assert repr(c) == f"<dmq.Client connected {cluster.url}>"
        assert repr(c.topics) == f"<dmq.Topics of {cluster.url}>"
        assert repr(c.producer()) == f"<dmq.Producer open {cluster.url}>"
        assert repr(consumer) == "<dmq.Consumer open of printed>"
        assert repr(future) == "<Future done topic='printed'>"
        assert repr(ack).startswith("Ack(topic='printed', partition=0, offset=0, ")
        assert repr(message) == (
            "Message(topic='printed', partition=0, offset=0, key=b'k', value=b'x')"
        )
        assert repr(c.topics.describe("printed")).startswith("Topic(name='printed', id='")
        assert repr(cluster) == f"<dmq.DevCluster running {cluster.url}>"
    assert repr(c) == f"<dmq.Client closed {cluster.url}>"


# Programs that leave handles open in every way: they end with 0 and nothing on stderr.
ENDINGS = {
    "nothing closed": "p = c.producer(); p.send(T, b'x'); k = c.consumer(T); next(iter(k))",
    "a future that waits": "f = c.producer(linger_ms=60000).send(T, b'x')",
    "a callback that waits": "c.producer(linger_ms=60000).send(T, b'x').add_done_callback(print)",
    "a reader half read": "c.publish(T, b'x'); r = c.read(T); next(r)",
    "a cycle": "c.me = c; p = c.producer(); p.me = p; c = p = None",
    "a thread inside": (
        "import threading\n"
        "k = c.consumer(T, start='end')\n"
        "threading.Thread(target=lambda: list(k), daemon=True).start()"
    ),
    "an error": "try:\n    c.publish('no such topic', b'x')\nexcept dmq.Error as e: kept = e",
}


@pytest.mark.parametrize("what", ENDINGS)
def test_programs_end_quietly(what, cluster, topic):
    code = f"import sys, dmq\nURL, T = sys.argv[1:]\nc = dmq.connect(URL)\n{ENDINGS[what]}\n"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, cluster.url, topic],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
