//! POP3 where a program logs in (RFC 1939, RFC 2449, RFC 5034). Never in here: a word of a mail.

use super::private::{Credentials, Private};
use super::smtp::sasl;
use super::tongue::{Command, Foreign, Greeting, Refusal, Reply, Said, Tongue};
use super::way::{self, Offered, Way};
use crate::config::Protocol;
use crate::protocol::io::{first_word_is, split_word};

#[derive(Debug)]
pub(super) struct Pop3;

/// Where in a greeting APOP's challenge is. A program that sees one may use it, and adit would not see the password.
fn stamp_in(line: &[u8]) -> Option<(usize, usize)> {
    let start = line.iter().position(|&byte| byte == b'<')?;
    let length = line[start..].iter().position(|&byte| byte == b'>')?;
    Some((start, start + length + 1))
}

/// APOP's challenge.
pub(super) fn stamp(line: &[u8]) -> Option<&[u8]> {
    stamp_in(line).map(|(start, end)| &line[start..end])
}

/// A greeting without it.
pub(in crate::protocol) fn without_stamp(line: &[u8]) -> Vec<u8> {
    match stamp_in(line) {
        Some((start, end)) => {
            let head = line[..start].trim_ascii_end();
            [head, &line[end..]].concat()
        }
        None => line.to_vec(),
    }
}

impl Tongue for Pop3 {
    fn protocol(&self) -> Protocol {
        Protocol::Pop3
    }

    fn greeting(&self, line: &[u8]) -> Greeting {
        if first_word_is(line, "+OK") {
            Greeting::Shown([&without_stamp(line)[..], b"\r\n"].concat(), false)
        } else if first_word_is(line, "-ERR") {
            Greeting::Refused
        } else {
            Greeting::Alien
        }
    }

    fn command(&self, line: &[u8]) -> (Vec<u8>, Command) {
        let is = |word: &str| first_word_is(line.trim_ascii(), word);
        // Blanks belong to a password, and may belong to a name.
        let argument = || {
            let at = line.iter().position(|&byte| byte == b' ');
            Private::of(&[at.map_or(&[], |at| &line[at + 1..])])
        };
        let command = if is("USER") {
            Command::User(argument())
        } else if is("PASS") {
            Command::Password(argument())
        } else if is("AUTH") {
            let (mechanism, initial) = split_word(split_word(line.trim_ascii()).1);
            match sasl(mechanism, initial) {
                Some(command) => command,
                // The oldest way to ask, as programs of Microsoft's do.
                None if mechanism.is_empty() => {
                    Command::Answer(b"+OK\r\nPLAIN\r\nLOGIN\r\n.".into())
                }
                None => Command::Foreign(Foreign::of(mechanism)),
            }
        } else if is("APOP") {
            Command::Foreign(Foreign::Apop)
        } else if is("CAPA") {
            Command::Relay(Reply::list())
        } else if is("NOOP") || is("UTF8") {
            Command::Relay(Reply::line())
        } else if is("QUIT") {
            Command::Leave(Reply::line())
        } else if is("STLS") {
            Command::Answer(b"-ERR adit: STLS is not offered here".into())
        } else {
            Command::Other
        };
        (Vec::new(), command)
    }

    fn shown(&self, line: &[u8], reply: &Reply) -> Vec<u8> {
        let (word, list) = split_word(line.trim_ascii());
        let is = |other: &[u8]| reply.lists && word.eq_ignore_ascii_case(other);
        if is(b"SASL") && way::has_known(list) {
            return b"SASL PLAIN LOGIN\r\n".into();
        }
        match is(b"SASL") || is(b"STLS") {
            true => Vec::new(),
            false => [line, b"\r\n"].concat(),
        }
    }

    fn learn(&self, line: &[u8], offered: &mut Offered) {
        let (word, list) = split_word(line.trim_ascii());
        if word.eq_ignore_ascii_case(b"SASL") {
            offered.add_list(list);
        // A server without CAPA has USER and PASS (RFC 1939).
        } else if word.eq_ignore_ascii_case(b"USER") || word == b"-ERR" {
            offered.add(Way::Command);
        }
    }

    fn question(&self, _host: Option<&str>) -> (String, Reply) {
        ("CAPA".to_owned(), Reply::list())
    }

    fn ends(&self, line: &[u8], reply: &mut Reply) -> bool {
        if reply.goes_on {
            return line == b".";
        }
        reply.goes_on = reply.lists && first_word_is(line, "+OK");
        !reply.goes_on
    }

    fn auth(&self, mechanism: &str) -> String {
        format!("AUTH {mechanism}")
    }

    fn commands(&self, way: Way, account: &Credentials, stamp: &[u8]) -> Vec<Private> {
        let Credentials { name, password, .. } = account;
        match way {
            Way::Apop => {
                let digest = way::apop(stamp, password);
                vec![Private::of(&[b"APOP ", name, b" ", digest.as_bytes()])]
            }
            _ => vec![
                Private::of(&[b"USER ", name]),
                Private::of(&[b"PASS ", password]),
            ],
        }
    }

    fn said(&self, line: &[u8]) -> Said {
        match line {
            b"+" => Said::Challenge(Vec::new()),
            [b'+', b' ', text @ ..] => Said::Challenge(text.to_vec()),
            _ if first_word_is(line, "+OK") => Said::Accepted,
            _ if first_word_is(line, "-ERR") => Said::Refused,
            _ => Said::Alien,
        }
    }

    fn welcome(&self, _tag: &[u8], line: &[u8]) -> Vec<u8> {
        line.to_vec()
    }

    fn refuse(&self, _tag: &[u8], refusal: Refusal, words: &str) -> String {
        let code = match refusal {
            Refusal::Credentials => "[AUTH] ",
            Refusal::Later => "[SYS/TEMP] ",
            Refusal::Way | Refusal::Malformed | Refusal::Due => "",
        };
        format!("-ERR {code}adit: {words}")
    }
}
