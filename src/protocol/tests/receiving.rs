//! Clients of client mode that may begin TLS, ask for it, or go on in plain.

use super::Ev::{B, BackEof, F, FrontEof, T};
use super::{Ends, Row, check_each, fails, run};
use crate::config::{MailProtocol, Reception};
use crate::protocol::look::is_hello;
use crate::protocol::{HELLO_WAIT, look, receive};
use MailProtocol::{Imap, Pop3, Smtp};
use Reception::{Offered, Required};

fn handshake(front: &str, back: &str) -> Ends {
    Ends::Tls(front.to_owned(), back.to_owned())
}

fn plain(front: &str, back: &str) -> Ends {
    Ends::Next(front.to_owned(), back.to_owned())
}

fn check(reception: Reception, rows: &[Row]) {
    check_each(|| receive(reception, HELLO_WAIT, false), rows);
}

/// The beginning of a ClientHello.
const HELLO: &str = "\x16\x03\x01";

#[test]
fn a_hello_is_told_from_other_first_bytes() {
    for (words, wanted) in [
        (&b""[..], None),
        (b"\x16", None),
        (b"\x16\x03", Some(true)),
        (b"\x16\x03\x01\x00", Some(true)),
        (b"\x16\x02", Some(false)),
        (b"E", Some(false)),
        (b"\n", Some(false)),
        // In the form of SSLv2: of TLS 1.0, and of SSLv2 itself.
        (b"\x80", None),
        (b"\x80\x46", None),
        (b"\x80\x46\x01", None),
        (b"\x80\x46\x01\x03", Some(true)),
        (b"\x81\x00\x01\x03\x01", Some(true)),
        (b"\x80\x2e\x01\x00\x02", Some(true)),
        (b"\x80\x46\x02", Some(false)),
        (b"\x80\x46\x01\x04", Some(false)),
        // Telnet: IAC WILL ECHO, IAC.
        (b"\xff\xfb\x01\xff", Some(false)),
    ] {
        assert_eq!(is_hello(words), wanted, "{words:x?}");
    }
}

#[test]
fn before_the_server_is_connected_only_the_moment_counts() {
    check_each(
        || look(HELLO_WAIT),
        &[
            (&[], "", "", Ends::Open),
            (&[F(HELLO)], "", "", handshake(HELLO, "")),
            (&[F("GET /")], "", "", plain("GET /", "")),
            (&[T], "", "", plain("", "")),
            (&[F("\x16"), T], "", "", plain("\x16", "")),
            (&[FrontEof], "", "", plain("", "")),
        ],
    );
}

#[test]
fn without_a_known_protocol_the_first_words_decide() {
    check(
        Offered(None),
        &[
            (&[], "", "", Ends::Open),
            (&[F(HELLO)], "", "", handshake(HELLO, "")),
            (&[F("GET /")], "", "", plain("GET /", "")),
            // The server's words wait for the moment to be over.
            (&[B("hello")], "", "", Ends::Open),
            (&[B("hello"), T], "", "", plain("", "hello")),
            (&[B("hello"), F(HELLO)], "", "", handshake(HELLO, "hello")),
            // Both are silent: a hello is as welcome as before.
            (&[T], "", "", Ends::Open),
            (&[T, F(HELLO)], "", "", handshake(HELLO, "")),
            (&[T, F("GET /")], "", "", plain("GET /", "")),
            (&[T, B("hello")], "", "", plain("", "hello")),
            // A request of one byte that a hello has too.
            (&[F("\x16")], "", "", Ends::Open),
            (&[F("\x16"), T], "", "", plain("\x16", "")),
            (&[FrontEof], "", "", plain("", "")),
            (&[F("\x16"), FrontEof], "", "", plain("\x16", "")),
            (&[BackEof], "", "", Ends::Open),
            (&[BackEof, T], "", "", plain("", "")),
        ],
    );
}

#[test]
fn smtp_clients_ask_for_tls_or_go_on_in_plain() {
    let hi = "220 mx ESMTP\r\n";
    check(
        Offered(Some(Smtp)),
        &[
            (&[F(HELLO)], "", "", handshake(HELLO, "")),
            (&[B("220 mx ESMTP\r\n")], "", "", Ends::Open),
            (
                &[B("220 mx ESMTP\r\n"), F(HELLO)],
                "",
                "",
                handshake(HELLO, "220 mx ESMTP\r\n"),
            ),
            (&[B("220 mx ESMTP\r\n"), T], hi, "", Ends::Open),
            (
                &[T, F("EHLO a\r\n"), B("220 mx ESMTP\r\n")],
                hi,
                "EHLO a\r\n",
                Ends::Open,
            ),
            // The server's own list, and the offer behind its first line.
            (
                &[
                    T,
                    B("220 mx ESMTP\r\n"),
                    F("EHLO a\r\n"),
                    B("250-mx hi\r\n250-SIZE 10\r\n250 AUTH PLAIN\r\n"),
                    F("STARTTLS\r\n"),
                ],
                "220 mx ESMTP\r\n250-mx hi\r\n250-STARTTLS\r\n250-SIZE 10\r\n250 AUTH PLAIN\r\n220 Go ahead\r\n",
                "EHLO a\r\n",
                handshake("", ""),
            ),
            (
                &[T, B("220 mx\r\n"), F("ehlo a\r\n"), B("250 mx\r\n")],
                "220 mx\r\n250-mx\r\n250 STARTTLS\r\n",
                "ehlo a\r\n",
                Ends::Open,
            ),
            (
                &[
                    T,
                    B("220 mx\r\n"),
                    F("EHLO\r\n"),
                    B("501 no\r\n"),
                    F("HELO a\r\n"),
                    B("250 mx\r\n"),
                ],
                "220 mx\r\n501 no\r\n250 mx\r\n",
                "EHLO\r\nHELO a\r\n",
                Ends::Open,
            ),
            (
                &[T, B("220-mx\r\n220 hi\r\n"), F("starttls \r\n")],
                "220-mx\r\n220 hi\r\n220 Go ahead\r\n",
                "",
                handshake("", ""),
            ),
            (
                &[T, B("220 mx\r\n"), F("STARTTLS now\r\n")],
                "220 mx\r\n501 Syntax error (no parameters allowed)\r\n",
                "",
                Ends::Open,
            ),
            // In plain, with nothing lost.
            (
                &[
                    T,
                    B("220 mx\r\n"),
                    F("EHLO a\r\nMAIL FROM:<x>\r\nRCPT"),
                    B("250 mx\r\n250 extra"),
                ],
                "220 mx\r\n250-mx\r\n250 STARTTLS\r\n",
                "EHLO a\r\n",
                plain("MAIL FROM:<x>\r\nRCPT", "250 extra"),
            ),
            (
                &[T, B("220 mx\r\n"), F("QUIT\r\n")],
                "220 mx\r\n",
                "",
                plain("QUIT\r\n", ""),
            ),
            (
                &[T, B("220 mx\r\n"), F("NOOP\r\n"), FrontEof],
                "220 mx\r\n",
                "NOOP\r\n",
                plain("", ""),
            ),
            (
                &[T, B("220 mx\r\n"), F("EHLO")],
                "220 mx\r\n",
                "",
                Ends::Open,
            ),
            (
                &[T, B("220 mx\r\n"), F("EHLO"), FrontEof],
                "220 mx\r\n",
                "",
                plain("EHLO", ""),
            ),
            (&[T, B("554 no\r\n")], "554 no\r\n", "", plain("", "")),
            // No SMTP at all.
            (
                &[T, B("SSH-2.0-x\r\nmore")],
                "SSH-2.0-x\r\n",
                "",
                plain("", "more"),
            ),
            (&[T, B("prompt>"), BackEof], "", "", plain("", "prompt>")),
            // The server goes while a command is awaited.
            (
                &[T, B("220 mx\r\n"), B("421 idle\r\n"), BackEof],
                "220 mx\r\n421 idle\r\n",
                "",
                plain("", ""),
            ),
            (
                &[T, B("220 mx\r\n"), F("STARTTLS\r\nMAIL FROM:<x>\r\n")],
                "220 mx\r\n",
                "",
                fails("plaintext behind STARTTLS: the smtp client"),
            ),
            (
                &[T, B("220 mx\r\n"), F(HELLO)],
                "220 mx\r\n",
                "",
                fails(
                    "STARTTLS expected: the smtp client began TLS only after it had been greeted",
                ),
            ),
        ],
    );
}

#[test]
fn pop3_clients_ask_for_tls_or_go_on_in_plain() {
    check(
        Offered(Some(Pop3)),
        &[
            (
                &[B("+OK <1@x>\r\n"), F(HELLO)],
                "",
                "",
                handshake(HELLO, "+OK <1@x>\r\n"),
            ),
            (
                &[
                    T,
                    B("+OK <1@x>\r\n"),
                    F("CAPA\r\n"),
                    B("+OK list\r\nUSER\r\nSASL PLAIN\r\n.\r\n"),
                    F("stls\r\n"),
                ],
                "+OK <1@x>\r\n+OK list\r\nSTLS\r\nUSER\r\nSASL PLAIN\r\n.\r\n+OK Begin TLS negotiation\r\n",
                "CAPA\r\n",
                handshake("", ""),
            ),
            (
                &[
                    T,
                    B("+OK\r\n"),
                    F("CAPA\r\n"),
                    B("-ERR what\r\n"),
                    F("STLS\r\n"),
                ],
                "+OK\r\n-ERR what\r\n+OK Begin TLS negotiation\r\n",
                "CAPA\r\n",
                handshake("", ""),
            ),
            (
                &[
                    T,
                    B("+OK\r\n"),
                    F("NOOP\r\n"),
                    B("+OK\r\n"),
                    F("APOP anna 12\r\n"),
                ],
                "+OK\r\n+OK\r\n",
                "NOOP\r\n",
                plain("APOP anna 12\r\n", ""),
            ),
            (
                &[T, B("+OK\r\n"), F("USER anna\r\nPASS x\r\n")],
                "+OK\r\n",
                "",
                plain("USER anna\r\nPASS x\r\n", ""),
            ),
            (&[T, B("-ERR busy\r\n")], "-ERR busy\r\n", "", plain("", "")),
        ],
    );
}

#[test]
fn imap_clients_ask_for_tls_or_go_on_in_plain() {
    check(
        Offered(Some(Imap)),
        &[
            (
                &[B("* OK hi\r\n"), F(HELLO)],
                "",
                "",
                handshake(HELLO, "* OK hi\r\n"),
            ),
            (
                &[
                    T,
                    B("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"),
                    F("a STARTTLS\r\n"),
                ],
                "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS] hi\r\na OK Begin TLS negotiation now\r\n",
                "",
                handshake("", ""),
            ),
            (
                &[
                    T,
                    B("* OK hi\r\n"),
                    F("a1 CAPABILITY\r\n"),
                    B("* CAPABILITY IMAP4rev1 IDLE\r\na1 OK done\r\n"),
                    F("a2 ID NIL\r\n"),
                    B("* ID NIL\r\na2 OK done\r\n"),
                    F("a3 starttls\r\n"),
                ],
                "* OK hi\r\n* CAPABILITY IMAP4rev1 IDLE STARTTLS\r\na1 OK done\r\n\
                 * ID NIL\r\na2 OK done\r\na3 OK Begin TLS negotiation now\r\n",
                "a1 CAPABILITY\r\na2 ID NIL\r\n",
                handshake("", ""),
            ),
            // An offer that is there is not repeated.
            (
                &[
                    T,
                    B("* OK hi\r\n"),
                    F("a CAPABILITY\r\n"),
                    B("* CAPABILITY starttls X\r\n"),
                ],
                "* OK hi\r\n* CAPABILITY starttls X\r\n",
                "a CAPABILITY\r\n",
                Ends::Open,
            ),
            (
                &[
                    T,
                    B("* OK hi\r\n"),
                    B("* OK still here\r\n"),
                    F("a LOGIN x y\r\n"),
                ],
                "* OK hi\r\n* OK still here\r\n",
                "",
                plain("a LOGIN x y\r\n", ""),
            ),
            // A literal need not be lines, on either side.
            (
                &[T, B("* OK hi\r\n"), F("a ID (\"name\" {3}\r\n")],
                "* OK hi\r\n",
                "",
                plain("a ID (\"name\" {3}\r\n", ""),
            ),
            (
                &[
                    T,
                    B("* OK hi\r\n"),
                    F("a ID NIL\r\n"),
                    B("* ID (\"name\" {9}\r\na OK x"),
                ],
                "* OK hi\r\n* ID (\"name\" {9}\r\n",
                "a ID NIL\r\n",
                plain("", "a OK x"),
            ),
            (
                &[T, B("* PREAUTH root\r\n")],
                "* PREAUTH root\r\n",
                "",
                plain("", ""),
            ),
            (
                &[T, B("* BYE busy\r\n")],
                "* BYE busy\r\n",
                "",
                plain("", ""),
            ),
            (
                &[T, B("* OK hi\r\n"), F("junk\r\n")],
                "* OK hi\r\n",
                "",
                plain("junk\r\n", ""),
            ),
        ],
    );
}

#[test]
fn where_tls_is_required_other_commands_are_refused() {
    check(
        Required(Smtp),
        &[
            (&[F(HELLO)], "", "", handshake(HELLO, "")),
            (&[T], "", "", Ends::Open),
            (&[T, F(HELLO)], "", "", handshake(HELLO, "")),
            (
                &[
                    T,
                    B("220 mx ESMTP\r\n"),
                    F("EHLO a\r\nMAIL FROM:<x>\r\n"),
                    F("STARTTLS\r\n"),
                ],
                "220 mx ESMTP\r\n250-mx\r\n250 STARTTLS\r\n530 5.7.0 Must issue a STARTTLS command first\r\n220 Go ahead\r\n",
                "",
                handshake("", ""),
            ),
            (
                &[T, B("220 mx\r\n"), F("QUIT\r\n")],
                "220 mx\r\n221 mx closing connection\r\n",
                "QUIT\r\n",
                Ends::Bye,
            ),
            (
                &[T, B("220 mx\r\n"), F(HELLO)],
                "220 mx\r\n",
                "",
                fails(
                    "STARTTLS expected: the smtp client began TLS only after it had been greeted",
                ),
            ),
            (
                &[T, B("220 mx\r\n"), FrontEof],
                "220 mx\r\n",
                "",
                fails("Client closed before TLS"),
            ),
        ],
    );
    check(
        Required(Pop3),
        &[
            (
                &[B("+OK x\r\n"), F(HELLO)],
                "",
                "",
                handshake(HELLO, "+OK x\r\n"),
            ),
            (
                &[T, B("+OK x\r\n"), F("USER anna\r\n"), F("STLS\r\n")],
                "+OK x\r\n-ERR Must issue an STLS command first\r\n+OK Begin TLS negotiation\r\n",
                "",
                handshake("", ""),
            ),
        ],
    );
    check(
        Required(Imap),
        &[
            (
                &[B("* OK x\r\n"), F(HELLO)],
                "",
                "",
                handshake(HELLO, "* OK x\r\n"),
            ),
            (
                &[
                    T,
                    B("* OK [CAPABILITY IMAP4rev1] x\r\n"),
                    F("a LOGIN x y\r\n"),
                    F("b STARTTLS\r\n"),
                ],
                "* OK x\r\na NO [PRIVACYREQUIRED] Must issue a STARTTLS command first\r\nb OK Begin TLS negotiation now\r\n",
                "",
                handshake("", ""),
            ),
        ],
    );
}

#[test]
fn what_is_no_dialogue_goes_on_in_plain_before_it_fills_the_memory() {
    let endless: &'static str = Box::leak("x".repeat(100_000).into_boxed_str());
    for (before, flood) in [
        (&[][..], B(endless)),
        (&[T], B(endless)),
        (&[T, B("220 x\r\n")], B(endless)),
        (&[T, B("220 x\r\n")], F(endless)),
        // Ahead of the reply.
        (&[T, B("220 x\r\n"), F("EHLO a\r\n")], F(endless)),
    ] {
        let events = [before, &[flood]].concat();
        for piece in [1000, usize::MAX] {
            let dialogue = receive(Offered(Some(Smtp)), HELLO_WAIT, false);
            let (_, ended) = run(dialogue, &events, |_| piece);
            assert!(matches!(ended, Ends::Next(..)), "{before:?}");
        }
    }
    // A client that only ever says NOOP.
    let mut events = vec![T, B("220 x\r\n")];
    for _ in 0..100 {
        events.extend([F("NOOP\r\n"), B("250 OK\r\n")]);
    }
    let (said, ended) = run(
        receive(Offered(Some(Smtp)), HELLO_WAIT, false),
        &events,
        |n| n,
    );
    let Ends::Next(front, back) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(said.back.len() + front.len(), 600);
    assert_eq!(said.front.len() + back.len(), 7 + 800);
}
