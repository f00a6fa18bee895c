//! IMAP where a program logs in (RFC 3501, RFC 9051). Never in here: a word of a mail.

use super::private::{Credentials, Private};
use super::smtp::sasl;
use super::tongue::{Command, Foreign, Greeting, Refusal, Reply, Said, Tongue};
use super::way::{self, Offered, Way};
use crate::config::Protocol;
use crate::protocol::imap::{TAG, without_capabilities};
use crate::protocol::io::{begins, first_word_is, split_word};
use crate::protocol::offers::capabilities;

#[derive(Debug)]
pub(super) struct Imap;

/// The words of a line's list of capabilities.
fn words(line: &[u8]) -> Option<(std::ops::Range<usize>, impl Iterator<Item = &[u8]>)> {
    let list = capabilities(line)?;
    let words = line[list.clone()].split(|&byte| byte == b' ');
    Some((list, words.filter(|word| !word.is_empty())))
}

/// The mechanism in a capability.
fn mechanism(word: &[u8]) -> Option<&[u8]> {
    begins(word, "AUTH=").then(|| &word["AUTH=".len()..])
}

fn is_disabled(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"LOGINDISABLED")
}

/// A line with capabilities as the program may see them before its login.
fn with_ours(line: &[u8]) -> Option<Vec<u8>> {
    let (list, all) = words(line)?;
    let all: Vec<&[u8]> = all.collect();
    let known = |word: &&&[u8]| mechanism(word).is_some_and(way::has_known);
    let usable = all.iter().any(|word| known(&word)) || !all.iter().any(|word| is_disabled(word));
    let stays = |word: &&&[u8]| {
        let out = mechanism(word).is_some()
            || word.eq_ignore_ascii_case(b"SASL-IR")
            || word.eq_ignore_ascii_case(b"STARTTLS");
        !(out || usable && is_disabled(word))
    };
    let mut kept: Vec<&[u8]> = all.iter().filter(stays).copied().collect();
    if usable {
        kept.extend([&b"AUTH=PLAIN"[..], b"AUTH=LOGIN", b"SASL-IR"]);
    }
    Some([&line[..list.start], &kept.join(&b' '), &line[list.end..]].concat())
}

impl Tongue for Imap {
    fn protocol(&self) -> Protocol {
        Protocol::Imap
    }

    fn greeting(&self, line: &[u8]) -> Greeting {
        if first_word_is(line, "* OK") {
            let shown = with_ours(line).unwrap_or_else(|| without_capabilities(line));
            Greeting::Shown([&shown[..], b"\r\n"].concat(), false)
        } else if first_word_is(line, "* BYE") {
            Greeting::Refused
        } else {
            // `* PREAUTH`: the session would belong to another user.
            Greeting::Alien
        }
    }

    fn command(&self, line: &[u8]) -> (Vec<u8>, Command) {
        let (tag, command) = cut(line);
        let (word, arguments) = cut(command);
        let whole = !arguments.contains(&b'\n');
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        let reply = || Reply {
            tag: tag.to_vec(),
            lists: is("CAPABILITY"),
            ..Reply::default()
        };
        let tagged = |text: &str| Command::Answer([tag, b" ", text.as_bytes()].concat());
        let command = if !is_tag(tag) || word.is_empty() {
            Command::Answer(b"* BAD adit: a command with a tag expected".into())
        } else if is("LOGIN") {
            Command::Login(login(arguments))
        } else if is("AUTHENTICATE") {
            let (mechanism, initial) = split_word(arguments);
            match sasl(mechanism, initial) {
                Some(command) => command,
                None if mechanism.is_empty() => tagged("BAD adit: a mechanism expected"),
                None => Command::Foreign(Foreign::of(mechanism)),
            }
        } else if is("ID") && !whole {
            Command::Answer([b"* ID NIL\r\n", tag, b" OK ID completed"].concat())
        } else if !whole {
            tagged("BAD adit: this takes no literal before a login")
        } else if is("CAPABILITY") || is("NOOP") || is("ID") {
            Command::Relay(reply())
        } else if is("LOGOUT") {
            Command::Leave(reply())
        } else if is("STARTTLS") {
            tagged("BAD adit: STARTTLS is not offered here")
        } else {
            Command::Other
        };
        (tag.to_vec(), command)
    }

    fn literal(&self, line: &[u8]) -> Option<(usize, bool)> {
        let inside = line.strip_suffix(b"}")?;
        let start = inside.iter().rposition(|&byte| byte == b'{')?;
        let (digits, waits) = match &inside[start + 1..] {
            [digits @ .., b'+' | b'-'] => (digits, false),
            digits => (digits, true),
        };
        let count = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some((count, waits))
    }

    fn shown(&self, line: &[u8], _reply: &Reply) -> Vec<u8> {
        let shown = with_ours(line);
        [shown.as_deref().unwrap_or(line), b"\r\n"].concat()
    }

    fn learn(&self, line: &[u8], offered: &mut Offered) {
        let Some((_, words)) = words(line) else {
            return;
        };
        offered.add(Way::Command);
        for word in words {
            if let Some(mechanism) = mechanism(word) {
                offered.add_mechanism(mechanism);
            } else if is_disabled(word) {
                offered.without(Way::Command);
            }
        }
    }

    fn question(&self, _host: Option<&str>) -> (String, Reply) {
        let reply = Reply {
            tag: TAG.into(),
            ..Reply::list()
        };
        (format!("{TAG} CAPABILITY"), reply)
    }

    fn ends(&self, line: &[u8], reply: &mut Reply) -> bool {
        split_word(line).0 == reply.tag
    }

    fn auth(&self, mechanism: &str) -> String {
        format!("{TAG} AUTHENTICATE {mechanism}")
    }

    fn commands(&self, _way: Way, account: &Credentials, _stamp: &[u8]) -> Vec<Private> {
        let Credentials { name, password, .. } = account;
        // In literals every character is itself.
        vec![
            format!("{TAG} LOGIN {{{}}}", name.len()).into(),
            Private::of(&[name, format!(" {{{}}}", password.len()).as_bytes()]),
            password.clone(),
        ]
    }

    fn said(&self, line: &[u8]) -> Said {
        let (tag, status) = split_word(line);
        match tag {
            b"+" => Said::Challenge(status.to_vec()),
            b"*" => Said::Aside,
            _ if tag != TAG.as_bytes() => Said::Alien,
            _ if first_word_is(status, "OK") => Said::Accepted,
            _ if first_word_is(status, "NO") || first_word_is(status, "BAD") => Said::Refused,
            _ => Said::Alien,
        }
    }

    fn welcome(&self, tag: &[u8], line: &[u8]) -> Vec<u8> {
        [tag, b" ", split_word(line).1].concat()
    }

    fn refuse(&self, tag: &[u8], refusal: Refusal, words: &str) -> String {
        let code = match refusal {
            Refusal::Credentials => "NO [AUTHENTICATIONFAILED]",
            Refusal::Later => "NO [UNAVAILABLE]",
            Refusal::Way | Refusal::Due => "NO",
            Refusal::Malformed => "BAD",
        };
        format!("{} {code} adit: {words}", String::from_utf8_lossy(tag))
    }
}

/// Whether a tag may be repeated to the program (RFC 9051, section 9).
fn is_tag(tag: &[u8]) -> bool {
    let fits = |&byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\]+".contains(&byte);
    !tag.is_empty() && tag.iter().all(fits)
}

/// The first word, and what is behind the blanks that follow it: a literal may end in blanks.
fn cut(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|&byte| byte == b' ') {
        Some(at) => {
            let rest = &line[at..];
            let blanks = rest.iter().take_while(|&&byte| byte == b' ').count();
            (&line[..at], &rest[blanks..])
        }
        None => (line, &[]),
    }
}

/// The arguments of LOGIN, literals with what follows them.
fn login(arguments: &[u8]) -> Option<Credentials> {
    let (name, rest) = string(arguments)?;
    let rest = rest.strip_prefix(b" ")?;
    let (password, rest) = string(rest.trim_ascii_start())?;
    match rest.trim_ascii().is_empty() {
        true => Credentials::new(name, password),
        false => None,
    }
}

/// The first string: quoted, a literal, or an atom, in which old programs also have what is none of it.
fn string(text: &[u8]) -> Option<(Private, &[u8])> {
    match text {
        [b'"', rest @ ..] => quoted(rest),
        [b'{', rest @ ..] => {
            let close = rest.iter().position(|&byte| byte == b'}')?;
            let digits = rest[..close].strip_suffix(b"+").unwrap_or(&rest[..close]);
            let count: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
            let behind = rest[close + 1..]
                .strip_prefix(b"\r")
                .unwrap_or(&rest[close + 1..]);
            let behind = behind.strip_prefix(b"\n")?;
            let (literal, rest) = behind.split_at_checked(count)?;
            Some((Private::of(&[literal]), rest))
        }
        _ => {
            let end = text.iter().position(|&byte| byte == b' ');
            let (atom, rest) = text.split_at(end.unwrap_or(text.len()));
            (!atom.is_empty()).then(|| (Private::of(&[atom]), rest))
        }
    }
}

/// A string behind its first quote.
fn quoted(text: &[u8]) -> Option<(Private, &[u8])> {
    let mut word = zeroize::Zeroizing::new(Vec::with_capacity(text.len()));
    let mut bytes = text.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => return Some((Private::of(&[&word]), &text[at + 1..])),
            b'\\' => word.push(*bytes.next()?.1),
            _ => word.push(byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &str) -> Option<(String, String)> {
        let account = login(arguments.as_bytes())?;
        let text = |words: &Private| String::from_utf8_lossy(words).into_owned();
        Some((text(&account.name), text(&account.password)))
    }

    #[test]
    fn login_is_read_in_every_form() {
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        for (arguments, account) in [
            ("anna geheim", pair("anna", "geheim")),
            (r#""anna" "ge\"h\\eim""#, pair("anna", r#"ge"h\eim"#)),
            (r#"anna@mail.test "a b""#, pair("anna@mail.test", "a b")),
            ("{4}\r\nanna {6}\r\ngeheim", pair("anna", "geheim")),
            ("{4+}\r\na\"na {0+}\r\n", pair("a\"na", "")),
            ("{4}\nanna \"x\"", pair("anna", "x")),
            ("anna  geheim ", pair("anna", "geheim")),
            (r#"anna """#, pair("anna", "")),
            ("anna", None),
            ("", None),
            (r#""anna geheim"#, None),
            (r#""anna\"#, None),
            ("{9}\r\nanna x", None),
            ("{x}\r\nanna x", None),
            ("anna geheim more", None),
            ("{4}\r\nan\r\n x", None),
            ("anna {3}\r\nx  ", pair("anna", "x  ")),
        ] {
            assert_eq!(read(arguments), account, "{arguments:?}");
        }
    }

    #[test]
    fn literals_are_seen_at_the_end_of_a_line() {
        for (line, literal) in [
            ("a LOGIN {4}", Some((4, true))),
            ("a LOGIN anna {6+}", Some((6, false))),
            ("a LOGIN anna {6-}", Some((6, false))),
            ("a LOGIN {}", None),
            ("a LOGIN {4} ", None),
            ("a LOGIN 4}", None),
        ] {
            assert_eq!(Imap.literal(line.as_bytes()), literal, "{line}");
        }
    }
}
