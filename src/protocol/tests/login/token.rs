//! By a token.

use std::net::SocketAddr;

use super::BOTH;
use crate::config::{DialogueOptions, MailProtocol, Secret};
use crate::helper::{AccessToken, TokenAnswer};
use crate::incidents::Cause;
use crate::protocol::{
    Action, Dialogue, Event, Fresh, Progress, Question, Side, Unreachable, login,
};

/// user=anna, the byte 1, auth=Bearer and the number, twice the byte 1.
const FIRST: &str = "dXNlcj1hbm5hAWF1dGg9QmVhcmVyIDEBAQ==";
const SECOND: &str = "dXNlcj1hbm5hAWF1dGg9QmVhcmVyIDIBAQ==";

/// What happens.
#[derive(Debug, Clone)]
enum Ev {
    F(String),
    B(&'static str),
    BackEof,
    T,
    /// The keeper gives this token.
    Token(&'static str),
    Answer(TokenAnswer),
    Connected,
    Unreachable,
}

/// What was said to both, what else was wanted, and the end.
#[derive(Debug, Default)]
struct Said {
    front: String,
    back: String,
    wanted: Vec<String>,
    failed: Vec<Cause>,
    progress: Option<Progress>,
}

fn run(mail: MailProtocol, events: &[Ev]) -> Said {
    let mut dialogue = login(
        mail,
        true,
        &DialogueOptions::default(),
        true,
        None,
        Fresh::default(),
    );
    let mut said = Said::default();
    hear(&mut *dialogue, Event::Start, &mut said);
    for event in events {
        let granted;
        let event = match event {
            Ev::F(words) => Event::Bytes(Side::Front, words.as_bytes()),
            Ev::B(words) => Event::Bytes(Side::Back, words.as_bytes()),
            Ev::BackEof => Event::Eof(Side::Back),
            Ev::T => Event::Timer,
            Ev::Token(access) => {
                granted = TokenAnswer::Granted(AccessToken {
                    user: "anna".to_owned(),
                    access: Secret::new(*access),
                });
                Event::Token(&granted)
            }
            Ev::Answer(answer) => Event::Token(answer),
            Ev::Connected => Event::Connected(Some(SocketAddr::from(([127, 0, 0, 1], 1)))),
            Ev::Unreachable => Event::Unreachable(Unreachable::Refused),
        };
        hear(&mut *dialogue, event, &mut said);
    }
    said
}

fn hear(dialogue: &mut dyn Dialogue, event: Event<'_>, said: &mut Said) {
    let mut out = Vec::new();
    let progress = dialogue.feed(event, &mut out);
    for action in out {
        match action {
            Action::Send(Side::Front, words) => said.front += &String::from_utf8_lossy(&words),
            Action::Send(Side::Back, words) => said.back += &String::from_utf8_lossy(&words),
            Action::Ask(Question::Token(question)) => said.wanted.push(format!(
                "{} {}{}",
                question.account,
                question.password.reveal(),
                if question.refused.is_some() {
                    " again"
                } else {
                    ""
                }
            )),
            Action::ConnectAnew => said.wanted.push("anew".to_owned()),
            Action::Timer(_) => {}
            Action::Failed(diagnosis) => said.failed.push(diagnosis.cause),
            Action::Log(_, line) => assert!(!line.contains("geheim") && !line.contains(BOTH)),
            other => panic!("{other:?}"),
        }
    }
    said.progress = progress.ok();
}

fn begun() -> Vec<Ev> {
    vec![
        Ev::F(format!("AUTH PLAIN {BOTH}\r\n")),
        Ev::Token("1"),
        Ev::B("250-x\r\n250 AUTH LOGIN XOAUTH2\r\n"),
        Ev::B("334 \r\n"),
    ]
}

const ASKED: &str = "EHLO localhost\r\nAUTH XOAUTH2\r\n";

#[test]
fn a_token_is_told_in_two_steps() {
    let said = run(
        MailProtocol::Smtp,
        &[begun(), vec![Ev::B("235 in\r\n")]].concat(),
    );
    assert_eq!(said.wanted, ["anna geheim"]);
    assert_eq!(said.back, format!("{ASKED}{FIRST}\r\n"));
    assert_eq!(said.front, "235 2.7.0 adit: logged in\r\n");
    assert_eq!(said.progress, Some(Progress::Next));
    // RFC 7628, where the server has nothing else.
    let events = [
        Ev::F("a LOGIN anna geheim\r\n".to_owned()),
        Ev::Token("1"),
        Ev::B("* CAPABILITY AUTH=OAUTHBEARER\r\nadit OK\r\n"),
        Ev::B("+ \r\n"),
        Ev::B("adit OK in\r\n"),
    ];
    let said = run(MailProtocol::Imap, &events);
    // n,a=anna, and so on.
    let coded = "bixhPWFubmEsAWF1dGg9QmVhcmVyIDEBAQ==";
    let back = format!("adit CAPABILITY\r\nadit AUTHENTICATE OAUTHBEARER\r\n{coded}\r\n");
    assert_eq!(said.back, back);
    assert_eq!(said.front, "a OK in\r\n");
}

#[test]
fn a_token_that_is_refused_is_asked_for_once_more_and_told_on_a_new_connection() {
    let again = [
        Ev::B("334 eyJzdGF0dXMiOiI0MDEifQ==\r\n"),
        Ev::B("535 5.7.8 no\r\n"),
        Ev::Token("2"),
        Ev::Connected,
        Ev::B("220-hi\r\n220 hi\r\n"),
        Ev::B("250-x\r\n250 AUTH XOAUTH2\r\n"),
        Ev::B("334 \r\n"),
    ];
    let back = format!("{ASKED}{FIRST}\r\n\r\n{ASKED}{SECOND}\r\n");
    for (last, front) in [
        ("235 in\r\n", "235 2.7.0 adit: logged in\r\n"),
        (
            "535 5.7.3 x\r\n",
            "535 5.7.8 adit: the server refused the token, and a fresh one too: run \"adit login\" again; it said: 535 \
             5.7.3 x\r\n",
        ),
    ] {
        let said = run(
            MailProtocol::Smtp,
            &[begun(), again.to_vec(), vec![Ev::B(last)]].concat(),
        );
        assert_eq!(said.wanted, ["anna geheim", "anna geheim again", "anew"]);
        assert_eq!(said.back, back);
        // No challenge is shown to a program that asked for none.
        assert_eq!(said.front, front);
    }
    // Microsoft says no at once, others close the connection.
    for refused in [Ev::B("535 5.7.3 no\r\n"), Ev::BackEof] {
        let events = [begun(), vec![refused, Ev::Token("2")]].concat();
        let said = run(MailProtocol::Smtp, &events);
        assert_eq!(said.wanted.last().unwrap(), "anew");
        assert_eq!(said.front, "");
        let said = run(
            MailProtocol::Smtp,
            &[events, vec![Ev::Unreachable]].concat(),
        );
        let front = "454 4.7.0 adit: the server cannot be reached just now: try again later\r\n";
        assert_eq!(said.front, front);
    }
}

#[test]
fn what_no_fresh_token_would_mend_is_told_at_once() {
    let said = run(
        MailProtocol::Smtp,
        &[
            begun(),
            vec![Ev::B(
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.\r\n",
            )],
        ]
        .concat(),
    );
    assert_eq!(said.wanted, ["anna geheim"]);
    assert!(
        said.front
            .starts_with("535 5.7.8 adit: the provider has switched logins by SMTP off")
    );
    for (answer, front) in [
        (
            TokenAnswer::WrongPassword,
            "535 5.7.8 adit: this is not the local password that \"adit login\" asked for\r\n",
        ),
        (
            TokenAnswer::NotSignedIn,
            "535 5.7.8 adit: this account is not signed in: run \"adit login\" with the name that the program gives\r\n",
        ),
        (
            TokenAnswer::SignInAgain("invalid_grant".to_owned()),
            "535 5.7.8 adit: sign in again by \"adit login\": invalid_grant\r\n",
        ),
        (
            TokenAnswer::Away("HTTP 503".to_owned()),
            "454 4.7.0 adit: no token just now: HTTP 503\r\n",
        ),
    ] {
        let events = [Ev::F(format!("AUTH PLAIN {BOTH}\r\n")), Ev::Answer(answer)];
        let said = run(MailProtocol::Smtp, &events);
        assert_eq!(said.front, front);
        // Nothing goes upstream, and the program may try again.
        assert_eq!(said.back, "");
        assert_eq!(said.progress, Some(Progress::More));
    }
    let said = run(
        MailProtocol::Smtp,
        &[
            Ev::F(format!("AUTH PLAIN {BOTH}\r\n")),
            Ev::Token("1"),
            Ev::B("250-x\r\n250 AUTH PLAIN\r\n"),
        ],
    );
    let front = "504 5.5.4 adit: the server offers PLAIN, and no OAuth2: set login = translate\r\n";
    assert_eq!(said.front, front);
}

#[test]
fn no_login_by_a_token_takes_forever() {
    let late = "454 4.7.0 adit: the login took too long: try again later\r\n";
    let whole = [
        begun(),
        vec![
            Ev::B("535 5.7.8 no\r\n"),
            Ev::Token("2"),
            Ev::Connected,
            Ev::B("220 hi\r\n"),
            Ev::B("250-x\r\n250 AUTH XOAUTH2\r\n"),
            Ev::B("334 \r\n"),
        ],
    ]
    .concat();
    for count in 1..=whole.len() {
        let said = run(MailProtocol::Smtp, &[&whole[..count], &[Ev::T]].concat());
        assert_eq!(
            (said.front.as_str(), said.progress),
            (late, Some(Progress::End)),
            "{count}"
        );
    }
    let said = run(MailProtocol::Smtp, &[Ev::T]);
    assert_eq!(
        (said.front.as_str(), said.progress),
        ("", Some(Progress::More))
    );
}
