"""The dmq tool, a test for each behaviour: what needs no server, then commands on a cluster."""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from cluster import BIN, CHECKOUT
from daemons import Daemons

FLIGHTS = CHECKOUT / "tests/demo/data/flights.csv"
OK, ERROR, USAGE, UNREACHABLE, NOT_FOUND, TIMEOUT, PARTIAL, UNHEALTHY = 0, 1, 2, 3, 4, 6, 7, 10


def dmq(*arguments, stdin=b"", env=None, timeout=30):
    """The tool without a cluster: nothing listens where it looks for one."""
    nowhere = {**os.environ, "DMQ_URL": "dmq://127.0.0.1:1", **(env or {})}
    return subprocess.run(
        [BIN / "dmq", *arguments], input=stdin, capture_output=True, timeout=timeout, env=nowhere
    )


@pytest.fixture
def start(cluster):
    """The tool as a process that goes on, at most until the test ends."""
    with contextlib.ExitStack() as stack:

        def started(*arguments):
            process = subprocess.Popen(
                [BIN / "dmq", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=cluster.environment(),
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield started


def create(cluster, topic, *options):
    done = cluster.dmq("topic", "create", topic, *options)
    assert done.returncode == OK, done.stderr


def consumed(cluster, topic, *options):
    done = cluster.dmq("consume", topic, "--exit-at-end", *options)
    assert done.returncode == OK, done.stderr
    return done.stdout


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


# ---- usage: no server is asked -------------------------------------------------------------------

COMMANDS = re.findall(
    r"^  dmq ([a-z0-9-]+(?: [a-z0-9-]+)?)(?=  | [A-Z[])", dmq("--help").stdout.decode(), re.M
)


def test_help_lists_the_commands():
    names = set(COMMANDS)
    for name in ("dev", "topic create", "produce", "consume", "bench e2e", "log dump", "health"):
        assert name in names
    for name in ("topic config", "cluster health", "quorum status", "completion"):
        assert name in names
    assert not any(name.startswith("group") for name in names)


NODES = {"controller": 1, "broker": 101}
DAEMONS = tuple(NODES)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_daemons_have_the_rest_of_the_command_line(daemon):
    for options in (["--help"], ["--version"], ["--id"], ["--set", "log.levle=info"]):
        done = dmq(daemon, *options)
        own = subprocess.run([BIN / f"dmq-{daemon}", *options], capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (
            own.returncode,
            own.stdout,
            own.stderr,
        )


@pytest.mark.parametrize(
    ("daemon", "setting", "least", "most", "standard"),
    [
        ("broker", "log.segment.bytes", 1024, 2147483647, 1073741824),
        ("controller", "broker.session.timeout.ms", 50, 600000, 2000),
    ],
)
def test_daemons_explain_their_settings(daemon, setting, least, most, standard):
    """Each with its default, what it must be, and a value just outside is refused."""
    text = dmq(daemon, "--help").stdout.decode()
    variable = "DMQ_" + setting.replace(".", "_").upper()
    assert f"  {setting} = {standard}\n" in text
    assert f"a whole number from {least} to {most}, {variable}\n" in text
    assert "Examples:" in text
    services = {f"{name}s": [{"id": id, "host": "127.0.0.1"}] for name, id in NODES.items()}
    for wrong in (least - 1, most + 1, "x"):
        options = ("--services", json.dumps(services), "--id", str(NODES[daemon]))
        done = dmq(daemon, *options, "--set", f"{setting}={wrong}")
        assert done.returncode == USAGE
        assert f"from {least} to {most}" in done.stderr.decode()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in DAEMONS])
def test_each_command_explains_itself(command):
    done = dmq(*command.split(), "--help")
    text = done.stdout.decode()
    assert done.returncode == OK and done.stderr == b""
    assert text.startswith(f"usage: dmq {command}")
    examples = re.findall(r"^  .*?\bdmq (.*)$", text.partition("Examples:\n")[2], re.M)
    assert examples
    for example in examples:  # its words and options are right
        words = [w.strip("'") for w in re.split(r"\s[|&]|\s&&", example)[0].split()]
        assert dmq(*words, "--help").returncode == OK, example


@pytest.mark.parametrize("group", [[], *([g] for g in ("topic", "cluster", "quorum", "bench"))])
def test_groups_have_examples(group):
    text = dmq(*group, "--help").stdout.decode()
    examples = re.findall(r"^  (?:.*\| )?dmq (.*)$", text.partition("Examples:\n")[2], re.M)
    assert len(examples) >= 3
    for example in examples:
        assert dmq(*example.split(), "--help").returncode == OK, example


def test_without_a_command_it_is_wrong_usage():
    done = dmq()
    assert done.returncode == USAGE and done.stdout == b"" and b"usage: dmq" in done.stderr
    assert dmq("topic").returncode == USAGE
    assert dmq("topic", "--help").returncode == OK


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["topci"], "unknown command 'topci': did you mean 'topic'?"),
        (["topic", "crete", "a"], "unknown command 'topic crete': did you mean 'topic create'?"),
        (["prodcue", "a"], "did you mean 'produce'?"),
        (["xyzzy"], "unknown command 'xyzzy'\n"),
        (["group", "list"], "unknown command 'group'"),
        (["produce", "a", "--partion", "1"], "did you mean '--partition'?"),
        (["--jsn", "topic", "list"], "did you mean '--json'?"),
        (["consume", "a", "--zzz"], "unknown option '--zzz'\n"),
        (["topic", "create"], "topic create wants NAME"),
        (["topic", "list", "a"], "what is 'a'?"),
        (["topic", "create", "a", "--partitions", "x"], "--partitions wants a whole number"),
        (["topic", "create", "a", "--partitions", "0"], "from 1 to 100000, not '0'"),
        (["topic", "create", "a", "--config", "x"], "--config wants NAME=VALUE, not 'x'"),
        (["topic", "create", "a", "--partitions"], "--partitions wants a value"),
        (["produce", "a", "--acks", "2"], "--acks wants 0|1|all, not '2'"),
        (["produce", "a", "--compression", "gzip"], "none|lz4|zstd, not 'gzip'"),
        (["produce", "a", "--key-delim", ""], "--key-delim wants"),
        (["produce", "a", "--key-delim", "\\q"], "--key-delim wants"),
        (["produce", "a", "--key-field", "0"], "--key-field wants"),
        (["consume", "a", "--from", "yesterday"], "--from wants start, end"),
        (["consume", "a", "--format", "%z"], "--format '%z': tokens are"),
        (["consume", "a", "--count", "0"], "--count wants"),
        (["consume", "a", "--json=yes"], "--json takes no value"),
        (["bench", "e2e", "a", "--size", "4"], "--size wants"),
        (["health", "--http", "localhost"], "--http wants HOST:PORT, not 'localhost'"),
        (["topic", "config", "a", "b"], "wants NAME=VALUE, or NAME= for the default, not 'b'"),
        (["topic", "config", "a", "=b"], "wants NAME=VALUE"),
        (["topic", "add-partitions", "a"], "topic add-partitions wants NAME N"),
        (["topic", "add-partitions", "a", "0"], "a whole number from 1 to 100000, not '0'"),
        (["topic", "add-partitions", "a", "-1"], "unknown option '-1'"),
        (["topic", "add-partitions", "a", "x"], "not 'x'"),
        (["topic", "elect"], "topic elect wants the name of a topic, or --all"),
        (["topic", "elect", "a", "--all"], "topic elect wants the name of a topic, or --all"),
        (["topic", "elect", "--all", "--partition", "0"], "--partition wants the name of a topic"),
        (["topic", "elect", "a", "--partition", "x"], "--partition wants a whole number"),
        (["topic", "elect", "a", "--unclean"], "loses acknowledged records for good"),
        (["topic", "elect", "--all", "--unclean", "--yes-lose-data"], "--unclean wants one topic"),
        (["topic", "elect", "a", "--yes-lose-data"], "belong to --unclean"),
        (["topic", "elect", "a", "--broker", "101"], "belong to --unclean"),
        (["cluster", "helth"], "did you mean 'cluster health'?"),
        (["cluster", "info", "--jsno"], "did you mean '--json'?"),
        (["quorum", "transfer-leader"], "quorum transfer-leader wants ID"),
        (["quorum", "add", "x"], "quorum add wants the id of a controller, not 'x'"),
        (["completion", "fish"], "completion wants bash or zsh, not 'fish'"),
        (["dev", "--port", "70000"], "--port wants"),
        (["topic", "list", "--url", "http://x"], "is not a URL of DMQ"),
        (["topic", "list", "--url", "dmq://x:99999"], "port '99999'"),
    ],
)
def test_wrong_usage_exits_2_and_helps(arguments, said):
    done = dmq(*arguments)
    assert done.returncode == USAGE, done.stderr
    assert done.stdout == b""
    assert said in done.stderr.decode()


def test_what_people_try_first():
    assert dmq("help").stdout == dmq("--help").stdout
    assert dmq("help", "topic").stdout == dmq("topic", "--help").stdout
    assert dmq("help", "topic", "create").stdout == dmq("topic", "create", "--help").stdout
    assert dmq("help", "broker").stdout == dmq("broker", "--help").stdout
    assert dmq("--version").stdout == dmq("version").stdout
    done = dmq("help", "topci")
    assert done.returncode == USAGE and b"did you mean 'topic'?" in done.stderr


def test_version():
    done = dmq("version")
    assert re.fullmatch(rb"dmq \d+\.\d+\.\d+, libdmq \d+\.\d+\.\d+\n", done.stdout)
    assert set(json.loads(dmq("version", "--json").stdout)) == {"version", "libdmq"}


def test_nobody_there_exits_3_soon():
    began = time.monotonic()
    for arguments in (["topic", "list"], ["produce", "a"], ["consume", "a"], ["health"]):
        done = dmq(*arguments)
        assert done.returncode == UNREACHABLE and done.stdout == b""
        assert b"cannot reach any broker of dmq://127.0.0.1:1" in done.stderr
    assert time.monotonic() - began < 8


def test_somebody_else_there_is_unreachable(folder):
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = dmq("health", "--url", f"dmq://127.0.0.1:{silent.getsockname()[1]}")
    assert done.returncode == UNREACHABLE, done.stderr


# ---- completion ----------------------------------------------------------------------------------


def completed(*words, env=None):
    """What bash offers for the last of the words."""
    script = f"""
source <({BIN}/dmq completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_dmq
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    path = f"{BIN}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script, "bash", "dmq", *words],
        capture_output=True,
        timeout=30,
        env={**os.environ, "PATH": path, "DMQ_URL": "dmq://127.0.0.1:1", **(env or {})},
    )
    assert (done.returncode, done.stderr) == (OK, b"")
    return done.stdout.decode().split()


def test_completion_knows_commands_and_options():
    assert completed("to") == ["topic"]
    assert completed("topic", "") == [
        name.split()[1] for name in COMMANDS if name.startswith("topic ")
    ]
    assert completed("topic", "create", "x", "--part") == ["--partitions"]
    assert completed("--json", "--url", "dmq://h", "topic", "de") == ["describe", "delete"]
    assert completed("produce", "x", "--acks", "all", "--comp") == ["--compression"]
    assert completed("completion", "") == ["bash", "zsh"]
    assert completed("nonsense", "x") == []


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_offers_what_the_help_names(shell):
    script = dmq("completion", shell).stdout.decode()
    for name in COMMANDS:
        assert f"    '{name}'" in script
        for option in re.findall(
            r"^  (--[a-z-]+)", dmq(*name.split(), "--help").stdout.decode(), re.M
        ):
            if name not in DAEMONS:
                assert option in script


def test_completion_asks_for_topics(cluster):
    create(cluster, "orders")
    create(cluster, "payments")
    env = cluster.environment()
    assert completed("consume", "ord", env=env) == ["orders"]
    assert completed("topic", "config", "", env=env) == ["orders", "payments"]
    assert completed("topic", "create", "", env=env) == []
    assert completed("--url", cluster.url, "topic", "delete", "pay") == ["payments"]


# ---- topics --------------------------------------------------------------------------------------


def test_topics_come_and_go(cluster):
    done = cluster.dmq("topic", "create", "orders", "--partitions", "3")
    assert (done.returncode, done.stdout) == (OK, b"")
    assert done.stderr == b"dmq: created topic orders: partitions 3, replication factor 1\n"
    listed = cluster.dmq("topic", "list").stdout.decode().splitlines()
    assert [line.split() for line in listed] == [
        ["NAME", "PARTITIONS", "REPLICAS"],
        ["orders", "3", "1"],
    ]
    assert cluster.dmq("topic", "delete", "orders", "--quiet").stderr == b""
    assert len(cluster.dmq("topic", "list").stdout.splitlines()) == 1


def test_settings_are_shown_and_changed(cluster):
    create(cluster, "orders", "--config", "durability=async")
    lines = cluster.dmq("topic", "config", "orders").stdout.decode().splitlines()
    assert lines[0].split() == ["NAME", "VALUE", "SET", "BY", "DEFAULT", "MUST", "BE"]
    rows = {line.split()[0]: line.split()[1:4] for line in lines[1:]}
    assert rows["durability"] == ["async", "topic", "sync"]
    assert rows["min.insync.replicas"] == ["1", "default", "1"]
    done = cluster.dmq("topic", "config", "orders", "max.message.bytes=2000", "durability=")
    assert (done.returncode, done.stdout, done.stderr) == (OK, b"", b"dmq: changed topic orders\n")
    shown = json.loads(cluster.dmq("topic", "config", "orders", "--json").stdout)
    assert shown["topicName"] == "orders"
    own = {s["name"]: s["value"] for s in shown["settings"] if not s["isDefault"]}
    assert own == {"max.message.bytes": "2000"}
    done = cluster.dmq("produce", "orders", stdin=b"x" * 3000)  # in effect without a restart
    assert done.returncode == ERROR and b"max.message.bytes=2000" in done.stderr
    altered = json.loads(
        cluster.dmq("--json", "topic", "config", "orders", "durability=sync").stdout
    )
    assert altered["config"] == {"max.message.bytes": "2000", "durability": "sync"}


def test_settings_that_cannot_be_are_refused(cluster):
    create(cluster, "orders")
    for change, said in (
        ("min.insync.replicas=2", b"above the replication factor 1"),
        ("retention.mss=1", b"did you mean retention.ms?"),
        ("durability=maybe", b"must be sync or async"),
    ):
        done = cluster.dmq("topic", "config", "orders", "retention.ms=5", change)
        assert done.returncode == ERROR and said in done.stderr
        done = cluster.dmq("topic", "create", "other", "--config", change)
        assert done.returncode == ERROR and said in done.stderr
    shown = json.loads(cluster.dmq("topic", "config", "orders", "--json").stdout)
    assert all(s["isDefault"] for s in shown["settings"])
    for words in (["topic", "config", "ordrs"], ["topic", "config", "ordrs", "retention.ms=5"]):
        done = cluster.dmq(*words)
        assert done.returncode == NOT_FOUND and b"did you mean 'orders'?" in done.stderr


def test_partitions_are_added(cluster):
    create(cluster, "orders", "--partitions", "2")
    done = cluster.dmq("topic", "add-partitions", "orders", "3")
    assert (done.returncode, done.stderr) == (OK, b"dmq: topic orders has 5 partitions now\n")
    for _ in range(2):  # a total may be asked for twice
        done = cluster.dmq("topic", "add-partitions", "orders", "6", "--total", "--json")
        assert json.loads(done.stdout)["partitionCount"] == 6
    for partition in range(6):
        text = f"to {partition}\n".encode()
        assert (
            cluster.dmq("produce", "orders", f"--partition={partition}", stdin=text).returncode
            == OK
        )
        assert consumed(cluster, "orders", f"--partition={partition}") == text
    done = cluster.dmq("topic", "add-partitions", "orders", "5", "--total")
    assert done.returncode == ERROR and b"cannot become fewer" in done.stderr
    done = cluster.dmq("topic", "add-partitions", "ordrs", "1")
    assert done.returncode == NOT_FOUND and b"did you mean 'orders'?" in done.stderr


def test_changes_outlive_a_restart(cluster):
    create(cluster, "orders", "--config", "retention.ms=5")
    assert cluster.dmq("topic", "config", "orders", "segment.bytes=8192").returncode == OK
    assert cluster.dmq("topic", "add-partitions", "orders", "1").returncode == OK
    before = cluster.dmq("topic", "describe", "orders", "--json").stdout
    cluster.stop()
    cluster.start()
    after = json.loads(cluster.dmq("topic", "describe", "orders", "--json").stdout)
    assert after["config"] == json.loads(before)["config"]
    assert after["config"] == {"retention.ms": "5", "segment.bytes": "8192"}
    assert after["partitionCount"] == 2


# ---- the cluster ---------------------------------------------------------------------------------


def test_cluster_info_tells_nodes_and_pairing(cluster):
    create(cluster, "orders", "--partitions", "3")
    text = cluster.dmq("cluster", "info").stdout.decode()
    assert re.search(r"^partitions +3 \(0 without a leader", text, re.M)
    assert re.search(r"^1 +127\.0\.0\.1:\d+ +yes +101$", text, re.M)
    port = cluster.url.rpartition(":")[2]
    assert re.search(rf"^101 +127\.0\.0\.1:{port} +- +serving +1 +3 +3$", text, re.M)
    info = json.loads(cluster.dmq("cluster", "info", "--json").stdout)
    assert info["leader"] == 1 and info["partitionCount"] == 3 and info["ailing"] == []
    brokers = json.loads(cluster.dmq("--json", "cluster", "brokers").stdout)["brokers"]
    assert brokers == info["brokers"]
    assert (brokers[0]["id"], brokers[0]["controller"], brokers[0]["leaders"]) == (101, 1, 3)
    controllers = json.loads(cluster.dmq("--json", "cluster", "controllers").stdout)["controllers"]
    assert controllers == info["controllers"] and controllers[0]["brokers"] == [101]


def test_daemons_say_which_settings_are_in_force(folder):
    with Daemons(folder, "--set", "log.segment.bytes=8192") as daemons:
        log = daemons.broker.log.read_text()
    assert 'setting log.segment.bytes=8192 from="--set"' in log
    assert log.count(" setting ") == 1
    assert " defaults broker.heartbeat.interval.ms=500 " in log and " log.format=text" in log


def test_quorum_status(cluster):
    status = json.loads(cluster.dmq("quorum", "status", "--json").stdout)
    assert status["leader"] == 1 and status["term"] >= 1 and status["version"] >= 1
    (one,) = status["controllers"]
    assert (one["id"], one["voter"], one["leader"], one["lag"]) == (1, True, True, 0)
    text = cluster.dmq("quorum", "status").stdout.decode()
    assert re.search(r"^leader +1$", text, re.M)
    assert re.search(r"^1 +leader +yes +\d+ +0 +0$", text, re.M)


def test_a_lone_controller_stays(cluster):
    done = cluster.dmq("quorum", "transfer-leader", "1")  # it leads already
    assert (done.returncode, done.stderr) == (OK, b"dmq: controller 1 leads now\n")
    done = cluster.dmq("quorum", "transfer-leader", "2")
    assert done.returncode == ERROR and b"controller 2 is no voter" in done.stderr
    done = cluster.dmq("quorum", "remove", "1")
    assert done.returncode == ERROR and b"the last voter cannot be removed" in done.stderr
    done = cluster.dmq("quorum", "remove", "2")
    assert done.returncode == ERROR and b"controller 2 has no seat" in done.stderr
    assert cluster.dmq("quorum", "add", "2").returncode == ERROR


def test_a_healthy_cluster_says_so(cluster):
    done = cluster.dmq("cluster", "health")
    assert (done.returncode, done.stdout) == (OK, b"healthy\n")
    done = cluster.dmq("cluster", "health", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (OK, {"healthy": True, "problems": []})


def test_a_topic_is_deleted_with_its_files_and_made_again(cluster):
    data = cluster.folder / "data/broker"
    create(cluster, "orders", "--partitions", "2", "--config", "durability=async")
    first = json.loads(cluster.dmq("topic", "describe", "orders", "--json").stdout)["topicId"]
    cluster.dmq("produce", "orders", "--partition=1", stdin=b"a\nb\n")
    assert {f.name for f in (data / first).iterdir()} == {"0", "1"}
    assert cluster.dmq("topic", "delete", "orders").returncode == OK
    create(cluster, "orders")  # another one, whatever was said of the first
    second = json.loads(cluster.dmq("topic", "describe", "orders", "--json").stdout)
    assert second["topicId"] != first
    assert (second["partitionCount"], second["config"]) == (1, {})
    assert consumed(cluster, "orders") == b""
    cluster.dmq("produce", "orders", stdin=b"c\n")
    assert consumed(cluster, "orders") == b"c\n"
    wait_until(lambda: not (data / first).exists())
    assert (data / second["topicId"] / "0").is_dir()


def test_topics_in_json(cluster):
    created = json.loads(
        cluster.dmq(
            "--json", "topic", "create", "a", "--partitions=2", "--config", "durability=async"
        ).stdout
    )
    assert created["topicName"] == "a" and created["partitionCount"] == 2
    assert created["config"] == {"durability": "async"}
    assert [p["partition"] for p in created["partitions"]] == [0, 1]
    create(cluster, "b")
    listed = json.loads(cluster.dmq("topic", "list", "--json").stdout)
    assert [t["topicName"] for t in listed["topics"]] == ["a", "b"]
    described = json.loads(cluster.dmq("topic", "describe", "a", "--json").stdout)
    assert described["topicId"] == created["topicId"]
    deleted = json.loads(cluster.dmq("topic", "delete", "a", "--json").stdout)
    assert deleted["topicId"] == created["topicId"]


def test_describe_shows_offsets(cluster):
    create(cluster, "a", "--config", "max.message.bytes=2000000")
    assert cluster.dmq("produce", "a", stdin=b"1\n2\n3\n").returncode == OK
    text = cluster.dmq("topic", "describe", "a").stdout.decode()
    assert re.search(r"^name +a$", text, re.M)
    assert re.search(r"^config +max.message.bytes=2000000$", text, re.M)
    assert text.splitlines()[-1].split() == ["0", "101", "0", "101", "101", "0", "3"]
    create(cluster, "b", "--partitions", "2")
    for topic, ends in (("a", [(0, 3)]), ("b", [(0, 0), (0, 0)])):
        found = json.loads(cluster.dmq("topic", "describe", topic, "--json").stdout)["partitions"]
        assert [(p["logStartOffset"], p["highWatermark"]) for p in found] == ends
        assert [p["partition"] for p in found] == list(range(len(ends)))


def test_refusals_of_the_cluster(cluster):
    create(cluster, "orders")
    for arguments, code, said in (
        (["create", "orders"], ERROR, "exists"),
        (["create", "a/b"], USAGE, "cannot be the name of a topic"),
        (["create", "x", "--config", "durabilty=async"], ERROR, "durability"),
        (["create", "x", "--replication-factor", "2"], ERROR, "replication"),
        (["delete", "ordes"], NOT_FOUND, "ordes"),
        (["describe", "ordes"], NOT_FOUND, "ordes"),
    ):
        done = cluster.dmq("topic", *arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert done.stdout == b"" and said in done.stderr.decode(), done.stderr


# ---- produce and consume -------------------------------------------------------------------------

ODD = [
    b"",
    b"\n",
    b"\n\n\n",
    b"a",
    b"a\n",
    b"a\r\nb\r\n",
    b"\0\n\0\0\n",
    b"\xff\xfe\n\x80\n\xc3\n",
    bytes(b for b in range(256)),
    b"x" * 300_000 + b"\n" + b"y" * 600_000 + b"\n",
    b"%s\\n\n%t\n",
    os.urandom(100_000),
]


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_any_file_comes_back_byte_for_byte(cluster, folder, compression):
    for i, content in enumerate(ODD):
        path = f"{folder}/odd"
        with open(path, "wb") as file:
            file.write(content)
        create(cluster, f"odd-{i}")
        done = cluster.dmq("produce", f"odd-{i}", path, "--compression", compression)
        assert done.returncode == OK, done.stderr
        assert done.stdout == b"" and done.stderr == b""
        ended = content if not content or content.endswith(b"\n") else content + b"\n"
        assert consumed(cluster, f"odd-{i}") == ended, i


def test_several_files_and_stdin_in_order(cluster, folder):
    for name, text in (("a", b"1\n2"), ("b", b"3\n")):
        with open(f"{folder}/{name}", "wb") as file:
            file.write(text)
    create(cluster, "t")
    done = cluster.dmq("produce", "t", f"{folder}/a", "-", f"{folder}/b", "--json", stdin=b"x\n\ny")
    assert done.returncode == OK, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["topic"], summary["records"], summary["failed"]) == ("t", 6, 0)
    assert summary["bytes"] == 5
    assert consumed(cluster, "t") == b"1\n2\nx\n\ny\n3\n"


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_acks(cluster, acks):
    create(cluster, "t")
    assert cluster.dmq("produce", "t", "--acks", acks, stdin=b"a\nb\n").returncode == OK
    wait_until(lambda: consumed(cluster, "t") == b"a\nb\n")


def test_keys(cluster):
    create(cluster, "t", "--partitions", "4")
    lines = b"".join(b"k%d:v%d\n" % (i % 7, i) for i in range(100)) + b"none\n:empty\n"
    assert cluster.dmq("produce", "t", "--key-delim", ":", stdin=lines).returncode == OK
    rows = [
        r.split(b"\t") for r in consumed(cluster, "t", "--format", r"%p\t%K\t%k\t%s\n").split(b"\n")
    ]
    rows = [r for r in rows if r != [b""]]
    assert len(rows) == 102
    places = {}
    for partition, size, key, value in rows:
        if value == b"none":
            assert size == b"-1" and key == b""
        elif value == b"empty":
            assert size == b"0" and key == b""
        else:
            places.setdefault(key, []).append((partition, int(value[1:])))
    assert len(places) == 7
    for found in places.values():  # one partition, in order
        assert len({partition for partition, _ in found}) == 1
        assert [n for _, n in found] == sorted(n for _, n in found)


def test_key_fields_leave_the_line_whole(cluster):
    create(cluster, "t")
    done = cluster.dmq("produce", "t", "--key-field", "2", stdin=b"a,b,c\nd\n,,\n")
    assert done.returncode == OK
    assert consumed(cluster, "t", "--format", r"%K[%k]%s\n") == b"1[b]a,b,c\n-1[]d\n0[],,\n"
    create(cluster, "u")
    cluster.dmq("produce", "u", "--key-field", "2", "--key-delim", r"\t", stdin=b"a\tb\tc\n")
    assert consumed(cluster, "u", "--format", "%k") == b"b"


def test_flights_keep_their_order_by_carrier(cluster):
    create(cluster, "flights", "--partitions", "3")
    assert cluster.dmq("produce", "flights", "--key-field", "10", FLIGHTS).returncode == OK
    sent = FLIGHTS.read_bytes().splitlines()
    got = consumed(cluster, "flights").splitlines()
    assert sorted(got) == sorted(sent)

    def by_carrier(lines):
        carriers = {}
        for line in lines:
            carriers.setdefault(line.split(b",")[9], []).append(line)
        return carriers

    assert by_carrier(got) == by_carrier(sent)
    assert len(by_carrier(got)) > 10


def test_a_line_above_the_limit_names_the_line(cluster, folder):
    create(cluster, "t", "--config", "max.message.bytes=1000")
    path = f"{folder}/lines"
    with open(path, "wb") as file:
        file.write(b"one\ntwo\n" + b"x" * 2000 + b"\nfour\n")
    done = cluster.dmq("produce", "t", path)
    assert done.returncode == PARTIAL
    assert f"{path}:3: " in done.stderr.decode() and b"max.message.bytes" in done.stderr
    assert consumed(cluster, "t") == b"one\ntwo\n"  # what came before, nothing behind
    done = cluster.dmq("produce", "t", stdin=b"x" * 2000)
    assert done.returncode == ERROR and b"stdin:1: " in done.stderr


def test_lines_that_are_refused_later_are_named_too(cluster, start):
    create(cluster, "t")
    writer = start("produce", "t")
    writer.stdin.write(b"a\n")
    writer.stdin.flush()
    wait_until(lambda: consumed(cluster, "t") == b"a\n")
    assert cluster.dmq("topic", "delete", "t").returncode == OK
    writer.stdin.write(b"b\n")
    writer.stdin.close()
    assert writer.wait(30) == PARTIAL
    said = writer.stderr.read().decode()
    assert "stdin:2: " in said and "exist" in said and "stored 1 records before that" in said


def test_files_that_cannot_be_read(cluster, folder):
    create(cluster, "t")
    done = cluster.dmq("produce", "t", f"{folder}/none")
    assert done.returncode == ERROR and b"No such file" in done.stderr
    done = cluster.dmq("produce", "t", "-", f"{folder}", stdin=b"a\n")
    assert done.returncode == PARTIAL and b"Is a directory" in done.stderr
    assert consumed(cluster, "t") == b"a\n"


def test_unknown_topics_and_partitions(cluster):
    create(cluster, "orders", "--partitions", "2")
    for arguments in (["produce", "ordres"], ["consume", "ordres"], ["bench", "produce", "ordres"]):
        done = cluster.dmq(*arguments)
        assert done.returncode == NOT_FOUND
        assert b"did you mean 'orders'?" in done.stderr
    for command in ("produce", "consume"):
        done = cluster.dmq(command, "orders", "--partition", "2")
        assert done.returncode == NOT_FOUND and b"no partition 2" in done.stderr


def test_one_partition(cluster):
    create(cluster, "t", "--partitions", "3")
    assert cluster.dmq("produce", "t", "--partition", "2", stdin=b"a\nb\n").returncode == OK
    assert consumed(cluster, "t", "--format", "%t %p %o %s,") == b"t 2 0 a,t 2 1 b,"
    assert consumed(cluster, "t", "--partition", "1") == b""


def test_where_consume_begins(cluster):
    create(cluster, "t")
    cluster.dmq("produce", "t", stdin=b"a\nb\nc\n")
    time.sleep(0.05)
    middle = int(time.time() * 1000)
    time.sleep(0.05)
    cluster.dmq("produce", "t", stdin=b"d\n")
    for place, expected in (
        ("start", b"a\nb\nc\nd\n"),
        ("0", b"a\nb\nc\nd\n"),
        ("2", b"c\nd\n"),
        ("4", b""),
        ("end", b""),
        ("-1h", b"a\nb\nc\nd\n"),
        ("-0s", b""),
        (f"@{middle}", b"d\n"),
        ("2013-01-01T10:00:00Z", b"a\nb\nc\nd\n"),
        ("2999-01-01", b""),
    ):
        assert consumed(cluster, "t", "--from", place) == expected, place
    done = cluster.dmq("consume", "t", "--from", "5", "--exit-at-end")
    assert done.returncode != OK or done.stdout == b""


def test_count_ends_in_the_middle(cluster):
    create(cluster, "t")
    cluster.dmq("produce", "t", stdin=b"a\nb\nc\n")
    assert cluster.dmq("consume", "t", "--count", "2").stdout == b"a\nb\n"
    assert cluster.dmq("consume", "t", "--count", "5", "--exit-at-end").stdout == b"a\nb\nc\n"


def test_records_in_json(cluster):
    create(cluster, "t")
    cluster.dmq("produce", "t", "--key-delim", ":", stdin=b"k:v\n\xff:\xfe\nplain\n")
    rows = [json.loads(line) for line in consumed(cluster, "t", "--json").splitlines()]
    assert [base64.b64decode(r["value"]) for r in rows] == [b"v", b"\xfe", b"plain"]
    assert [r["offset"] for r in rows] == [0, 1, 2]
    assert rows[0]["key"] == "k" and rows[2]["key"] is None
    assert "key" not in rows[1] and base64.b64decode(rows[1]["keyBase64"]) == b"\xff"
    assert abs(rows[0]["timestamp"] / 1000 - time.time()) < 60
    assert rows[0]["headers"] == {} and rows[0]["topic"] == "t" and rows[0]["partition"] == 0


def test_consume_waits_for_what_comes(cluster, start):
    create(cluster, "t")
    reader = start("consume", "t", "--from", "end", "--count", "2")
    writer = start("produce", "t")
    got = b""
    deadline = time.monotonic() + 20
    os.set_blocking(reader.stdout.fileno(), False)
    while got.count(b"\n") < 2 and time.monotonic() < deadline:
        writer.stdin.write(b"tick\n")  # a line is sent when it is there, not at the end
        writer.stdin.flush()
        time.sleep(0.05)
        got += reader.stdout.read() or b""
    assert got == b"tick\ntick\n"
    assert reader.wait(10) == OK
    writer.stdin.close()
    assert writer.wait(10) == OK


def test_ctrl_c_ends_consume_well(cluster, start):
    create(cluster, "t")
    cluster.dmq("produce", "t", stdin=b"a\n")
    for options, code in (([], OK), (["--count", "5"], PARTIAL)):
        reader = start("consume", "t", *options)
        assert reader.stdout.readline() == b"a\n"
        reader.send_signal(signal.SIGINT)
        assert reader.wait(10) == code, reader.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_flushes_produce(cluster, start, number):
    create(cluster, "t")
    writer = start("produce", "t")
    writer.stdin.write(b"a\nb\n")
    writer.stdin.flush()
    wait_until(lambda: consumed(cluster, "t") == b"a\nb\n")
    writer.send_signal(number)
    assert writer.wait(10) == PARTIAL
    assert b"2 records are stored" in writer.stderr.read()


def test_a_second_ctrl_c_does_not_wait(cluster, start):
    create(cluster, "t")
    writer = start("produce", "t")
    writer.stdin.write(b"a\n")
    writer.stdin.flush()
    wait_until(lambda: consumed(cluster, "t") == b"a\n")
    broker = cluster.daemons()["dmq-broker"]
    os.kill(broker, signal.SIGSTOP)
    try:
        writer.stdin.write(b"b\n")
        writer.stdin.flush()
        time.sleep(0.2)
        writer.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert writer.poll() is None  # it waits for what it sent
        writer.send_signal(signal.SIGINT)
        assert writer.wait(5) == -signal.SIGINT
    finally:
        os.kill(broker, signal.SIGCONT)


def test_a_broker_that_dies_meanwhile_costs_nothing(cluster, start):
    create(cluster, "t")
    writer = start("produce", "t")
    for i in range(300):
        writer.stdin.write(b"%d\n" % i)
        writer.stdin.flush()
        if i == 100:
            os.kill(cluster.daemons()["dmq-broker"], signal.SIGKILL)
        time.sleep(0.002)
    writer.stdin.close()
    assert writer.wait(60) == OK, writer.stderr.read()
    assert consumed(cluster, "t") == b"".join(b"%d\n" % i for i in range(300))


def lines_of(stream):
    os.set_blocking(stream.fileno(), False)
    return (stream.read() or b"").decode().splitlines()


def test_produce_says_that_it_waits_and_goes_on(cluster, start):
    create(cluster, "t")
    told, quiet = start("produce", "t"), start("produce", "t", "--quiet", "--json")
    broker = cluster.daemons()["dmq-broker"]
    for writer in (told, quiet):
        writer.stdin.write(b"a\n")
        writer.stdin.flush()
    wait_until(lambda: consumed(cluster, "t") == b"a\na\n")
    os.kill(broker, signal.SIGSTOP)
    try:
        for writer in (told, quiet):
            writer.stdin.write(b"b\n")  # and the input stays open: it waits for more
            writer.stdin.flush()
        time.sleep(3)
        (said,) = lines_of(told.stderr)
    finally:
        os.kill(broker, signal.SIGCONT)
    assert "waiting: 1 records are not stored yet" in said and "Ctrl-C" in said
    wait_until(lambda: consumed(cluster, "t") == b"a\na\nb\nb\n")
    for writer in (told, quiet):
        writer.stdin.close()
        assert writer.wait(20) == OK
    (said,) = lines_of(told.stderr)
    assert re.match(r"dmq: it goes on, after \d+\.\d s$", said)
    assert lines_of(quiet.stderr) == []
    assert len(json.loads(quiet.stdout.read())) > 0


def test_produce_says_that_nobody_is_there_any_more(tmp_path):
    with Daemons(tmp_path) as alone:
        command = [BIN / "dmq", "--url", alone.url]
        assert subprocess.run([*command, "topic", "create", "t"]).returncode == OK
        with subprocess.Popen(
            [*command, "produce", "t"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        ) as writer:
            writer.stdin.write(b"a\n")
            writer.stdin.flush()
            time.sleep(0.5)
            alone.broker.kill()
            writer.stdin.write(b"b\n")
            writer.stdin.close()
            time.sleep(3)
            (said,) = lines_of(writer.stderr)
            writer.kill()
    assert "1 records are not stored yet: broker 101 is not connected: " in said
    assert "127.0.0.1:" in said  # which of the two stands first depends on the reason
    assert "connection refused" in said or "closed by the other side" in said


def test_output_that_cannot_be_written(cluster):
    create(cluster, "t")
    cluster.dmq("produce", "t", stdin=b"a\n")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [BIN / "dmq", "consume", "t", "--exit-at-end"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=cluster.environment(),
            timeout=30,
        )
    assert done.returncode == ERROR and b"No space left" in done.stderr


def test_a_progress_line_where_stderr_is_a_terminal(cluster):
    create(cluster, "t")
    for options, is_shown in (([], True), (["--quiet"], False)):
        master, slave = os.openpty()
        reader = subprocess.Popen(
            [BIN / "dmq", "consume", "t", *options],
            stdout=subprocess.DEVNULL,
            stderr=slave,
            env=cluster.environment(),
        )
        os.close(slave)
        for _ in range(6):
            cluster.dmq("produce", "t", stdin=b"a\n")
            time.sleep(0.06)
        reader.send_signal(signal.SIGINT)
        assert reader.wait(10) == OK
        os.set_blocking(master, False)
        try:
            said = os.read(master, 65536)
        except OSError:
            said = b""
        os.close(master)
        assert (b"records/s" in said) == is_shown, said
        assert not said or said.endswith(b"\r\x1b[K")  # it is taken away at the end


# ---- bench, log, health --------------------------------------------------------------------------


def check_figures(done, records, size):
    assert done.returncode == OK, done.stderr
    figures = json.loads(done.stdout)
    names = ["records", "bytes", "seconds", "records_per_s", "mb_per_s", "latency_us"]
    assert list(figures) == names
    assert figures["records"] == records and figures["bytes"] == records * size
    assert figures["records_per_s"] == pytest.approx(records / figures["seconds"], rel=0.01)
    latency = figures["latency_us"]
    assert list(latency) == ["p50", "p99", "p999", "max"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["p999"] <= latency["max"]
    return figures


def test_bench(cluster):
    create(cluster, "load", "--partitions", "2")
    bench = ("--json", "bench")
    check_figures(cluster.dmq(*bench, "produce", "load", "--records", "20000"), 20000, 100)
    options = ("--sync", "--records", "50", "--size", "1000", "--compression", "lz4")
    check_figures(cluster.dmq(*bench, "produce", "load", *options), 50, 1000)
    options = ("--records", "200", "--throughput", "1000", "--acks", "1")
    figures = check_figures(cluster.dmq(*bench, "produce", "load", *options), 200, 100)
    assert figures["records_per_s"] < 1200
    done = cluster.dmq(*bench, "consume", "load")
    assert json.loads(done.stdout)["records"] == 20250
    options = ("--records", "200", "--throughput", "2000", "--size", "64")
    check_figures(cluster.dmq(*bench, "e2e", "load", *options), 200, 64)
    check_figures(cluster.dmq(*bench, "e2e", "load", "--sync", "--records", "20"), 20, 100)
    text = cluster.dmq("bench", "produce", "load", "--records", "1000").stdout.decode()
    assert re.search(r"^1000 records, 0.1 MB in .* records/s", text)
    assert re.search(r"^latency us: p50 ", text, re.M)


def test_bench_sends_fresh_bytes(cluster):
    create(cluster, "load")
    cluster.dmq("bench", "produce", "load", "--records", "1000", "--size", "30")
    values = consumed(cluster, "load", "--json").splitlines()
    assert len({json.loads(v)["value"] for v in values}) == 1000


def test_log_dump_and_verify(cluster):
    create(cluster, "t")
    cluster.dmq("produce", "t", stdin=b"a\nb\n")
    cluster.stop()
    broker = cluster.folder / "data/broker"
    (segment,) = broker.glob("*/0/" + "[0-9]" * 20 + ".log")
    done = dmq("log", "dump", segment)
    assert done.returncode == OK, done.stderr
    assert re.search(rb"^record offset=1 .*value=\"b\"$", done.stdout, re.M)
    lines = [json.loads(line) for line in dmq("log", "dump", segment, "--json").stdout.splitlines()]
    assert [line["value"] for line in lines if line["type"] == "record"] == ["a", "b"]
    for options in ([], ["--quiet"], ["--json", "--quiet"]):
        done = dmq("log", "verify", broker, *options)
        assert (done.returncode, done.stderr) == (OK, b"")
        assert re.search(rb"\brecords\W+2\b", done.stdout)
        assert re.search(rb"\bfindings\W+0\b", done.stdout)
    damaged = bytearray(segment.read_bytes())
    damaged[20] ^= 1
    segment.write_bytes(damaged)
    done = dmq("log", "verify", broker)
    assert done.returncode == ERROR and b"findings=1" in done.stdout
    for arguments in (["dump", f"{segment}.none"], ["verify", f"{broker}/none"]):
        done = dmq("log", *arguments)
        assert done.returncode == NOT_FOUND and done.stdout == b"" and b"none" in done.stderr


def test_health(cluster):
    create(cluster, "t", "--partitions", "3")
    done = cluster.dmq("health", "--ready")
    assert done.returncode == OK
    said = b"ready: controller answers, brokers 1 of 1, partitions 3 of 3\n"
    assert done.stdout == said
    figures = json.loads(cluster.dmq("health", "--json").stdout)
    assert figures == {
        "ready": True,
        "controller": 1,
        "brokers": 1,
        "liveBrokers": 1,
        "partitions": 3,
        "leaderlessPartitions": 0,
    }


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nready\n", OK, b"ready\n"),
        (
            b"HTTP/1.1 503 x\r\nA: b\r\n\r\nnot formed\nmore\n",
            UNHEALTHY,
            b"not ready: not formed\n",
        ),
        (b"HTTP/1.1 503 x\r\n\r\n" + b"x" * 9000, UNHEALTHY, b"not ready: x"),
        (b"HTTP/1.1 200 OK\r\nno end", UNREACHABLE, b""),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", UNREACHABLE, b""),
        (b"", UNREACHABLE, b""),
    ],
)
def test_health_of_one_node(answer, code, said):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        command = [BIN / "dmq", "health", "--ready", "--http", address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asker:
            with server.accept()[0] as connection:
                assert connection.recv(4096).startswith(b"GET /health/ready HTTP/1.1\r\n")
                connection.sendall(answer)
            out, err = asker.communicate(timeout=20)
    assert asker.returncode == code and out.startswith(said), (out, err)
    assert (err == b"") == (code != UNREACHABLE)
    done = dmq("health", "--http", address)  # nobody is there now
    assert done.returncode == UNREACHABLE and b"does not answer" in done.stderr


def test_health_without_a_controller(cluster):
    controller = cluster.daemons()["dmq-controller"]
    os.kill(controller, signal.SIGSTOP)
    try:
        done = cluster.dmq("health", "--ready")
        assert done.returncode == UNHEALTHY
        assert done.stdout.startswith(b"not ready: controller does not answer")
        done = cluster.dmq("health", "--json")
        assert done.returncode == OK and json.loads(done.stdout)["ready"] is False
    finally:
        os.kill(controller, signal.SIGCONT)
