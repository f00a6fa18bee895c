#!/bin/sh
# Which alert does a rustls 0.23.46 server send to a client that shows no certificate where one is required?
#
# RFC 5246, section 7.4.6, lets a TLS 1.2 server answer with a fatal handshake_failure (40), which is what OpenSSL's
# server says. The alert certificate_required (116) came with TLS 1.3 (RFC 8446, section 6), so one would guess that it
# is kept for TLS 1.3. What was seen: rustls sends 116 in both versions.
#
# Each row: a client without a certificate, the server's library, the version, the number of the alert received.
#
# Needs Debian 12 (apt, dpkg-deb), openssl, python3, and cargo 1.85 with a C compiler.
# Prints a table and fails if either behaves otherwise.
set -eu
export LC_ALL=C
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$tmp"' EXIT
version=3.0.22-1~deb12u2
(cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download "openssl=$version" "libssl3=$version" >apt.log 2>&1) ||
    { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu"
export LD_LIBRARY_PATH
export OPENSSL_CONF=/dev/null
openssl=$tmp/root/usr/bin/openssl

mkdir -p "$tmp/server/src"
cat >"$tmp/server/Cargo.toml" <<'TOML'
[package]
name = "server"
version = "0.0.0"
edition = "2024"

[dependencies]
rustls = { version = "=0.23.46", default-features = false, features = ["ring", "std", "tls12"] }
ring = "=0.17.14"
TOML
cat >"$tmp/server/src/main.rs" <<'RUST'
//! server CERTIFICATE KEY: prints its address, and asks every client for a certificate.
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let certificate = CertificateDer::from_pem_file(&arguments[1]).unwrap();
    let key = PrivateKeyDer::from_pem_file(&arguments[2]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    for socket in listener.incoming() {
        let mut socket = socket.unwrap();
        let mut connection = ServerConnection::new(config.clone()).unwrap();
        // The alert is sent on the way out.
        let _ = Stream::new(&mut connection, &mut socket).read(&mut [0]);
        // The client's last words are read, so that no reset overtakes the alert.
        let _ = socket.read_to_end(&mut Vec::new());
    }
}
RUST
(cd "$tmp/server" && env -u LD_LIBRARY_PATH CARGO_TARGET_DIR="$tmp/target" cargo build -q) || { echo "the server cannot be built"; exit 2; }
printf '[req]\ndistinguished_name = name\n[name]\n' >"$tmp/conf"
"$openssl" req -config "$tmp/conf" -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/cert" -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null

# start NAME: runs that server and sets $port.
start() {
    : >"$tmp/port"
    case $1 in
    rustls) "$tmp/target/debug/server" "$tmp/cert" "$tmp/key" >"$tmp/port" & ;;
    openssl)
        "$openssl" s_server -accept 127.0.0.1:0 -cert "$tmp/cert" -key "$tmp/key" -CAfile "$tmp/cert" -Verify 1 \
            -rev >"$tmp/port" 2>&1 &
        ;;
    esac
    server=$!
    until port=$(sed -n 's/^\(ACCEPT 127.0.0.1:\)\{0,1\}\([0-9][0-9]*\)$/\2/p' "$tmp/port") && [ -n "$port" ]; do
        kill -0 "$server" || exit 2
    done
}

failed=0
echo 'server    version  alert'
for name in openssl rustls; do
    for protocol in tls1_2 tls1_3; do
        start $name
        wanted=116
        [ $name$protocol != openssltls1_2 ] || wanted=40
        # It waits for the server's last word.
        "$openssl" s_client -connect "127.0.0.1:$port" -$protocol -ign_eof </dev/null >"$tmp/said" 2>&1 || true
        alert=$(sed -n 's/.*SSL alert number \([0-9]*\).*/\1/p' "$tmp/said" | head -n 1)
        printf '%-9s %-8s %s' "$name" "$protocol" "$alert"
        if [ "$alert" = $wanted ]; then echo; else echo '  UNEXPECTED'; failed=1; fi
        kill "$server"
        wait "$server" 2>/dev/null || true
        server=
    done
done
[ $failed = 0 ] && echo 'all as expected'
exit $failed
