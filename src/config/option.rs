//! What an option is. Each is defined once, in the tables of [`global`],
//! [`service`] and [`unserved`]; reading, checking, defaults and
//! the manual all work from that definition.

mod values;

use super::diagnostic::{Severity, nearest};
use super::global::{self, Global};
use super::idle::Idle;
use super::metrics;
use super::service::{self, Draft};
use super::unserved;

pub(super) use values::{
    debug_level, given, number, one_of, parts, seconds, seconds_or_none, yes_no,
};

/// Where an option may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Before the first section only.
    Global,
    /// In a section; before the first one it is the default of every service.
    Service,
    /// Both, with a meaning of its own in each.
    Both,
}

/// How adit meets an option.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    /// Served as the manual says.
    Served,
    /// Accepted; it has no effect here, for this reason, and a note says so.
    NoEffect(&'static str),
    /// Refused, for this reason.
    Refused(&'static str),
}

/// Puts a value into the global options.
pub(super) type SetGlobal = fn(&mut Global, &str) -> Result<(), Fault>;
/// Puts a value into a service.
pub(super) type SetService = fn(&mut Draft, &str) -> Result<(), Fault>;

/// The one definition of an option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OptionDef {
    /// Its name in stunnel's spelling; case is ignored when it is read.
    pub name: &'static str,
    /// Where it may stand.
    pub scope: Scope,
    /// Its value, as the manual writes it: `yes | no`.
    pub syntax: &'static str,
    /// Values that count when none is given; several for an option that may be repeated.
    pub defaults: &'static [&'static str],
    /// What holds when it is not given and `defaults` is empty, in words.
    pub unless_given: &'static str,
    /// One line on what it is for.
    pub doc: &'static str,
    /// A line of a configuration that uses it; every served option has one.
    pub example: &'static str,
    /// Whether each occurrence adds to those before; otherwise the last one counts.
    pub repeatable: bool,
    /// Its value never reaches a log or a terminal.
    pub secret: bool,
    /// Without a value it is as if it were not given, as in stunnel.
    pub(super) empty_is_none: bool,
    /// Where an option that is not served asks for nothing.
    pub(super) idle: Option<Idle>,
    /// adit's own: stunnel has no option of this name.
    pub own: bool,
    /// How adit meets it.
    pub verdict: Verdict,
    pub(super) set_global: Option<SetGlobal>,
    pub(super) set_service: Option<SetService>,
}

impl OptionDef {
    /// A served option without default; for the tables, which go on with the functions below.
    pub(super) const fn new(
        name: &'static str,
        scope: Scope,
        syntax: &'static str,
        doc: &'static str,
    ) -> Self {
        OptionDef {
            name,
            scope,
            syntax,
            defaults: &[],
            unless_given: "",
            doc,
            example: "",
            repeatable: false,
            secret: false,
            empty_is_none: false,
            idle: None,
            own: false,
            verdict: Verdict::Served,
            set_global: None,
            set_service: None,
        }
    }

    pub(super) const fn global(mut self, set: SetGlobal) -> Self {
        self.set_global = Some(set);
        self
    }

    pub(super) const fn service(mut self, set: SetService) -> Self {
        self.set_service = Some(set);
        self
    }

    pub(super) const fn defaults(mut self, defaults: &'static [&'static str]) -> Self {
        self.defaults = defaults;
        self
    }

    pub(super) const fn unless_given(mut self, words: &'static str) -> Self {
        self.unless_given = words;
        self
    }

    pub(super) const fn example(mut self, line: &'static str) -> Self {
        self.example = line;
        self
    }

    pub(super) const fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(super) const fn empty_is_none(mut self) -> Self {
        self.empty_is_none = true;
        self
    }

    pub(super) const fn idle(mut self, idle: Idle) -> Self {
        self.idle = Some(idle);
        self
    }

    pub(super) const fn own(mut self) -> Self {
        self.own = true;
        self
    }

    pub(super) const fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }
}

/// What is wrong with a value; the caller adds the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// A note does not stop the configuration from being served.
    pub severity: Severity,
    /// What is wrong.
    pub text: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Fault {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Fault {
            severity: Severity::Error,
            text: text.into(),
            help: None,
        }
    }

    /// The value is served, but has no effect.
    pub(super) fn note(text: impl Into<String>) -> Self {
        Fault {
            severity: Severity::Note,
            ..Fault::new(text)
        }
    }

    /// The value is served, but hardly as it was meant.
    pub(super) fn warning(text: impl Into<String>) -> Self {
        Fault {
            severity: Severity::Warning,
            ..Fault::new(text)
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Every option of stunnel(8) and of adit's own, served or not.
pub(crate) fn options() -> impl Iterator<Item = &'static OptionDef> {
    [
        global::OPTIONS,
        metrics::OPTIONS,
        service::OPTIONS,
        unserved::OPTIONS,
    ]
    .into_iter()
    .flatten()
}

/// Names of old that stunnel still takes, and today's.
const FORMER_NAMES: &[(&str, &str)] = &[("curve", "curves"), ("session", "sessionCacheTimeout")];

/// Looks an option up; case is ignored, as in stunnel.
pub(crate) fn find(name: &str) -> Option<&'static OptionDef> {
    let name = FORMER_NAMES
        .iter()
        .find(|(former, _)| former.eq_ignore_ascii_case(name))
        .map_or(name, |(_, today)| today);
    options().find(|option| option.name.eq_ignore_ascii_case(name))
}

/// As [`find`], for a flag or the name of an environment variable: `_` and `-` are ignored too.
pub(super) fn find_spelled(name: &str) -> Option<&'static OptionDef> {
    find(&name.replace(['_', '-'], ""))
}

/// The option that an unknown name was probably meant to be.
pub(super) fn nearest_option(name: &str) -> Option<&'static OptionDef> {
    nearest(name, options().map(|option| option.name)).and_then(find)
}

/// A configuration line as messages may show it: without the value of a secret, also when the
/// option is misspelt or its `=` is missing.
pub(super) fn shown_line(line: &str) -> String {
    let end = line.find(['=', ' ', '\t', ':']).unwrap_or(line.len());
    let (name, value) = line.split_at(end);
    let option = find(name).or_else(|| nearest_option(name));
    match option {
        Some(option) if option.secret && !value.is_empty() => format!("{name} = ..."),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::values::DebugLevel;
    use super::*;

    #[test]
    fn every_option_is_defined_once_and_can_be_set_where_it_may_stand() {
        let mut names: Vec<String> = Vec::new();
        for option in options() {
            let name = option.name.to_ascii_lowercase();
            assert!(!names.contains(&name), "{name} is defined twice");
            names.push(name);
            assert!(
                !option.doc.is_empty() && !option.syntax.is_empty(),
                "{option:?}"
            );
            let served = matches!(option.verdict, Verdict::Served) && option.name != "include";
            let (global, service) = (option.set_global.is_some(), option.set_service.is_some());
            let expected = match (served, option.scope) {
                (false, _) => (false, false),
                (true, Scope::Global) => (true, false),
                (true, Scope::Service) => (false, true),
                (true, Scope::Both) => (true, true),
            };
            assert_eq!((global, service), expected, "{}", option.name);
        }
    }

    #[test]
    fn names_of_old_are_taken() {
        for (former, today) in FORMER_NAMES {
            assert!(
                options().all(|option| option.name != *former),
                "{former} is a name of today"
            );
            assert_eq!(find(former).map(|option| option.name), Some(*today));
        }
        assert!(find("Curve").is_some());
    }

    #[test]
    fn every_served_option_has_a_default_in_words_or_values_and_an_example_that_is_read() {
        for option in options().filter(|o| matches!(o.verdict, Verdict::Served)) {
            assert_ne!(
                option.defaults.is_empty(),
                option.unless_given.is_empty(),
                "{}: one of the two",
                option.name
            );
            let (name, value) = option.example.split_once(" = ").unwrap();
            assert_eq!(name, option.name);
            // A secret that stands in a manual is none.
            let refused = ["ticketKeySecret", "ticketMacSecret"].contains(&option.name);
            let is_read = |result: Result<(), Fault>| {
                if refused {
                    assert_eq!(result.unwrap_err().severity, Severity::Error, "{name}");
                    return;
                }
                let said = result
                    .err()
                    .filter(|fault| fault.severity == Severity::Error);
                assert_eq!(said, None, "{}", option.example);
            };
            if let Some(set) = option.set_global {
                is_read(set(&mut Global::blank("adit"), value));
            }
            if let Some(set) = option.set_service {
                is_read(set(&mut Draft::blank(), value));
            }
        }
    }

    #[test]
    fn levels_and_facilities() {
        let level = |level, facility| Ok(DebugLevel { level, facility });
        assert_eq!(debug_level("7", true), level(7, None));
        assert_eq!(debug_level("Debug", true), level(7, None));
        assert_eq!(debug_level("daemon.info", true), level(6, Some(3)));
        assert_eq!(debug_level("LOCAL7.0", true), level(0, Some(23)));
        for (value, allowed, text) in [
            ("8", true, "Illegal debug level"),
            ("", true, "Illegal debug level"),
            ("77", true, "Illegal debug level"),
            ("daemon.", true, "Illegal debug level"),
            ("daemon.info", false, "Illegal debug level"),
            ("demon.info", true, "Illegal syslog facility"),
        ] {
            assert_eq!(
                debug_level(value, allowed).unwrap_err().text,
                text,
                "{value}"
            );
        }
    }

    #[test]
    fn words_and_numbers() {
        assert_eq!(yes_no("YES"), Ok(true));
        let fault = yes_no("yess").unwrap_err();
        assert_eq!(fault.text, "The argument needs to be either 'yes' or 'no'");
        assert_eq!(fault.help.as_deref(), Some("did you mean `yes`?"));
        for (value, help) in [
            ("True", "did you mean `yes`?"),
            ("off", "did you mean `no`?"),
        ] {
            assert_eq!(yes_no(value).unwrap_err().help.as_deref(), Some(help));
        }
        assert_eq!(number("12", 1..=12), Ok(12));
        for wrong in ["", "+1", "-1", "13", "0", "1x", "99999999999999999999"] {
            assert!(number(wrong, 1..=12).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_beyond_24_days_are_capped_with_a_note() {
        let mut place = Duration::MAX;
        for (value, seconds_read, capped) in [
            ("0", 0, false),
            ("2147483", 2_147_483, false),
            ("2147484", 2_147_483, true),
            ("2592000", 2_147_483, true),
            ("99999999999999999999", 2_147_483, true),
        ] {
            let said = seconds(&mut place, value).err();
            assert_eq!(place, Duration::from_secs(seconds_read), "{value}");
            assert_eq!(
                said.map(|fault| fault.severity),
                capped.then_some(Severity::Note)
            );
        }
        for wrong in ["1.5", "", "-1", "+1", "1h"] {
            let fault = seconds(&mut place, wrong).unwrap_err();
            assert!(fault.text.contains("is not a number of seconds"), "{wrong}");
            assert_eq!(fault.severity, Severity::Error);
        }
        let fault = seconds(&mut place, "10m").unwrap_err();
        assert_eq!(fault.help.as_deref(), Some("write `600`"));
    }
}
