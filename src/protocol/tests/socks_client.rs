//! SOCKS, a client's part.

use super::exchange::{Ends, Ev, Row, check};
use crate::protocol::{Dialogue, Side, Target, socks_client};
use Ends::{Fails, Next, Open};
use Ev::{B, BackEof};

fn name() -> Box<dyn Dialogue> {
    socks_client(Target::Name("www.test".to_owned(), 80))
}

const HELLO: &[u8] = &[5, 1, 0];
const BOTH: &[u8] = b"\x05\x01\0\x05\x01\0\x03\x08www.test\0\x50";
const METHOD: Ev = B(&[5, 0]);

#[test]
fn the_server_is_asked_for_a_name_and_its_reply_read() {
    let rows: &[Row] = &[
        (&[], b"", HELLO, Open),
        (&[METHOD], b"", BOTH, Open),
        (
            &[METHOD, B(b"\x05\0\0\x01\0\0\0\0\0\0")],
            b"",
            BOTH,
            Next(b"", b""),
        ),
        // Bytes behind the reply are data.
        (
            &[METHOD, B(b"\x05\0\0\x01\0\0\0\0\0\0hi\n")],
            b"",
            BOTH,
            Next(b"", b"hi\n"),
        ),
        (
            &[METHOD, B(b"\x05\0\0\x03\x01x\0\x50hi\n")],
            b"",
            BOTH,
            Next(b"", b"hi\n"),
        ),
        (
            &[
                METHOD,
                B(b"\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            ],
            b"",
            BOTH,
            Next(b"", b""),
        ),
        (
            &[METHOD, B(&[5, 5, 0, 1])],
            b"",
            BOTH,
            Fails("SOCKS5 request failed: Connection refused"),
        ),
        (
            &[METHOD, B(&[5, 2])],
            b"",
            BOTH,
            Fails("SOCKS5 request failed: Connection not allowed by ruleset"),
        ),
        (
            &[METHOD, B(&[5, 99])],
            b"",
            BOTH,
            Fails("SOCKS5 request failed: Unknown error 0x63"),
        ),
        // ssh -D gives no code.
        (
            &[METHOD, BackEof],
            b"",
            BOTH,
            Fails("SOCKS5 request failed: the server closed the connection instead of"),
        ),
        (
            &[METHOD, B(&[5, 0, 0, 1, 0]), BackEof],
            b"",
            BOTH,
            Fails("SOCKS5 request failed: the server closed"),
        ),
        (
            &[METHOD, B(&[5, 0, 0, 9, 0])],
            b"",
            BOTH,
            Fails("SOCKS5: the server replies with address type 0x09"),
        ),
        (
            &[B(&[5, 0xff])],
            b"",
            HELLO,
            Fails("No supported SOCKS5 authentication method received"),
        ),
        (
            &[B(b"HTTP/1.1 400\r\n")],
            b"",
            HELLO,
            Fails("Invalid SOCKS5 message version 0x48"),
        ),
        (
            &[BackEof],
            b"",
            HELLO,
            Fails("SOCKS5 request failed: the server closed"),
        ),
    ];
    check(name, rows);
    assert!(!name().hears(Side::Front));
}

#[test]
fn addresses_are_asked_for_by_their_bytes() {
    for (address, asked) in [
        (
            "192.0.2.7:443",
            &b"\x05\x01\0\x05\x01\0\x01\xc0\0\x02\x07\x01\xbb"[..],
        ),
        (
            "[2001:db8::7]:80",
            b"\x05\x01\0\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\0\x50",
        ),
    ] {
        let target = Target::Address(address.parse().unwrap());
        check(
            || socks_client(target.clone()),
            &[(&[METHOD], b"", asked, Open)],
        );
    }
    let long = Target::Name("x".repeat(256), 80);
    let row: &[Row] = &[(
        &[METHOD],
        b"",
        HELLO,
        Fails("SOCKS5: the name in protocolHost is too long"),
    )];
    check(|| socks_client(long.clone()), row);
}
