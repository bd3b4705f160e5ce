"""docker-compose.dev.yml: a cluster in one container; and version 2 of compose."""

import time

from containers import FLIGHTS, LINES, Compose, in_network, is_well, on_host, version_2, wait_until

URL = "dmq://127.0.0.1:9501"


def test_dev_in_one_container():
    with Compose("docker-compose.dev.yml") as compose:
        compose.up()
        on_host("topic", "create", "t", url=URL)
        on_host("produce", "t", str(FLIGHTS), url=URL)
        compose("down")
        compose.up()
        assert on_host("consume", "t", "--exit-at-end", url=URL) == LINES
        inside = ["--url", "dmq://dmq:9501"]
        assert in_network(*inside, "consume", "t", "--exit-at-end") == LINES


def test_version_2_of_compose():
    with Compose(program=version_2()) as compose:
        begun = time.monotonic()
        compose("up", "-d", "--wait", "--no-build")
        print(f"`docker compose up -d --wait`: {time.monotonic() - begun:.1f} s")
        assert time.monotonic() - begun < 10
        wait_until(is_well, 5, "nothing is wrong")
