"""The Debian package, installed, used and removed on a machine with nothing else."""

import os

from containers import CHECKOUT, LINES, OK, docker

SCRIPT = r"""
set -e
find / -xdev -path /proc -prune -o -print | sort >/tmp/before
apt-get -q update >/dev/null
apt-get -q -y install --no-install-recommends /packages/*.deb >/dev/null 2>&1
dmq-broker --version
getent passwd dmq | cut -d: -f6,7
stat -c '%U %a' /var/lib/dmq
cp /usr/share/doc/dmq/services.json /etc/dmq/ 2>/dev/null || true
dmq dev --data /tmp/data >/tmp/ready & pid=$!
for i in $(seq 100); do grep -q ready /tmp/ready && break; sleep 0.1; done
dmq topic create t --replication-factor 1 2>/dev/null
dmq produce t /lines
dmq consume t --exit-at-end | cmp - /lines && echo identical
kill $pid; wait $pid
touch /var/lib/dmq/kept
apt-get -q -y purge dmq >/dev/null 2>&1
ls /var/lib/dmq
find / -xdev -path /proc -prune -o -print | sort >/tmp/after
comm -13 /tmp/before /tmp/after | grep -i dmq | grep -v ^/tmp | grep -v ^/var/lib/dmq | tr '\n' ' '
"""


def test_installed_used_and_removed(tmp_path):
    lines = tmp_path / "lines"
    lines.write_bytes(LINES)
    mounts = ["-v", f"{CHECKOUT}/build/packages:/packages:ro", "-v", f"{lines}:/lines:ro"]
    base = os.environ["DMQ_DOCKER_BASE"]
    done = docker("run", "--rm", "--network", "host", *mounts, base, "sh", "-c", SCRIPT)
    assert done.returncode == OK, done.stderr.decode()
    said = done.stdout.decode().splitlines()
    assert said[0].startswith("dmq-broker 0.")
    assert said[1:3] == ["/var/lib/dmq:/usr/sbin/nologin", "dmq 750"]
    assert said[3:5] == ["identical", "kept"]  # data is never removed
    assert said[5:] in ([], ["/etc/dmq /etc/dmq/services.json "]), said
