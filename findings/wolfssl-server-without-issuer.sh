#!/bin/sh
# Which clients can speak with lighttpd 1.4.69 on wolfSSL 5.5.4, whose certificate comes from an authority that it was not given?
#
# A server needs its own certificate alone, and the client checks it: so one would guess that all can, as they do on
# OpenSSL. What was seen: wolfSSL closes the connection, without an alert, to every client that asks for an OCSP
# response (status_request, RFC 6066, section 8), as GnuTLS, rustls and browsers do of their own accord. To answer, it looks for the
# issuer of its own certificate, and takes its absence for an error of the handshake (-188) where it might leave the
# question unanswered. With the issuer's certificate (ssl.ca-file) it serves, without a response.
#
# Each row: the server, whether the client asks for an OCSP response, what the client saw.
#
# Needs Debian 12 (apt, dpkg-deb) and python3. Prints a table and fails if one of them behaves otherwise.
set -eu
export LC_ALL=C
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$tmp"' EXIT
lighttpd=1.4.69-1
openssl=3.0.22-1~deb12u2
(cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download "lighttpd=$lighttpd" "lighttpd-mod-wolfssl=$lighttpd" \
    "lighttpd-mod-openssl=$lighttpd" libwolfssl35=5.5.4-2+deb12u3 "openssl=$openssl" "libssl3=$openssl" libpcre2-8-0 \
    libxxhash0 libnettle8 libcrypt1 >apt.log 2>&1) ||
    { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu:$tmp/root/lib/$(uname -m)-linux-gnu"
export LD_LIBRARY_PATH
export OPENSSL_CONF=/dev/null
openssl=$tmp/root/usr/bin/openssl
printf '[req]\ndistinguished_name = name\n[name]\n[authority]\nbasicConstraints = critical, CA:TRUE\n' >"$tmp/conf"
"$openssl" req -config "$tmp/conf" -extensions authority -x509 -newkey rsa:2048 -nodes -keyout "$tmp/authority.key" \
    -out "$tmp/authority" -subj '/CN=An authority' 2>/dev/null
"$openssl" req -config "$tmp/conf" -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/request" -subj /CN=localhost 2>/dev/null
printf 'subjectAltName = DNS:localhost\n' >"$tmp/names"
"$openssl" x509 -req -in "$tmp/request" -CA "$tmp/authority" -CAkey "$tmp/authority.key" -set_serial 1 \
    -extfile "$tmp/names" -out "$tmp/cert" 2>/dev/null
cat "$tmp/cert" "$tmp/key" >"$tmp/both"
mkdir "$tmp/www"

# start MODULE LINE: runs that server and sets $port.
start() {
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$tmp/server" <<CONF
server.document-root = "$tmp/www"
server.bind = "127.0.0.1"
server.port = $port
server.errorlog = "$tmp/log"
server.modules = ("mod_$1")
ssl.engine = "enable"
ssl.pemfile = "$tmp/both"
$2
CONF
    "$tmp/root/usr/sbin/lighttpd" -D -m "$tmp/root/usr/lib/lighttpd" -f "$tmp/server" >"$tmp/out" 2>&1 &
    server=$!
    until python3 -c '
import socket, sys
socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5).close()' "$port" 2>/dev/null; do
        kill -0 "$server" 2>/dev/null || { cat "$tmp/out" "$tmp/log"; exit 2; }
    done
}

failed=0
row() {
    start "$2" "$3"
    for asks in no yes; do
        for protocol in tls1_2 tls1_3; do
            status=
            [ $asks = no ] || status=-status
            # shellcheck disable=SC2086
            "$openssl" s_client -connect "127.0.0.1:$port" -servername localhost -CAfile "$tmp/authority" -$protocol $status \
                </dev/null >"$tmp/said" 2>&1 || true
            seen='closed without an alert'
            ! grep -q ' alert ' "$tmp/said" || seen='an alert'
            ! grep -q 'Verify return code: 0 (ok)' "$tmp/said" || seen=served
            ! grep -q 'Cipher is (NONE)' "$tmp/said" || [ "$seen" != served ] || seen='closed without an alert'
            wanted=served
            [ "$1$asks" != wolfSSLyes ] || wanted='closed without an alert'
            printf '%-24s %-7s asks: %-4s %s' "$1" $protocol $asks "$seen"
            if [ "$seen" = "$wanted" ]; then echo; else echo '  UNEXPECTED'; failed=1; fi
        done
    done
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=
}
row OpenSSL openssl ''
row wolfSSL wolfssl ''
row 'wolfSSL with the issuer' wolfssl "ssl.ca-file = \"$tmp/authority\""
[ $failed = 0 ] && echo 'all as expected'
exit $failed
