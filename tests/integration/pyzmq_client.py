"""A client of DMQ written from libdmq/wire/PROTOCOL.md alone, with pyzmq and msgpack: what any
language that has both could do. It creates a topic, produces with a producer id, and fetches."""

import itertools
import secrets
import struct

import msgpack
import zmq

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
API_VERSIONS, CREATE_TOPIC, INIT_PRODUCER_ID = 18, 19, 22
START, END = -2, -1
CRC_TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    CRC_TABLE.append(n)


class DmqError(Exception):
    def __init__(self, number, message):
        super().__init__(f"{number}: {message}")
        self.number = number


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(n):
    n = n << 1 if n >= 0 else -n * 2 - 1
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def read_varint(data, pos):
    n = shift = 0
    while True:
        byte, pos = data[pos], pos + 1
        n |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return n >> 1 ^ -(n & 1), pos


def sized(data):
    return varint(-1) if data is None else varint(len(data)) + data


def read_sized(data, pos):
    size, pos = read_varint(data, pos)
    return (None, pos) if size < 0 else (data[pos : pos + size], pos + size)


def build_batch(records, producer=(-1, -1), sequence=-1):
    """records: (timestamp, key, value); producer: id and epoch."""
    base, packed = records[0][0], b""
    for delta, (timestamp, key, value) in enumerate(records):
        body = b"\0" + varint(timestamp - base) + varint(delta) + sized(key) + sized(value)
        packed += sized(body + varint(0))
    newest = max(timestamp for timestamp, _, _ in records)
    covered = struct.pack(">hiqq", 0, len(records) - 1, base, newest)
    covered += struct.pack(">qhii", *producer, sequence, len(records)) + packed
    head = struct.pack(">qiibI", 0, len(covered) + 9, -1, 2, crc32c(covered))
    return head + covered


def read_batches(data):
    """Yields (offset, timestamp, key, value) of the uncompressed batches in an attachment."""
    while data:
        offset, length, _, magic, crc, attributes = struct.unpack_from(">qiibIh", data)
        batch, data = data[: 12 + length], data[12 + length :]
        if magic != 2 or crc32c(batch[21:]) != crc or attributes & 7:
            raise ValueError("a batch that this client cannot read")
        (base,), (count,) = struct.unpack_from(">q", batch, 27), struct.unpack_from(">i", batch, 57)
        pos = 61
        for _ in range(count):
            size, pos = read_varint(batch, pos)
            end = pos + size
            time_delta, pos = read_varint(batch, pos + 1)
            offset_delta, pos = read_varint(batch, pos)
            key, pos = read_sized(batch, pos)
            value, pos = read_sized(batch, pos)
            yield offset + offset_delta, base + time_delta, key, value
            pos = end


def partition_for(key, partitions):
    """murmur2 as Kafka's clients have it."""
    h, m, mask = 0x9747B28C ^ len(key), 0x5BD1E995, 0xFFFFFFFF
    whole = len(key) & ~3
    for (k,) in struct.iter_unpack("<I", key[:whole]):
        k = k * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    if key[whole:]:
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions


class Closing:
    """Closed at the end of its `with`."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Connection(Closing):
    """One DEALER to one broker; one request at a time."""

    def __init__(self, host, port):
        self.host, self.port, self.ids, self.newest = host, port, itertools.count(1), 0
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        for option, value in ((zmq.RECONNECT_IVL, 86400000), (zmq.LINGER, 100)):
            self.socket.setsockopt(option, value)
        self.socket.connect(f"tcp://{host}:{port}")
        try:
            self.hello, _ = self.call(API_VERSIONS, ["pyzmq", "1"])
        except BaseException:
            self.close()
            raise

    def close(self):
        self.socket.close()

    def call(self, key, body, attachments=(), timeout_ms=10000):
        """Returns body and attachments of the answer."""
        number = next(self.ids)
        header = [1, key, 0, number, "pyzmq", timeout_ms, self.newest]
        self.socket.send_multipart([msgpack.packb(header), msgpack.packb(body), *attachments])
        while self.socket.poll(timeout_ms + 2000):
            head, *rest = self.socket.recv_multipart()
            correlation, error, _, version, message = msgpack.unpackb(head)[:5]
            self.newest = max(self.newest, version)
            if correlation != number:
                continue  # a late answer to a request that was given up
            if error:
                raise DmqError(error, message)
            return msgpack.unpackb(rest[0]), rest[1:]
        raise TimeoutError("no answer: what was asked for is maybe done")


class Client(Closing):
    def __init__(self, host, port):
        self.seed = Connection(host, port)
        self.leaders = {}
        self.topics = {}

    def close(self):
        for connection in (self.seed, *self.leaders.values()):
            connection.close()

    def create_topic(self, name, partitions):
        request_id = secrets.token_bytes(16)
        self.seed.call(CREATE_TOPIC, [name, request_id, partitions, 1, []])

    def locate(self, name, partition):
        """Connection to the leader, topic id, leader epoch."""
        if name not in self.topics:
            body, _ = self.seed.call(METADATA, [False, [name], [], self.seed.host, self.seed.port])
            brokers = {broker[0]: (broker[1], broker[2]) for broker in body[3]}
            error, _, topic_id, _, _, partitions = body[4][0][:6]
            if error:
                raise DmqError(error, name)
            self.topics[name] = topic_id, {p[1]: (brokers[p[2]], p[3]) for p in partitions}
        topic_id, partitions = self.topics[name]
        address, epoch = partitions[partition]
        if address not in self.leaders:
            self.leaders[address] = Connection(*address)
        return self.leaders[address], topic_id, epoch

    def init_producer(self):
        body, _ = self.seed.call(INIT_PRODUCER_ID, ["", 0])
        return body[0], body[1]

    def produce(self, name, partition, batch, acks=-1):
        """Returns the offset of the batch's first record."""
        connection, topic_id, epoch = self.locate(name, partition)
        to = [topic_id, partition, epoch]
        body, _ = connection.call(PRODUCE, [acks, 0, "", [to]], [batch])
        _, _, error, offset, _, message = body[0][0][:6]
        if error:
            raise DmqError(error, message)
        return offset

    def fetch(self, name, partition, offset, max_wait_ms=500):
        """Returns the records from offset on that one answer holds."""
        connection, topic_id, epoch = self.locate(name, partition)
        part = [topic_id, partition, epoch, offset, 1 << 20, -1, -1, -1]
        request = [-1, -1, max_wait_ms, 1, 1 << 22, 0, [part]]
        body, attachments = connection.call(FETCH, request)
        error, message = body[0][0][2], body[0][0][9]
        if error:
            raise DmqError(error, message)
        return [record for record in read_batches(attachments[0]) if record[0] >= offset]

    def offset_of(self, name, partition, timestamp):
        """The first offset at or after timestamp; START and END are times too."""
        connection, topic_id, epoch = self.locate(name, partition)
        part = [topic_id, partition, epoch, timestamp]
        body, _ = connection.call(LIST_OFFSETS, [0, [part]])
        error, offset, message = body[0][0][2], body[0][0][3], body[0][0][6]
        if error:
            raise DmqError(error, message)
        return offset
