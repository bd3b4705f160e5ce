#!/usr/bin/env bash
# Runs a command of ./run on a machine that has nothing installed: a Debian minbase root with a clone
# of HEAD, entered by chroot.
#
#   bare_machine.sh [COMMAND] [SUITE]     (default: demo bookworm)
#
# The bare root is made once by debootstrap and kept as /var/tmp/dmq-bare-SUITE.tar; each run unpacks
# it anew and removes it afterwards. Mirrors, package settings and certificates are the host's own.
# Needs root. Exit code: that of the command.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

command=${1:-demo}
suite=${2:-bookworm}
archive=/var/tmp/dmq-bare-$suite.tar
[ "$(id -u)" = 0 ] || { echo "bare_machine: needs root (debootstrap, chroot)" >&2; exit 1; }

work=$(mktemp -d /var/tmp/dmq-bare.XXXXXX)
root=$work/root

cleanup() {
    local mounted
    # Deepest first; nothing is deleted while anything of the host is still mounted below.
    for mounted in $(awk -v root="$work/" 'index($2, root) == 1 {print $2}' /proc/mounts | sort -r); do
        umount "$mounted" || umount --lazy "$mounted"
    done
    if grep -qF " $work/" /proc/mounts; then
        echo "bare_machine: $work is still in use: left as it is" >&2
    else
        rm -rf --one-file-system "$work"
    fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The first address of a Debian archive in the host's own sources, of either format.
host_mirror() {
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || true; } | awk '
        found {next}
        $1 == "URIs:" {print $2; found = 1}
        $1 == "deb" {for (i = 2; !found && i <= NF; i++) if ($i ~ /:\/\//) {print $i; found = 1}}'
}

make_archive() {
    command -v debootstrap >/dev/null ||
        { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install debootstrap; } >&2
    local mirror fresh
    mirror=$(host_mirror)
    echo "bare_machine: making $archive" >&2
    debootstrap --variant=minbase "$suite" "$work/fresh" ${mirror:+"$mirror"} >"$work/log" 2>&1 ||
        { tail -n 20 "$work/log" >&2; return 1; }
    fresh=$(mktemp "$archive.XXXXXX")
    tar -C "$work/fresh" --numeric-owner -cf "$fresh" .
    mv "$fresh" "$archive"
    rm -rf "$work/fresh"
}

# What lets the package clients inside reach what those of the host reach.
lend_network() {
    local file
    for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
        [ ! -e "$file" ] || install -D -m 644 "$(readlink -f "$file")" "$root$file"
    done
    mkdir -p "$root/usr/local/share/ca-certificates" "$root/etc/apt/apt.conf.d"
    cp -r /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
    # Only what concerns reaching the archive: a host's hooks call programs that are not inside.
    apt-config dump | grep -E '^Acquire::(Check|Retries|ftp|https?).* "[^"]+";$' \
        >"$root/etc/apt/apt.conf.d/90host" || true
}

[ -s "$archive" ] || make_archive
mkdir "$root"
tar -C "$root" --numeric-owner -xf "$archive"
lend_network
git clone --quiet --no-hardlinks . "$root/root/dmq"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"

chroot "$root" /usr/bin/env -u DMQ_URL HOME=/root TMPDIR=/tmp \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /root/dmq/run $command </dev/null
