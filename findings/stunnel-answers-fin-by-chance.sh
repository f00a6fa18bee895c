#!/bin/sh
# Does stunnel 5.68 in server mode still carry an answer to a client that has ended its half by TCP alone?
#
# In Erlang, Perl and PHP, shutdown and its kin end the half of a TLS socket by a FIN, without close_notify;
# the program then waits for the answer, as it does over plain TCP. One would guess that stunnel either carries the
# answer or not. What was seen: it depends on the moment.
#   the FIN comes along with the client's last words: as a rule the server's answer arrives, and close_notify behind it.
#     poll(2) reports POLLRDHUP, and stunnel takes that for the end of one half ("read hangup").
#   the FIN comes once the words have been read: the answer is lost. SSL_read finds the end, OpenSSL sends the fatal
#     alert decode_error, and stunnel takes it for the end of both halves.
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
printf 'foreground = yes\npid =\ndebug = 6\n[test]\naccept = 127.0.0.1:7001\nconnect = 127.0.0.1:7002\ncert = %s/pem\n' "$tmp" >"$tmp/conf"
LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu" "$tmp/root/usr/bin/stunnel4" "$tmp/conf" >"$tmp/log" 2>&1 &
stunnel=$!
trap 'kill $stunnel 2>/dev/null || true' EXIT
: >>"$tmp/log"
until grep -q 'Configuration successful' "$tmp/log"; do
    kill -0 $stunnel 2>/dev/null || { tail -n 3 "$tmp/log"; exit 2; }
done
python3 - <<'PY'
import socket, ssl, sys, threading

# Says that it heard the question, and answers once its input has ended.
behind = socket.create_server(("127.0.0.1", 7002))


def serve(stream):
    stream.recv(8)
    stream.sendall(b"heard, ")
    while stream.recv(100):
        pass
    stream.sendall(b"answer")
    stream.close()


def serve_all():
    while True:
        threading.Thread(target=serve, args=(behind.accept()[0],), daemon=True).start()


threading.Thread(target=serve_all, daemon=True).start()
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def received(version, wait):
    context.maximum_version = version
    tcp = socket.create_connection(("127.0.0.1", 7001), timeout=20)
    client = context.wrap_socket(tcp, suppress_ragged_eofs=False)
    client.sendall(b"question")
    got = client.recv(7) if wait else b""
    # Of the class below, so that the FIN goes out and the TLS socket remains.
    socket.socket.shutdown(client, socket.SHUT_WR)
    try:
        while piece := client.recv(4096):
            got += piece
        return got, "close_notify"
    except (ssl.SSLError, ConnectionResetError) as error:
        return got, getattr(error, "reason", None) or str(error)


answered, refused = (b"heard, answer", "close_notify"), (b"heard, ", "TLSV1_ALERT_DECODE_ERROR")
failed = False
for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    along = [received(version, False) for _ in range(20)]
    later = [received(version, True) for _ in range(20)]
    print(f"{version.name}: along with the words {along.count(answered)} of 20 answered, later {later.count(answered)}")
    print(f"  the others: {sorted(set(along + later) - {answered})}")
    failed |= along.count(answered) < 10 or set(later) != {refused}
print("unexpected" if failed else "all as expected")
sys.exit(failed)
PY
