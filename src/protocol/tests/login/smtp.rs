//! SMTP.

use super::{account, check, goes_on, logged, new, only, translating};
use crate::config::{Authentication, DialogueOptions, MailProtocol::Smtp};
use crate::protocol::tests::Ends::{Bye, Open};
use crate::protocol::tests::Ev::{B, BackEof, F, FrontEof};
use crate::protocol::tests::{Ends, Ev, fails};

/// EHLO and what is shown of the answer, where the server offers this.
const EHLO: Ev = F("EHLO old\r\n");
const OFFER: Ev =
    B("250-mail.test\r\n250-SIZE 9\r\n250-AUTH CRAM-SHA PLAIN LOGIN\r\n250 8BITMIME\r\n");
const SHOWN: &str = "250-mail.test\r\n250-SIZE 9\r\n250-AUTH PLAIN LOGIN\r\n250-AUTH=PLAIN LOGIN\r\n250 8BITMIME\r\n";
const GO: Ev = B("334 \r\n");
const IN: Ev = B("235 2.7.0 fine\r\n");
const WELCOME: &str = "235 2.7.0 adit: logged in\r\n";

#[test]
fn a_program_logs_in_in_each_form() {
    let by_plain = "EHLO old\r\nAUTH PLAIN\r\n{BOTH}\r\n";
    let welcome = format!("{SHOWN}{WELCOME}");
    let in_steps = format!("{SHOWN}334 \r\n{WELCOME}");
    let login = format!("{SHOWN}334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n{WELCOME}");
    let inline = format!("{SHOWN}334 UGFzc3dvcmQ6\r\n{WELCOME}");
    check(
        || translating(Smtp),
        &[
            (&[EHLO, OFFER], SHOWN, "EHLO old\r\n", Open),
            (
                &[EHLO, OFFER, F("AUTH PLAIN {BOTH}\r\n"), GO, IN],
                &welcome,
                by_plain,
                goes_on("", ""),
            ),
            (
                &[EHLO, OFFER, F("AUTH PLAIN\r\n"), F("{BOTH}\r\n"), GO, IN],
                &in_steps,
                by_plain,
                goes_on("", ""),
            ),
            // Outlook Express.
            (
                &[
                    EHLO,
                    OFFER,
                    F("AUTH LOGIN\r\n"),
                    F("{NAME}\r\n"),
                    F("{PASSWORD}\r\n"),
                    GO,
                    IN,
                ],
                &login,
                by_plain,
                goes_on("", ""),
            ),
            (
                &[
                    EHLO,
                    OFFER,
                    F("auth login {NAME}\n"),
                    F("{PASSWORD}\n"),
                    GO,
                    IN,
                ],
                &inline,
                by_plain,
                goes_on("", ""),
            ),
            // What is said ahead waits.
            (
                &[
                    EHLO,
                    OFFER,
                    F("AUTH PLAIN {BOTH}\r\nMAIL FROM:<a@b>\r\nRCPT"),
                    GO,
                    B("235-2.7.0\r\n235 ok\r\n"),
                ],
                &welcome,
                by_plain,
                goes_on("MAIL FROM:<a@b>\r\nRCPT", ""),
            ),
        ],
    );
}

#[test]
fn the_best_way_is_taken_and_the_server_is_asked_where_the_program_did_not() {
    let asked = "EHLO localhost\r\n";
    check(
        || translating(Smtp),
        &[
            (
                &[
                    F("AUTH PLAIN {BOTH}\r\n"),
                    B("250-mail.test\r\n250 AUTH LOGIN\r\n"),
                    B("334 VXNlcm5hbWU6\r\n"),
                    B("334 UGFzc3dvcmQ6\r\n"),
                    IN,
                ],
                WELCOME,
                &format!("{asked}AUTH LOGIN\r\n{{NAME}}\r\n{{PASSWORD}}\r\n"),
                goes_on("", ""),
            ),
            // The exchange of RFC 2195 with another name: HMAC-MD5 of the challenge by "geheim".
            (
                &[
                    F("AUTH PLAIN {BOTH}\r\n"),
                    B("250-mail.test\r\n250 AUTH=PLAIN CRAM-MD5\r\n"),
                    B("334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n"),
                    IN,
                ],
                WELCOME,
                &format!(
                    "{asked}AUTH CRAM-MD5\r\nYW5uYSA5MmI4YTY0MWM0ODRhMTZiNWI3MzI2OWVhZDMxMjNmNA==\r\n"
                ),
                goes_on("", ""),
            ),
            (
                &[
                    F("HELO old\r\nAUTH PLAIN {BOTH}\r\n"),
                    B("250 mail.test\r\n"),
                    B("250-mail.test\r\n250 AUTH XOAUTH2\r\n"),
                ],
                "250 mail.test\r\n504 5.5.4 adit: the server takes OAuth2 alone: set login = oauth2, and sign in by \"adit login\"\r\n",
                &format!("HELO old\r\n{asked}"),
                Open,
            ),
            (
                &[F("AUTH PLAIN {BOTH}\r\n"), B("250 mail.test\r\n")],
                "504 5.5.4 adit: the server offers no login, and no password can go that way\r\n",
                asked,
                Open,
            ),
        ],
    );
    check(
        || only(Smtp, Authentication::Login),
        &[(
            &[F("AUTH PLAIN {BOTH}\r\n"), B("250-x\r\n250 AUTH PLAIN\r\n")],
            "504 5.5.4 adit: the server offers PLAIN alone, and not LOGIN as protocolAuthentication says\r\n",
            asked,
            Open,
        )],
    );
}

#[test]
fn what_is_shown_is_what_adit_can_take() {
    for (offer, shown) in [
        ("250-x\r\n250 AUTH GSSAPI\r\n", "250-x\r\n250 HELP\r\n"),
        (
            "250-x\r\n250-AUTH GSSAPI\r\n250 SIZE\r\n",
            "250-x\r\n250 SIZE\r\n",
        ),
        ("250-x\r\n250 STARTTLS\r\n", "250-x\r\n250 HELP\r\n"),
        (
            "250-x\r\n250-AUTH=LOGIN\r\n250 AUTH LOGIN\r\n",
            "250-x\r\n250-AUTH=PLAIN LOGIN\r\n250-AUTH PLAIN LOGIN\r\n250 AUTH=PLAIN LOGIN\r\n",
        ),
        ("250-x\r\n250 AUTHORITY\r\n", "250-x\r\n250 AUTHORITY\r\n"),
        ("502 no\r\n", "502 no\r\n"),
    ] {
        let offer = B(offer);
        check(
            || translating(Smtp),
            &[(&[EHLO, offer], shown, "EHLO old\r\n", Open)],
        );
    }
}

#[test]
fn what_comes_before_a_login_goes_to_the_server() {
    check(
        || translating(Smtp),
        &[
            (
                &[
                    F("NOOP\r\n"),
                    B("250 ok\r\n"),
                    F("RSET\r\n"),
                    B("250-a\r\n250 b\r\n"),
                ],
                "250 ok\r\n250-a\r\n250 b\r\n",
                "NOOP\r\nRSET\r\n",
                Open,
            ),
            // It does not log in: what that comes to is the server's business.
            (
                &[F("MAIL FROM:<a@b>\r\nAUTH")],
                "",
                "",
                goes_on("MAIL FROM:<a@b>\r\nAUTH", ""),
            ),
            (
                &[F("QUIT\r\n"), B("221 bye\r\n")],
                "221 bye\r\n",
                "QUIT\r\n",
                Bye,
            ),
            (
                &[F("STARTTLS\r\n")],
                "502 5.5.1 adit: STARTTLS is not offered here\r\n",
                "",
                Open,
            ),
        ],
    );
    let rows: &[(&[Ev], &str, &str, Ends)] = &[
        (
            &[B("220-mail.test\r\n220 hi\r\n"), F("NOOP\r\n")],
            "220-mail.test\r\n220 hi\r\n",
            "NOOP\r\n",
            Open,
        ),
        (
            &[B("554 not you\r\n")],
            "554 not you\r\n",
            "",
            fails("Unknown server welcome: the smtp server refused"),
        ),
        (
            &[B("+OK\r\n")],
            "421 4.3.2 adit: Unexpected server response\r\n",
            "",
            fails("Unknown server welcome: the server does not speak smtp"),
        ),
    ];
    check(|| new(Smtp, false, &DialogueOptions::default()), rows);
}

#[test]
fn a_login_that_fails_is_told_in_words_and_may_be_tried_again() {
    let tried = "EHLO old\r\nAUTH PLAIN\r\n{BOTH}\r\n";
    let told = |words: &str| format!("{SHOWN}{words}\r\n");
    for (said, words) in [
        (
            "535 5.7.8 Error: authentication failed: x\r\n",
            "535 5.7.8 adit: the server refused the name or the password; it said: 535 5.7.8 Error: authentication \
             failed: x",
        ),
        (
            "534-5.7.9 Application-specific password required.\r\n534 5.7.9  https://x\r\n",
            "535 5.7.8 adit: the provider wants an app password: make one on its web pages, and use it here; it said: \
             534 5.7.9  https://x",
        ),
        (
            "454 4.7.0 Temporary\r\n",
            "454 4.7.0 adit: the server takes no login just now: try again later; it said: 454 4.7.0 Temporary",
        ),
    ] {
        let events = [EHLO, OFFER, F("AUTH PLAIN {BOTH}\r\n"), GO, B(said)];
        check(
            || translating(Smtp),
            &[(&events, &told(words), tried, Open)],
        );
    }
    let again = [
        EHLO,
        OFFER,
        F("AUTH PLAIN AHgAeQ==\r\n"),
        GO,
        B("535 no\r\n"),
        F("AUTH PLAIN {BOTH}\r\n"),
        GO,
        IN,
    ];
    let back = "EHLO old\r\nAUTH PLAIN\r\nAHgAeQ==\r\nAUTH PLAIN\r\n{BOTH}\r\n";
    let front = told(&format!(
        "535 5.7.8 adit: the server refused the name or the password; it said: 535 no\r\n{}",
        WELCOME.trim_end()
    ));
    check(
        || translating(Smtp),
        &[(&again, &front, back, goes_on("", ""))],
    );
    assert_eq!(
        logged(
            translating(Smtp),
            &[
                F("AUTH PLAIN AHgAeQ==\r\n"),
                B("250-x\r\n250 AUTH PLAIN\r\n"),
                GO,
                B("535 5.7.8 x\r\n")
            ]
        ),
        ["SMTP: login failed (535 5.7.8): the server refused the name or the password"]
    );
}

#[test]
fn what_cannot_be_taken_is_told_with_the_box_to_untick() {
    for (command, answer) in [
        (
            "AUTH NTLM\r\n",
            "504 5.5.4 adit: switch off Secure Password Authentication (SPA, NTLM) in the program, and let it send the password\r\n",
        ),
        (
            "AUTH CRAM-MD5\r\n",
            "504 5.5.4 adit: choose a normal password in the program, not an encrypted one (CRAM-MD5, DIGEST-MD5)\r\n",
        ),
        (
            "AUTH XOAUTH2 dXNlcg==\r\n",
            "504 5.5.4 adit: choose a normal password in the program, not OAuth2\r\n",
        ),
        (
            "AUTH FOO\r\n",
            "504 5.5.4 adit: choose a normal password in the program (PLAIN or LOGIN)\r\n",
        ),
        (
            "AUTH\r\n",
            "501 5.5.4 adit: AUTH PLAIN or AUTH LOGIN expected\r\n",
        ),
        ("AUTH PLAIN !\r\n", "501 5.5.2 adit: this is no base64\r\n"),
        (
            "AUTH PLAIN Zm9v\r\n",
            "501 5.5.2 adit: name and password cannot be read\r\n",
        ),
        (
            "AUTH PLAIN =\r\n",
            "501 5.5.2 adit: name and password cannot be read\r\n",
        ),
        (
            "AUTH PLAIN\r\n*\r\n",
            "334 \r\n501 5.5.2 adit: the program took the login back\r\n",
        ),
        // A line end in a password would be a command.
        (
            "AUTH LOGIN {NAME}\r\nYQ0KUVVJVA==\r\n",
            "334 UGFzc3dvcmQ6\r\n501 5.5.2 adit: name and password cannot be read\r\n",
        ),
    ] {
        check(|| translating(Smtp), &[(&[F(command)], answer, "", Open)]);
    }
}

#[test]
fn the_account_of_the_configuration_logs_in_whatever_the_program_says() {
    let asked = "EHLO localhost\r\nAUTH PLAIN\r\n{BOTH}\r\n";
    let offer = B("250-x\r\n250 AUTH PLAIN\r\n");
    check(
        || account(Smtp),
        &[
            (
                &[F("AUTH PLAIN AHgAeQ==\r\n"), offer, GO, IN],
                WELCOME,
                asked,
                goes_on("", ""),
            ),
            (
                &[F("MAIL FROM:<a@b>\r\n"), offer, GO, IN],
                "",
                asked,
                goes_on("MAIL FROM:<a@b>\r\n", ""),
            ),
            (
                &[
                    F("MAIL FROM:<a@b>\r\n"),
                    offer,
                    GO,
                    B("535 5.7.8 geheim\r\n"),
                ],
                "421 4.3.2 adit: Server refused the login: correct name and password, in the program or in protocolUsername \
                 and protocolPassword; many providers want an app password\r\n",
                asked,
                fails(
                    "Login failed: the smtp server refused protocolUsername and protocolPassword: it said \"535 5.7.8\"",
                ),
            ),
            // What the server says is not for a program that does not know the password.
            (
                &[
                    F("AUTH PLAIN AHgAeQ==\r\n"),
                    offer,
                    GO,
                    B("535 5.7.8 geheim\r\n"),
                ],
                "535 5.7.8 adit: the server refused protocolUsername or protocolPassword\r\n",
                asked,
                Open,
            ),
        ],
    );
}

#[test]
fn either_end_may_leave() {
    let closed = "421 4.3.2 adit: Server closed the connection\r\n";
    check(
        || translating(Smtp),
        &[
            (&[FrontEof], "", "", fails("Client closed within TLS")),
            (
                &[BackEof],
                closed,
                "",
                fails(
                    "Server closed within TLS: the smtp server closed the connection where the program's login was",
                ),
            ),
            (
                &[EHLO, OFFER, F("AUTH PLAIN {BOTH}\r\n"), BackEof],
                &format!("{SHOWN}{closed}"),
                "EHLO old\r\nAUTH PLAIN\r\n",
                fails(
                    "Server closed within TLS: the smtp server closed the connection where the answer to the login",
                ),
            ),
            (
                &[EHLO, OFFER, F("\x16\x03\x01")],
                SHOWN,
                "EHLO old\r\n",
                fails("STARTTLS expected: the smtp client began TLS where plain text was expected"),
            ),
            (
                &[
                    F("AUTH PLAIN {BOTH}\r\n"),
                    B("250-x\r\n250 AUTH PLAIN\r\n"),
                    B("250 what\r\n"),
                ],
                "421 4.3.2 adit: Unexpected server response\r\n",
                "EHLO localhost\r\nAUTH PLAIN\r\n",
                fails("Login failed: the server does not speak smtp"),
            ),
            // It accepts before it has heard the password.
            (
                &[
                    F("AUTH PLAIN {BOTH}\r\n"),
                    B("250-x\r\n250 AUTH PLAIN\r\n"),
                    IN,
                ],
                "421 4.3.2 adit: Unexpected server response\r\n",
                "EHLO localhost\r\nAUTH PLAIN\r\n",
                fails("Login failed"),
            ),
        ],
    );
}

#[test]
fn a_server_must_prove_itself_where_it_offers_that() {
    let begun = [
        F("AUTH PLAIN {BOTH}\r\n"),
        B("250-x\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n"),
        GO,
    ];
    // n,,n=anna,r= and 24 times A, the nonce of a test.
    let asked = "EHLO localhost\r\nAUTH SCRAM-SHA-256\r\nbiwsbj1hbm5hLHI9QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\r\n";
    let accepted = [&begun[..], &[IN]].concat();
    let farewell = "421 4.3.2 adit: Server failed in the login\r\n";
    check(
        || translating(Smtp),
        &[
            (&begun, "", asked, Open),
            (
                &accepted,
                farewell,
                asked,
                fails("Login failed: the smtp server did not prove that it knows the password"),
            ),
        ],
    );
}
