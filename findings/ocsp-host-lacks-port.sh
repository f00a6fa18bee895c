#!/bin/sh
# Which Host do OCSP clients name to a responder that has a port of its own?
#
# RFC 9110, section 7.2, has the host and port of the URI in it, and RFC 9112, section 3.2, has it be the same as
# in the URI, so one would guess HOST:PORT for `http://HOST:PORT/ocsp`, as Python's HTTP client sends it. What was
# seen:
#   stunnel 5.68 (`OCSP = URL` and verifyChain), `openssl ocsp` 3.0.22 and ocsptool of GnuTLS 3.7.9 send HOST alone, in
#     a request of HTTP/1.0. A responder, or a proxy before it, that knows its sites by HOST:PORT (here one that answers
#     421 to another Host) does not find the one that was asked for, and stunnel then refuses the peer.
#   `OCSP = http://[::1]:PORT/ocsp` of stunnel is accepted at its start, and then "Failed to resolve the OCSP responder
#     address" has it refuse every peer. ocsptool takes "[" for the host; `openssl ocsp` is served.
#
# Needs Debian 12 (apt, dpkg-deb), iproute2, python3, and root or unprivileged user namespaces.
# Prints a table and fails if a client behaves otherwise.
set -eu
export LC_ALL=C
export OPENSSL_CONF=/dev/null
if [ "${1-}" != inside ]; then
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    packages='stunnel4=3:5.68-2+deb12u1 libwrap0 openssl=3.0.22-1~deb12u2 libssl3=3.0.22-1~deb12u2
        gnutls-bin=3.7.9-2+deb12u7 libgnutls30=3.7.9-2+deb12u7'
    # shellcheck disable=SC2086
    (cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download $packages >apt.log 2>&1) ||
        { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
    as=
    [ "$(id -u)" = 0 ] || as=-r
    # shellcheck disable=SC2086
    unshare -n $as "$0" inside "$tmp"
    exit
fi

tmp=$2
ip link set lo up
LD_LIBRARY_PATH=$tmp/root/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH
PATH=$tmp/root/usr/bin:$PATH
cd "$tmp"
printf '[req]\ndistinguished_name = name\n[name]\n' >request.conf
new='openssl req -config request.conf -newkey rsa:2048 -nodes'
{
    $new -x509 -subj /CN=ca -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca
    $new -subj /CN=localhost -keyout key -out request
    openssl x509 -req -in request -CA ca -CAkey ca.key -set_serial 1 -days 30 -out cert
} 2>made || { cat made; exit 2; }
printf 'V\t491231235959Z\t\t01\tunknown\t/CN=localhost\n' >index

cat >responder.py <<'PY'
# Answers OCSP requests on three addresses, and writes each one's version and Host to the file "hosts".
import http.server, socket, subprocess, threading

class Responder(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        host = " ".join(self.headers.get_all("Host", ["none"]))
        with open("hosts", "a") as seen:
            print(self.request_version, host, file=seen)
        if self.path == "/strict" and host != "127.0.0.1:7080":
            return self.send_error(421)
        with open("asked", "wb") as asked:
            asked.write(self.rfile.read(int(self.headers["Content-Length"])))
        subprocess.run("openssl ocsp -index index -CA ca -rsigner ca -rkey ca.key -reqin asked -respout answer".split(),
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open("answer", "rb") as answer:
            answer = answer.read()
        self.send_response(200)
        self.send_header("Content-Type", "application/ocsp-response")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass

class V6(http.server.HTTPServer):
    address_family = socket.AF_INET6

servers = [kind(address, Responder) for kind, address in (
    (http.server.HTTPServer, ("127.0.0.1", 7080)), (http.server.HTTPServer, ("127.0.0.1", 80)), (V6, ("::1", 7080)))]
print("ready", flush=True)
for server in servers:
    threading.Thread(target=server.serve_forever).start()
PY
started=
trap '[ -z "$started" ] || kill $started 2>/dev/null || true' EXIT
# await FILE LINE: until the program that was started last has written it.
await() {
    until grep -q "$2" "$1"; do
        kill -0 $! 2>/dev/null || { tail -n 3 "$1"; exit 2; }
    done
}
: >responder.log
python3 responder.py >responder.log 2>&1 &
started=$!
await responder.log ready
: >server.log
openssl s_server -accept 127.0.0.1:0 -cert cert -key key -www >server.log 2>&1 &
started="$started $!"
await server.log '^ACCEPT '
server=$(sed -n 's/^ACCEPT //p' server.log)

# ask CLIENT URL: says whether it was content with the answer.
ask() {
    case $1 in
    stunnel)
        printf '%s\n' 'foreground = yes' 'pid =' '[test]' 'client = yes' 'accept = 127.0.0.1:7001' \
            "connect = $server" 'CAfile = ca' 'verifyChain = yes' "OCSP = $2" >stunnel.conf
        : >log
        stunnel4 stunnel.conf >log 2>&1 &
        stunnel=$!
        await log 'Configuration successful'
        python3 - <<'PY'
import socket
with socket.create_connection(("127.0.0.1", 7001), timeout=20) as client:
    try:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        print("peer accepted" if client.recv(4) == b"HTTP" else "peer refused")
    except ConnectionError:
        print("peer refused")
PY
        kill $stunnel
        wait $stunnel 2>/dev/null || true
        ;;
    openssl)
        timeout 20 openssl ocsp -issuer ca -cert cert -CAfile ca -url "$2" >log 2>&1 || true
        if grep -q '^cert: good' log; then echo good; else echo 'no answer'; fi
        ;;
    ocsptool)
        timeout 20 ocsptool --ask="$2" --load-cert cert --load-issuer ca --load-trust ca >log 2>&1 </dev/null || true
        if grep -q 'Response: Success' log; then echo good
        elif grep -q 'Cannot resolve \[:80' log; then echo 'host is ['
        else echo 'no answer'; fi
        ;;
    python) python3 - "$2" <<'PY'
import sys, urllib.request
with open("asked", "rb") as asked, urllib.request.urlopen(sys.argv[1], data=asked.read(), timeout=20) as answer:
    print("answer" if answer.read() else "no answer")
PY
        ;;
    esac
}

failed=0
# expect CLIENT URL HOST RESULT
expect() {
    : >hosts
    result=$(ask "$1" "$2")
    [ -s hosts ] || echo '- (not asked)' >hosts
    read -r version host <hosts
    verdict='as expected'
    if [ "$host" != "$3" ] || [ "$result" != "$4" ] || [ "$(wc -l <hosts)" != 1 ]; then
        verdict="EXPECTED $3, $4" failed=1
        cat hosts
        [ "$1" = python ] || tail -n 5 log
    fi
    printf '%-9s %-29s %-9s %-15s %-14s %s\n' "$1" "$2" "$version" "$host" "$result" "$verdict"
}
printf '%-9s %-29s %-9s %-15s %s\n' client URL version Host result
expect stunnel http://127.0.0.1:7080/ocsp 127.0.0.1 'peer accepted'
expect stunnel http://localhost:7080/ocsp localhost 'peer accepted'
expect stunnel http://127.0.0.1:7080/strict 127.0.0.1 'peer refused'
expect stunnel http://127.0.0.1/ocsp 127.0.0.1 'peer accepted'
expect stunnel 'http://[::1]:7080/ocsp' '(not asked)' 'peer refused'
grep -q 'Failed to resolve the OCSP responder address' log || { tail -n 5 log; failed=1; }
expect openssl http://127.0.0.1:7080/ocsp 127.0.0.1 good
expect openssl http://127.0.0.1:7080/strict 127.0.0.1 'no answer'
expect openssl 'http://[::1]:7080/ocsp' '[::1]' good
expect ocsptool http://127.0.0.1:7080/ocsp 127.0.0.1 good
expect ocsptool 'http://[::1]:7080/ocsp' '(not asked)' 'host is ['
expect python http://127.0.0.1:7080/ocsp 127.0.0.1:7080 answer
expect python http://127.0.0.1:7080/strict 127.0.0.1:7080 answer
expect python 'http://[::1]:7080/ocsp' '[::1]:7080' answer
[ $failed = 0 ] && echo "all as expected"
exit $failed
