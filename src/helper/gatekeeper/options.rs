//! What the options of a rule come to (hosts_options(5)).

use std::fmt;

use super::text::{self, is, options};

/// An option that adit does not carry out, or that is wrong. libwrap refuses where one is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offence {
    /// It would have something executed, or sent.
    Unserved(&'static str),
    Unknown(String),
    Missing,
    Value(&'static str),
    NotLast(&'static str),
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Offence::Unserved(name) => write!(
                f,
                "adit does not carry out `{name}`: take it out of the rule, and have another program look at the log"
            ),
            Offence::Unknown(name) => write!(
                f,
                "`{name}` is no option of hosts_options(5); an IPv6 address needs brackets"
            ),
            Offence::Missing => {
                f.write_str("an option is missing between two colons or behind one")
            }
            Offence::Value(name) => write!(f, "`{name}` has not the value that it must have"),
            Offence::NotLast(name) => write!(f, "`{name}` must be the last option"),
        }
    }
}

/// What an option is for.
#[derive(Clone, Copy)]
enum Purpose {
    /// It grants or denies, and comes last.
    Decide(bool),
    /// It is for a process or a socket that adit has not, or has options of its own for.
    Nothing(Value),
    Unserved,
}

/// Which value an option takes.
#[derive(Clone, Copy)]
enum Value {
    None,
    /// One that is checked, or, if it may be left out, none.
    Checked(fn(&[u8]) -> bool),
    Optional(fn(&[u8]) -> bool),
}

const OPTIONS: &[(&str, Purpose)] = &[
    ("allow", Purpose::Decide(true)),
    ("deny", Purpose::Decide(false)),
    ("severity", Purpose::Nothing(Value::Checked(is_severity))),
    ("keepalive", Purpose::Nothing(Value::None)),
    (
        "linger",
        Purpose::Nothing(Value::Checked(|v| is_number(v, 0))),
    ),
    (
        "rfc931",
        Purpose::Nothing(Value::Optional(|v| is_number(v, 1))),
    ),
    (
        "nice",
        Purpose::Nothing(Value::Optional(|v| is_number(v, i64::MIN))),
    ),
    ("umask", Purpose::Nothing(Value::Checked(is_umask))),
    ("setenv", Purpose::Nothing(Value::Checked(is_variable))),
    ("aclexec", Purpose::Unserved),
    ("banners", Purpose::Unserved),
    ("group", Purpose::Unserved),
    ("spawn", Purpose::Unserved),
    ("twist", Purpose::Unserved),
    ("user", Purpose::Unserved),
];

/// Carries the options of a rule out: what they decide, if they do.
///
/// # Errors
/// One is wrong, or is not served.
pub(super) fn decide(all: &[u8]) -> Result<Option<bool>, Offence> {
    let all = options(all);
    let mut decided = None;
    for (nth, option) in all.iter().enumerate() {
        let (name, value) = name_and_value(option);
        if name.is_empty() {
            return Err(Offence::Missing);
        }
        let Some((name, purpose)) = OPTIONS.iter().find(|(known, _)| is(name, known)) else {
            let name = String::from_utf8_lossy(name).escape_debug().to_string();
            return Err(Offence::Unknown(name));
        };
        let fits = match purpose {
            Purpose::Decide(_) | Purpose::Nothing(Value::None) => value.is_none(),
            Purpose::Nothing(Value::Checked(check)) => value.is_some_and(check),
            Purpose::Nothing(Value::Optional(check)) => value.is_none_or(check),
            Purpose::Unserved => return Err(Offence::Unserved(name)),
        };
        if !fits {
            return Err(Offence::Value(name));
        }
        if let Purpose::Decide(grants) = purpose {
            if nth + 1 < all.len() {
                return Err(Offence::NotLast(name));
            }
            decided = Some(*grants);
        }
    }
    Ok(decided)
}

/// `NAME`, `NAME VALUE` or `NAME = VALUE`.
fn name_and_value(option: &[u8]) -> (&[u8], Option<&[u8]>) {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'=';
    let end = option.iter().position(ends).unwrap_or(option.len());
    let (name, rest) = option.split_at(end);
    let rest = rest.trim_ascii_start();
    let value = rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii_start();
    (name, Some(value).filter(|value| !value.is_empty()))
}

fn is_number(value: &[u8], least: i64) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && text::number(value) >= least
}

fn is_umask(value: &[u8]) -> bool {
    let octal = value.iter().all(|digit| (b'0'..=b'7').contains(digit));
    let text = std::str::from_utf8(value).unwrap_or_default();
    octal && u32::from_str_radix(text, 8).is_ok_and(|mask| mask <= 0o777)
}

/// `NAME VALUE`
fn is_variable(value: &[u8]) -> bool {
    let name = value
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    !name.contains(&b'=')
}

fn is_severity(value: &[u8]) -> bool {
    const FACILITIES: &[&str] = &[
        "kern", "user", "mail", "daemon", "auth", "lpr", "news", "uucp", "cron", "local0",
        "local1", "local2", "local3", "local4", "local5", "local6", "local7",
    ];
    const LEVELS: &[&str] = &[
        "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
    ];
    let known = |names: &[&str], word: &[u8]| names.iter().any(|name| is(word, name));
    match value.iter().position(|byte| *byte == b'.') {
        None => known(LEVELS, value),
        Some(at) => known(FACILITIES, &value[..at]) && known(LEVELS, &value[at + 1..]),
    }
}
