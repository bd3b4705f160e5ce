#!/usr/bin/env bash
# Builds the images and runs the checks (check_*.py) against them, with the engine of this machine, or with
# one of its own where none answers: started here, and ended here by its id. `./run docker-test`
# calls it. What its own engine changed of this machine's network is undone. What is kept, below /var/tmp: the base images and the layers of its own engine; an engine
# that was there keeps the images, as after `docker compose build`.
#
# $DMQ_DOCKER_RELEASES: the releases of Debian to build for; the first is the one that is tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export DMQ_DOCKER_CACHE=${DMQ_DOCKER_CACHE:-/var/tmp/dmq-docker}
# The classic builder: it has no network of its own to configure, and knows the least.
export DOCKER_BUILDKIT=0
releases=(${DMQ_DOCKER_RELEASES:-bookworm trixie})
engine=

start_engine() {
    [ "$(id -u)" = 0 ] || { echo "docker-test: no engine answers, and only root can start one" >&2; exit 1; }
    local at=$DMQ_DOCKER_CACHE/engine
    export DOCKER_HOST=unix://$at/docker.sock
    mkdir -p "$at"
    forwarding=$(cat /proc/sys/net/ipv4/ip_forward)
    policy=$(iptables -S FORWARD | head -n 1)
    dockerd --host "$DOCKER_HOST" --data-root "$at/data" --exec-root "$at/exec" \
        --pidfile "$at/pid" >"$at/log" 2>&1 &
    engine=$!
    for _ in {1..150}; do
        docker version >/dev/null 2>&1 && return
        kill -0 $engine 2>/dev/null || break
        sleep 0.2
    done
    echo "docker-test: the engine does not come up; the end of its log:" >&2
    tail -5 "$at/log" >&2
    exit 1
}

end_engine() {
    [ -n "$engine" ] || return 0
    # Stages that a change of the sources left without a name.
    docker image prune --force >/dev/null || true
    kill $engine
    wait $engine || true
    engine=
    restore_network
}

# An engine leaves its bridge, its chains, a FORWARD that drops, and forwarding switched on. Only what
# is Docker's goes: others may have changed theirs meanwhile.
restore_network() {
    ip link delete docker0 2>/dev/null || true
    iptables-save | grep -vi docker | iptables-restore || true
    # shellcheck disable=SC2086 # words
    iptables ${policy:--P FORWARD ACCEPT}
    echo "$forwarding" >/proc/sys/net/ipv4/ip_forward
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
    docker image inspect "$base" >/dev/null 2>&1 ||
        { [ -z "$engine" ] && docker pull --quiet "$base"; } ||
        tests/docker/base_image.sh "$release"
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
