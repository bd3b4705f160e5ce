"""What the chaos test is made of: clients that write down what they do, faults drawn from a seed,
and what is compared when all is over."""

import itertools
import json
import random
import shutil
import struct
import subprocess
import threading
import time
from collections import Counter

import dmq
from cluster import BIN
from whole import BROKERS, CONTROLLERS

SAFE, ALONE = "safe", "alone"  # three replicas; one
TOPICS = [SAFE, ALONE]
PARTITIONS = {SAFE: 3, ALONE: 1}
READERS = 100  # processes of a history from here on read
DRAIN = 1000
BURST, TURN_SECONDS = 5, 0.02
PAUSE_SECONDS = (3.2, 4.5)  # longer than a lease and all that is added to it
MARK_SECONDS = 2.0  # a synced mark is not older than that
FLUSH_SECONDS = 90
BATCH_HEAD = struct.Struct(">qiibIhi")  # base offset, length, epoch, magic, CRC, flags, last delta


class History:
    """What clients did and saw, for tests/sim/main/check_history.c."""

    def __init__(self):
        self.sends = []
        self.polls = []
        self.lock = threading.Lock()

    def invoke(self, process, topic, partition, value):
        send = {"op": "send", "type": "invoke", "process": process, "topic": TOPICS.index(topic)}
        send |= {"partition": partition, "value": value, "offset": -1}
        with self.lock:
            self.sends.append(send)
        return send

    def poll(self, process, place, seen, from_start):
        """seen: (offset, value) of a batch."""
        topic, partition = place
        head = {"op": "poll", "type": "ok", "process": process, "topic": TOPICS.index(topic)}
        for offset, value in seen:
            line = {**head, "partition": partition, "value": int(value), "offset": offset}
            self.polls.append({**line, "start": int(from_start)})
            from_start = False

    def outcomes(self):
        return Counter(send["type"] for send in self.sends)

    def write(self, path):
        with path.open("w") as file:
            for line in itertools.chain(self.sends, self.polls):
                file.write(json.dumps(line, separators=(",", ":")) + "\n")


def settle(send, future):
    error = future.exception()
    if error is None:
        send |= {"type": "ok", "offset": future.result().offset}
    else:
        send |= {"type": "info" if error.maybe_done else "fail", "error": str(error)}


class Sender:
    """A thread with a producer of its own, idempotent and with acks=all as by default."""

    def __init__(self, url, history, process):
        self.client = dmq.connect(url)
        self.history = history
        self.process = process
        self.stopping = threading.Event()
        self.broken = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        places = itertools.cycle((t, p) for t in TOPICS for p in range(PARTITIONS[t]))
        values = itertools.count(self.process * 10**9)
        try:
            with self.client.producer() as producer:
                while not self.stopping.is_set():
                    for value in itertools.islice(values, BURST):
                        self._send(producer, next(places), value)
                    time.sleep(TURN_SECONDS)
                producer.flush(FLUSH_SECONDS)
        except dmq.DeliveryError:
            pass  # the history says which
        except Exception as error:
            self.broken = error

    def _send(self, producer, place, value):
        topic, partition = place
        send = self.history.invoke(self.process, topic, partition, value)
        future = producer.send(topic, str(value), partition=partition)
        future.add_done_callback(lambda done: settle(send, done))

    def finish(self):
        self.stopping.set()
        self.thread.join(FLUSH_SECONDS + 60)
        assert not self.thread.is_alive(), "a producer did not flush"
        self.client.close()
        if self.broken is not None:
            raise self.broken


class Reader:
    """A thread that reads everything as it comes."""

    def __init__(self, url, history, process):
        self.client = dmq.connect(url)
        self.history = history
        self.process = process
        self.reopened = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.stopping.is_set():
            try:
                with self.client.consumer(TOPICS) as consumer:
                    self._read(consumer)
            except dmq.Error:  # an election may have taken longer than a look-up waits
                self.reopened += 1
                time.sleep(0.2)

    def _read(self, consumer):
        begun = set()
        while not self.stopping.is_set():
            for batch in consumer.batches(timeout=0.5):
                place = (batch.topic, batch.partition)
                seen = zip(batch.offsets(), batch.values(), strict=True)
                self.history.poll(self.process, place, seen, place not in begun)
                begun.add(place)
                if self.stopping.is_set():
                    return

    def finish(self):
        self.stopping.set()
        self.thread.join(90)
        assert not self.thread.is_alive(), "a consumer hangs"
        self.client.close()


# ---- faults ------------------------------------------------------------------------------------


class Faults:
    """Each method is a fault from its beginning to its end. What was damaged is healed before the
    next disk is: no fault takes more copies of a record than the promise covers."""

    KINDS = (
        "leader_killed", "follower_killed", "controller_killed", "leader_paused", "all_killed",
        "two_brokers_killed", "leader_and_controller_killed", "leader_killed_ahead",
        "folder_emptied", "byte_flipped",
    )  # fmt: skip

    def __init__(self, cluster, client, seed):
        self.cluster = cluster
        self.client = client
        self.random = random.Random(seed)
        self.done = Counter()
        self.keeper = cluster.partition(client, ALONE, 0).leader  # of what is nowhere else

    def run(self, seconds, say):
        """Every kind in random order, again and again until the time is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(self.done) < len(self.KINDS):
            for kind in self.random.sample(self.KINDS, len(self.KINDS)):
                say(f"{kind} {getattr(self, kind)()}")
                self.done[kind] += 1
                self._wait(0.2, 1.5)
                if time.monotonic() >= end and len(self.done) == len(self.KINDS):
                    return

    def _wait(self, least, most):
        time.sleep(self.random.uniform(least, most))

    def _place(self):
        """Any partition that has a leader, and its number."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            number = self.random.randrange(PARTITIONS[SAFE])
            found = self.cluster.partition(self.client, SAFE, number)
            if found.leader in BROKERS:
                return number, found
            time.sleep(0.05)
        raise TimeoutError(f"partition {number} has no leader: {found}")

    def _restart(self, number):
        self.cluster.kill(number)
        self._wait(0.0, 2.5)
        self.cluster.start(number)
        return number

    def leader_killed(self):
        return self._restart(self._place()[1].leader)

    def follower_killed(self):
        leader = self._place()[1].leader
        return self._restart(self.random.choice([n for n in BROKERS if n != leader]))

    def controller_killed(self):
        return self._restart(self.cluster.leading_controller())

    def two_brokers_killed(self):
        """One after the other: the last in the ISR may hold what the second to die does not."""
        first, second = self.random.sample(BROKERS, 2)
        self.cluster.kill(first)
        self._wait(0.0, 1.0)
        self.cluster.kill(second)
        self._wait(0.0, 1.0)
        self.cluster.start(*self.random.sample([first, second], 2))
        return f"{first} {second}"

    def leader_and_controller_killed(self):
        """Nobody is there who would elect another leader of the partition at once."""
        leader = self._place()[1].leader
        controller = self.cluster.leading_controller()
        self.cluster.kill(leader, controller)
        self._wait(0.0, 2.0)
        self.cluster.start(leader, controller)
        return f"{leader} {controller}"

    def leader_killed_ahead(self):
        """While both others stand still, for less than a lease: what it alone has was promised to
        nobody. Otherwise they have a record about as soon as it does, and a kill meets nothing."""
        leader = self._place()[1].leader
        others = [n for n in BROKERS if n != leader]
        for n in others:
            self.cluster.pause(n)
        self._wait(0.3, 1.0)
        self.cluster.kill(leader)
        for n in others:
            self.cluster.resume(n)
        self._wait(0.0, 2.0)
        self.cluster.start(leader)
        return leader

    def leader_paused(self):
        """It comes back and believes that it leads."""
        number = self._place()[1].leader
        self.cluster.pause(number)
        self._wait(*PAUSE_SECONDS)
        self.cluster.resume(number)
        return number

    def all_killed(self):
        self.cluster.kill(*CONTROLLERS, *BROKERS)
        self.cluster.start(*CONTROLLERS, *BROKERS)
        return ""

    def _victim(self):
        """A broker whose disk may go: everything that it has is elsewhere, too."""
        self.cluster.wait_in_sync(self.client, SAFE)
        return self.random.choice([n for n in BROKERS if n != self.keeper])

    def _empty(self, number):
        """Its disk is replaced: it fetches everything anew."""
        self.cluster.kill(number)
        shutil.rmtree(self.cluster.data(number))
        self.cluster.start(number)
        self.cluster.wait_in_sync(self.client, SAFE)

    def folder_emptied(self):
        number = self._victim()
        self._empty(number)
        return number

    def byte_flipped(self):
        """It must be found at the next start; the log is set aside and fetched anew."""
        position = None
        while position is None:
            number = self._victim()
            partition = self.random.randrange(PARTITIONS[SAFE])
            folder = replica_folder(self.cluster, self.client, number, SAFE, partition)
            end = self.client.offset(SAFE, partition, "end")
            time.sleep(MARK_SECONDS)
            self.cluster.kill(number)
            position = flip_byte(folder, end, self.random)
            self.cluster.start(number)
        self._wait_damage_found(number, f"{SAFE}-{partition} is damaged")
        self.cluster.wait_in_sync(self.client, SAFE)
        return f"{number} partition {partition} position {position}"

    def _wait_damage_found(self, number, text):
        deadline = time.monotonic() + 20
        while text not in self.cluster.daemons[number].tail(100):
            assert time.monotonic() < deadline, f"{number} does not say: {text}"
            time.sleep(0.1)


# ---- logs --------------------------------------------------------------------------------------


def replica_folder(cluster, client, broker, topic, partition):
    name = client.topics.describe(topic).id.replace("-", "")
    return cluster.data(broker) / name / str(partition)


def batches(data):
    """(position, size, base offset, end offset) of each batch of a segment."""
    at = 0
    while at + BATCH_HEAD.size <= len(data):
        base, length, _, magic, _, _, last = BATCH_HEAD.unpack_from(data, at)
        if magic != 2:  # space made ahead
            return
        yield at, length + 12, base, base + last + 1
        at += length + 12


def flip_byte(folder, end, chance):
    """Flips a bit in a batch of the newest segment below that offset. Returns its position; None:
    there is no such batch, the segment has just begun."""
    path = max(folder.glob("*.log"))
    data = path.read_bytes()
    found = [(at, size) for at, size, _, above in batches(data) if above <= end]
    if not found:
        return None
    at, size = chance.choice(found)
    position = at + chance.randrange(BATCH_HEAD.size, size)
    with path.open("r+b") as file:
        file.seek(position)
        file.write(bytes([data[position] ^ 1 << chance.randrange(8)]))
    return position


def log_bytes(folder):
    """The log of a broker that was stopped, whatever its segments."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.log")))


def compare_replicas(folders, count):
    """The logs in the folders are the same bytes, and hold so many records."""
    logs = [log_bytes(folder) for folder in folders]
    assert all(log == logs[0] for log in logs), f"replicas differ: {folders}"
    above = 0
    for _, _, base, end in batches(logs[0]):
        assert base == above, f"offset {base} where {above} should be: {folders[0]}"
        above = end
    assert above == count, f"{above} records, {count} were read: {folders[0]}"
    for folder in folders:
        done = subprocess.run([BIN / "dmq-broker", "--log-verify", folder], capture_output=True)
        assert done.returncode == 0, f"{folder}: {done.stdout[-500:]} {done.stderr.decode()}"


def drain(client, history, topic, partition):
    """Reads a partition from its start to its end; how many there were."""
    seen = [(m.offset, m.text()) for m in client.read(topic, partition=partition)]
    history.poll(DRAIN, (topic, partition), seen, True)
    return len(seen)


def check(path):
    """The verdict of the one checker."""
    with path.open() as file:
        return subprocess.run(
            [BIN / "check_history", str(DRAIN)], stdin=file, capture_output=True, text=True
        )
