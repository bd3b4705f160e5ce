#!/usr/bin/env bash
# Builds the images and runs the checks (check_*.py) against them, with the engine of this machine, or
# with one of its own where none answers: started here, and ended here by its id. `./run docker-test`
# calls it. One that a killed run left behind is taken over, with what it had changed.
#
# What stays: the base images and the layers of its own engine, below $DMQ_DOCKER_CACHE (/var/tmp),
# for the next run. An engine that was there is left without images of DMQ and without containers;
# what its own engine changed of this machine (network, mounts, control groups) is undone.
#
# $DMQ_DOCKER_RELEASES: the releases of Debian to build for; the first is the one that is tested.
# $DMQ_DOCKER_KEEP=1: an engine that was there keeps the images, so that the next build is short.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export DMQ_DOCKER_CACHE=${DMQ_DOCKER_CACHE:-/var/tmp/dmq-docker}
# The classic builder: it has no network of its own to configure, and knows the least.
export DOCKER_BUILDKIT=0
releases=(${DMQ_DOCKER_RELEASES:-bookworm trixie})
engine= # id of our own
bases=() # images of Debian that were not there
at=$DMQ_DOCKER_CACHE/engine
group=dmq-docker-test

# Whether the engine of a killed run is still there; it is ours from now on.
take_over() {
    local pid
    pid=$(cat "$at/pid" 2>/dev/null) || return 1
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "^dockerd .*$at/data "; then
        docker version >/dev/null 2>&1 && engine=$pid && return
        kill -9 "$pid" # it hangs
        sleep 1
    fi
    rm -f "$at/pid"
    return 1
}

start_engine() {
    [ "$(id -u)" = 0 ] || { echo "docker-test: no engine answers, and only root can start one" >&2; exit 1; }
    export DOCKER_HOST=unix://$at/docker.sock
    mkdir -p "$at"
    note_network
    if take_over; then
        remove_all
        return
    fi
    dockerd --host "$DOCKER_HOST" --data-root "$at/data" --exec-root "$at/exec" \
        --cgroup-parent "/$group" --pidfile "$at/pid" >"$at/log" 2>&1 &
    engine=$!
    for _ in {1..150}; do
        docker version >/dev/null 2>&1 && remove_all && return
        kill -0 $engine 2>/dev/null || break
        sleep 0.2
    done
    echo "docker-test: the engine does not come up; the end of its log:" >&2
    tail -5 "$at/log" >&2
    exit 1
}

# Containers, volumes and networks, all of our own engine: of this run, or of one that was killed.
remove_all() {
    local left
    left=$(docker ps -aq)
    [ -z "$left" ] || docker rm -f -v $left >/dev/null
    docker volume prune --all --force >/dev/null 2>&1 || docker volume prune --force >/dev/null
    docker network prune --force >/dev/null
}

end_engine() {
    if [ -z "$engine" ]; then
        forget_images
        return
    fi
    remove_all || true
    # Stages that a change of the sources left without a name.
    docker image prune --force >/dev/null || true
    kill "$engine" 2>/dev/null || true
    for _ in {1..300}; do
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.1
    done
    engine=
    restore_network
    awk -v at="$at/" '$2 ~ "^" at { print $2 }' /proc/mounts | tac | xargs -r -n 1 umount -l || true
    find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} + 2>/dev/null || true
}

# What an engine that was there is left with.
forget_images() {
    [ -z "${DMQ_DOCKER_KEEP:-}" ] || return 0
    docker images --format '{{.Repository}}:{{.Tag}}' dmq | xargs -r docker rmi >/dev/null 2>&1 || true
    [ ${#bases[@]} -eq 0 ] || docker rmi "${bases[@]}" >/dev/null 2>&1 || true
}

# How the network was before our first engine since the machine was started: a run that is killed
# restores nothing.
note_network() {
    local boot
    boot=$(cat /proc/sys/kernel/random/boot_id)
    [ "$(head -n 1 "$at/network" 2>/dev/null)" != "$boot" ] || return 0
    {
        echo "$boot"
        cat /proc/sys/net/ipv4/ip_forward
        iptables -S FORWARD | head -n 1
    } >"$at/network.new"
    mv "$at/network.new" "$at/network"
}

# An engine leaves its bridge, its chains, a FORWARD that drops, and forwarding switched on. Only what
# is Docker's goes: others may have changed theirs meanwhile.
restore_network() {
    local boot forwarding policy
    { read -r boot; read -r forwarding; read -r policy; } <"$at/network"
    ip link delete docker0 2>/dev/null || true
    iptables-save | grep -vi docker | iptables-restore || true
    ip6tables-save 2>/dev/null | grep -vi docker | ip6tables-restore 2>/dev/null || true
    # shellcheck disable=SC2086 # words
    iptables ${policy:--P FORWARD ACCEPT}
    echo "$forwarding" >/proc/sys/net/ipv4/ip_forward
    rm "$at/network"
}

# build TAG RELEASE TARGET. --network host: this machine's way to the mirror is the build's.
build() {
    local seconds=$SECONDS
    docker build --quiet --network host --build-arg "DEBIAN_RELEASE=$2" --target "$3" -t "$1" . \
        >/dev/null 2>"$DMQ_DOCKER_CACHE/build.log" || { cat "$DMQ_DOCKER_CACHE/build.log" >&2; exit 1; }
    echo "docker-test: $1 for $2: built in $((SECONDS - seconds)) s"
}

mkdir -p "$DMQ_DOCKER_CACHE"
exec 9>"$DMQ_DOCKER_CACHE/lock"
flock -n 9 || { echo "docker-test: waits for another run of it" >&2; flock 9; }
trap end_engine EXIT
docker version >/dev/null 2>&1 9>&- || start_engine 9>&-

for release in "${releases[@]}"; do
    base="debian:$release-slim"
    docker image inspect "$base" >/dev/null 2>&1 && continue
    bases+=("$base")
    { [ -z "$engine" ] && docker pull --quiet "$base"; } || tests/docker/base_image.sh "$release"
done
for release in "${releases[@]}"; do
    build "dmq:build-$release" "$release" build # named, so that its layers stay
    build "dmq:$release" "$release" dmq
done
build dmq:build-python "${releases[0]}" python-build
build dmq:python "${releases[0]}" python
docker tag "dmq:${releases[0]}" dmq
# Version 2 of compose, which Debian has from trixie on, as an image: the checks use both versions.
docker build --quiet --network host -t dmq:compose tests/docker/compose2 >/dev/null 2>&1 ||
    { echo "docker-test: the image with docker compose cannot be built" >&2; exit 1; }

bindings/packages.sh build build/packages

DMQ_DOCKER_BASE=debian:${releases[0]}-slim DMQ_DOCKER_OTHERS="${releases[*]:1}" \
    .venv/bin/python -m pytest -q -p no:cacheprovider tests/docker/check_{images,packages,cluster,failures,single}.py "$@"
