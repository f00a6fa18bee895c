#!/bin/sh
# What does a client of stunnel 5.68 receive from a program (`exec`) that answers without reading its input?
#
# The program writes its answer to a socket and ends, as a CGI-like script may that needs no request. One
# would guess that the answer arrives whether or not the client had said something, as it does through
# openbsd-inetd's pipes or a shell's. What was seen:
#   a client that says nothing receives the answer.
#   a client that says one line may receive nothing, and a polite end of TLS, as if the program had no answer.
#     It depends on whether the program has ended when stunnel looks. Linux reports ECONNRESET at a Unix socket whose other end was closed with input unread, also while an
#     answer waits there, and stunnel takes the error for the end ("socket fd: Connection reset by peer").
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, openssl, python3, and root or unprivileged user namespaces.
# Prints what was seen and fails if stunnel behaves otherwise.
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
# It waits for the client's line before it answers, but does not read it: poll, not read.
cat >"$tmp/program" <<'PROGRAM'
#!/usr/bin/python3 -IS
import os, select
select.select([0], [], [], 1)
os.write(1, b"answer\n")
os._exit(0)
PROGRAM
chmod +x "$tmp/program"
printf 'foreground = yes\npid =\ndebug = 6\n[test]\naccept = 127.0.0.1:7001\nexec = %s/program\ncert = %s/pem\n' "$tmp" "$tmp" >"$tmp/conf"
LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu" "$tmp/root/usr/bin/stunnel4" "$tmp/conf" >"$tmp/log" 2>&1 &
stunnel=$!
trap 'kill $stunnel 2>/dev/null || true' EXIT
: >>"$tmp/log"
until grep -q 'Configuration successful' "$tmp/log"; do
    kill -0 $stunnel 2>/dev/null || { tail -n 3 "$tmp/log"; exit 2; }
done
python3 - "$tmp/log" <<'PY'
import socket, ssl, sys

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE

def received(words):
    client = context.wrap_socket(socket.create_connection(("127.0.0.1", 7001), timeout=20), suppress_ragged_eofs=False)
    if words:
        client.sendall(words)
    got = b""
    while piece := client.recv(4096):
        got += piece
    return got

failed = False
for words in (b"", b"hello\n"):
    got = [received(words) for _ in range(30)]
    whole, nothing = got.count(b"answer\n"), got.count(b"")
    print(f"the client says {words!r}: of 30, {whole} receive the answer, {nothing} nothing, all close_notify")
    failed |= whole + nothing != 30 or (nothing > 0) != bool(words)
failed |= "socket fd: Connection reset by peer (104)" not in open(sys.argv[1]).read()
print("unexpected" if failed else "all as expected")
sys.exit(failed)
PY
