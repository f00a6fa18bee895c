//! IMAP.

use super::Ev::{B, BackEof, F, FrontEof, T};
use super::{Ends, check, fails, tls};
use crate::config::Protocol::Imap;

#[test]
fn imap_client_mode() {
    let ok = "* OK Connected.\r\n";
    let asked = "adit STARTTLS\r\n";
    let refused = "* OK Connected.\r\n* BYE adit: Server does not support TLS\r\n";
    let odd = "* BYE adit: Unexpected server response\r\n";
    check(
        Imap,
        true,
        None,
        &[
            (
                &[
                    B("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\r\n"),
                    B("adit OK go\r\n"),
                ],
                ok,
                asked,
                tls("", ""),
            ),
            (
                &[B("* OK hi\r\n* OK still here\r\nADIT OK go\r\n")],
                "* OK Connected.\r\n* BYE adit: Unexpected server response\r\n",
                asked,
                fails("Server does not support TLS: the server does not speak imap"),
            ),
            (
                &[
                    B("* OK hi\r\n"),
                    F("a LOGIN x y\r\n"),
                    B("* CAPABILITY X\r\nadit ok\r\n"),
                ],
                ok,
                asked,
                tls("a LOGIN x y\r\n", ""),
            ),
            (
                &[B("* OK hi\r\nadit OK go\r\na OK injected\r\n")],
                ok,
                asked,
                fails("plaintext behind STARTTLS: the imap server"),
            ),
            (
                &[B("* BYE busy\r\n")],
                "* BYE busy\r\n",
                "",
                fails("Unknown server welcome: the imap server refused"),
            ),
            (
                &[B("* PREAUTH root\r\n")],
                odd,
                "",
                fails(
                    "Unknown server welcome: the server does not speak imap: a greeting (* OK) was expected, it said \"* PREAUTH root\"",
                ),
            ),
            (&[B("220 mx\r\n")], odd, "", fails("Unknown server welcome")),
            (
                &[B("* OK hi\r\nadit NO never\r\n")],
                refused,
                asked,
                fails(
                    "Server does not support TLS: the imap server refused: the answer to STARTTLS (OK) was expected, it said \"adit NO never\"",
                ),
            ),
            (
                &[B("* OK hi\r\nadit BAD what\r\n")],
                refused,
                asked,
                fails("Server does not support TLS: the imap server refused"),
            ),
            (
                &[B("* OK hi\r\n* BYE bored\r\n")],
                refused,
                asked,
                fails("Server does not support TLS: the imap server refused"),
            ),
            (
                &[BackEof],
                "* BYE adit: Server closed the connection\r\n",
                "",
                fails("Server closed before TLS: the imap server"),
            ),
            (
                &[B("* OK hi\r\n"), BackEof],
                "* OK Connected.\r\n* BYE adit: Server closed the connection\r\n",
                asked,
                fails(
                    "Server closed before TLS: the imap server closed the connection where the answer to STARTTLS (OK) was expected",
                ),
            ),
            (&[FrontEof], "", "", fails("No greeting before TLS")),
            (
                &[B("* OK hi\r\n"), FrontEof],
                ok,
                asked,
                fails("Client closed before TLS"),
            ),
        ],
    );
}

#[test]
fn imap_server_mode() {
    let asked = "adit CAPABILITY\r\n";
    check(
        Imap,
        false,
        None,
        &[
            (
                &[F("\x16\x03\x01hello"), T],
                "",
                "",
                tls("\x16\x03\x01hello", ""),
            ),
            (
                &[B("* OK hi\r\n"), F("\x16")],
                "",
                "",
                tls("\x16", "* OK hi\r\n"),
            ),
            (
                &[
                    B("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi there\r\n"),
                    T,
                    F("a STARTTLS\r\n"),
                ],
                "* OK hi there\r\na OK Begin TLS negotiation now\r\n",
                "",
                tls("", ""),
            ),
            (
                &[
                    T,
                    B("* OK [CAPABILITY IMAP4rev1]\r\n"),
                    F("a1 starttls\r\n"),
                ],
                "* OK Connected.\r\na1 OK Begin TLS negotiation now\r\n",
                "",
                tls("", ""),
            ),
            (
                &[
                    T,
                    B("* OK hi\r\n"),
                    F("a CAPABILITY\r\nb STARTTLS\r\n"),
                    B("* CAPABILITY IMAP4rev1 AUTH=PLAIN IDLE\r\n"),
                    B("adit OK done\r\n"),
                ],
                "* OK hi\r\n* CAPABILITY IMAP4rev1 IDLE STARTTLS LOGINDISABLED\r\na OK CAPABILITY completed\r\nb OK Begin TLS negotiation now\r\n",
                asked,
                tls("", ""),
            ),
            (
                &[
                    T,
                    B("* OK hi\r\n"),
                    F("a NOOP\r\nb LOGIN x y\r\nSTARTTLS\r\n\r\n* STARTTLS\r\nc LOGOUT\r\n"),
                ],
                "* OK hi\r\na OK NOOP completed\r\nb NO [PRIVACYREQUIRED] Must issue a STARTTLS command first\r\n* BAD Command with a tag expected\r\n* BAD Command with a tag expected\r\n* BAD Command with a tag expected\r\n* BYE logging out\r\nc OK LOGOUT completed\r\n",
                "adit LOGOUT\r\n",
                Ends::Bye,
            ),
            (
                &[T, B("* OK hi\r\n"), F("a STARTTLS\r\nb LOGIN x y\r\n")],
                "* OK hi\r\n",
                "",
                fails("plaintext behind STARTTLS: the imap client"),
            ),
            (
                &[T, B("* OK hi\r\n"), F("\x16\x03")],
                "* OK hi\r\n",
                "",
                fails("STARTTLS expected: the imap client began TLS"),
            ),
            (
                &[T, B("* OK hi\r\n"), F("a CAPABILITY\r\n"), B("adit NO\r\n")],
                "* OK hi\r\n* BYE adit: Unexpected server response\r\n",
                asked,
                fails("Unexpected server response: the imap server refused"),
            ),
            (
                &[T, B("* OK hi\r\n"), F("a CAPABILITY\r\n"), BackEof],
                "* OK hi\r\n* BYE adit: Server closed the connection\r\n",
                asked,
                fails("Server closed before TLS"),
            ),
            (
                &[T, B("* BYE no\r\n")],
                "* BYE no\r\n",
                "",
                fails("Unknown server welcome: the imap server refused"),
            ),
            (
                &[T, B("* PREAUTH hi\r\n")],
                "* BYE adit: Unexpected server response\r\n",
                "",
                fails("Unknown server welcome"),
            ),
            (
                &[T, BackEof],
                "* BYE adit: Server closed the connection\r\n",
                "",
                fails("Server closed before TLS"),
            ),
            (
                &[T, B("* OK hi\r\n"), BackEof],
                "* OK hi\r\n* BYE adit: Server closed the connection\r\n",
                "",
                fails("Server closed before TLS"),
            ),
            (&[FrontEof], "", "", fails("No greeting before TLS")),
            (
                &[T, B("* OK hi\r\n"), FrontEof],
                "* OK hi\r\n",
                "",
                fails("Client closed before TLS"),
            ),
        ],
    );
}
