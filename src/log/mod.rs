//! Log lines in stunnel's format, through slog: terminal (stderr), file, syslog.
//!
//! Each process and thread writes its own lines, with one write(2) to a descriptor that all processes
//! share (O_APPEND), so nothing is collected, forwarded or lost in between. Secrets and payload never
//! reach a log at any level. A log that cannot be written never ends or blocks the service.

mod clock;
mod fields;
mod installed;
mod json;
mod line;
mod lost;
mod outputs;
mod repeats;
mod seldom;
mod sink;
mod syslog;

use std::fmt::{self, Write as _};
use std::io;
use std::net::IpAddr;

use fields::Fields;

pub(crate) use clock::{Local, Rfc3339};
pub(crate) use fields::{Field, Value, name_services};
pub(crate) use installed::{
    descriptors, format, has_met_syslog, install, replace_file, replace_syslog, set_format,
    to_stderr,
};
pub(crate) use lost::tell_losses_by;
pub(crate) use outputs::{Outputs, connect_syslog, is_standard_stream, reopen};
pub(crate) use repeats::{
    Origin, kind, limit_repeats, repeats_due, sum_up_all_repeats, sum_up_repeats,
};
pub(crate) use seldom::Seldom;
pub(crate) use sink::own_stderr;
pub(crate) use syslog::PATH as SYSLOG_PATH;

/// The brackets of a log line: `LOG5[17]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    /// The configuration and start-up.
    Ui,
    /// The loops of supervisor, master and workers.
    Main,
    /// A connection, by its number.
    Connection(u64),
    /// A connection under `logId = unique`: 128 random bits, written in base64url.
    Unique(u128),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// RFC 4648, section 5.
        const BASE64URL: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        match self {
            Id::Ui => f.write_str("ui"),
            Id::Main => f.write_str("main"),
            Id::Connection(number) => write!(f, "{number}"),
            // 22 digits of 6 bits: the last carries the 2 bits that are left, and 4 of padding.
            Id::Unique(bits) => (0..22).try_for_each(|digit| {
                let six = match digit {
                    21 => bits << 4,
                    _ => bits >> (122 - 6 * digit),
                };
                f.write_char(char::from(BASE64URL[(six & 63) as usize]))
            }),
        }
    }
}

/// A cheap handle: the level in force, and what the brackets show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    /// The highest level that is written.
    pub level: u8,
    /// What stands in the brackets.
    pub id: Id,
    /// The connection that its lines are about.
    pub from: Option<Subject>,
}

/// What lines about a connection are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The stranger whose doing they are; they are bounded.
    pub origin: Option<Origin>,
    /// The service's index, see [`name_services`].
    pub service: u32,
}

impl Subject {
    /// A client of a service.
    pub(crate) fn new(client: Option<IpAddr>, service: usize) -> Self {
        Subject {
            origin: client.map(Origin::of),
            service: u32::try_from(service).unwrap_or(u32::MAX),
        }
    }
}

impl Log {
    /// Whether a line of this level is written; checked before anything is formatted.
    #[inline]
    pub(crate) fn enabled(&self, level: u8) -> bool {
        level <= self.level
    }

    /// Writes one line of a kind, unless too many of those are a stranger's doing. Use the macros, which format nothing
    /// at a level that is not in force.
    pub(crate) fn write(&self, level: u8, kind: u32, text: fmt::Arguments<'_>) {
        self.write_with(level, kind, text, &[]);
    }

    /// As [`Log::write`], with fields for the formats that have a place for them.
    pub(crate) fn write_with(
        &self,
        level: u8,
        kind: u32,
        text: fmt::Arguments<'_>,
        more: &[Field<'_>],
    ) {
        let origin = self.from.and_then(|about| about.origin);
        if origin.is_some_and(|origin| !repeats::admits(origin, kind, level, text)) {
            return;
        }
        let fields = Fields {
            id: self.id,
            about: self.from,
            more,
        };
        installed::write(level, fields, text);
    }
}

/// A system error as log lines show it: `Connection refused (111)`.
#[derive(Debug)]
pub(crate) struct Reason<'a>(pub &'a io::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.raw_os_error() {
            Some(number) => {
                // strerror(3)'s words, as in stunnel; Rust appends the number in a way of its own.
                let text = io::Error::from_raw_os_error(number).to_string();
                let rust = format!(" (os error {number})");
                write!(
                    f,
                    "{} ({number})",
                    text.strip_suffix(&rust).unwrap_or(&text)
                )
            }
            None => self.0.fmt(f),
        }
    }
}

/// One line at a numeric level, 0 to 7.
#[macro_export]
macro_rules! log_at {
    ($log:expr, $level:expr, $($arg:tt)+) => {{
        let log: &$crate::log::Log = &$log;
        if log.enabled($level) {
            let kind = const { $crate::log::kind(::core::file!(), ::core::line!()) };
            log.write($level, kind, ::core::format_args!($($arg)+));
        }
    }};
}
/// An error line (level 3).
#[macro_export]
macro_rules! error { ($log:expr, $($arg:tt)+) => { $crate::log_at!($log, 3, $($arg)+) }; }
/// A warning (level 4).
#[macro_export]
macro_rules! warning { ($log:expr, $($arg:tt)+) => { $crate::log_at!($log, 4, $($arg)+) }; }
/// A notice (level 5).
#[macro_export]
macro_rules! notice { ($log:expr, $($arg:tt)+) => { $crate::log_at!($log, 5, $($arg)+) }; }
/// An informational line (level 6).
#[macro_export]
macro_rules! info { ($log:expr, $($arg:tt)+) => { $crate::log_at!($log, 6, $($arg)+) }; }
/// A debug line (level 7).
#[macro_export]
macro_rules! debug { ($log:expr, $($arg:tt)+) => { $crate::log_at!($log, 7, $($arg)+) }; }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_in_stunnel() {
        for (id, text) in [
            (Id::Ui, "ui"),
            (Id::Main, "main"),
            (Id::Connection(17), "17"),
            (Id::Unique(0), "AAAAAAAAAAAAAAAAAAAAAA"),
            (Id::Unique(u128::MAX), "_____________________w"),
            // RFC 4648 over the 16 bytes 00 01 .. 0f.
            (
                Id::Unique(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f),
                "AAECAwQFBgcICQoLDA0ODw",
            ),
        ] {
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn a_level_that_is_not_in_force_formats_nothing() {
        struct Trap;
        impl fmt::Display for Trap {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("formatted")
            }
        }
        let log = Log {
            level: 5,
            id: Id::Main,
            from: None,
        };
        crate::info!(log, "{Trap}");
        crate::debug!(log, "{Trap}");
    }

    #[test]
    fn a_reason_is_the_systems_words_and_its_number() {
        let error = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(Reason(&error).to_string(), "Connection refused (111)");
    }
}
