"""Three controllers and a broker as real processes: controllers are killed, stopped, emptied and
mixed up; what was acknowledged stays, and what cannot be done says so."""

import shutil
import subprocess
import threading
import time

import pytest
from daemons import Daemon, free_ports
from pyzmq_client import API_VERSIONS, METADATA, Client, DmqError, build_batch
from quorum import DESCRIBE_QUORUM, DESCRIBE_TOPICS, MAYBE_DONE, NOT_CONTROLLER, Quorum, ask


@pytest.fixture
def quorum(folder):
    with Quorum(folder) as running:
        yield running


class Stream:
    """A thread that creates topics one after another; each that is acknowledged is noted."""

    def __init__(self, quorum, name):
        self.quorum, self.name = quorum, name
        self.acknowledged, self.maybe, self.refused, self.asked = {}, [], [], 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            name = f"{self.name}-{self.asked}"
            self.asked += 1
            try:
                self.acknowledged[name] = self.quorum.create(name)
            except DmqError as error:
                (self.maybe if error.number in MAYBE_DONE else self.refused).append((name, error))
            time.sleep(0.002)

    def finish(self):
        self.stopping.set()
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.acknowledged


def check_all_there(quorum, acknowledged):
    there = quorum.topics()
    assert {name: there.get(name) for name in acknowledged} == acknowledged


# ---- forming -----------------------------------------------------------------------------------


def test_they_form_by_themselves(quorum):
    """No command: three empty folders become one cluster, whose leader all of them name."""
    leader = quorum.leader()
    hellos = [ask(port, API_VERSIONS, ["test", "1"]) for port in quorum.ports.values()]
    assert {hello[8] for hello in hellos} == {leader}
    assert len({hello[0] for hello in hellos}) == 1
    quorum.create("orders")
    assert list(quorum.topics()) == ["orders"]


# ---- the leader ends ---------------------------------------------------------------------------


def test_nothing_acknowledged_is_lost_when_leaders_are_killed(quorum):
    stream = Stream(quorum, "t")
    for _ in range(6):
        victim = quorum.leader()
        time.sleep(0.1)
        quorum.kill(victim)
        quorum.leader(other_than=victim)
        quorum.start(victim)
    acknowledged = stream.finish()
    print(f"{stream.asked} asked, {len(acknowledged)} acknowledged, {len(stream.maybe)} unknown")
    assert len(acknowledged) > 50
    assert not stream.refused and not stream.maybe  # a request id makes each retry safe
    check_all_there(quorum, acknowledged)


def test_each_is_restarted_in_turn(quorum):
    stream = Stream(quorum, "t")
    for number in quorum.ports:
        quorum.controllers[number].stop()
        quorum.leader()
        quorum.start(number)
    acknowledged = stream.finish()
    assert not stream.refused and not stream.maybe
    check_all_there(quorum, acknowledged)
    for number in quorum.ports:  # and all at once
        quorum.controllers[number].stop()
    for number in quorum.ports:
        quorum.controllers[number].spawn()
    for number in quorum.ports:
        quorum.controllers[number].wait_ready()
    check_all_there(quorum, acknowledged)


def test_a_leader_that_was_paused_leads_no_more(quorum):
    """Past its lease another one leads; when it goes on, it decides nothing of its own."""
    first = quorum.leader()
    stream = Stream(quorum, "t")
    quorum.pause(first)
    second = quorum.leader(other_than=first)
    time.sleep(2.5)  # also past the brokers' lease
    quorum.resume(first)
    time.sleep(0.5)
    assert quorum.leader() == second
    acknowledged = stream.finish()
    assert len(acknowledged) > 50 and not stream.refused
    check_all_there(quorum, acknowledged)
    assert quorum.broker.process.poll() is None


# ---- a majority is lost ------------------------------------------------------------------------


def test_without_a_majority_reads_go_on_and_changes_say_why(quorum):
    quorum.create("orders")
    killed = [number for number in quorum.ports if number != quorum.leader()]
    for number in killed:
        quorum.kill(number)
    time.sleep(1.5)  # the last one finds out that nobody answers
    for timeout_ms in (1000, 3000):
        started = time.monotonic()
        with pytest.raises(DmqError, match="no controller leads at the moment") as refused:
            quorum.create("more", timeout_ms)
        took_ms = (time.monotonic() - started) * 1000
        assert refused.value.number == NOT_CONTROLLER
        assert timeout_ms / 2 < took_ms < timeout_ms
        metadata = ask(quorum.broker_port, METADATA, [True, [], [], "127.0.0.1", 1])
        assert [topic[1] for topic in metadata[4]] == ["orders"]
    with Client("127.0.0.1", quorum.broker_port) as new_producer:
        batch = build_batch([(1000, b"k", b"v")], new_producer.init_producer(), 0)
        assert new_producer.produce("orders", 0, batch) == 0
    with pytest.raises(DmqError) as unread:
        ask(quorum.broker_port, DESCRIBE_TOPICS, [[]], 1000)
    assert unread.value.number == NOT_CONTROLLER
    # one that waits is done as soon as somebody leads
    waiting = threading.Thread(target=quorum.create, args=("more", 20000))
    waiting.start()
    quorum.start(killed[0])
    waiting.join(20)
    assert not waiting.is_alive()
    assert sorted(quorum.topics()) == ["more", "orders"]
    quorum.start(killed[1])


# ---- disks -------------------------------------------------------------------------------------


def test_an_emptied_disk_rejoins_by_itself(quorum):
    acknowledged = {name: quorum.create(name) for name in ("a", "b", "c")}
    for number in quorum.ports:
        quorum.kill(number)
        shutil.rmtree(quorum.data(number))
        quorum.leader()
        quorum.start(number)
        acknowledged[f"d{number}"] = quorum.create(f"d{number}")
        wait_for_seat(quorum, number)
    check_all_there(quorum, acknowledged)  # no disk of the beginning is left


def members(quorum):
    """id, disk id, voter, leader, version, lag, silent of each."""
    return ask(quorum.broker_port, DESCRIBE_QUORUM, [False])[3]


def wait_for_seat(quorum, number, timeout=15.0):
    """Until it is a voter that lacks nothing, and the seat of its former disk is gone."""
    deadline = time.monotonic() + timeout
    while True:
        found = members(quorum)
        mine = [member for member in found if member[0] == number]
        if len(found) == 3 and len(mine) == 1 and mine[0][2] and mine[0][5] == 0:
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_a_folder_of_another_cluster_is_refused(quorum, tmp_path_factory):
    victim = quorum.leader()
    with Quorum(tmp_path_factory.mktemp("elsewhere"), ids=(victim,)) as other:
        other.create("theirs")
    acknowledged = {"ours": quorum.create("ours")}
    quorum.kill(victim)
    shutil.rmtree(quorum.data(victim))
    shutil.copytree(other.data(victim), quorum.data(victim))
    stranger = quorum.controllers[victim]
    stranger.spawn()
    time.sleep(1.5)
    leader = quorum.leader()
    assert leader != victim
    check_all_there(quorum, acknowledged)
    assert "theirs" not in quorum.topics()
    assert "belongs to cluster" in stranger.tail(), "the stranger does not say what is wrong"
    assert "belongs to cluster" in quorum.controllers[leader].tail(), "nor does the leader"
    stranger.kill()


def test_a_second_process_with_one_id_is_refused(quorum, folder):
    number = quorum.leader()
    command = quorum.controllers[number].command
    for twin, why in (
        (command, b"in use"),  # the same folder
        ([*command, "--data", f"{folder}/twin"], b"bind_failed"),  # another, the same port
    ):
        ended = subprocess.run(twin, capture_output=True, timeout=20)
        assert ended.returncode == 1 and why in ended.stderr, ended.stderr
    # Another folder, another port (so another machine): it has no seat while the first one lives.
    services = quorum.folder / "twin.json"
    services.write_text(quorum.services_text({**quorum.ports, number: free_ports(1)[0]}))
    (quorum.folder / "twin").mkdir(exist_ok=True)
    twin = Daemon(quorum.folder / "twin", "dmq-controller", number, services)
    twin.spawn()
    before, seats = quorum.create("before"), [member[:3] for member in members(quorum)]
    with pytest.raises(TimeoutError):
        twin.wait_ready(4)
    assert [member[:3] for member in members(quorum)] == seats
    twin.kill()
    assert quorum.leader() == number
    assert quorum.topics() == {"before": before}
