//! NNTP.

use super::Ev::{B, BackEof, F, FrontEof};
use super::{Ends, check, fails, tls};
use crate::config::Protocol::Nntp;

#[test]
fn nntp_client_mode() {
    let greeting = "200 news ready\r\n";
    check(
        Nntp,
        true,
        None,
        &[
            (
                &[B("200 news ready\r\n"), B("382 go\r\n")],
                greeting,
                "STARTTLS\r\n",
                tls("", ""),
            ),
            (
                &[B("201 no posting\r\n"), F("DATE\r\n"), B("382\r\n")],
                "201 no posting\r\n",
                "STARTTLS\r\n",
                tls("DATE\r\n", ""),
            ),
            (
                &[B("200 news ready\r\n382 go\r\n111 injected\r\n")],
                greeting,
                "STARTTLS\r\n",
                fails("plaintext behind STARTTLS: the nntp server"),
            ),
            (
                &[B("400 too many connections\r\n")],
                "400 too many connections\r\n",
                "",
                fails("Unknown server welcome: the nntp server refused"),
            ),
            (
                &[B("220 mx ESMTP\r\n")],
                "220 mx ESMTP\r\n",
                "",
                fails("Unknown server welcome: the nntp server refused"),
            ),
            (
                &[B("+OK pop\r\n")],
                "400 adit: Unexpected server response\r\n",
                "",
                fails("Unknown server welcome: the server does not speak nntp"),
            ),
            (
                &[B("200 news ready\r\n"), B("580 no\r\n")],
                "200 news ready\r\n400 adit: Server does not support TLS\r\n",
                "STARTTLS\r\n",
                fails("Server does not support TLS: the nntp server refused"),
            ),
            (
                &[B("200 news ready\r\n"), BackEof],
                "200 news ready\r\n400 adit: Server closed the connection\r\n",
                "STARTTLS\r\n",
                fails("Server closed before TLS"),
            ),
            (&[FrontEof], "", "", fails("No greeting before TLS")),
        ],
    );
}

#[test]
fn nntp_server_mode() {
    let greeting = "200 news ready\r\n";
    check(
        Nntp,
        false,
        None,
        &[
            (
                &[B("200 news ready\r\n"), F("STARTTLS\r\n")],
                "200 news ready\r\n382 Continue with TLS negotiation\r\n",
                "",
                tls("", ""),
            ),
            (
                &[
                    B("201 no posting\r\n"),
                    F("CAPABILITIES\r\nMODE READER\r\nLIST\r\nSTARTTLS x\r\nstarttls\r\n"),
                ],
                "201 no posting\r\n101 Capability list:\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n\
                 201 Posting prohibited\r\n483 Must issue a STARTTLS command first\r\n\
                 501 Syntax error (no parameters allowed)\r\n382 Continue with TLS negotiation\r\n",
                "",
                tls("", ""),
            ),
            (
                &[B("200 news ready\r\n"), F("STARTTLS\r\nDATE\r\n")],
                greeting,
                "",
                fails("plaintext behind STARTTLS: the nntp client"),
            ),
            (
                &[B("200 news ready\r\n"), F("\x16\x03\x01")],
                greeting,
                "",
                fails("STARTTLS expected: the nntp client began TLS"),
            ),
            (
                &[B("200 news ready\r\n"), F("QUIT\r\n")],
                "200 news ready\r\n205 Closing connection\r\n",
                "QUIT\r\n",
                Ends::Bye,
            ),
            (
                &[B("200 news ready\r\n"), FrontEof],
                greeting,
                "",
                fails("Client closed before TLS"),
            ),
        ],
    );
}
