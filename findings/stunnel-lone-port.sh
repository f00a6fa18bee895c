#!/bin/sh
# Which addresses does stunnel 5.68 listen on for `accept = PORT`?
#
# The manual says that without a host all IPv4 and IPv6 addresses are meant. One would guess a socket
# each, or one for both. What was seen:
#   net.ipv6.bindv6only = 0 (the default): 0.0.0.0 alone. The IPv6 bind fails with "Address already
#     in use" against stunnel's own IPv4 socket, at level 5, and the start succeeds: no IPv6 client is served.
#   net.ipv6.bindv6only = 1: both.
#   `accept = :::PORT` with bindv6only = 0: one IPv6 socket that takes IPv4 clients too.
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, python3, and root or unprivileged user namespaces.
# Prints a table and fails if stunnel behaves otherwise.
set -eu
export LC_ALL=C
if [ "${1-}" != inside ]; then
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download stunnel4=3:5.68-2+deb12u1 libwrap0 >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/pem" -out "$tmp/cert" -subj /CN=localhost 2>/dev/null
    cat "$tmp/cert" >>"$tmp/pem"
    chmod 600 "$tmp/pem"
    as=
    [ "$(id -u)" = 0 ] || as=-r
    # shellcheck disable=SC2086
    unshare -n $as "$0" inside "$tmp"
    exit
fi

tmp=$2
ip link set lo up
failed=0
# expect BINDV6ONLY ACCEPT PORT IPV4-SERVED IPV6-SERVED
expect() {
    echo "$1" >/proc/sys/net/ipv6/bindv6only
    printf 'foreground = yes\npid =\n[test]\naccept = %s\nconnect = 127.0.0.1:9\ncert = %s/pem\n' "$2" "$tmp" >"$tmp/conf"
    LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu" "$tmp/root/usr/bin/stunnel4" "$tmp/conf" >"$tmp/log" 2>&1 &
    stunnel=$!
    until grep -q 'Configuration successful' "$tmp/log"; do
        kill -0 $stunnel 2>/dev/null || { tail -n 3 "$tmp/log"; exit 2; }
    done
    seen=$(python3 - "$3" <<'PY'
import socket, sys
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    with socket.socket(family) as client:
        print("yes" if client.connect_ex((host, int(sys.argv[1]))) == 0 else "no", end=" ")
PY
)
    kill $stunnel
    wait $stunnel 2>/dev/null || true
    verdict='as expected'
    [ "$seen" = "$4 $5 " ] || { verdict="EXPECTED $4 $5"; failed=1; cat "$tmp/log"; }
    printf '%-11s %-9s %-9s %s\n' "$1" "$2" "$seen" "$verdict"
    grep 'Binding service' "$tmp/log" | sed 's/^/    /' || true
}
printf '%-11s %-9s %-9s\n' bindv6only accept 'v4 v6'
expect 0 7001 7001 yes no
expect 1 7002 7002 yes yes
expect 0 :::7003 7003 yes yes
[ $failed = 0 ] && echo "all as expected"
exit $failed
