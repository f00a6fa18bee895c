//! SMTP where a program logs in (RFC 4954). Never in here: a word of a mail.

use super::tongue::{Command, Foreign, Greeting, Refusal, Reply, Said, Tongue};
use super::way::{self, Offered, Way};
use crate::config::Protocol;
use crate::protocol::io::{begins, first_word_is, split_word};
use crate::protocol::smtp::ehlo;

#[derive(Debug)]
pub(super) struct Smtp;

/// Code, whether more lines follow, text.
fn parts(line: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    match rest {
        [] => Some((code, false, rest)),
        [b' ', text @ ..] => Some((code, false, text)),
        [b'-', text @ ..] => Some((code, true, text)),
        _ => None,
    }
}

/// The mechanisms in a line about AUTH, and whether it is in the form of the oldest programs, `AUTH=`.
fn mechanisms(text: &[u8]) -> Option<(&[u8], bool)> {
    let list = begins(text, "AUTH").then(|| &text["AUTH".len()..])?;
    match list {
        [b' ', list @ ..] => Some((list, false)),
        [b'=', list @ ..] => Some((list, true)),
        _ => None,
    }
}

impl Tongue for Smtp {
    fn protocol(&self) -> Protocol {
        Protocol::Smtp
    }

    fn greeting(&self, line: &[u8]) -> Greeting {
        match parts(line) {
            Some((b"220", more, _)) => Greeting::Shown([line, b"\r\n"].concat(), more),
            Some(_) => Greeting::Refused,
            None => Greeting::Alien,
        }
    }

    fn command(&self, line: &[u8]) -> (Vec<u8>, Command) {
        let line = line.trim_ascii();
        let is = |words: &[&str]| words.iter().any(|word| first_word_is(line, word));
        let command = if is(&["EHLO"]) {
            Command::Relay(Reply::list())
        } else if is(&["HELO", "NOOP", "RSET", "HELP"]) {
            Command::Relay(Reply::line())
        } else if is(&["QUIT"]) {
            Command::Leave(Reply::line())
        } else if is(&["STARTTLS"]) {
            Command::Answer(b"502 5.5.1 adit: STARTTLS is not offered here".into())
        } else if is(&["AUTH"]) {
            auth(split_word(line).1)
        } else {
            Command::Other
        };
        (Vec::new(), command)
    }

    fn shown(&self, line: &[u8], reply: &Reply) -> Vec<u8> {
        let whole = [line, b"\r\n"].concat();
        let Some((b"250", more, text)) = parts(line).filter(|_| reply.lists) else {
            return whole;
        };
        let behind = if more { "-" } else { " " };
        let usable = mechanisms(text).map(|(list, old)| (way::has_known(list), old));
        let shown = match usable {
            // Both, as programs that know the one form often do not know the other.
            Some((true, false)) => {
                format!("250-AUTH PLAIN LOGIN\r\n250{behind}AUTH=PLAIN LOGIN\r\n")
            }
            Some((true, true)) => format!("250{behind}AUTH=PLAIN LOGIN\r\n"),
            None if !text.eq_ignore_ascii_case(b"STARTTLS") => return whole,
            // The last line must stay one; HELP is known everywhere.
            _ if !more => "250 HELP\r\n".to_owned(),
            _ => String::new(),
        };
        shown.into()
    }

    fn learn(&self, line: &[u8], offered: &mut Offered) {
        if let Some((b"250", _, text)) = parts(line)
            && let Some((list, _)) = mechanisms(text)
        {
            offered.add_list(list);
        }
    }

    fn question(&self, host: Option<&str>) -> (String, Reply) {
        (ehlo(host), Reply::list())
    }

    fn ends(&self, line: &[u8], _reply: &mut Reply) -> bool {
        parts(line).is_none_or(|(_, more, _)| !more)
    }

    fn goes_on_without(&self) -> bool {
        true
    }

    fn auth(&self, mechanism: &str) -> String {
        format!("AUTH {mechanism}")
    }

    fn said(&self, line: &[u8]) -> Said {
        match parts(line) {
            Some((b"334", false, text)) => Said::Challenge(text.to_vec()),
            Some((b"235", false, _)) => Said::Accepted,
            Some(([b'4' | b'5', ..], false, _)) => Said::Refused,
            Some((b"235" | [b'4' | b'5', ..], true, _)) => Said::Part,
            _ => Said::Alien,
        }
    }

    fn prompt(&self, coded: &str) -> String {
        format!("334 {coded}")
    }

    fn welcome(&self, _tag: &[u8], _line: &[u8]) -> Vec<u8> {
        b"235 2.7.0 adit: logged in".into()
    }

    fn refuse(&self, _tag: &[u8], refusal: Refusal, words: &str) -> String {
        let code = match refusal {
            Refusal::Credentials => "535 5.7.8",
            Refusal::Later => "454 4.7.0",
            Refusal::Way => "504 5.5.4",
            Refusal::Malformed => "501 5.5.2",
            Refusal::Due => "530 5.7.0",
        };
        format!("{code} adit: {words}")
    }
}

/// Mechanism and initial response.
fn auth(arguments: &[u8]) -> Command {
    let (mechanism, initial) = split_word(arguments);
    match sasl(mechanism, initial) {
        Some(command) => command,
        None if mechanism.is_empty() => {
            Command::Answer(b"501 5.5.4 adit: AUTH PLAIN or AUTH LOGIN expected".into())
        }
        None => Command::Foreign(Foreign::of(mechanism)),
    }
}

/// A login by PLAIN or LOGIN.
pub(super) fn sasl(mechanism: &[u8], initial: &[u8]) -> Option<Command> {
    let way = way::with_name(mechanism)?;
    let initial = match initial {
        b"" => None,
        words => Some(super::private::Private::of(&[words])),
    };
    matches!(way, Way::Plain | Way::Login).then_some(Command::Sasl(way, initial))
}
