"""Odd words wherever the tool takes one: it ends, with a code and a sentence that a user can act
upon; and what is wrong usage is so without a server, too."""

import os
import subprocess

import pytest
from cluster import BIN
from daemons import free_ports

OK, ERROR, USAGE, UNREACHABLE, NOT_FOUND = 0, 1, 2, 3, 4
ODD = [
    "", "-", "--", "-1", "0", "1.5", "0x10", "+5", " 5", "9223372036854775808", "a", "\u00e4",
    b"\xff", "a\nb", "a/b", "..", "x" * 300, "=", "a=", "%z", "\\xZZ", "nan", "--nope", "--json=5",
]  # fmt: skip
COMMANDS = [
    "topic create @",
    "topic create t --partitions @",
    "topic create t --replication-factor @",
    "topic create t --config @",
    "topic create orders --config retention.ms=@",
    "topic list @",
    "topic describe @",
    "topic delete @",
    "topic config @",
    "topic config orders @",
    "topic config orders max.message.bytes=@",
    "topic add-partitions @ 1",
    "topic add-partitions orders @",
    "topic elect @",
    "topic elect orders --partition @",
    "topic elect orders --broker @",
    "produce @ /dev/null",
    "produce orders @",
    "produce orders /dev/null --key-delim @",
    "produce orders /dev/null --key-field @",
    "produce orders /dev/null --partition @",
    "produce orders /dev/null --acks @",
    "produce orders /dev/null --compression @",
    "consume @ --exit-at-end",
    "consume orders --exit-at-end --from @",
    "consume orders --exit-at-end --partition @",
    "consume orders --exit-at-end --count @",
    "consume orders --exit-at-end --format @",
    "cluster @",
    "cluster info @",
    "quorum status @",
    "quorum transfer-leader @",
    "quorum add @",
    "quorum remove @",
    "bench produce orders --records 9 --size @",
    "bench produce orders --records 9 --acks @",
    "bench produce orders --records 9 --throughput @",
    "bench consume @ --records 1",
    "bench consume orders --records @",
    "bench e2e orders --records 3 --throughput @",
    "log dump @",
    "log verify @",
    "health @",
    "health --http @",
    "version @",
    "completion @",
    "dev --data /dev/null @",
    "dev --data /dev/null --port @",
    "dev --data /dev/null --http @",
    "topic list --url @",
    "topic list --url dmq://127.0.0.1:@",
    "@",
    "topic @",
    "bench @",
]
# What a library says to programmers.
BARE = (b"the body", b"JSON:", b"(null)", b"assert")


def words_of(command, odd):
    odd = os.fsencode(odd)
    return [word.encode().replace(b"@", odd) for word in command.split()]


def run(words, url, folder):
    done = subprocess.run(
        [os.fsencode(BIN / "dmq"), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        cwd=folder,
        env={**os.environ, "DMQ_URL": url},
    )
    assert done.returncode in (OK, ERROR, USAGE, UNREACHABLE, NOT_FOUND), (words, done)
    if done.returncode != OK and words[0] != b"log":  # whose findings are data
        assert done.stderr.startswith((b"dmq: ", b"usage: ")), (words, done)
        assert done.stdout == b"", (words, done)
        assert not any(b in done.stderr for b in BARE), (words, done)
    return done


@pytest.mark.parametrize("command", COMMANDS)
def test_odd_words(odd_cluster, command, tmp_path):
    nowhere = f"dmq://127.0.0.1:{free_ports(1)[0]}"
    codes = []
    for odd in ODD:
        words = words_of(command, odd)
        done = run(words, nowhere, tmp_path)
        if done.returncode not in (OK, USAGE) and "--url" not in command:
            done = run(words, odd_cluster.url, tmp_path)
            assert done.returncode not in (USAGE, UNREACHABLE), (words, done)
        codes.append(done.returncode)
    assert set(codes) - {OK}, codes


@pytest.fixture(scope="module")
def odd_cluster(tmp_path_factory):
    from cluster import DevCluster

    folder = tmp_path_factory.mktemp("odd")
    with DevCluster(str(folder), "--port", "0") as running:
        running.dmq("topic", "create", "orders", "--partitions", "2")
        running.dmq("produce", "orders", stdin=b"1\n2\n3\n")
        yield running
