//! POP3.

use super::Ev::{B, BackEof, F, FrontEof};
use super::{Ends, check, fails, tls};
use crate::config::Protocol::Pop3;

#[test]
fn pop3_client_mode() {
    let ok = "+OK ready <1@mx>\r\n";
    check(
        Pop3,
        true,
        None,
        &[
            (
                &[B("+OK ready <1@mx>\r\n"), B("+OK go\r\n")],
                ok,
                "STLS\r\n",
                tls("", ""),
            ),
            (&[B("+OK\r\n+OK\r\n")], "+OK\r\n", "STLS\r\n", tls("", "")),
            (
                &[
                    B("+OK ready <1@mx>\r\n"),
                    F("USER x\r\nPASS y\r\n"),
                    B("+OK go\r\n"),
                ],
                ok,
                "STLS\r\n",
                tls("USER x\r\nPASS y\r\n", ""),
            ),
            (
                &[B("+OK ready <1@mx>\r\n+OK go\r\n+OK injected\r\n")],
                ok,
                "STLS\r\n",
                fails("plaintext behind STLS: the pop3 server"),
            ),
            (
                &[B("-ERR [SYS/TEMP] later\r\n")],
                "-ERR [SYS/TEMP] later\r\n",
                "",
                fails("Unknown server welcome: the pop3 server refused"),
            ),
            (
                &[B("+OK ready <1@mx>\r\n-ERR what?\r\n")],
                "+OK ready <1@mx>\r\n-ERR adit: Server does not support TLS\r\n",
                "STLS\r\n",
                fails(
                    "Server does not support TLS: the pop3 server refused: the answer to STLS (+OK) was expected, it said \"-ERR what?\"",
                ),
            ),
            (
                &[B("+OKAY\r\n")],
                "-ERR adit: Unexpected server response\r\n",
                "",
                fails("Unknown server welcome: the server does not speak pop3"),
            ),
            (
                &[B("+OK ready <1@mx>\r\n250 go\r\n")],
                "+OK ready <1@mx>\r\n-ERR adit: Unexpected server response\r\n",
                "STLS\r\n",
                fails("Server does not support TLS: the server does not speak pop3"),
            ),
            (
                &[BackEof],
                "-ERR adit: Server closed the connection\r\n",
                "",
                fails("Server closed before TLS: the pop3 server"),
            ),
            (
                &[B("+OK ready <1@mx>\r\n"), BackEof],
                "+OK ready <1@mx>\r\n-ERR adit: Server closed the connection\r\n",
                "STLS\r\n",
                fails(
                    "Server closed before TLS: the pop3 server closed the connection where the answer to STLS (+OK) was expected",
                ),
            ),
            (
                &[FrontEof],
                "",
                "",
                fails("No greeting before TLS: the pop3 server had said nothing when"),
            ),
            (
                &[B("+OK ready <1@mx>\r\n"), FrontEof],
                ok,
                "STLS\r\n",
                fails("Client closed before TLS"),
            ),
        ],
    );
}

#[test]
fn pop3_server_mode() {
    check(
        Pop3,
        false,
        None,
        &[
            (
                &[B("+OK ready <1@mx>\r\n"), F("STLS\r\n")],
                "+OK ready <1@mx>\r\n+OK Begin TLS negotiation\r\n",
                "",
                tls("", ""),
            ),
            (
                &[B("+OK\r\n"), F("capa\r\nUSER x\r\nNOOP\r\nstls\r\n")],
                "+OK\r\n+OK Capability list follows\r\nSTLS\r\n.\r\n-ERR Must issue an STLS command first\r\n+OK\r\n+OK Begin TLS negotiation\r\n",
                "",
                tls("", ""),
            ),
            (
                &[F("QUIT\r\n"), FrontEof, B("+OK\r\n")],
                "+OK\r\n+OK Bye\r\n",
                "QUIT\r\n",
                Ends::Bye,
            ),
            (
                &[B("+OK\r\n"), F("STLS\r\nUSER x\r\n")],
                "+OK\r\n",
                "",
                fails("plaintext behind STLS: the pop3 client"),
            ),
            (
                &[B("+OK\r\n"), F("\x16\x03\x01")],
                "+OK\r\n",
                "",
                fails("Client does not want TLS: the pop3 client began TLS"),
            ),
            (
                &[B("-ERR no\r\n")],
                "-ERR no\r\n",
                "",
                fails("Unknown server welcome: the pop3 server refused"),
            ),
            (
                &[B("220 mx\r\n")],
                "-ERR adit: Unexpected server response\r\n",
                "",
                fails("Unknown server welcome: the server does not speak pop3"),
            ),
            (
                &[BackEof],
                "-ERR adit: Server closed the connection\r\n",
                "",
                fails("Server closed before TLS"),
            ),
            (
                &[B("+OK\r\n"), BackEof],
                "+OK\r\n-ERR adit: Server closed the connection\r\n",
                "",
                fails(
                    "Server closed before TLS: the pop3 server closed the connection where the client's STLS was expected",
                ),
            ),
            (&[FrontEof], "", "", fails("No greeting before TLS")),
            (
                &[B("+OK\r\n"), FrontEof],
                "+OK\r\n",
                "",
                fails("Client closed before TLS"),
            ),
        ],
    );
}
