//! Log lines in stunnel's shape, through slog: terminal (stderr), file, syslog.
//! Secrets and payload never reach a log at any level.

use std::fmt;

/// The brackets of a log line: `LOG5[17]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    /// The configuration and start-up.
    Ui,
    /// Timers and maintenance.
    Cron,
    /// The loops of supervisor, master and workers.
    Main,
    /// A connection, by its number.
    Connection(u64),
    /// A connection under `logId = unique`: 128 random bits, written in base64url.
    Unique(u128),
}

/// A cheap handle: what level is listened to, and what stands in the brackets.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// The highest level that is written.
    pub level: u8,
    /// What stands in the brackets.
    pub id: Id,
}

impl Log {
    /// Whether a line of this level is listened to; checked before anything is formatted.
    #[inline]
    pub fn enabled(&self, level: u8) -> bool {
        level <= self.level
    }

    /// Writes one line. Use the macros: they format nothing when nobody listens.
    pub fn write(&self, level: u8, text: fmt::Arguments<'_>) {
        let _ = (level, text);
        todo!("log/")
    }
}

/// One line at a numeric level, 0 to 7.
#[macro_export]
macro_rules! log_at {
    ($log:expr, $level:expr, $($arg:tt)+) => {{
        let log: &$crate::log::Log = &$log;
        if log.enabled($level) {
            log.write($level, ::core::format_args!($($arg)+));
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
