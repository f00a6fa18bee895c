//! The logger of this process. A forked child keeps its parent's logger: the same descriptors, opened
//! with O_APPEND, so every process writes for itself.
#![expect(unsafe_code, reason = "a signal is ignored for the whole process")]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use nix::sys::signal::{SigHandler, Signal, signal};
use slog::{Drain, Logger, Never, OwnedKVList, Record, RecordLocation, RecordStatic, b, o};
use slog_term::PlainSyncDecorator;

use super::clock;
use super::fields::Fields;
use super::line::{LineFormat, slog_level, tag};
use super::outputs::Outputs;
use super::sink::{Sink, Writer};
use super::syslog::Syslog;
use super::{Id, Log};
use crate::config::LogFormat;

/// The outputs in force. The lock is held only to read or replace the `Arc`, never while a line is
/// written; and only a process with one thread forks, so no child inherits it locked.
static CURRENT: RwLock<Option<Arc<Installed>>> = RwLock::new(None);

/// Whether lines go to stderr, see [`to_stderr`].
static STDERR: AtomicBool = AtomicBool::new(true);

/// The shape of lines in this process, see [`set_format`].
static FORMAT: AtomicU8 = AtomicU8::new(LogFormat::Stunnel as u8);

struct Installed {
    logger: Logger,
    file: Option<Arc<Sink>>,
    syslog: Option<Arc<Syslog>>,
}

impl Installed {
    fn new(outputs: Outputs) -> Self {
        let line = |sink: Arc<Sink>| LineFormat::new(PlainSyncDecorator::new(Writer(sink)));
        let met = outputs.reach_syslog();
        let alone = outputs.file.is_none() && outputs.syslog.is_none();
        let file = outputs.file.map(|fd| Arc::new(Sink::file(fd)));
        let syslog = outputs
            .syslog
            .map(|socket| Syslog::new(socket, met, outputs.facility, outputs.program))
            .map(Arc::new);
        Self {
            logger: Logger::root(
                Drains {
                    terminal: line(Arc::new(Sink::terminal(alone))),
                    file: file.clone().map(line),
                    syslog: syslog.clone(),
                },
                o!(),
            ),
            file,
            syslog,
        }
    }
}

/// Writes to every output in turn; none can fail, see [`Sink::put`].
struct Drains {
    terminal: LineFormat<PlainSyncDecorator<Writer>>,
    file: Option<LineFormat<PlainSyncDecorator<Writer>>>,
    syslog: Option<Arc<Syslog>>,
}

impl Drain for Drains {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        if STDERR.load(Relaxed) {
            let _ = self.terminal.log(record, values);
        }
        if let Some(file) = &self.file {
            let _ = file.log(record, values);
        }
        match &self.syslog {
            Some(syslog) => syslog.log(record, values),
            None => Ok(()),
        }
    }
}

/// Installs these outputs in this process, and in those it forks from now on; closes the previous ones.
/// Loads the time zone, and ignores SIGXFSZ, so that a log file at its limit (RLIMIT_FSIZE) costs
/// lines, not the process.
pub(crate) fn install(outputs: Outputs) {
    clock::load_zone();
    // SAFETY: ignoring installs no handler.
    let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    STDERR.store(outputs.stderr, Relaxed);
    set_format(outputs.format);
    let missing = outputs.syslog_missing.clone();
    let new = Arc::new(Installed::new(outputs));
    *CURRENT.write().unwrap_or_else(PoisonError::into_inner) = Some(new);
    if let Some(reason) = missing {
        let log = Log {
            level: 7,
            id: Id::Ui,
            from: None,
        };
        crate::notice!(log, "syslog is not used yet: {reason}");
    }
}

/// The shape of the lines that this process writes from now on, and those that it forks.
pub(crate) fn set_format(format: LogFormat) {
    FORMAT.store(format as u8, Relaxed);
}

/// The shape of lines.
pub(crate) fn format() -> LogFormat {
    let shape = FORMAT.load(Relaxed);
    let all = [LogFormat::Json, LogFormat::Short];
    let found = all.into_iter().find(|format| *format as u8 == shape);
    found.unwrap_or(LogFormat::Stunnel)
}

fn current() -> Option<Arc<Installed>> {
    CURRENT
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Writes one line to the installed outputs; before any are installed, to stderr.
pub(super) fn write(level: u8, fields: Fields<'_>, text: fmt::Arguments<'_>) {
    /// The outputs of a process that has installed none (yet).
    static FIRST: OnceLock<Installed> = OnceLock::new();
    match current() {
        Some(installed) => log_to(&installed.logger, level, fields, text),
        None => {
            let first = FIRST.get_or_init(|| Installed::new(Outputs::stderr_only()));
            log_to(&first.logger, level, fields, text);
        }
    }
}

/// Writes one line as a slog record; the head of the line is the record's tag.
pub(super) fn log_to(logger: &Logger, level: u8, fields: Fields<'_>, text: fmt::Arguments<'_>) {
    /// Lines do not show where in the source they come from.
    static LOCATION: RecordLocation = RecordLocation {
        file: file!(),
        line: line!(),
        column: column!(),
        function: "",
        module: module_path!(),
    };
    let level = level.min(7);
    let fixed = RecordStatic {
        location: &LOCATION,
        tag: &tag(level, fields.id),
        level: slog_level(level),
    };
    logger.log(&Record::new(&fixed, &text, b!(fields)));
}

/// Whether lines also go to stderr: off once the program has become a daemon.
pub(crate) fn to_stderr(yes: bool) {
    STDERR.store(yes, Relaxed);
}

/// Puts `fd`, see [`super::reopen`], behind the number of the installed log file in one step: a line
/// written meanwhile goes to the old file or to the new one.
///
/// # Errors
/// No log file is installed; what dup3(2) gives.
pub(crate) fn replace_file(fd: OwnedFd) -> io::Result<()> {
    match current().as_ref().and_then(|current| current.file.as_ref()) {
        Some(file) => file.replace(fd.as_fd()),
        None => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no log file is in use",
        )),
    }
}

/// Puts `socket`, see [`super::connect_syslog`], behind the number of the installed one.
///
/// # Errors
/// syslog is not in use; what dup3(2) gives.
pub(crate) fn replace_syslog(socket: OwnedFd) -> io::Result<()> {
    match current().as_ref().and_then(|c| c.syslog.as_ref()) {
        Some(syslog) => syslog.replace(socket.as_fd()),
        None => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "syslog is not in use",
        )),
    }
}

/// Whether the installed outputs have met a syslogd.
pub(crate) fn has_met_syslog() -> bool {
    let current = current();
    let syslog = current.as_ref().and_then(|c| c.syslog.as_ref());
    syslog.is_some_and(|syslog| syslog.has_met_one())
}

/// The descriptors that the log needs, for a child that closes all others.
pub(crate) fn descriptors() -> Vec<RawFd> {
    let mut all = Vec::new();
    if STDERR.load(Relaxed) {
        all.push(io::stderr().as_raw_fd());
    }
    if let Some(current) = current() {
        all.extend(current.file.as_ref().map(|file| file.as_fd().as_raw_fd()));
        all.extend(current.syslog.as_ref().map(|s| s.as_fd().as_raw_fd()));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn appending(path: &Path) -> OwnedFd {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
            .into()
    }

    /// The texts in a log file; other tests of this process may write to it too.
    fn texts(path: &Path) -> Vec<String> {
        let mine = " LOG6[4711]: ";
        let file = fs::read_to_string(path).unwrap();
        file.lines()
            .filter_map(|line| line.split_once(mine))
            .map(|(stamp, text)| {
                assert_eq!(stamp.len(), "2026.11.24 09:46:10".len());
                text.to_owned()
            })
            .collect()
    }

    // One test, since what is installed holds for the whole process.
    #[test]
    fn a_file_is_replaced_behind_the_same_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("1"), folder.path().join("2"));
        install(Outputs {
            stderr: false,
            file: Some(appending(&first)),
            ..Outputs::stderr_only()
        });
        let log = Log {
            level: 6,
            id: Id::Connection(4711),
            from: None,
        };
        let before = descriptors();
        crate::info!(log, "to the {}", "first");
        crate::debug!(log, "not listened to");
        replace_file(appending(&second)).unwrap();
        assert_eq!(descriptors(), before);
        crate::info!(log, "to the second");
        assert_eq!(texts(&first), ["to the first"]);
        assert_eq!(texts(&second), ["to the second"]);

        install(Outputs {
            stderr: false,
            ..Outputs::stderr_only()
        });
        assert!(descriptors().is_empty());
        assert!(replace_file(appending(&second)).is_err());
        crate::info!(log, "to no output");
        assert_eq!(texts(&second), ["to the second"]);
        to_stderr(true);
        assert_eq!(descriptors(), [2]);
    }
}
