//! SMTP, a login in the client's place.

use super::{Ends, Ev, Row, check_each, fails, tls};
use crate::config::{Authentication, DialogueOptions, Protocol::Smtp, Secret};
use crate::protocol::{Dialogue, Side, within};
use Ev::{B, BackEof};

fn new(authentication: Option<Authentication>) -> Box<dyn Dialogue> {
    let options = DialogueOptions {
        username: Some("test".to_owned()),
        password: Some(Secret::new("test")),
        authentication,
        ..DialogueOptions::default()
    };
    within(Smtp, true, &options)
}

const FAREWELL: &str = "421 4.3.2 adit: Server refused the login\r\n";

#[test]
fn plain_is_one_step_and_the_usual_one() {
    const EHLO: &str = "EHLO localhost\r\n";
    // RFC 4954, section 4.1, has this account.
    const BOTH: &str = "EHLO localhost\r\nAUTH PLAIN AHRlc3QAdGVzdA==\r\n";
    let rows: &[Row] = &[
        (&[], "", EHLO, Ends::Open),
        (
            &[B("250-mail.test\r\n250 AUTH PLAIN\r\n")],
            "",
            BOTH,
            Ends::Open,
        ),
        (
            &[B("250 mail.test\r\n"), B("235 2.7.0 ok\r\n")],
            "",
            BOTH,
            tls("", ""),
        ),
        (
            &[B("250 mail.test\r\n"), B("235-2.7.0\r\n235 ok\r\n")],
            "",
            BOTH,
            tls("", ""),
        ),
        (
            &[B("250 mail.test\r\n"), B("535 5.7.8 no\r\n")],
            FAREWELL,
            BOTH,
            fails(
                "PLAIN Authentication Failed: the smtp server refused protocolUsername and protocolPassword: it said \"535 5.7.8 no\"",
            ),
        ),
        (
            &[B("502 no\r\n")],
            "421 4.3.2 adit: Server does not support TLS\r\n",
            EHLO,
            fails("Remote server is not RFC 1425 compliant"),
        ),
        (
            &[B("250 mail.test\r\n"), BackEof],
            "421 4.3.2 adit: Server closed the connection\r\n",
            BOTH,
            fails("Server closed"),
        ),
    ];
    check_each(|| new(None), rows);
    check_each(|| new(Some(Authentication::Basic)), rows);
    assert!(!new(None).hears(Side::Front));
    assert!(!format!("{:?}", new(None)).contains("AHRlc3Q"));
}

#[test]
fn login_is_three_steps() {
    const HELLO: Ev = B("250 mail.test\r\n");
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
            FAREWELL,
            "EHLO localhost\r\nAUTH LOGIN\r\n",
            fails("LOGIN authentication failed"),
        ),
    ];
    check_each(|| new(Some(Authentication::Login)), rows);
}
