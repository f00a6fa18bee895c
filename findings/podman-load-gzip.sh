#!/bin/sh
# Does podman 4.3.1 of Debian 12 load what `podman save | gzip` has made?
#
# `docker save IMAGE | gzip >FILE` is the form in which images are handed on without a registry, and `docker load`
# takes it. One would guess that podman, which takes over docker's commands and recognises compressions, does too.
# What was seen with a docker-archive, podman's own default for `save`:
#   plain, by xz and by zstd: loaded.
#   by gzip: "payload does not match any of the supported image formats ... docker-archive: loading tar component
#     manifest.json: unexpected EOF" (or "invalid tar header"), from a file and from standard input alike.
#   An oci-archive is loaded by gzip too, and so are images whose layers are.
# Who hands out an image has to leave a docker-archive as it is, or compress it by zstd or xz.
#
# Needs Debian 12 (apt, dpkg-deb), gzip, xz, zstd, and root. Prints a table and fails if podman behaves otherwise.
set -eu
export LC_ALL=C
[ "$(id -u)" = 0 ] || { echo "this needs root"; exit 2; }
if [ "${1-}" != inside ]; then
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download podman=4.3.1+ds1-8+deb12u1+b3 crun=1.8.1-1+deb12u1 \
        conmon=2.1.6+ds1-1 golang-github-containers-image=5.23.1-4 golang-github-containers-common=0.50.1+ds1-4 \
        libyajl2 libsubid4 libgpgme11 libassuan0 libdevmapper1.02.1 >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    unshare -m "$0" inside "$tmp"
    exit
fi

tmp=$2
cd "$tmp"
mkdir image
echo hello >image/file
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >policy.json
printf 'FROM scratch\nCOPY file /\n' >image/Containerfile
LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu"
PATH="$tmp/root/usr/bin:$PATH" TMPDIR="$tmp" CONTAINERS_CONF="$tmp/root/usr/share/containers/containers.conf"
export LD_LIBRARY_PATH PATH TMPDIR CONTAINERS_CONF
podman() {
    "$tmp/root/usr/bin/podman" --root "$tmp/storage" --runroot "$tmp/run" --tmpdir "$tmp/podman" --storage-driver vfs \
        --events-backend none --cgroup-manager cgroupfs "$@"
}
"$tmp/root/usr/bin/podman" --version
podman build -q --isolation chroot --signature-policy "$tmp/policy.json" -t localhost/x image >/dev/null
failed=0
# expect FORMAT COMPRESSION yes|no
expect() {
    rm -f saved
    podman save -q --format "$1" -o saved localhost/x
    case $2 in
    none) cat saved ;;
    *) "$2" -c <saved ;;
    esac >packed
    podman rmi -af >/dev/null
    seen=no
    podman load -q --signature-policy "$tmp/policy.json" -i packed >said 2>&1 && seen=yes
    [ $seen = yes ] || podman load -q --signature-policy "$tmp/policy.json" -i saved >/dev/null
    verdict='as expected'
    [ $seen = "$3" ] || { verdict="EXPECTED $3"; failed=1; cat said; }
    printf '%-15s %-12s %-7s %s\n' "$1" "$2" $seen "$verdict"
    [ $seen = yes ] || sed -n 's/.*\(docker-archive: .*\)/    \1/p' said
}
printf '%-15s %-12s %-7s\n' format compression loaded
for compression in none xz zstd; do
    expect docker-archive $compression yes
done
expect docker-archive gzip no
expect oci-archive none yes
expect oci-archive gzip yes
exit $failed
