//! FTP in server mode.

use super::{Ends, Ev, Row, check_each, dialogue, fails, tls};
use crate::config::Protocol::Ftp;
use Ev::{B, BackEof, F, FrontEof};

const GREETED: &str = "220 ready\r\n";

#[test]
fn clients_start_tls_in_front_of_a_plain_server() {
    let rows: &[Row] = &[
        (
            &[B("220-hello\r\n220 ready\r\n"), F("AUTH TLS\r\n")],
            "220-hello\r\n220 ready\r\n234 Begin TLS negotiation\r\n",
            "",
            tls("", ""),
        ),
        // AUTH SSL would promise that data is protected.
        (
            &[B(GREETED), F("AUTH SSL\r\nauth tls-c\r\n")],
            "220 ready\r\n504 AUTH TLS is known here\r\n234 Begin TLS negotiation\r\n",
            "",
            tls("", ""),
        ),
        (
            &[B(GREETED), F("FEAT\r\nUSER a\r\nNOOP\r\nPBSZ 0\r\n")],
            "220 ready\r\n211-Features:\r\n AUTH TLS\r\n211 End\r\n530 Use AUTH TLS first\r\n200 OK\r\n\
             530 Use AUTH TLS first\r\n",
            "",
            Ends::Open,
        ),
        (
            &[B(GREETED), F("QUIT\r\n")],
            "220 ready\r\n221 Goodbye\r\n",
            "QUIT\r\n",
            Ends::Bye,
        ),
        (
            &[B(GREETED), F("AUTH TLS\r\nUSER a\r\n")],
            GREETED,
            "",
            fails("plaintext behind STARTTLS: the ftp client"),
        ),
        (
            &[B(GREETED), F("\u{16}\u{3}")],
            GREETED,
            "",
            fails(
                "STARTTLS expected: the ftp client began TLS where plain text with AUTH TLS was expected",
            ),
        ),
        (
            &[B("421 full\r\n")],
            "421 full\r\n",
            "",
            fails("Unknown server welcome: the ftp server refused"),
        ),
        (
            &[B(GREETED), BackEof],
            "220 ready\r\n421 adit: Server closed the connection\r\n",
            "",
            fails(
                "Server closed before TLS: the ftp server closed the connection where the client's AUTH TLS",
            ),
        ),
        (
            &[B(GREETED), FrontEof],
            GREETED,
            "",
            fails("Client closed before TLS: the ftp client"),
        ),
    ];
    check_each(|| dialogue(Ftp, false), rows);
}
