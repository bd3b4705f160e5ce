#!/usr/bin/env bash
# base_image.sh RELEASE: imports debian:RELEASE-slim, as the Dockerfile calls it: what `docker pull` does, for a machine that reaches Debian's mirror only.
#
# The file system comes from debootstrap, once; then from a tar below /var/tmp. It is made as the
# official image is: minbase, no documentation. The mirror, and apt's and pip's way out (a proxy, a
# certificate), are those of this machine, so that the Dockerfile works behind them as well.
set -euo pipefail
release=$1
image=debian:$release-slim
cache=${DMQ_DOCKER_CACHE:-/var/tmp/dmq-docker}
tar=$cache/$release-$(cksum <"${BASH_SOURCE[0]}" | cut -d' ' -f1).tar

# The addresses of the archive, as apt knows them: "main" or "security", 1st line.
mirror() {
    local own
    own=$(. /etc/os-release && echo "$VERSION_CODENAME")
    [ "$1" = main ] || own=$own-security
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk -v own="$own" '$1 == own { print $2; exit }'
}

# What the official image's dpkg and apt are told: no documentation, no copies of packages.
slim_settings() {
    printf 'path-exclude /usr/share/%s/*\n' doc groff info linda lintian locale man \
        >"$1/etc/dpkg/dpkg.cfg.d/docker"
    printf '%s\n' 'path-include /usr/share/doc/*/copyright' >>"$1/etc/dpkg/dpkg.cfg.d/docker"
    cat >"$1/etc/apt/apt.conf.d/docker" <<'END'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
END
    rm -rf "$1"/usr/share/{doc,groff,info,locale,man}/* "$1"/var/{cache,log}/apt/* \
        "$1"/var/lib/apt/lists/*
}

make_tar() {
    local root main security
    root=$(mktemp -d "$cache/$release.XXXXXX")
    main=$(mirror main)
    security=$(mirror security)
    [ -n "$main" ] || { echo "docker-test: apt of this machine knows no mirror of Debian" >&2; exit 1; }
    debootstrap --variant=minbase "$release" "$root" "$main" >"$cache/$release.log" 2>&1 ||
        { tail -3 "$cache/$release.log" >&2; exit 1; }
    slim_settings "$root"
    {
        echo "deb $main $release main"
        echo "deb $main $release-updates main"
        [ -z "$security" ] || echo "deb $security $release-security main"
    } >"$root/etc/apt/sources.list"
    apt-config dump Acquire | grep -Ei '^Acquire::(https?|Check|Retries|Force)' \
        >"$root/etc/apt/apt.conf.d/99machine" || true
    # pip's way to PyPI: what this machine trusts counts as soon as ca-certificates is installed.
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt \
        "$root/usr/local/share/ca-certificates/machine.crt" || true
    [ ! -e /etc/pip.conf ] || install -m 644 /etc/pip.conf "$root/etc/pip.conf"
    tar -C "$root" --numeric-owner --one-file-system -cf "$tar.new" .
    rm -rf --one-file-system "$root"
    mv "$tar.new" "$tar"
}

mkdir -p "$cache"
[ -e "$tar" ] || make_tar
docker import --change 'CMD ["bash"]' "$tar" "$image" >/dev/null
