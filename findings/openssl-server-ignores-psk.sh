#!/bin/sh
# Does OpenSSL's TLS 1.3 server, which has a certificate and a pre-shared key, use the key that a client shows?
#
# One would guess that it does, whichever suites the client offers as well: the client proves what it was
# given a key for, and RFC 8446, section 4.2.11, has the server choose a key and a suite that fit together. What was
# seen: only if the first suite of the client's list goes with SHA-256. With TLS_AES_256_GCM_SHA384 in front,
# as OpenSSL's own default has it, the suite is chosen first, the key does not fit it (keys are for SHA-256 unless said
# otherwise), and the server goes on with the certificate without a word. A client that verifies nothing, since the
# key is its proof, is then connected to a server that has proved nothing to it. Without a certificate the same
# server uses the key.
#
# Needs Debian 12 (apt, dpkg-deb). Prints a table and fails if OpenSSL behaves otherwise.
set -eu
export LC_ALL=C
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$tmp"' EXIT
version=3.0.22-1~deb12u2
(cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download "openssl=$version" "libssl3=$version" >apt.log 2>&1) ||
    { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
LD_LIBRARY_PATH=$tmp/root/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH
export OPENSSL_CONF=/dev/null
openssl=$tmp/root/usr/bin/openssl
"$openssl" req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/cert" -subj /CN=localhost 2>/dev/null

key=000102030405060708090a0b0c0d0e0f
failed=0
# expect CERTIFICATE SUITES PROOF
expect() {
    shows='-nocert'
    : >"$tmp/served"
    [ "$1" = no ] || shows="-cert $tmp/cert -key $tmp/key"
    # shellcheck disable=SC2086
    "$openssl" s_server -accept 127.0.0.1:0 -tls1_3 $shows -psk_identity me -psk $key -rev >"$tmp/served" 2>&1 &
    server=$!
    until grep -q '^ACCEPT ' "$tmp/served"; do
        kill -0 $server 2>/dev/null || { tail -n 3 "$tmp/served"; exit 2; }
    done
    address=$(sed -n 's/^ACCEPT //p' "$tmp/served")
    echo Q | timeout 20 "$openssl" s_client -connect "$address" -tls1_3 -ciphersuites "$2" \
        -psk_identity me -psk $key >"$tmp/said" 2>&1 || true
    kill $server 2>/dev/null || true
    wait $server 2>/dev/null || true
    server=
    # A key resumes, as a session does.
    if grep -q '^Reused, TLSv1.3' "$tmp/said"; then seen=key
    elif grep -q '^Server certificate' "$tmp/said"; then seen=certificate
    else seen=none; fi
    verdict='as expected'
    [ "$seen" = "$3" ] || { verdict="EXPECTED $3"; failed=1; tail -n 5 "$tmp/said"; }
    printf '%-12s %-49s %-12s %s\n' "$1" "$2" "$seen" "$verdict"
}
aes128=TLS_AES_128_GCM_SHA256
aes256=TLS_AES_256_GCM_SHA384
printf '%-12s %-49s %s\n' certificate 'the client offers' 'proof of the server'
expect yes $aes128 key
expect yes $aes128:$aes256 key
expect yes $aes256:$aes128 certificate
expect no $aes256:$aes128 key
[ $failed = 0 ] && echo "all as expected"
exit $failed
