#!/bin/sh
# Which TLS 1.3 servers does a client of Erlang/OTP 25 (ssl, session_tickets auto) resume its sessions with?
#
# One would guess all that hand out tickets. RFC 8446, section 4.2.9, has a client announce the modes in which it can
# use a ticket (psk_key_exchange_modes), and says that servers should not send tickets which do not fit those modes.
# What was seen: Erlang announces modes only in a hello that offers a ticket. So a server that follows the sentence,
# as rustls does, never gives it a first one, and every handshake is a full one; OpenSSL and GnuTLS send tickets all
# the same, and the session resumes.
#
# Each row: the server, whether Erlang's first hello and its second one announce modes, whether the second resumed.
#
# Needs Debian 12 (apt, dpkg-deb), openssl, python3, and cargo 1.85 with a C compiler.
# Prints a table and fails if one of them behaves otherwise.
set -eu
export LC_ALL=C
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$tmp"' EXIT
erlang=1:25.2.3+dfsg-1+deb12u4
openssl=3.0.22-1~deb12u2
gnutls=3.7.9-2+deb12u7
packages=
for part in base crypto public-key asn1 ssl; do packages="$packages erlang-$part=$erlang"; done
# shellcheck disable=SC2086
(cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download $packages "openssl=$openssl" "libssl3=$openssl" \
    "gnutls-bin=$gnutls" "libgnutls30=$gnutls" "libgnutls-dane0=$gnutls" libopts25 libunbound8 libevent-2.1-7 libsctp1 \
    libsystemd0 libtinfo6 >apt.log 2>&1) ||
    { tail -n 3 "$tmp/apt.log"; echo "the packages cannot be downloaded (apt-get update?)"; exit 2; }
for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/root"; done
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/cert" -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null

mkdir -p "$tmp/server/src"
cat >"$tmp/server/Cargo.toml" <<'TOML'
[package]
name = "server"
version = "0.0.0"
edition = "2024"

[dependencies]
rustls = { version = "=0.23.46", default-features = false, features = ["ring", "std"] }
ring = "=0.17.14"
TOML
cat >"$tmp/server/src/main.rs" <<'RUST'
//! server CERTIFICATE KEY: prints its port, and answers each client's first words with themselves. Tickets are on.
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, ServerConnection, Stream};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let certificate = CertificateDer::from_pem_file(&arguments[1]).unwrap();
    let key = PrivateKeyDer::from_pem_file(&arguments[2]).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    for socket in listener.incoming() {
        let mut socket = socket.unwrap();
        let mut connection = ServerConnection::new(config.clone()).unwrap();
        let mut stream = Stream::new(&mut connection, &mut socket);
        let mut words = [0; 100];
        while let Ok(count) = stream.read(&mut words) {
            if count == 0 || stream.write_all(&words[..count]).is_err() {
                break;
            }
        }
    }
}
RUST
(cd "$tmp/server" && CARGO_TARGET_DIR="$tmp/target" cargo build -q) || { echo "the server cannot be built"; exit 2; }

LD_LIBRARY_PATH="$tmp/root/usr/lib/$(uname -m)-linux-gnu:$tmp/root/lib/$(uname -m)-linux-gnu"
export LD_LIBRARY_PATH
export OPENSSL_CONF=/dev/null
cat >"$tmp/asks.erl" <<'ERLANG'
-module(asks).
-export([main/0]).
% Two connections. Says whether each hello announced modes, and whether the second connection resumed.
main() ->
    {ok, _} = application:ensure_all_started(ssl),
    [Port] = init:get_plain_arguments(),
    Ask = fun() ->
        {ok, Socket} = ssl:connect("localhost", list_to_integer(Port),
            [{verify, verify_none}, {versions, ['tlsv1.3']}, {session_tickets, auto}, {active, false},
             {log_level, debug}], 5000),
        ok = ssl:send(Socket, "hello\n"),
        {ok, _} = ssl:recv(Socket, 6, 5000),
        % A ticket may come after the first words.
        {error, timeout} = ssl:recv(Socket, 0, 300),
        {ok, [{session_resumption, Resumed}]} = ssl:connection_information(Socket, [session_resumption]),
        ssl:close(Socket),
        Resumed
    end,
    Ask(),
    io:format("resumed: ~p~n", [Ask()]),
    init:stop().
ERLANG
erl=$tmp/root/usr/lib/erlang/bin/erl
export ERL_ROOTDIR="$tmp/root/usr/lib/erlang" ERL_CRASH_DUMP="$tmp/crash" HOME="$tmp"
(cd "$tmp" && "$erl" -noshell -eval 'compile:file("asks"), init:stop().')

# free: prints a port of loopback that is free.
free() {
    python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

failed=0
echo 'server   first hello  second  resumed'
for name in openssl gnutls rustls; do
    port=
    case $name in
    rustls) env -u LD_LIBRARY_PATH "$tmp/target/debug/server" "$tmp/cert" "$tmp/key" >"$tmp/port" & ;;
    openssl)
        port=$(free)
        "$tmp/root/usr/bin/openssl" s_server -accept "127.0.0.1:$port" -cert "$tmp/cert" -key "$tmp/key" -rev >"$tmp/log" 2>&1 &
        ;;
    gnutls)
        port=$(free)
        "$tmp/root/usr/bin/gnutls-serv" --echo -p "$port" --x509certfile "$tmp/cert" --x509keyfile "$tmp/key" \
            --disable-client-cert >"$tmp/log" 2>&1 &
        ;;
    esac
    server=$!
    until port=${port:-$(cat "$tmp/port" 2>/dev/null || true)} && python3 -c '
import socket, sys
socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5).close()' "$port" 2>/dev/null; do
        kill -0 "$server" || exit 2
    done
    "$erl" -noshell -pa "$tmp" -s asks main -extra "$port" >"$tmp/said" 2>&1 || { tail -n 5 "$tmp/said"; exit 2; }
    # Of the hellos that the client sent, in their order.
    modes=$(awk '/>>> TLS 1.3 Handshake, ClientHello/ {hello = 1} /^<<</ {hello = 0}
        hello && /psk_key_exchange_modes =>/ {print /undefined/ ? "none" : "modes"; hello = 0}
        hello && /signature_algs/ {print "none"; hello = 0}' "$tmp/said" | tr '\n' ' ')
    resumed=$(sed -n 's/^resumed: //p' "$tmp/said")
    wanted='none modes true'
    [ $name != rustls ] || wanted='none none false'
    # shellcheck disable=SC2086
    printf '%-8s %-12s %-7s %s' $name $modes "$resumed"
    if [ "$modes$resumed" = "$wanted" ]; then echo; else echo '  UNEXPECTED'; failed=1; fi
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=
done
[ $failed = 0 ] && echo 'all as expected'
exit $failed
