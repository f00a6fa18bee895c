#!/bin/sh
# Does a TLS 1.2 client of s2n-tls 0.3.47 shake hands with OpenSSL's server by DHE?
#
# One would guess always, or never. What was seen: about one handshake of 256 fails, with the server's alert 20,
# bad_record_mac, for the client's Finished. RFC 5246, section 8.1.2, has leading zero bytes of the Diffie-Hellman
# secret stripped before it becomes the premaster secret, and so OpenSSL does; s2n (s2n_dh_pad_shared_secret in
# crypto/s2n_dhe.c) fills it up to the length of the prime, so that the two go on with different keys whenever the
# secret begins with a zero. With RSA key exchange, the same cipher and the same MAC, no handshake fails; nor did one of
# 2500 with DHE where s2n was built without the filling.
#
# The prime of OpenSSL's server begins with 64 set bits, so the chance is 1 in 256 each time. The script goes on until
# three handshakes have failed, and takes it for a change if that needs more than 5000 of them (chance, with things as
# they were: 7 in 10 million) or fewer than 10 (5 in a million). That is some 770 handshakes, with the build a few
# minutes.
#
# Needs Debian 12 (apt, dpkg-deb) and cargo 1.91 with a C compiler. Prints a table and fails if s2n behaves otherwise.
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
s2n-tls = "=0.3.47"
s2n-tls-sys = "=0.3.47"
aws-lc-rs = "=1.19.0"
aws-lc-sys = "=0.47.0"
TOML
cat >"$tmp/client/src/main.rs" <<'RUST'
//! client ADDRESS SUITE HANDSHAKES FAILURES: shakes hands so many times, stops early at so many failures by alert 20.
//! Prints the number of handshakes, then the numbers of those that failed.
use std::ffi::{c_int, c_void};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::task::Poll;
use std::time::Duration;

use s2n_tls::{config::Config, connection::Connection, enums::Blinding, security::Policy};

const BAD_RECORD_MAC: u8 = 20;

unsafe extern "C" fn receive(stream: *mut c_void, to: *mut u8, length: u32) -> c_int {
    // SAFETY: `fails` gives the stream, s2n the buffer.
    let (mut stream, to) =
        unsafe { (&*stream.cast::<TcpStream>(), std::slice::from_raw_parts_mut(to, length as usize)) };
    stream.read(to).map_or(-1, |length| length as c_int)
}

unsafe extern "C" fn send(stream: *mut c_void, from: *const u8, length: u32) -> c_int {
    // SAFETY: as above.
    let (mut stream, from) =
        unsafe { (&*stream.cast::<TcpStream>(), std::slice::from_raw_parts(from, length as usize)) };
    stream.write(from).map_or(-1, |length| length as c_int)
}

/// Whether the server refuses the client's Finished. Other errors end the program.
fn fails(config: &Config, address: &str, suite: &str) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut client = Connection::new_client();
    client.set_config(config.clone()).unwrap();
    // Otherwise s2n waits for half a minute after a failure.
    client.set_blinding(Blinding::SelfService).unwrap();
    client.set_receive_callback(Some(receive)).unwrap();
    client.set_send_callback(Some(send)).unwrap();
    let context = (&raw mut stream).cast();
    // SAFETY: the stream outlives the handshake, and nothing is sent or received after that.
    unsafe { client.set_receive_context(context).unwrap().set_send_context(context).unwrap() };
    let Poll::Ready(result) = client.poll_negotiate().map_ok(drop) else { panic!("the server is silent") };
    match result {
        Ok(()) => {
            assert_eq!(client.cipher_suite().unwrap(), suite);
            false
        }
        Err(_) if client.alert() == Some(BAD_RECORD_MAC) => true,
        Err(error) => panic!("another error: {error}; alert {:?}", client.alert()),
    }
}

fn main() {
    let [address, suite, handshakes, failures] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else {
        panic!("four arguments")
    };
    let (handshakes, failures): (u32, usize) = (handshakes.parse().unwrap(), failures.parse().unwrap());
    let mut config = Config::builder();
    // TLS 1.0 to 1.2; DHE and RSA.
    config.set_security_policy(&Policy::from_version("20141001").unwrap()).unwrap();
    // SAFETY: the server's certificate is thrown away after this.
    unsafe { config.disable_x509_verification().unwrap() };
    let config = config.build().unwrap();
    let mut failed = Vec::new();
    let mut done = 0;
    while done < handshakes && failed.len() < failures {
        done += 1;
        if fails(&config, address, suite) {
            failed.push(done.to_string());
        }
    }
    println!("{done} {}", failed.join(" "));
}
RUST
(cd "$tmp/client" && CARGO_TARGET_DIR=$tmp/target cargo build -q --release 2>"$tmp/cargo.log") ||
    { tail -n 20 "$tmp/cargo.log"; echo "the client cannot be built"; exit 2; }

LD_LIBRARY_PATH=$tmp/root/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH
export OPENSSL_CONF=/dev/null
openssl=$tmp/root/usr/bin/openssl
"$openssl" req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/key" -out "$tmp/cert" -subj /CN=localhost 2>/dev/null

failed=0
# expect SUITE HANDSHAKES FAILURES: so many failures, which take at least 10 handshakes and at most so many.
expect() {
    : >"$tmp/served"
    "$openssl" s_server -accept 127.0.0.1:0 -tls1_2 -cipher "$1" -cert "$tmp/cert" -key "$tmp/key" -rev \
        >"$tmp/served" 2>&1 &
    server=$!
    until grep -q '^ACCEPT ' "$tmp/served"; do
        kill -0 $server 2>/dev/null || { tail -n 3 "$tmp/served"; exit 2; }
    done
    address=$(sed -n 's/^ACCEPT //p' "$tmp/served")
    # Three failures end it, also where none is expected.
    "$tmp/target/release/client" "$address" "$1" "$2" 3 >"$tmp/said" 2>&1 ||
        { tail -n 5 "$tmp/said"; echo "$1: neither a handshake nor alert 20"; exit 1; }
    kill $server 2>/dev/null || true
    wait $server 2>/dev/null || true
    server=
    read -r handshakes which <"$tmp/said"
    # shellcheck disable=SC2086
    set -- "$1" "$2" "$3" $which
    suite=$1 wanted=$3
    shift 3
    verdict='as expected'
    if [ $# != "$wanted" ] || [ "$handshakes" -lt 10 ]; then verdict="EXPECTED $wanted" failed=1; fi
    printf '%-22s %10s %6s %-18s %s\n' "$suite" "$handshakes" $# "${which:--}" "$verdict"
}
printf '%-22s %10s %6s %s\n' suite handshakes failed 'these, by alert 20'
expect AES128-SHA256 3000 0
expect DHE-RSA-AES128-SHA256 5000 3
[ $failed = 0 ] && echo "all as expected"
exit $failed
