"""Sends a record a second to the topic `demo`, for as long as nobody ends it."""

import itertools
import signal
import time

import dmq

signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended like by Ctrl-C

try:
    with dmq.connect() as client:  # $DMQ_URL
        client.topics.create("demo", partitions=1, if_not_exists=True)
        for number in itertools.count(1):
            ack = client.publish("demo", {"number": number, "time": time.time()})
            print(f"sent {number}: synced at offset {ack.offset}", flush=True)
            time.sleep(1)
except KeyboardInterrupt:
    pass
