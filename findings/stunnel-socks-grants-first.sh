#!/bin/sh
# When does a SOCKS server within stunnel 5.68 (`protocol = socks`, server mode) answer its client?
#
# RFC 1928, section 6, has reply codes for a refused connection and an unreachable network, so one would
# guess that stunnel connects first and then tells how that went, as ssh -D and Dante do. What was seen:
#   the reply is "succeeded" (00; 5A in version 4) before the connection is tried, to an open port and to a
#     closed one alike; at the closed one its connection then ends or is reset, and curl reports an
#     empty reply of the server instead of a failure of the proxy.
#   the address and port in the reply are those that the client asked for; RFC 1928 has the server's own
#     there, which it connects from.
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, openssl, python3, and root or unprivileged user namespaces.
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
# stunnel refuses to connect to loopback, so the servers have another address.
ip address add 198.51.100.7/32 dev lo
printf 'foreground = yes\npid =\n[test]\naccept = 127.0.0.1:7001\nprotocol = socks\ncert = %s/pem\n' "$tmp" >"$tmp/conf"
LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu" "$tmp/root/usr/bin/stunnel4" "$tmp/conf" >"$tmp/log" 2>&1 &
stunnel=$!
trap 'kill $stunnel 2>/dev/null || true' EXIT
until grep -q 'Configuration successful' "$tmp/log"; do
    kill -0 $stunnel 2>/dev/null || { tail -n 3 "$tmp/log"; exit 2; }
done
python3 - <<'PY'
import socket, ssl, struct, sys

HOST = "198.51.100.7"
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE

def ask(version, port):
    """The reply, and whether the connection goes on behind it."""
    plain = socket.create_connection(("127.0.0.1", 7001), timeout=10)
    client = context.wrap_socket(plain)
    address = socket.inet_aton(HOST)
    if version == 4:
        client.sendall(b"\x04\x01" + struct.pack(">H", port) + address + b"\x00")
        reply = client.recv(8)
    else:
        client.sendall(b"\x05\x01\x00")
        assert client.recv(2) == b"\x05\x00"
        client.sendall(b"\x05\x01\x00\x01" + address + struct.pack(">H", port))
        reply = client.recv(10)
    try:
        client.sendall(b"ping")
        behind = "connected" if client.recv(4) == b"pong" else "closed"
    except OSError:
        behind = "reset"
    return reply, behind

listener = socket.create_server((HOST, 0))
port = listener.getsockname()[1]
closed = socket.create_server((HOST, 0))
unused = closed.getsockname()[1]
closed.close()

import threading
def serve():
    while True:
        peer, _ = listener.accept()
        if peer.recv(4) == b"ping":
            peer.sendall(b"pong")
threading.Thread(target=serve, daemon=True).start()

failed = False
print(f"{'version':8}{'port':8}{'reply':32}behind it")
for version in (4, 5):
    for name, at in (("open", port), ("closed", unused)):
        reply, behind = ask(version, at)
        address, number = socket.inet_aton(HOST), struct.pack(">H", at)
        wanted = b"\x00\x5a" + number + address
        if version == 5:
            wanted = b"\x05\x00\x00\x01" + address + number
        good = reply == wanted and (behind == "connected") == (name == "open")
        failed |= not good
        print(f"{version:<8}{name:8}{reply.hex(' '):32}{behind}{'' if good else '  UNEXPECTED'}")
print("unexpected" if failed else "all as expected")
sys.exit(failed)
PY
