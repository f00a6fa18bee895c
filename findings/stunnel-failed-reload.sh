#!/bin/sh
# What does stunnel 5.68 serve after a SIGHUP that it cannot carry out?
#
# With `setuid` it has given up root when the signal comes, so a new service on a port below 1024
# cannot be bound; the manual says so. One would guess that the new service alone is missing, or
# that the old configuration stays in force. What was seen: the services that were there before,
# unchanged, refuse connections too, and the process goes on without serving anything.
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, python3, and root: setuid and a network namespace.
# Prints what it saw and fails if stunnel behaves otherwise.
set -eu
export LC_ALL=C
if [ "${1-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "needs root"; exit 2; }
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download stunnel4=3:5.68-2+deb12u1 libwrap0 >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/pem" -out "$tmp/cert" -subj /CN=localhost 2>/dev/null
    cat "$tmp/cert" >>"$tmp/pem"
    # After setuid the reload reads both files.
    chmod 755 "$tmp"
    chmod 644 "$tmp/pem"
    unshare -n "$0" inside "$tmp"
    exit
fi

tmp=$2
ip link set lo up
configure() {
    printf 'foreground = yes\npid =\nsetuid = nobody\nsetgid = nogroup\ncert = %s/pem\n' "$tmp"
    for service; do printf '[s%s]\naccept = 127.0.0.1:%s\nconnect = 127.0.0.1:9\n' "$service" "$service"; done
}
serves() {
    python3 -c 'import socket, sys
print("yes" if socket.socket().connect_ex(("127.0.0.1", int(sys.argv[1]))) == 0 else "no")' "$1"
}
# The line that ends a start or a reload, so many times.
wait_for() {
    until [ "$(grep -cE "$1" "$tmp/log")" -ge "$2" ]; do
        kill -0 "$stunnel" 2>/dev/null || { tail -n 5 "$tmp/log"; echo "stunnel has ended"; exit 1; }
    done
}

configure 7001 7002 >"$tmp/conf"
LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu" "$tmp/root/usr/bin/stunnel4" "$tmp/conf" >"$tmp/log" 2>&1 &
stunnel=$!
wait_for 'Configuration successful' 1
before="$(serves 7001) $(serves 7002)"
configure 7001 7002 443 >"$tmp/conf"
kill -HUP $stunnel
wait_for 'Binding service .s443. failed|Failed to reload' 1
after="$(serves 7001) $(serves 7002)"
lives=no
kill -0 $stunnel 2>/dev/null && lives=yes
kill $stunnel 2>/dev/null || true
wait $stunnel 2>/dev/null || true
grep -E 'Binding service' "$tmp/log" | head -n 2 | sed 's/^/    /'
echo "7001 and 7002 served before: $before; after: $after; the process lives: $lives"
[ "$before; $after; $lives" = 'yes yes; no no; yes' ] && echo "as expected"
