//! SMTP, a login in the client's place.

use super::{Ends, Ev, Row, check_each, fails, run, tls};
use crate::config::{Authentication, DialogueOptions, Protocol::Smtp, Secret};
use crate::protocol::{Dialogue, Side, within};
use Ev::{B, BackEof};

fn new(authentication: Option<Authentication>) -> Box<dyn Dialogue> {
    of_server(authentication, None)
}

fn of_server(authentication: Option<Authentication>, server: Option<&str>) -> Box<dyn Dialogue> {
    let options = DialogueOptions {
        username: Some("test".to_owned()),
        password: Some(Secret::new("test").into()),
        authentication,
        ..DialogueOptions::default()
    };
    within(Smtp, true, &options, server)
}

const FAREWELL: &str = "421 4.3.2 adit: Server refused the login: correct name and password, in the program or in \
                        protocolUsername and protocolPassword; many providers want an app password\r\n";
const OTHER_WAY: &str =
    "421 4.3.2 adit: Server refused the login: see login and protocolAuthentication\r\n";

#[test]
fn plain_is_one_step_and_the_usual_one() {
    const EHLO: &str = "EHLO localhost\r\n";
    const OFFER: Ev = B("250-mail.test\r\n250-SIZE 1\r\n250 AUTH LOGIN PLAIN\r\n");
    // RFC 4954, section 4.1, has this account.
    const BOTH: &str = "EHLO localhost\r\nAUTH PLAIN AHRlc3QAdGVzdA==\r\n";
    let rows: &[Row] = &[
        (&[], "", EHLO, Ends::Open),
        (&[B("250-mail.test\r\n")], "", EHLO, Ends::Open),
        (&[OFFER], "", BOTH, Ends::Open),
        (&[OFFER, B("235 2.7.0 ok\r\n")], "", BOTH, tls("", "")),
        (
            &[OFFER, B("235-2.7.0\r\n235 ok\r\n")],
            "",
            BOTH,
            tls("", ""),
        ),
        // As servers also wrote it for the oldest programs.
        (
            &[
                B("250-mail.test\r\n250-auth=plain\r\n250 SIZE\r\n"),
                B("235 ok\r\n"),
            ],
            "",
            BOTH,
            tls("", ""),
        ),
        (
            &[OFFER, B("535 5.7.8 no\r\n")],
            FAREWELL,
            BOTH,
            fails(
                "PLAIN Authentication Failed: the smtp server refused protocolUsername and protocolPassword: it said \"535 5.7.8\"",
            ),
        ),
        (
            &[B("502 no\r\n")],
            "421 4.3.2 adit: Unexpected server response\r\n",
            EHLO,
            fails("Remote server is not RFC 1425 compliant"),
        ),
        (
            &[OFFER, BackEof],
            "421 4.3.2 adit: Server closed the connection\r\n",
            BOTH,
            fails("Server closed within TLS: the smtp server closed the connection where"),
        ),
    ];
    check_each(|| new(None), rows);
    check_each(|| new(Some(Authentication::Basic)), rows);
    assert!(!new(None).hears(Side::Front));
    assert!(!format!("{:?}", new(None)).contains("AHRlc3Q"));
}

#[test]
fn login_is_three_steps() {
    const HELLO: Ev = B("250-mail.test\r\n250 AUTH LOGIN\r\n");
    const ALL: &str = "EHLO localhost\r\nAUTH LOGIN\r\ndGVzdA==\r\ndGVzdA==\r\n";
    const NAME: Ev = B("334 VXNlcm5hbWU6\r\n");
    const PASSWORD: Ev = B("334 UGFzc3dvcmQ6\r\n");
    let rows: &[Row] = &[
        (&[HELLO], "", "EHLO localhost\r\nAUTH LOGIN\r\n", Ends::Open),
        (
            &[HELLO, NAME, PASSWORD, B("235 ok\r\n")],
            "",
            ALL,
            tls("", ""),
        ),
        (
            &[HELLO, NAME, PASSWORD, B("535 no\r\n")],
            FAREWELL,
            ALL,
            fails("LOGIN authentication failed: the smtp server refused"),
        ),
        (
            &[HELLO, B("504 what?\r\n")],
            OTHER_WAY,
            "EHLO localhost\r\nAUTH LOGIN\r\n",
            fails("LOGIN authentication failed"),
        ),
    ];
    check_each(|| new(Some(Authentication::Login)), rows);
}

#[test]
fn no_password_is_sent_where_its_way_is_not_offered() {
    const EHLO: &str = "EHLO localhost\r\n";
    const FAREWELL: &str = "421 4.3.2 adit: Server does not offer the login\r\n";
    let rows: &[Row] = &[
        (
            &[B("250-AUTH PLAIN\r\n250-SIZE\r\n250 AUTHENTIC PLAIN\r\n")],
            FAREWELL,
            EHLO,
            fails(
                "PLAIN Authentication Failed: the smtp server offers no AUTH, so protocolPassword was not sent",
            ),
        ),
        (
            &[B("250-mail.test\r\n250 AUTH LOGIN\r\n")],
            FAREWELL,
            EHLO,
            fails(
                "PLAIN Authentication Failed: the smtp server offers only \"AUTH LOGIN\", so protocolPassword was not \
                 sent: set `protocolAuthentication = login`",
            ),
        ),
        (
            &[B("250-mail.test\r\n250 AUTH XOAUTH2\r\n")],
            FAREWELL,
            EHLO,
            fails("PLAIN Authentication Failed: the smtp server offers only \"AUTH XOAUTH2\""),
        ),
    ];
    check_each(|| new(None), rows);
}

#[test]
fn a_server_that_repeats_the_password_is_not_quoted() {
    const OFFER: Ev = B("250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n");
    for way in [Authentication::Plain, Authentication::Login] {
        for said in [
            "500 AUTH PLAIN AHRlc3QAdGVzdA==?\r\n",
            "500-5.5.2 dGVzdA==\r\n500 5.5.2 AHRlc3QAdGVzdA==\r\n",
            "dGVzdA== AHRlc3QAdGVzdA==\r\n",
            "235dGVzdA==\r\n",
            "535 5.dGVzdA==\r\n",
        ] {
            let (_, ends) = run(new(Some(way)), &[OFFER, B(said)], |n| n);
            let Ends::Fails(error) = ends else {
                panic!("{ends:?}");
            };
            assert!(
                !error.contains("dGVzdA") && !error.contains("AHRlc3"),
                "{error}"
            );
        }
    }
}

#[test]
fn the_program_is_told_what_the_log_says_and_what_the_provider_says_of_it() {
    const OFFER: Ev = B("250-mail.test\r\n250 AUTH LOGIN PLAIN\r\n");
    const BOTH: &str = "EHLO localhost\r\nAUTH PLAIN AHRlc3QAdGVzdA==\r\n";
    let rows: &[Row] = &[
        (
            &[
                OFFER,
                B(
                    "534-5.7.9 Application-specific password required. For more information, go to\r\n",
                ),
            ],
            "421 4.3.2 adit: The provider wants an app password: make an app password on the provider's web pages, and use \
             it in the program; Gmail / Google Workspace: Switch 2-step verification on and make an app password. POP3 is \
             switched on in the settings.\r\n",
            BOTH,
            fails(
                "PLAIN Authentication Failed: the smtp server refused protocolUsername and protocolPassword: it said \"534 5.7.9\"",
            ),
        ),
        // Passwords are not at fault.
        (
            &[OFFER, B("454 4.7.0 Too many login attempts\r\n")],
            "421 4.3.2 adit: Server takes no login just now: try again later; if it stays, see the provider's pages, and \
             the log\r\n",
            BOTH,
            fails("PLAIN Authentication Failed"),
        ),
    ];
    check_each(|| of_server(None, Some("smtp.gmail.com")), rows);
}
