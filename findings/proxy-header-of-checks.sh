#!/bin/sh
# Which client does the PROXY header of a balancer's own health check name?
#
# The protocol's text (haproxy's doc/proxy-protocol.txt) has LOCAL in version 2 for connections that a balancer makes for itself,
# as health checks, and one would guess `PROXY UNKNOWN` in version 1, where nothing else says it. What was seen:
#   version 2 (haproxy 2.6.12 `send-proxy-v2 check`, a probe of Varnish 7.1.1 with `.proxy_header = 2`): LOCAL.
#   version 1 (haproxy `send-proxy check`, Varnish `.proxy_header = 1`): `PROXY TCP4` with the check's own address and port
#   as the client's.
# So a server that counts, limits or logs clients counts version 1's checks among them, unless it compares the header's
# source with the connection's: of a check they are the same.
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, python3, util-linux, gcc (for Varnish), and root: for a network of its own.
# Prints what was seen and fails if one behaves otherwise.
set -eu
export LC_ALL=C
if [ "${1-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "this needs root"; exit 2; }
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    chmod 755 "$tmp"
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download haproxy=2.6.12-1+deb12u4 liblua5.3-0 \
        varnish=7.1.1-2+deb12u1 libvarnishapi3 libjemalloc2 >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    unshare -n "$0" inside "$tmp"
    exit
fi

tmp=$2
ip link set lo up
LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu:$tmp/root/usr/lib/$(uname -m)-linux-gnu/varnish"
export LD_LIBRARY_PATH
cat >"$tmp/haproxy.conf" <<CONF
defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen one
  bind 127.0.0.1:7501
  server s 127.0.0.1:7401 send-proxy check inter 200ms
listen two
  bind 127.0.0.1:7502
  server s 127.0.0.1:7402 send-proxy-v2 check inter 200ms
CONF
cat >"$tmp/varnish.vcl" <<CONF
vcl 4.1;
backend one { .host = "127.0.0.1"; .port = "7403"; .proxy_header = 1; .probe = { .interval = 200ms; } }
backend two { .host = "127.0.0.1"; .port = "7404"; .proxy_header = 2; .probe = { .interval = 200ms; } }
sub vcl_recv { if (req.url == "/two") { set req.backend_hint = two; } else { set req.backend_hint = one; } }
CONF
cat >"$tmp/listen.py" <<'PYTHON'
"""What the first connection to each port begins with, in words."""
import socket
import sys

EXPECTED = {
    7401: ("haproxy, version 1", "its own address and port"),
    7402: ("haproxy, version 2", "LOCAL"),
    7403: ("Varnish, version 1", "its own address and port"),
    7404: ("Varnish, version 2", "LOCAL"),
}


def meaning(head, peer):
    if head.startswith(b"\r\n\r\n\0\r\nQUIT\n"):
        return {0x20: "LOCAL", 0x21: "PROXY"}.get(head[12], "?")
    words = head.split(b"\r\n")[0].decode().split()
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return "UNKNOWN"
    if words[:2] == ["PROXY", "TCP4"] and (words[2], int(words[4])) == peer:
        return "its own address and port"
    return " ".join(words)


listeners = {port: socket.create_server(("127.0.0.1", port)) for port in EXPECTED}
print("ready", flush=True)
failed = False
for port, (balancer, expected) in EXPECTED.items():
    listeners[port].settimeout(30)
    seen = "no byte"
    for _ in range(20):
        stream, peer = listeners[port].accept()
        with stream:
            stream.settimeout(5)
            try:
                head = stream.recv(1000)
            except OSError:
                continue
        if head:
            seen = meaning(head, peer)
            break
    failed |= seen != expected
    print(f"{balancer:20} {seen}{'' if seen == expected else f'   EXPECTED {expected}'}")
sys.exit(failed)
PYTHON
python3 "$tmp/listen.py" >"$tmp/seen" &
listener=$!
until grep -q ready "$tmp/seen"; do sleep 0.1; done
"$tmp/root/usr/sbin/haproxy" -db -f "$tmp/haproxy.conf" >"$tmp/haproxy.log" 2>&1 &
haproxy=$!
"$tmp/root/usr/sbin/varnishd" -j none -F -n "$tmp/varnish" -a 127.0.0.1:7503 -f "$tmp/varnish.vcl" >"$tmp/varnish.log" 2>&1 &
varnish=$!
trap 'kill $haproxy $varnish 2>/dev/null || :' EXIT
status=0
wait $listener || status=$?
sed 1d "$tmp/seen"
[ $status = 0 ] || tail -n 5 "$tmp/haproxy.log" "$tmp/varnish.log"
exit $status
