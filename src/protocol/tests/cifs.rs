//! CIFS.

use super::exchange::{Ends, Ev, Row, check};
use crate::config::{DialogueOptions, Protocol::Cifs};
use crate::protocol::dialogue;
use Ends::{Fails, Next, Open, Tls};
use Ev::{B, BackEof, F, FrontEof};

const ASKED: &[u8] = &[0x81, 0, 0, 0];
const YES: &[u8] = &[0x83, 0, 0, 1, 0x8e];

#[test]
fn the_servers_refusal_is_its_consent() {
    let rows: &[Row] = &[
        (&[], b"", ASKED, Open),
        (&[B(YES)], b"", ASKED, Next(b"", b"")),
        (
            &[B(&[0x82])],
            b"",
            ASKED,
            Fails("Negative response expected"),
        ),
        (
            &[B(&[0x83, 0, 0, 2])],
            b"",
            ASKED,
            Fails("Unexpected NetBIOS response size"),
        ),
        (
            &[B(&[0x83, 0, 0, 1, 0x81])],
            b"",
            ASKED,
            Fails("Remote server does not require TLS"),
        ),
        (
            &[B(&[0x83, 0]), BackEof],
            b"",
            ASKED,
            Fails("CIFS: the server closed"),
        ),
        (&[BackEof], b"", ASKED, Fails("CIFS: the server closed")),
        (
            &[B(&[0x83, 0, 0, 1, 0x8e, 1])],
            b"",
            ASKED,
            Fails("plaintext behind STARTTLS"),
        ),
    ];
    check(|| dialogue(Cifs, true, &DialogueOptions::default()), rows);
}

#[test]
fn a_clients_session_request_begins_tls() {
    const NAMED: &[u8] = b"\x81\0\0\x04name";
    const LONG: &[u8] = &[0x81, 0, 0, 125];
    let rows: &[Row] = &[
        (&[F(ASKED)], YES, b"", Tls(b"", b"")),
        (&[F(NAMED)], YES, b"", Tls(b"", b"")),
        (&[F(&[0x81, 0, 0])], b"", b"", Open),
        (&[F(LONG)], b"", b"", Fails("Received block too long")),
        (
            &[F(&[0x00, 0, 0, 0x85])],
            &[0x83, 0, 0, 1, 0x81],
            b"",
            Fails("Client did not send session setup"),
        ),
        (
            &[F(&[0x81, 0, 0, 4, 1]), FrontEof],
            b"",
            b"",
            Fails("CIFS: the client closed"),
        ),
        (&[FrontEof], b"", b"", Fails("CIFS: the client closed")),
        (
            &[F(&[0x81, 0, 0, 0, 0x16])],
            b"",
            b"",
            Fails("plaintext behind STARTTLS"),
        ),
    ];
    check(|| dialogue(Cifs, false, &DialogueOptions::default()), rows);
}
