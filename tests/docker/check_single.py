"""docker-compose.dev.yml: a cluster in one container; and version 2 of compose, with what README.md
says of it."""

import re
import time

from containers import (
    CHECKOUT,
    FLIGHTS,
    LINES,
    Compose,
    in_network,
    is_well,
    on_host,
    version_2,
    wait_until,
)

URL = "dmq://127.0.0.1:9501"
README = (CHECKOUT / "README.md").read_text()


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
        commands = re.findall(
            r"^ {4}docker compose (.*?) +#|^ {4}docker compose (.*)$", README, re.M
        )
        assert len(commands) == 5
        for words in ((a or b).split() for a, b in commands):
            said = compose(*words).stdout
        assert said.count(b"broker10") >= 3
        wait_until(is_well, 20, "nothing is wrong any more")
        shown = ("--profile", "demo", "logs", "--no-color", "demo-consumer")
        wait_until(lambda: b"read offset" in compose(*shown).stdout, 20, "the consumer reads")
