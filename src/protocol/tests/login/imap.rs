//! IMAP.

use super::{account, check, goes_on, new, translating};
use crate::config::{DialogueOptions, MailProtocol::Imap};
use crate::protocol::tests::Ends::{Bye, Open};
use crate::protocol::tests::Ev::{B, F};
use crate::protocol::tests::{Ev, fails};

const CAPABLE: Ev = B("* CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN LITERAL+\r\nadit OK done\r\n");
const GO: Ev = B("+ \r\n");
const IN: Ev = B("* CAPABILITY IMAP4rev1 MOVE\r\nadit OK [READ-WRITE] in\r\n");
const BY_PLAIN: &str = "adit CAPABILITY\r\nadit AUTHENTICATE PLAIN\r\n{BOTH}\r\n";
const WELCOME: &str = "* CAPABILITY IMAP4rev1 MOVE\r\na1 OK [READ-WRITE] in\r\n";

#[test]
fn a_program_logs_in_in_each_form() {
    for (said, answers) in [
        (&[F("a1 LOGIN anna geheim\r\n")][..], ""),
        (&[F("a1 login \"anna\" \"ge\\heim\"\r\n")], ""),
        (
            &[F("a1 LOGIN {4}\r\n"), F("anna {6}\r\n"), F("geheim\r\n")],
            "+ go ahead\r\n+ go ahead\r\n",
        ),
        (&[F("a1 LOGIN {4+}\r\nanna {6+}\r\ngeheim\r\n")], ""),
        (&[F("a1 AUTHENTICATE PLAIN {BOTH}\r\n")], ""),
        (&[F("a1 AUTHENTICATE PLAIN\r\n"), F("{BOTH}\r\n")], "+ \r\n"),
        (
            &[
                F("a1 AUTHENTICATE LOGIN\r\n"),
                F("{NAME}\r\n"),
                F("{PASSWORD}\r\n"),
            ],
            "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n",
        ),
        (
            &[F("a1 AUTHENTICATE LOGIN {NAME}\r\n"), F("{PASSWORD}\r\n")],
            "+ UGFzc3dvcmQ6\r\n",
        ),
    ] {
        let events = [said, &[CAPABLE, GO, IN]].concat();
        let front = format!("{answers}{WELCOME}");
        check(
            || translating(Imap),
            &[(&events, &front, BY_PLAIN, goes_on("", ""))],
        );
    }
    let ahead = [
        F("a1 LOGIN anna geheim\r\na2 SELECT INBOX\r\n"),
        CAPABLE,
        GO,
        IN,
    ];
    check(
        || translating(Imap),
        &[(
            &ahead,
            WELCOME,
            BY_PLAIN,
            goes_on("a2 SELECT INBOX\r\n", ""),
        )],
    );
}

#[test]
fn without_sasl_the_command_is_used_by_literals() {
    let back = "adit CAPABILITY\r\nadit LOGIN {4}\r\nanna {6}\r\ngeheim\r\n";
    let events = [
        F("a1 LOGIN anna geheim\r\n"),
        B("* CAPABILITY IMAP4rev1\r\nadit OK\r\n"),
        B("+ ok\r\n"),
        B("+ ok\r\n"),
        B("adit OK in\r\n"),
    ];
    check(
        || translating(Imap),
        &[(&events, "a1 OK in\r\n", back, goes_on("", ""))],
    );
    let disabled = [
        F("a1 LOGIN anna geheim\r\n"),
        B("* CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=XOAUTH2\r\nadit OK\r\n"),
    ];
    check(
        || translating(Imap),
        &[(
            &disabled,
            "a1 NO adit: the server takes OAuth2 alone: set login = oauth2, and sign in by \"adit login\"\r\n",
            "adit CAPABILITY\r\n",
            Open,
        )],
    );
}

#[test]
fn capabilities_are_those_that_adit_can_take() {
    let greeted = || new(Imap, false, &DialogueOptions::default());
    check(
        greeted,
        &[
            (
                &[
                    B(
                        "* OK [CAPABILITY IMAP4rev1 SASL-IR STARTTLS LOGINDISABLED AUTH=CRAM-MD5 ID] hi\r\n",
                    ),
                    F("1 CAPABILITY\r\n"),
                    B("* CAPABILITY IMAP4rev1 AUTH=CRAM-MD5 ID\r\n1 OK done\r\n"),
                ],
                "* OK [CAPABILITY IMAP4rev1 ID AUTH=PLAIN AUTH=LOGIN SASL-IR] hi\r\n\
                 * CAPABILITY IMAP4rev1 ID AUTH=PLAIN AUTH=LOGIN SASL-IR\r\n1 OK done\r\n",
                "1 CAPABILITY\r\n",
                Open,
            ),
            // The greeting told what it can do: no question more.
            (
                &[
                    B("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"),
                    F("a1 LOGIN anna geheim\r\n"),
                    GO,
                    B("adit OK in\r\n"),
                ],
                "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN SASL-IR] hi\r\na1 OK in\r\n",
                "adit AUTHENTICATE PLAIN\r\n{BOTH}\r\n",
                goes_on("", ""),
            ),
            (
                &[B(
                    "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=GSSAPI] hi\r\n",
                )],
                "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n",
                "",
                Open,
            ),
            (
                &[B("* BYE full\r\n")],
                "* BYE full\r\n",
                "",
                fails("Unknown server welcome: the imap server refused"),
            ),
            (
                &[B("* PREAUTH hi\r\n")],
                "* BYE adit: Unexpected server response\r\n",
                "",
                fails("Unknown server welcome"),
            ),
        ],
    );
}

#[test]
fn other_commands_before_a_login() {
    check(
        || translating(Imap),
        &[
            (
                &[
                    F("1 NOOP\r\n"),
                    B("* OK hm\r\n1 OK\r\n"),
                    F("2 ID NIL\r\n"),
                    B("* ID NIL\r\n2 OK\r\n"),
                ],
                "* OK hm\r\n1 OK\r\n* ID NIL\r\n2 OK\r\n",
                "1 NOOP\r\n2 ID NIL\r\n",
                Open,
            ),
            (
                &[F("1 ID (\"name\" {2+}\r\nx\n)\r\n")],
                "* ID NIL\r\n1 OK ID completed\r\n",
                "",
                Open,
            ),
            (
                &[F("1 LOGOUT\r\n"), B("* BYE\r\n1 OK\r\n")],
                "* BYE\r\n1 OK\r\n",
                "1 LOGOUT\r\n",
                Bye,
            ),
            (
                &[F("1 SELECT INBOX\r\n")],
                "1 NO adit: log in first\r\n",
                "",
                Open,
            ),
            (
                &[F("1 SELECT {1+}\r\n\n\r\n")],
                "1 BAD adit: this takes no literal before a login\r\n",
                "",
                Open,
            ),
            (
                &[F("1 STARTTLS\r\n")],
                "1 BAD adit: STARTTLS is not offered here\r\n",
                "",
                Open,
            ),
            (
                &[F("1\r\n")],
                "* BAD adit: a command with a tag expected\r\n",
                "",
                Open,
            ),
            (
                &[F("* LOGIN a b\r\n")],
                "* BAD adit: a command with a tag expected\r\n",
                "",
                Open,
            ),
            (
                &[F("1 LOGIN anna\r\n")],
                "1 BAD adit: name and password cannot be read\r\n",
                "",
                Open,
            ),
            (
                &[F("1 AUTHENTICATE NTLM\r\n")],
                "1 NO adit: switch off Secure Password Authentication (SPA, NTLM) in the program, and let it send the password\r\n",
                "",
                Open,
            ),
            (
                &[F("1 LOGIN {99999}\r\n")],
                "* BYE adit: Line too long\r\n",
                "",
                fails("Line too long"),
            ),
        ],
    );
}

#[test]
fn refusals_have_the_protocols_codes() {
    for (said, front) in [
        (
            "adit NO [AUTHENTICATIONFAILED] Authentication failed.\r\n",
            "a1 NO [AUTHENTICATIONFAILED] adit: the server refused the name or the password; it said: adit NO \
             [AUTHENTICATIONFAILED] Authentication failed.\r\n",
        ),
        (
            "* NO [ALERT] Application-specific password required\r\nadit NO x\r\n",
            "a1 NO [AUTHENTICATIONFAILED] adit: the provider wants an app password: make one on its web pages, and use it \
             here; it said: adit NO x\r\n",
        ),
        (
            "adit NO [UNAVAILABLE] later\r\n",
            "a1 NO [UNAVAILABLE] adit: the server takes no login just now: try again later; it said: adit NO \
             [UNAVAILABLE] later\r\n",
        ),
    ] {
        let events = [F("a1 LOGIN anna geheim\r\n"), CAPABLE, GO, B(said)];
        check(|| translating(Imap), &[(&events, front, BY_PLAIN, Open)]);
    }
}

#[test]
fn with_an_account_no_login_is_needed() {
    check(
        || account(Imap),
        &[
            (
                &[F("a1 LOGIN x y\r\n"), CAPABLE, GO, IN],
                WELCOME,
                BY_PLAIN,
                goes_on("", ""),
            ),
            (
                &[F("a1 SELECT {5+}\r\nINBOX\r\n"), CAPABLE, GO, IN],
                "* CAPABILITY IMAP4rev1 MOVE\r\n",
                BY_PLAIN,
                goes_on("a1 SELECT {5+}\r\nINBOX\r\n", ""),
            ),
        ],
    );
}
