//! IRC.

use super::{Ends, Ev, Row, check, check_each, dialogue, fails, tls};
use crate::config::Protocol::Irc;
use crate::protocol::{COMMANDS_MAX, Side};
use Ev::{B, BackEof, F, FrontEof};

#[test]
fn a_server_is_asked_before_the_client_is_heard() {
    const ASKED: &str = "STARTTLS\r\n";
    let rows: &[Row] = &[
        (&[], "", ASKED, Ends::Open),
        // Its own notices are not passed on.
        (
            &[
                B(":irc.test NOTICE * :*** Looking up\r\nNOTICE AUTH :x\r\nPING :1\r\n"),
                B("@time=1 :irc.test 670 * :go\r\n"),
            ],
            "",
            ASKED,
            tls("", ""),
        ),
        // What the client said at once goes on within TLS.
        (
            &[F("NICK a\r\n"), B(":irc.test 670 a :go\r\n")],
            "",
            ASKED,
            tls("NICK a\r\n", ""),
        ),
        (
            &[B(":irc.test 691 * :no\r\n")],
            "ERROR :adit: Server does not support TLS\r\n",
            ASKED,
            fails(
                "Server does not support TLS: the irc server refused: the answer to STARTTLS (670)",
            ),
        ),
        (
            &[B(":irc.test 421 * STARTTLS :Unknown\r\n")],
            "ERROR :adit: Server does not support TLS\r\n",
            ASKED,
            fails("Server does not support TLS: the irc server refused"),
        ),
        (
            &[B("220 mail.test\r\n")],
            "ERROR :adit: Unexpected server response\r\n",
            ASKED,
            fails("Server does not support TLS: the server does not speak irc"),
        ),
        (
            &[BackEof],
            "ERROR :adit: Server closed the connection\r\n",
            ASKED,
            fails("Server closed before TLS: the irc server"),
        ),
        (
            &[B(":irc.test 670 * :go\r\n:irc.test 001 a\r\n")],
            "",
            ASKED,
            fails("plaintext behind STARTTLS: the irc server"),
        ),
    ];
    check(Irc, true, None, rows);
    assert!(!dialogue(Irc, true).hears(Side::Front));
}

#[test]
fn clients_start_tls_before_there_is_a_server() {
    const GO: &str = ":adit 670 * :STARTTLS successful, proceed with TLS handshake\r\n";
    let rows: &[Row] = &[
        (
            &[F("STARTTLS\r\n")],
            GO,
            "",
            Ends::Tls(String::new(), String::new()),
        ),
        (
            &[F(
                "CAP LS 302\r\ncap req :tls\r\nCAP REQ :sasl\r\nCAP END\r\nPING :1\r\nstarttls\r\n",
            )],
            ":adit CAP * LS :tls\r\n:adit CAP * ACK :tls\r\n:adit CAP * NAK :sasl\r\n:adit PONG adit :1\r\n\
             :adit 670 * :STARTTLS successful, proceed with TLS handshake\r\n",
            "",
            Ends::Tls(String::new(), String::new()),
        ),
        // At once.
        (
            &[F("\u{16}\u{3}")],
            "",
            "",
            Ends::Tls("\u{16}\u{3}".into(), String::new()),
        ),
        (
            &[F("\r\n\u{16}\u{3}")],
            "",
            "",
            fails("STARTTLS expected: the irc client began TLS where plain text"),
        ),
        // No name and no password is taken without TLS.
        (
            &[F("PASS geheim\r\nNICK a\r\n")],
            ":adit 451 * :Use STARTTLS first\r\n:adit 451 * :Use STARTTLS first\r\n",
            "",
            Ends::Open,
        ),
        (
            &[F("QUIT :bye\r\n")],
            "ERROR :Closing link\r\n",
            "",
            Ends::Bye,
        ),
        (
            &[F("STARTTLS\r\nNICK a\r\n")],
            "",
            "",
            fails("plaintext behind STARTTLS: the irc client"),
        ),
        (
            &[F("NICK a\r\n"), FrontEof],
            ":adit 451 * :Use STARTTLS first\r\n",
            "",
            fails("Client closed before TLS"),
        ),
    ];
    check_each(|| dialogue(Irc, false), rows);
    let endless = "NICK a\r\n".repeat(usize::from(COMMANDS_MAX) + 1);
    let (_, ends) = super::run(
        dialogue(Irc, false),
        &[F(Box::leak(endless.into_boxed_str()))],
        |n| n,
    );
    assert!(
        matches!(&ends, Ends::Fails(error) if error.contains("none of them STARTTLS")),
        "{ends:?}"
    );
}
