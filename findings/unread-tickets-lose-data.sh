#!/bin/sh
# Does what a client has sent arrive if it closes its TLS 1.3 connection without having read anything?
#
# Programs that write to a log or send figures do just that: connect, send, close. By TLS 1.2 there is nothing for them to
# read, and the kernel delivers behind close(2) what it has taken. One would guess that it is so by TLS 1.3 too, or that the
# server behind the relay sees a reset where something is missing. What was seen, with Python 3 (OpenSSL) as the client,
# which sent a MB and closed, both without an error, while the server had not read yet:
#   stunnel 5.68, hitch 1.7.2, haproxy 2.6.12, nginx 1.22 (stream), socat 1.7.4.4 send tickets once the handshake is done.
#     The client has not read them, so that its close is a reset, and its kernel throws away what it has not sent.
#   behind all of them the server gets a part, and a clean end; behind haproxy sometimes a reset.
#   `options = NO_TICKET` of stunnel, `ssl_session_tickets off` of nginx and `no-tls-tickets` of haproxy change nothing: in
#     TLS 1.3 OpenSSL then sends tickets that name a session it keeps. `sessionResume = no` of stunnel
#     leaves none, and all arrives.
#   by TLS 1.2, and from a client that says close_notify and reads to the end before it closes, all arrives.
# A client that only sends has to do that. A relay can send its tickets with the first answer, or none.
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, openssl, python3, and root or unprivileged user namespaces.
# Prints a table and fails if one behaves otherwise.
set -eu
export LC_ALL=C
if [ "${1-}" != inside ]; then
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download stunnel4=3:5.68-2+deb12u1 hitch=1.7.2-1+b1 \
        haproxy=2.6.12-1+deb12u4 nginx=1.22.1-9+deb12u11 libnginx-mod-stream=1.22.1-9+deb12u11 socat=1.7.4.4-2 \
        libwrap0 libev4 liblua5.3-0 libopentracing-c-wrapper0 libssl3 >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/cert" -subj /CN=localhost 2>/dev/null
    cat "$tmp/cert" "$tmp/key" >"$tmp/pem"
    chmod 600 "$tmp/pem"
    as=
    [ "$(id -u)" = 0 ] || as=-r
    # shellcheck disable=SC2086
    unshare -n $as "$0" inside "$tmp"
    exit
fi

tmp=$2
ip link set lo up
library=$tmp/root/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH="$library"
cd "$tmp"
cat >client.py <<'PY'
# client.py VERSION CLOSE: what the server behind the relay gets of a MB, and how its connection ends.
import socket, ssl, sys, threading, time
server = socket.create_server(("127.0.0.1", 7002))
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, sys.argv[1])
end = time.monotonic() + 20
while True:
    try:
        client = socket.create_connection(("127.0.0.1", 7001))
        break
    except ConnectionRefusedError:
        assert time.monotonic() < end
        time.sleep(0.05)
client.settimeout(20)
client = context.wrap_socket(client)
client.sendall(b"x")
behind = server.accept()[0]
behind.settimeout(20)
assert behind.recv(1) == b"x"
# The relay has finished its handshake; in TLS 1.3 that is when tickets come.
client.sendall(b"y" * 1000000)
if sys.argv[2] == "polite":
    threading.Thread(target=lambda: client.unwrap().close(), daemon=True).start()
else:
    client.close()
got, how = 0, "a clean end"
try:
    while data := behind.recv(65536):
        got += len(data)
except ConnectionResetError:
    how = "a reset"
print("whole" if got == 1000000 else "a part", "and", how)
PY
# relay NAME TICKETS: its command in the foreground
relay() {
    case $1 in
    stunnel)
        printf 'foreground = yes\npid =\n[test]\naccept = 127.0.0.1:7001\nconnect = 127.0.0.1:7002\ncert = %s/pem\n' "$tmp"
        [ "$2" != off ] || echo 'options = NO_TICKET'
        [ "$2" != none ] || echo 'sessionResume = no'
        ;;
    hitch)
        printf 'frontend = "[127.0.0.1]:7001"\nbackend = "[127.0.0.1]:7002"\npem-file = "%s/pem"\nworkers = 1\n' "$tmp"
        [ "$(id -u)" != 0 ] || echo 'user = "nobody"'
        ;;
    haproxy)
        [ "$2" != off ] || no='no-tls-tickets'
        printf 'defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n'
        printf 'listen test\n  bind 127.0.0.1:7001 ssl crt %s/pem %s\n  server test 127.0.0.1:7002\n' "$tmp" "${no-}"
        ;;
    nginx)
        printf 'load_module %s/root/usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nmaster_process off;\n' "$tmp"
        printf 'pid %s/pid;\nerror_log stderr;\nevents {}\nstream { server { listen 127.0.0.1:7001 ssl;\n' "$tmp"
        printf 'ssl_certificate %s/cert; ssl_certificate_key %s/key; ssl_protocols TLSv1.2 TLSv1.3;\n' "$tmp" "$tmp"
        [ "$2" != off ] || echo 'ssl_session_tickets off;'
        echo 'proxy_pass 127.0.0.1:7002; } }'
        ;;
    esac >conf
    case $1 in
    stunnel) exec root/usr/bin/stunnel4 conf ;;
    hitch) exec root/usr/sbin/hitch --config=conf ;;
    haproxy) exec root/usr/sbin/haproxy -db -f conf ;;
    nginx) exec root/usr/sbin/nginx -c "$tmp/conf" -p "$tmp" -e stderr ;;
    socat) exec root/usr/bin/socat "OPENSSL-LISTEN:7001,bind=127.0.0.1,reuseaddr,cert=pem,verify=0" TCP:127.0.0.1:7002 ;;
    esac
}
failed=0
# expect RELAY VERSION TICKETS CLOSE FATE
expect() {
    (relay "$1" "$3") >said 2>&1 &
    pid=$!
    seen=$(python3 client.py "$2" "$4" 2>error) || { tail -n 3 said error; echo "$1 $2"; exit 2; }
    kill $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    mark=
    # shellcheck disable=SC2254 # a pattern
    case $seen in
    $5) ;;
    *) failed=1 mark="   UNEXPECTED, not $5" ;;
    esac
    printf '%-8s %s tickets %-4s %-7s %s%s\n' "$1" "$2" "$3" "$4" "$seen" "$mark"
}
for name in stunnel hitch haproxy nginx socat; do
    expect $name TLSv1_2 on at-once 'whole and a clean end'
    expect $name TLSv1_3 on polite 'whole and a clean end'
done
for name in stunnel hitch nginx socat; do expect $name TLSv1_3 on at-once 'a part and a clean end'; done
expect haproxy TLSv1_3 on at-once 'a part and *'
for name in stunnel nginx; do expect $name TLSv1_3 off at-once 'a part and a clean end'; done
expect haproxy TLSv1_3 off at-once 'a part and *'
expect stunnel TLSv1_3 none at-once 'whole and a clean end'
[ $failed = 0 ] && echo "all as expected" || echo "unexpected"
exit $failed
