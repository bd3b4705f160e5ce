"""Prints the topic `demo` from its start, then what comes, for as long as nobody ends it."""

import signal

import dmq

signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended like by Ctrl-C

try:
    with dmq.connect() as client:  # $DMQ_URL
        client.topics.create("demo", partitions=1, if_not_exists=True)
        with client.consumer("demo") as consumer:
            for message in consumer:
                print(f"read offset {message.offset}: {message.json()}", flush=True)
except KeyboardInterrupt:
    pass
