"""A controller whose data folder is of another cluster than the others of services.json: it ends
with one sentence that says what to do, each time that it is started; the others say so once and go
on; with an empty folder it joins them. A broker and a lone controller that do not belong together:
both say so."""

import shutil
import subprocess
from pathlib import Path

import pytest
from daemons import Daemons
from test_damaged_controller import make, wait_for


def start(controllers):
    for one in controllers:
        one.spawn()
    for one in controllers:
        one.wait_ready()


def lines(daemon, word):
    return [line for line in daemon.log.read_text().splitlines() if word in line]


@pytest.fixture
def foreign(folder):
    """Three that run, but for the last, which has the folder of another three."""
    (Path(folder) / "other").mkdir()
    other = make(Path(folder) / "other", 3)
    controllers = make(folder, 3)
    try:
        start(other)
        for one in other:
            one.stop()
        start(controllers)
        controllers[2].stop()
        shutil.rmtree(controllers[2].data)
        shutil.copytree(other[2].data, controllers[2].data)
        yield controllers
    finally:
        for one in other + controllers:
            one.end(clean=False)


def ends(daemon):
    """How it ended, and the errors that it said since it was started."""
    before = len(lines(daemon, " error "))
    daemon.spawn()
    code = daemon.process.wait(30)
    assert daemon.process.stdout.read() == b"", "it said that it is ready"
    daemon.process.stdout.close()
    return code, lines(daemon, " error ")[before:]


def test_it_ends_and_the_others_go_on(foreign):
    strange = foreign[2]
    for _ in range(3):
        code, errors = ends(strange)
        assert code == 1 and len(errors) == 1, (code, errors)
        assert "INCONSISTENT_CLUSTER_ID" in errors[0] and str(strange.data) in errors[0]
        assert "2 of the 3 controllers of services.json" in errors[0]
        assert "or an empty --data to join them" in errors[0]
    wait_for(lambda: all(lines(one, "controller_refused controller=3") for one in foreign[:2]))
    for one in foreign[:2]:
        assert len(lines(one, "controller_refused controller=3")) <= 3, "once for each start"
        assert one.process.poll() is None
    shutil.rmtree(strange.data)
    strange.spawn()
    strange.wait_ready()


def test_one_against_one_waits(foreign):
    """With the third away nobody can tell who is wrong; when it is back, the stranger ends."""
    first, second, strange = foreign
    second.stop()
    strange.spawn()
    wait_for(lambda: lines(strange, "controller_refused controller=1"))
    with pytest.raises(subprocess.TimeoutExpired):
        strange.process.wait(3)
    second.spawn()
    second.wait_ready()
    assert strange.process.wait(30) == 1
    strange.process.stdout.close()
    assert first.process.poll() is None and second.process.poll() is None


@pytest.fixture
def pair(folder):
    """A controller and its broker, both stopped, and the data folders of another pair."""
    pairs = []
    for name in ("one", "other"):
        (Path(folder) / name).mkdir()
        pairs.append(Daemons(Path(folder) / name))
    one, other = pairs
    try:
        for each in pairs:
            with each:
                pass
        yield one, other.controller.data, other.broker.data
    finally:
        for each in (one.broker, one.controller):
            each.end(clean=False)


def put(data, daemon):
    shutil.rmtree(daemon.data)
    shutil.copytree(data, daemon.data)


def test_a_broker_of_another_cluster_ends(pair):
    one, _, data = pair
    put(data, one.broker)
    one.controller.spawn()
    one.controller.wait_ready()
    code, errors = ends(one.broker)
    assert code == 1 and len(errors) == 1, (code, errors)
    assert "INCONSISTENT_CLUSTER_ID" in errors[0] and str(one.broker.data) in errors[0]
    (said,) = lines(one.controller, "refused broker=101 error=INCONSISTENT_CLUSTER_ID")
    assert "check --services and --data of both" in said


def test_a_lone_controller_of_another_cluster_gets_no_broker(pair):
    """It cannot tell; the broker, which served before, waits for its own to come back."""
    one, data, _ = pair
    own = one.controller.data.with_name("own")
    with one:
        one.controller.stop()
        shutil.move(one.controller.data, own)
        shutil.copytree(data, one.controller.data)
        one.controller.spawn()
        wait_for(lambda: lines(one.controller, "refused broker=101 error=INCONSISTENT_CLUSTER_ID"))
        wait_for(lambda: lines(one.broker, "controller_refused controller=1"))
        assert "check --services and --data of both" in lines(one.broker, "controller_refused")[0]
        one.controller.stop()
        put(own, one.controller)
        connected = len(lines(one.broker, "controller_connected"))
        one.controller.spawn()
        one.controller.wait_ready()
        wait_for(lambda: len(lines(one.broker, "controller_connected")) > connected)
