//! How the values are read that several options have in common. Never in here: an option.

use std::time::Duration;

use super::Fault;
use crate::config::diagnostic::nearest;

/// `yes` or `no`.
pub(in crate::config) fn yes_no(value: &str) -> Result<bool, Fault> {
    const OTHERS: [&[&str]; 2] = [
        &["true", "on", "1", "enable", "enabled"],
        &["false", "off", "0", "disable", "disabled"],
    ];
    let others = OTHERS.into_iter().zip(["yes", "no"]);
    let meant =
        |(words, _): &(&[&str], _)| words.iter().any(|word| word.eq_ignore_ascii_case(value));
    one_of(value, &[("yes", true), ("no", false)]).map_err(|fault| {
        match others.clone().find(meant) {
            Some((_, word)) => fault.help(format!("did you mean `{word}`?")),
            None => fault,
        }
    })
}

/// One of a few words, whatever their case.
pub(in crate::config) fn one_of<T: Copy>(
    value: &str,
    words: &[(&'static str, T)],
) -> Result<T, Fault> {
    if let Some(word) = words.iter().find(|word| word.0.eq_ignore_ascii_case(value)) {
        return Ok(word.1);
    }
    // stunnel's words, as in "The argument needs to be either 'yes' or 'no'".
    let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.0)).collect();
    let text = match quoted.split_last() {
        Some((last, [])) => format!("The argument needs to be {last}"),
        Some((last, others)) => format!(
            "The argument needs to be either {} or {last}",
            others.join(", ")
        ),
        None => String::new(),
    };
    let fault = Fault::new(text);
    Err(match nearest(value, words.iter().map(|word| word.0)) {
        Some(word) => fault.help(format!("did you mean `{word}`?")),
        None => fault.help("write one of them, or leave the line out"),
    })
}

/// A whole number in a range.
pub(in crate::config) fn number(
    value: &str,
    range: std::ops::RangeInclusive<u32>,
) -> Result<u32, Fault> {
    // `parse` would take a sign.
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(number) if digits && range.contains(&number) => Ok(number),
        _ => Err(
            Fault::new(format!("`{value}` is not a number that fits")).help(format!(
                "{} to {}",
                range.start(),
                range.end()
            )),
        ),
    }
}

/// The longest time that is waited for: poll(2) takes milliseconds in an int. Some 24 days.
const SECONDS_MAX: u32 = i32::MAX as u32 / 1000;

/// Puts whole seconds into `place`; more than [`SECONDS_MAX`] count as that.
pub(in crate::config) fn seconds(place: &mut Duration, value: &str) -> Result<(), Fault> {
    // `parse` would take a sign.
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        let fault = Fault::new(format!("`{value}` is not a number of seconds"));
        return Err(fault.help(match in_seconds(value) {
            Some(seconds) => format!("write `{seconds}`"),
            None => format!("whole seconds, 0 to {SECONDS_MAX}"),
        }));
    }
    let given = value.parse().unwrap_or(u32::MAX);
    *place = Duration::from_secs(given.min(SECONDS_MAX).into());
    if given > SECONDS_MAX {
        return Err(Fault::note(format!(
            "{value} seconds count as {SECONDS_MAX}, some 24 days: adit waits no longer"
        )));
    }
    Ok(())
}

/// What `10m` and its like mean.
fn in_seconds(value: &str) -> Option<u32> {
    let units = [("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86400)];
    let mut units = units.into_iter();
    units.find_map(|(unit, seconds)| {
        let number: u32 = value.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(seconds)
    })
}

/// As [`seconds`], where 0 is none, and so is what cannot be read.
pub(in crate::config) fn seconds_or_none(
    place: &mut Option<Duration>,
    value: &str,
) -> Result<(), Fault> {
    let mut time = Duration::ZERO;
    let read = seconds(&mut time, value);
    *place = Some(time).filter(|time| !time.is_zero());
    read
}

/// The parts of a list, between these signs or blanks. An empty one may be a part that was forgotten.
pub(in crate::config) fn parts<'a>(value: &'a str, signs: &[char]) -> Result<Vec<&'a str>, Fault> {
    let (mut all, mut at) = (Vec::new(), 0);
    for part in value.split(signs) {
        let end = at + part.len();
        if part.trim().is_empty() && !value.trim().is_empty() {
            // Behind it, or before the end of the list.
            let behind = value[end..].chars().next();
            let sign = behind.or(value[..at].chars().next_back());
            let sign = sign.unwrap_or(' ');
            let fault = Fault::new(format!(
                "nothing stands on one side of a `{sign}` in the list"
            ));
            return Err(fault.help(format!(
                "write what is missing there, or take the `{sign}` out"
            )));
        }
        all.extend(part.split_ascii_whitespace());
        at = end + value[end..].chars().next().map_or(0, char::len_utf8);
    }
    Ok(all)
}

/// A value that may not be empty.
pub(in crate::config) fn given(value: &str) -> Result<String, Fault> {
    if value.is_empty() {
        let fault = Fault::new("a value is missing behind the `=`");
        return Err(fault.help("write one, or leave the line out"));
    }
    Ok(value.to_owned())
}

/// Where a level or a facility may stand: `debug = [facility.]level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct DebugLevel {
    pub level: u8,
    pub facility: Option<u8>,
}

/// Reads `debug`. A section takes no facility.
pub(in crate::config) fn debug_level(
    value: &str,
    facility_allowed: bool,
) -> Result<DebugLevel, Fault> {
    let (facility, level) = match value.split_once('.') {
        Some((facility, level)) if facility_allowed => {
            let words = FACILITIES.iter().map(|known| known.0);
            let known = FACILITIES
                .iter()
                .find(|known| known.0.eq_ignore_ascii_case(facility));
            let Some(known) = known else {
                let help = words.collect::<Vec<_>>().join(", ");
                return Err(Fault::new("Illegal syslog facility").help(help));
            };
            (Some(known.1), level)
        }
        _ => (None, value),
    };
    let known = |name: &str| name.eq_ignore_ascii_case(level);
    let level = match level.as_bytes() {
        [digit @ b'0'..=b'7'] => digit - b'0',
        _ => match LEVELS.iter().position(|name| known(name)) {
            Some(position) => position as u8,
            None => {
                let help = format!("0 to 7, or {}", LEVELS.join(", "));
                return Err(Fault::new("Illegal debug level").help(help));
            }
        },
    };
    Ok(DebugLevel { level, facility })
}

/// syslog's levels, from 0 (syslog(3)).
const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// syslog's facilities by their numbers, not shifted (RFC 5424, section 6.2.1).
const FACILITIES: &[(&str, u8)] = &[
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
