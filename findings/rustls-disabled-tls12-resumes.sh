#!/bin/sh
# Does a rustls 0.23.46 client resume TLS 1.2 sessions with `Tls12Resumption::Disabled`?
#
# Its documentation says "Disable 1.2 resumption", so one would guess that each TLS 1.2 handshake is a full one. What
# was seen: the setting turns off tickets alone, as `SessionIdOnly` does. The client still saves each session in its
# store, finds it there, and resumes it by its ID with a server that has a session cache. The store may be the
# client's own (`in_memory_sessions`, also the default one), or one that it shares with a config that resumes. Only
# `Resumption::disabled()`, which is without a store and so without TLS 1.3 resumption too, resumes nothing. To resume
# TLS 1.3 alone takes a store of one's own that keeps no session of TLS 1.2 ("without 1.2" below).
#
# In the code, `tls12_resumption` is compared with `SessionIdOrTickets` and nothing else (src/client/hs.rs); the store
# is asked and filled whatever it says.
#
# Each row: two connections, the second one's handshake. The client offers TLS 1.2 and 1.3, and the server chooses.
# "shared" has its first connection by a config with `SessionIdOrTickets`, its second by one with `Disabled`.
#
# Needs Debian 12 (apt, dpkg-deb) and cargo 1.85 with a C compiler.
# Prints a table and fails if rustls behaves otherwise.
set -eu
export LC_ALL=C
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$tmp"' EXIT
version=3.0.22-1~deb12u2
(cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download "openssl=$version" "libssl3=$version" >apt.log 2>&1) ||
    { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done

mkdir -p "$tmp/client/src"
cat >"$tmp/client/Cargo.toml" <<'TOML'
[package]
name = "client"
version = "0.0.0"
edition = "2024"

[dependencies]
rustls = { version = "=0.23.46", default-features = false, features = ["ring", "std", "tls12"] }
ring = "=0.17.14"
TOML
cat >"$tmp/client/src/main.rs" <<'RUST'
//! client ADDRESS ROOT SETTING: connects twice. Prints the version, and whether each handshake was full.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption,
    Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

/// Keeps no session of TLS 1.2.
#[derive(Debug)]
struct WithoutTls12(ClientSessionMemoryCache);

impl ClientSessionStore for WithoutTls12 {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(server)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(server, ticket);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(server)
    }
}

fn shake(config: ClientConfig, address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut tls = Stream::new(&mut client, &mut stream);
    // The answer comes behind any ticket of TLS 1.3.
    tls.write_all(b"ping\n").unwrap();
    let mut answer = [0; 5];
    tls.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"gnip\n");
    // OpenSSL forgets sessions whose client does not say that it closes. It has, once the connection ends.
    tls.conn.send_close_notify();
    tls.flush().unwrap();
    tls.read_to_end(&mut Vec::new()).unwrap();
    format!("{:?} {:?}", client.protocol_version().unwrap(), client.handshake_kind().unwrap())
}

fn main() {
    let [address, root, setting] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else { panic!("three arguments") };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    // Both connections have the same verifier and the same client authentication, without which nothing is resumed.
    let mut first = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut second = first.clone();
    let store = Arc::new(ClientSessionMemoryCache::new(8));
    let memory = Resumption::in_memory_sessions(8);
    first.resumption = match setting.as_str() {
        "SessionIdOrTickets" => memory.tls12_resumption(Tls12Resumption::SessionIdOrTickets),
        "SessionIdOnly" => memory.tls12_resumption(Tls12Resumption::SessionIdOnly),
        "Disabled" => memory.tls12_resumption(Tls12Resumption::Disabled),
        "default+Disabled" => Resumption::default().tls12_resumption(Tls12Resumption::Disabled),
        "shared" => Resumption::store(store.clone()),
        "without 1.2" => Resumption::store(Arc::new(WithoutTls12(ClientSessionMemoryCache::new(8))))
            .tls12_resumption(Tls12Resumption::Disabled),
        "disabled()" => Resumption::disabled(),
        _ => panic!("no such setting"),
    };
    second.resumption = match setting.as_str() {
        "shared" => Resumption::store(store).tls12_resumption(Tls12Resumption::Disabled),
        _ => first.resumption.clone(),
    };
    println!("{} {}", shake(first, address), shake(second, address));
}
RUST
(cd "$tmp/client" && CARGO_TARGET_DIR=$tmp/target cargo build -q 2>"$tmp/cargo.log") ||
    { tail -n 20 "$tmp/cargo.log"; echo "the client cannot be built"; exit 2; }

LD_LIBRARY_PATH=$tmp/root/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH
export OPENSSL_CONF=/dev/null
openssl=$tmp/root/usr/bin/openssl
printf '[req]\ndistinguished_name = name\n[name]\n' >"$tmp/conf"
"$openssl" req -config "$tmp/conf" -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/cert" \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE 2>/dev/null

failed=0
# serve NAME OPTION...
serve() {
    [ -z "$server" ] || { kill "$server"; wait "$server" 2>/dev/null || true; }
    name=$1
    shift
    : >"$tmp/served"
    "$openssl" s_server -accept 127.0.0.1:0 "$@" -cert "$tmp/cert" -key "$tmp/key" -rev >"$tmp/served" 2>&1 &
    server=$!
    until grep -q '^ACCEPT ' "$tmp/served"; do
        kill -0 $server 2>/dev/null || { tail -n 3 "$tmp/served"; exit 2; }
    done
    address=$(sed -n 's/^ACCEPT //p' "$tmp/served")
}
# expect SETTING VERSION SECOND-HANDSHAKE
expect() {
    "$tmp/target/debug/client" "$address" "$tmp/cert" "$1" >"$tmp/said" 2>&1 || { tail -n 5 "$tmp/said"; exit 2; }
    verdict='as expected'
    [ "$(cat "$tmp/said")" = "$2 Full $2 $3" ] || { verdict="EXPECTED $2 Full $2 $3"; failed=1; cat "$tmp/said"; }
    read -r _ _ version second <"$tmp/said"
    printf '%-18s %-18s %-8s %-8s %s\n' "$name" "$1" "$version" "$second" "$verdict"
}
printf '%-18s %-18s %-8s %s\n' 'server has' setting version second
serve 'a cache' -tls1_2 -no_ticket
expect SessionIdOrTickets TLSv1_2 Resumed
expect SessionIdOnly TLSv1_2 Resumed
expect Disabled TLSv1_2 Resumed
expect default+Disabled TLSv1_2 Resumed
expect shared TLSv1_2 Resumed
expect 'without 1.2' TLSv1_2 Full
expect 'disabled()' TLSv1_2 Full
serve 'cache and tickets' -tls1_2
expect Disabled TLSv1_2 Resumed
serve 'tickets' -tls1_2 -no_cache
expect SessionIdOrTickets TLSv1_2 Resumed
expect SessionIdOnly TLSv1_2 Full
expect Disabled TLSv1_2 Full
expect 'disabled()' TLSv1_2 Full
serve 'TLS 1.3' -tls1_3
expect Disabled TLSv1_3 Resumed
expect 'without 1.2' TLSv1_3 Resumed
expect 'disabled()' TLSv1_3 Full
[ $failed = 0 ] && echo "all as expected"
exit $failed
