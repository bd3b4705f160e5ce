"""The fixtures that pytest gets with the package, in a pytest of their own."""

import os
import subprocess
import sys

from test_samples import TESTS

USES = """
import asyncio
import dmq, dmq.asyncio

SEEN = []

def test_client(dmq_client, dmq_topic):
    assert isinstance(dmq_client, dmq.Client)
    assert dmq_client.publish(dmq_topic, b"x").offset == 0
    SEEN.append(dmq_topic)

def test_the_cluster_is_shared_the_topic_is_not(dmq_client, dmq_topic, dmq_url, dmq_cluster):
    assert dmq_topic not in SEEN and dmq_client.topics.list() == [dmq_topic]
    assert dmq_client.url == dmq_url == dmq_cluster.url
    print("folder", dmq_cluster.data)

def test_asyncio(dmq_url):
    async def main():
        async with dmq.asyncio.connect(dmq_url) as c:
            return await c.topics.list()

    assert asyncio.run(main()) == []

def test_a_topic_that_the_test_deletes(dmq_client, dmq_topic):
    dmq_client.topics.delete(dmq_topic)
"""
UNUSED = """
import sys

def test_nothing_is_started(request):
    assert "dmq" not in sys.modules
"""


def run(folder, text):
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-rP", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "test_it.py"], capture_output=True, text=True, timeout=60, cwd=folder
    )


def test_the_fixtures(tmp_path):
    done = run(tmp_path, USES)
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout + done.stderr
    (folder,) = (line.split()[1] for line in done.stdout.splitlines() if line[:6] == "folder")
    assert not os.path.exists(folder)


def test_the_sample_of_the_readme(tmp_path):
    done = run(tmp_path, TESTS[0])
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_who_does_not_ask_pays_nothing(tmp_path):
    done = run(tmp_path, UNUSED)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_they_are_listed(tmp_path):
    command = [sys.executable, "-m", "pytest", "--fixtures", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    for name in ("dmq_cluster", "dmq_url", "dmq_client", "dmq_topic"):
        assert f"\n{name} " in done.stdout
