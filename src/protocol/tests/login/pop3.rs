//! POP3.

use super::{account, check, goes_on, new, translating};
use crate::config::{DialogueOptions, MailProtocol::Pop3};
use crate::protocol::tests::Ends::{Bye, Open};
use crate::protocol::tests::Ev::{B, F};
use crate::protocol::tests::{Ev, fails};

const CAPABLE: Ev = B("+OK\r\nTOP\r\nSASL PLAIN\r\nUSER\r\n.\r\n");
const GO: Ev = B("+ \r\n");
const IN: Ev = B("+OK in\r\n");
const BY_PLAIN: &str = "CAPA\r\nAUTH PLAIN\r\n{BOTH}\r\n";

#[test]
fn a_program_logs_in_in_each_form() {
    for (said, answers) in [
        (&[F("USER anna\r\n"), F("PASS geheim\r\n")][..], "+OK\r\n"),
        (&[F("user anna\npass geheim\n")], "+OK\r\n"),
        (&[F("AUTH PLAIN {BOTH}\r\n")], ""),
        (&[F("AUTH PLAIN\r\n"), F("{BOTH}\r\n")], "+ \r\n"),
        (
            &[F("AUTH LOGIN\r\n"), F("{NAME}\r\n"), F("{PASSWORD}\r\n")],
            "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n",
        ),
    ] {
        let events = [said, &[CAPABLE, GO, IN]].concat();
        let front = format!("{answers}+OK in\r\n");
        check(
            || translating(Pop3),
            &[(&events, &front, BY_PLAIN, goes_on("", ""))],
        );
    }
    // Blanks belong to a password.
    let events = [
        F("USER anna\r\nPASS  a b \r\nSTAT\r\n"),
        B("-ERR\r\n"),
        B("+OK\r\n"),
        IN,
    ];
    let back = "CAPA\r\nUSER anna\r\nPASS  a b \r\n";
    check(
        || translating(Pop3),
        &[(&events, "+OK\r\n+OK in\r\n", back, goes_on("STAT\r\n", ""))],
    );
}

#[test]
fn apop_is_used_where_it_is_all() {
    let events = [
        B("+OK <1896.697170952@dbc.mtview.ca.us>\r\n"),
        F("USER anna\r\nPASS geheim\r\n"),
        B("+OK\r\nTOP\r\n.\r\n"),
        IN,
    ];
    check(
        || new(Pop3, false, &DialogueOptions::default()),
        &[(
            &events,
            "+OK\r\n+OK\r\n+OK in\r\n",
            "CAPA\r\nAPOP anna ceb2e649f62782d263508404e0020bf1\r\n",
            goes_on("", ""),
        )],
    );
}

#[test]
fn what_is_shown_is_what_adit_can_take() {
    check(
        || new(Pop3, false, &DialogueOptions::default()),
        &[
            (
                &[
                    B("+OK ready <1.2@x> hi\r\n"),
                    F("CAPA\r\n"),
                    B("+OK\r\nSTLS\r\nSASL CRAM-MD5 X\r\nUSER\r\n.\r\n"),
                ],
                "+OK ready hi\r\n+OK\r\nSASL PLAIN LOGIN\r\nUSER\r\n.\r\n",
                "CAPA\r\n",
                Open,
            ),
            (
                &[
                    B("+OK hi\r\n"),
                    F("AUTH\r\n"),
                    F("CAPA\r\n"),
                    B("+OK\r\nSASL GSSAPI\r\n.\r\n"),
                ],
                "+OK hi\r\n+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n+OK\r\n.\r\n",
                "CAPA\r\n",
                Open,
            ),
            (
                &[B("-ERR busy\r\n")],
                "-ERR busy\r\n",
                "",
                fails("Unknown server welcome: the pop3 server refused"),
            ),
        ],
    );
}

#[test]
fn other_commands_before_a_login() {
    check(
        || translating(Pop3),
        &[
            (
                &[F("NOOP\r\n"), B("-ERR no\r\n")],
                "-ERR no\r\n",
                "NOOP\r\n",
                Open,
            ),
            (&[F("STAT\r\n")], "-ERR adit: log in first\r\n", "", Open),
            (
                &[F("PASS x\r\n")],
                "-ERR adit: USER comes first\r\n",
                "",
                Open,
            ),
            (
                &[F("STLS\r\n")],
                "-ERR adit: STLS is not offered here\r\n",
                "",
                Open,
            ),
            (
                &[F("QUIT\r\n"), B("+OK bye\r\n")],
                "+OK bye\r\n",
                "QUIT\r\n",
                Bye,
            ),
            (
                &[F("APOP anna c4c9334bac560ecc979e58001b3e22fb\r\n")],
                "-ERR adit: switch off APOP (secure login) in the program, and let it send the password\r\n",
                "",
                Open,
            ),
            (
                &[
                    F("USER anna\r\nPASS geheim\r\n"),
                    CAPABLE,
                    GO,
                    B("-ERR [AUTH] Authentication failed.\r\n"),
                ],
                "+OK\r\n-ERR [AUTH] adit: the server refused the name or the password; it said: -ERR [AUTH] Authentication \
                 failed.\r\n",
                BY_PLAIN,
                Open,
            ),
            (
                &[
                    F("USER anna\r\nPASS geheim\r\n"),
                    CAPABLE,
                    GO,
                    B("-ERR [SYS/TEMP] x\r\n"),
                ],
                "+OK\r\n-ERR [SYS/TEMP] adit: the server takes no login just now: try again later; it said: -ERR \
                 [SYS/TEMP] x\r\n",
                BY_PLAIN,
                Open,
            ),
        ],
    );
}

#[test]
fn with_an_account_no_login_is_needed() {
    check(
        || account(Pop3),
        &[
            (
                &[F("USER x\r\nPASS y\r\n"), CAPABLE, GO, IN],
                "+OK\r\n+OK in\r\n",
                BY_PLAIN,
                goes_on("", ""),
            ),
            (
                &[F("STAT\r\n"), CAPABLE, GO, IN],
                "",
                BY_PLAIN,
                goes_on("STAT\r\n", ""),
            ),
        ],
    );
}
