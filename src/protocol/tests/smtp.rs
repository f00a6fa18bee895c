//! SMTP.

use super::Ev::{B, BackEof, F, FrontEof, T};
use super::{Ends, Row, check, fails, tls};
use crate::config::Protocol::Smtp;

#[test]
fn smtp_client_mode() {
    let odd = "421 4.3.2 adit: Unexpected server response\r\n";
    let closed = "421 4.3.2 adit: Server closed the connection\r\n";
    let greeting = "220 mx ESMTP\r\n";
    let asked = "EHLO localhost\r\nSTARTTLS\r\n";
    let rows: &[Row] = &[
        (
            &[
                B("220 mx ESMTP\r\n"),
                B("250-mx\r\n250 STARTTLS\r\n"),
                B("220 go\r\n"),
            ],
            greeting,
            asked,
            tls("", ""),
        ),
        // bare LF, codes without text, answers of several lines, an offer that lacks STARTTLS
        (
            &[B("220-mx\n220\n250\n220-go\n220 ahead\n")],
            "220-mx\r\n220\r\n",
            asked,
            tls("", ""),
        ),
        // the client's words are kept, before, between and with its half closed
        (
            &[
                F("EHLO pc\r\n"),
                B("220 mx ESMTP\r\n250 mx\r\n220 go\r\n"),
                F("NOOP\r\n"),
            ],
            greeting,
            asked,
            tls("EHLO pc\r\nNOOP\r\n", ""),
        ),
        (
            &[
                B("220 mx ESMTP\r\n"),
                F("QUIT\r\n"),
                FrontEof,
                B("250 mx\r\n220 go\r\n"),
            ],
            greeting,
            asked,
            tls("QUIT\r\n", ""),
        ),
        (
            &[T, B("220 mx ESMTP\r\n250 mx\r\n220 go\r\n")],
            greeting,
            asked,
            tls("", ""),
        ),
        (
            &[B("220 mx ESMTP\r\n250 mx\r\n220 go\r\n250 injected\r\n")],
            greeting,
            asked,
            fails("plaintext behind STARTTLS: the smtp server"),
        ),
        (
            &[B("220 mx ESMTP\r\n250 mx\r\n220 go\r\n2")],
            greeting,
            asked,
            fails("plaintext behind STARTTLS: the smtp server"),
        ),
        // refusals
        (
            &[B("554-no\r\n554 service\r\n")],
            "554-no\r\n",
            "",
            fails(
                "Unknown server welcome: the smtp server refused: a greeting (220) was expected, it said \"554-no\"",
            ),
        ),
        (
            &[B("421 busy\r\n"), BackEof],
            "421 busy\r\n",
            "",
            fails("Unknown server welcome"),
        ),
        (
            &[B("220 mx ESMTP\r\n"), B("502 what?\r\n")],
            "220 mx ESMTP\r\n421 4.3.2 adit: Server does not support TLS\r\n",
            "EHLO localhost\r\n",
            fails("Remote server is not RFC 1425 compliant: the smtp server refused"),
        ),
        (
            &[B("220 mx ESMTP\r\n250 mx\r\n454 TLS not available\r\n")],
            "220 mx ESMTP\r\n421 4.3.2 adit: Server does not support TLS\r\n",
            asked,
            fails(
                "Remote server is not RFC 2487 compliant: the smtp server refused: the answer to STARTTLS (220) was expected, it said \"454 TLS not available\"",
            ),
        ),
        (
            &[B("220 mx ESMTP\r\n250 mx\r\n220-go\r\n250 no\r\n")],
            "220 mx ESMTP\r\n421 4.3.2 adit: Server does not support TLS\r\n",
            asked,
            fails("Remote server is not RFC 2487 compliant"),
        ),
        // nonsense
        (
            &[B("* OK imap\r\n")],
            odd,
            "",
            fails("Unknown server welcome: the server does not speak smtp"),
        ),
        (
            &[B("\r\n")],
            odd,
            "",
            fails("Unknown server welcome: the server does not speak smtp"),
        ),
        (
            &[B("2200 mx\r\n")],
            odd,
            "",
            fails("Unknown server welcome: the server does not speak smtp"),
        ),
        (
            &[B("\x16\x03\x01\x1b[31m\u{7}no\n")],
            odd,
            "",
            fails(
                "Unknown server welcome: the server does not speak smtp: a greeting (220) was expected, it said \"[31mno\"",
            ),
        ),
        // either end closes, at each point
        (
            &[BackEof],
            closed,
            "",
            fails(
                "Server closed before TLS: the smtp server closed the connection where a greeting (220) was expected",
            ),
        ),
        (
            &[B("220 mx ESM"), BackEof],
            closed,
            "",
            fails("Server closed before TLS"),
        ),
        (
            &[B("220 mx ESMTP\r\n"), BackEof],
            "220 mx ESMTP\r\n421 4.3.2 adit: Server closed the connection\r\n",
            "EHLO localhost\r\n",
            fails(
                "Server closed before TLS: the smtp server closed the connection where the answer to EHLO (250) was expected",
            ),
        ),
        (
            &[B("220 mx ESMTP\r\n250 mx\r\n"), BackEof],
            "220 mx ESMTP\r\n421 4.3.2 adit: Server closed the connection\r\n",
            asked,
            fails(
                "Server closed before TLS: the smtp server closed the connection where the answer to STARTTLS (220) was expected",
            ),
        ),
        (
            &[FrontEof],
            "",
            "",
            fails("No greeting before TLS: the smtp server had said nothing when"),
        ),
        (
            &[B("220 mx ESMTP\r\n"), FrontEof],
            greeting,
            "EHLO localhost\r\n",
            fails("Client closed before TLS: the smtp client"),
        ),
        (
            &[B("220 mx ESMTP\r\n250 mx\r\n"), FrontEof],
            greeting,
            asked,
            fails("Client closed before TLS"),
        ),
    ];
    check(Smtp, true, None, rows);
}

#[test]
fn smtp_client_mode_says_protocol_host() {
    check(
        Smtp,
        true,
        Some("pc.example"),
        &[(
            &[B("220 mx\r\n250 mx\r\n220 go\r\n")],
            "220 mx\r\n",
            "EHLO pc.example\r\nSTARTTLS\r\n",
            tls("", ""),
        )],
    );
    check(
        Smtp,
        true,
        Some("pc\r\nMAIL FROM:<x>"),
        &[(
            &[B("220 mx\r\n")],
            "220 mx\r\n",
            "EHLO pcMAIL FROM:<x>\r\n",
            Ends::Open,
        )],
    );
}

#[test]
fn smtp_server_mode() {
    let up = "220 mx ESMTP hello\r\n";
    check(
        Smtp,
        false,
        None,
        &[
            // TLS at once, with and without the server's greeting
            (
                &[F("\x16\x03\x01hello")],
                "",
                "",
                tls("\x16\x03\x01hello", ""),
            ),
            (
                &[B("220 mx\r\n"), F("\x16\x03\x01"), T],
                "",
                "",
                tls("\x16\x03\x01", "220 mx\r\n"),
            ),
            (
                &[B("421 busy\r\n"), BackEof, F("\x16\x03\x01")],
                "",
                "",
                tls("\x16\x03\x01", "421 busy\r\n"),
            ),
            (&[B("220 mx ESMTP hello\r\n")], "", "", Ends::Open),
            // STARTTLS
            (
                &[
                    B("220 mx ESMTP hello\r\n"),
                    T,
                    F("EHLO pc\r\n"),
                    F("STARTTLS\r\n"),
                ],
                "220 mx ESMTP hello\r\n250-mx\r\n250 STARTTLS\r\n220 Go ahead\r\n",
                "",
                tls("", ""),
            ),
            (
                &[
                    T,
                    B("220-mx ESMTP\r\n220-more\r\n220 end\r\n"),
                    F("ehlo pc\nstarttls \n"),
                ],
                "220-mx ESMTP\r\n220-more\r\n220 end\r\n250-mx\r\n250 STARTTLS\r\n220 Go ahead\r\n",
                "",
                tls("", ""),
            ),
            (
                &[T, B("220\r\n"), F("EHLO pc\r\n")],
                "220\r\n250-localhost\r\n250 STARTTLS\r\n",
                "",
                Ends::Open,
            ),
            // a client that does not wait for the greeting is no TLS client; what the server says
            // behind its greeting waits for TLS
            (
                &[
                    F("EHLO pc\r\n"),
                    B("220 mx\r\n421 bored\r\n"),
                    F("STARTTLS\r\n"),
                ],
                "220 mx\r\n250-mx\r\n250 STARTTLS\r\n220 Go ahead\r\n",
                "",
                tls("", "421 bored\r\n"),
            ),
            (
                &[
                    T,
                    B("220 mx\r\n"),
                    F(
                        "HELO pc\r\nNOOP\r\nRSET\r\nSTARTTLS now\r\nAUTH PLAIN AHgAeQ==\r\nMAIL FROM:<x@y>\r\n\r\nQUIT\r\n",
                    ),
                ],
                "220 mx\r\n250 mx\r\n250 OK\r\n250 OK\r\n501 Syntax error (no parameters allowed)\r\n530 5.7.0 Must issue a STARTTLS command first\r\n530 5.7.0 Must issue a STARTTLS command first\r\n530 5.7.0 Must issue a STARTTLS command first\r\n221 mx closing connection\r\n",
                "QUIT\r\n",
                Ends::Bye,
            ),
            (
                &[F("QUIT\r\n"), FrontEof, B("220 mx\r\n")],
                "220 mx\r\n221 mx closing connection\r\n",
                "QUIT\r\n",
                Ends::Bye,
            ),
            // injection, TLS too late
            (
                &[T, B("220 mx\r\n"), F("STARTTLS\r\nMAIL FROM:<x@y>\r\n")],
                "220 mx\r\n",
                "",
                fails("plaintext behind STARTTLS: the smtp client"),
            ),
            (
                &[T, B("220 mx\r\n"), F("STARTTLS\r\n\r")],
                "220 mx\r\n",
                "",
                fails("plaintext behind STARTTLS: the smtp client"),
            ),
            (
                &[T, B("220 mx\r\n"), F("\x16\x03\x01")],
                "220 mx\r\n",
                "",
                fails("STARTTLS expected: the smtp client began TLS"),
            ),
            // refusals and nonsense of the server
            (
                &[B("554 no\r\n"), T],
                "554 no\r\n",
                "",
                fails("Unknown server welcome: the smtp server refused"),
            ),
            (
                &[B("+OK\r\n"), T],
                "421 4.3.2 adit: Unexpected server response\r\n",
                "",
                fails("Unknown server welcome: the server does not speak smtp"),
            ),
            // either end closes, at each point
            (&[BackEof], "", "", Ends::Open),
            (
                &[BackEof, T],
                "421 4.3.2 adit: Server closed the connection\r\n",
                "",
                fails("Server closed before TLS"),
            ),
            (
                &[T, B("220 mx ESMTP hello\r\n"), BackEof],
                "220 mx ESMTP hello\r\n421 4.3.2 adit: Server closed the connection\r\n",
                "",
                fails(
                    "Server closed before TLS: the smtp server closed the connection where the client's STARTTLS was expected",
                ),
            ),
            (&[FrontEof], "", "", fails("No greeting before TLS")),
            (&[T, FrontEof], "", "", fails("No greeting before TLS")),
            (
                &[T, B("220 mx ESMTP hello\r\n"), FrontEof],
                up,
                "",
                fails("Client closed before TLS"),
            ),
            (
                &[T, B("220 mx ESMTP hello\r\n"), F("STARTT"), FrontEof],
                up,
                "",
                fails("Client closed before TLS"),
            ),
        ],
    );
}
