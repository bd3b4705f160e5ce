"""What loads a quorum, in a process of its own so that the daemons' figures stay theirs:

    quorum_load.py create PORT COUNT    topics, through the broker at PORT
    quorum_load.py brokers PORT COUNT   played brokers, at the leader's PORT

`create` prints one line of JSON. `brokers` prints `ready` when all of them are unfenced; then it
answers each line on its stdin with one of JSON, what came until then, and ends with stdin."""

import json
import secrets
import sys
import time

import msgpack
import zmq

API_VERSIONS, CREATE_TOPIC, REGISTER_BROKER, HEARTBEAT, PUSH_METADATA = 18, 19, 62, 63, 1000
BROKER_ID_NOT_REGISTERED = 100
NOBODY = b"\0" * 16
FIRST_ID = 1001
HEARTBEAT_SECONDS = 0.5
CONNECTIONS, WINDOW = 4, 64  # creations under way on each
TIMEOUT_MS = 60000
FRAME_BYTES = 80 << 20
pack = msgpack.packb


def dealer(port):
    socket = zmq.Context.instance().socket(zmq.DEALER)
    for option, value in ((zmq.LINGER, 0), (zmq.SNDHWM, 0), (zmq.RCVHWM, 0)):
        socket.setsockopt(option, value)
    socket.connect(f"tcp://127.0.0.1:{port}")
    return socket


def send(socket, key, number, body):
    socket.send_multipart([pack([1, key, 0, number, "load", TIMEOUT_MS, 0]), pack(body)])


def receive(socket):
    """(correlation, error, message, body); the body still packed, or None."""
    head, *rest = socket.recv_multipart()
    number, error, _, _, message = msgpack.unpackb(head)[:5]
    return number, error, message, rest[0] if rest else None


# ---- topics ------------------------------------------------------------------------------------


class Creator:
    def __init__(self, port, names):
        self.socket, self.names = dealer(port), names
        self.sent, self.took = {}, []

    def fill(self):
        while self.names and len(self.sent) < WINDOW:
            name = self.names.pop()
            number = len(self.took) + len(self.sent)
            self.sent[number] = time.perf_counter()
            send(self.socket, CREATE_TOPIC, number, [name, secrets.token_bytes(16), 1, -1, []])

    def take(self):
        number, error, message, _ = receive(self.socket)
        if error:
            sys.exit(f"a creation failed: {error} {message}")
        self.took.append(time.perf_counter() - self.sent.pop(number))


def create(port, count):
    names = [f"topic-{secrets.token_hex(3)}-{i:06d}" for i in range(count)]
    creators = [Creator(port, names[i::CONNECTIONS]) for i in range(CONNECTIONS)]
    poller, by_socket = zmq.Poller(), {}
    for creator in creators:
        poller.register(creator.socket, zmq.POLLIN)
        by_socket[creator.socket] = creator
    begin = time.perf_counter()
    for creator in creators:
        creator.fill()
    while any(creator.sent for creator in creators):
        for socket, _ in poller.poll(TIMEOUT_MS):
            while socket.getsockopt(zmq.EVENTS) & zmq.POLLIN:
                by_socket[socket].take()
            by_socket[socket].fill()
    seconds = time.perf_counter() - begin
    took = sorted(t * 1e3 for creator in creators for t in creator.took)
    p50, p99 = took[count // 2], took[count * 99 // 100]
    print(json.dumps({"per_s": count / seconds, "p50_ms": p50, "p99_ms": p99}))


# ---- brokers -----------------------------------------------------------------------------------


class Broker:
    """One that the controller takes for a broker: it says that it has applied what is pushed."""

    def __init__(self, number, port):
        self.id, self.incarnation = FIRST_ID + number, secrets.token_bytes(16)
        self.epoch, self.applied, self.fenced, self.numbers = -1, 0, True, 0
        self.router = zmq.Context.instance().socket(zmq.ROUTER)
        self.router.setsockopt(zmq.LINGER, 0)
        self.port = self.router.bind_to_random_port("tcp://127.0.0.1")
        self.controller = dealer(port)

    def status(self):
        return [self.id, self.epoch, self.incarnation, self.applied, 1, 0, 0, False, False, []]

    def ask(self, key, body):
        self.numbers += 1
        send(self.controller, key, self.numbers, body)

    def register(self, replaces=-1):
        endpoints = [[name, "127.0.0.1", self.port, 0] for name in ("client", "node")]
        folders = [[secrets.token_bytes(16), 3]]
        to = [NOBODY, self.id, self.incarnation, "", "", 0, endpoints, folders, replaces, []]
        self.ask(REGISTER_BROKER, to)

    def take_answer(self, seen):
        _, error, message, body = receive(self.controller)
        if error:
            sys.exit(f"broker {self.id}: {error} {message}")
        body = msgpack.unpackb(body)
        if self.epoch < 0:
            self.epoch = body[1]
            if self.epoch < 0:
                self.register(body[2])  # another registration is there: it is named
        else:
            seen["version"] = max(seen["version"], body[0])
            self.fenced = body[1]

    def take_request(self, seen):
        peer, head, body = self.router.recv_multipart()[:3]
        _, key, _, correlation = msgpack.unpackb(head)[:4]
        error = 0
        if key == API_VERSIONS:
            apis = [[API_VERSIONS, 0, 0], [PUSH_METADATA, 0, 0]]
            answer = [NOBODY, self.id, self.incarnation, "", 100, FRAME_BYTES, FRAME_BYTES]
            answer += [apis, -1]
        elif self.epoch < 0:
            error, answer = BROKER_ID_NOT_REGISTERED, None
        else:
            self.take_push(body, seen)
            answer = [self.status()]
        frames = [pack([correlation, error, 0, 0, ""])]
        self.router.send_multipart([peer, *frames, *([] if error else [pack(answer)])])

    def take_push(self, body, seen):
        """Only the first fields are looked at: how much there is to decode is the real one's."""
        unpacker = msgpack.Unpacker()
        unpacker.feed(body[:200])
        unpacker.read_array_header()
        _, _, _, snapshot, prev, version = (unpacker.unpack() for _ in range(6))
        seen["pushes"] += 1
        seen["push_bytes"] += len(body)
        if snapshot or prev == self.applied:
            self.applied = version


class Brokers:
    def __init__(self, port, count):
        self.seen = {"version": 0, "pushes": 0, "push_bytes": 0}
        self.all = [Broker(i, port) for i in range(count)]
        self.poller = zmq.Poller()
        self.handlers = {}
        for broker in self.all:
            self.poller.register(broker.controller, zmq.POLLIN)
            self.poller.register(broker.router, zmq.POLLIN)
            self.handlers[broker.controller] = lambda b=broker: b.take_answer(self.seen)
            self.handlers[broker.router] = lambda b=broker: b.take_request(self.seen)
            broker.register()
        self.due = [
            (time.monotonic() + HEARTBEAT_SECONDS * i / count, broker)
            for i, broker in enumerate(self.all)
        ]

    def turn(self):
        wait = max(0.0, self.due[0][0] - time.monotonic())
        ready = self.poller.poll(wait * 1e3)
        for socket, _ in ready:
            if socket in self.handlers:
                self.handlers[socket]()
        while self.due[0][0] <= time.monotonic():
            at, broker = self.due.pop(0)
            self.due.append((at + HEARTBEAT_SECONDS, broker))
            if broker.epoch >= 0:
                broker.ask(HEARTBEAT, [broker.status()])
        return any(socket == sys.stdin.fileno() for socket, _ in ready)

    def serve(self):
        while any(broker.fenced for broker in self.all):
            self.turn()
        print("ready", flush=True)
        self.poller.register(sys.stdin, zmq.POLLIN)
        while True:
            if self.turn():
                if not sys.stdin.readline():
                    return
                applied = min(broker.applied for broker in self.all)
                print(json.dumps({**self.seen, "applied": applied}), flush=True)


def main():
    what, *numbers = sys.argv[1:]
    numbers = [int(n) for n in numbers]
    if what == "create":
        create(*numbers)
    else:
        Brokers(*numbers).serve()


if __name__ == "__main__":
    main()
