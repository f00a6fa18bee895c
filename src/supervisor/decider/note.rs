//! What the log is told of a decision; the phrases are a contract with people's filters.

use std::fmt;
use std::time::Duration;

use super::Why;
use crate::helper::Kind;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// A candidate has loaded everything.
    Loaded(Why),
    /// A start or a reload is refused; the cause is said before.
    Refused(Why),
    /// What a refused reload leaves.
    RunningGoesOn,
    /// No master could be started in place of the dead one, and when the next is tried.
    NoMaster(Duration),
    /// A candidate has had its time.
    TooSlow(u64),
    /// A service listens there.
    Bound(Why, String),
    /// The first generation serves.
    Accepting,
    /// A reload is over.
    Reloaded(u64),
    /// A dead master was replaced.
    InPlace(u64),
    /// A master that was to drain has had its time.
    StillAccepting(u64),
    /// A master does not answer.
    NotResponding {
        /// Its generation.
        number: u64,
        /// Its process.
        pid: i32,
    },
    /// A candidate died.
    DiedLoading {
        /// Its generation.
        number: u64,
        /// Its process.
        pid: i32,
        /// In words: `was killed by SIGKILL`.
        how: String,
    },
    /// The master that served died; another is started after the pause.
    Died {
        /// Its generation.
        number: u64,
        /// Its process.
        pid: i32,
        /// In words.
        how: String,
        /// Until the next is started.
        pause: Duration,
        /// Its spare starts it.
        spared: bool,
    },
    /// The spare of a generation stands.
    Spared(u64),
    /// It died; another is asked for after the pause.
    SpareLost {
        /// Its generation.
        number: u64,
        /// In words.
        how: String,
        /// Until another is asked for.
        pause: Duration,
    },
    /// There is none, and why.
    NotSpared {
        /// Its generation.
        number: u64,
        /// In words.
        reason: String,
    },
    /// A spare has not forked a master.
    NotForked {
        /// In words.
        reason: String,
        /// Until it is asked again, if it is.
        again: Option<Duration>,
    },
    /// A master ended that was to end.
    Ended(u64),
    /// A master said what is no word.
    InvalidMessage {
        /// Its generation.
        number: u64,
        /// Why it cannot be read.
        error: String,
    },
    /// A master said a word that its state does not allow.
    OutOfTurn(u64),
    /// A new binary's rehearsal went well.
    CanTakeOver,
    /// It did not; in words, how it ended.
    CannotTakeOver(String),
    /// The old binary begins the reload.
    OldBinaryGoesOn,
    /// A file of the configuration has changed.
    FileChanged,
    /// The sum of a list of connections.
    Listed(usize),
    /// A signal to end.
    Stopping(&'static str),
    /// A generation did not end in time.
    Killed(u64),
    /// A helper died.
    HelperDied {
        /// Which.
        kind: Kind,
        /// Its process.
        pid: i32,
        /// In words.
        how: String,
    },
}

impl Note {
    /// As in syslog(3): 0 for what is always shown, 3 for errors.
    pub(crate) fn level(&self) -> u8 {
        match self {
            Note::Listed(_) => 0,
            Note::Refused(_)
            | Note::RunningGoesOn
            | Note::NoMaster(_)
            | Note::TooSlow(_)
            | Note::StillAccepting(_)
            | Note::NotResponding { .. }
            | Note::DiedLoading { .. }
            | Note::Died { .. }
            | Note::InvalidMessage { .. }
            | Note::NotForked { .. }
            | Note::CannotTakeOver(_)
            | Note::OldBinaryGoesOn => 3,
            Note::Killed(_)
            | Note::HelperDied { .. }
            | Note::SpareLost { .. }
            | Note::NotSpared { .. } => 4,
            Note::Loaded(_)
            | Note::Reloaded(_)
            | Note::InPlace(_)
            | Note::CanTakeOver
            | Note::FileChanged
            | Note::Stopping(_) => 5,
            Note::Bound(..) | Note::Accepting | Note::Ended(_) => 6,
            Note::OutOfTurn(_) | Note::Spared(_) => 7,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Loaded(_) => f.write_str("Configuration successful"),
            Note::Refused(_) => f.write_str("Configuration failed"),
            Note::RunningGoesOn => f.write_str(
                "Failed to reload the configuration file: the running configuration stays in force",
            ),
            Note::NoMaster(pause) => write!(
                f,
                "No master serves; the next attempt is in {} s (see the errors above)",
                pause.as_secs()
            ),
            Note::TooSlow(number) => write!(
                f,
                "Generation {number} did not start in time (`adit check` shows what takes so long: a \
                 file system that hangs, or a slow machine)"
            ),
            Note::Bound(_, line) => f.write_str(line),
            Note::Accepting => f.write_str("Accepting new connections"),
            Note::Reloaded(number) => {
                write!(f, "Configuration reloaded: generation {number} serves")
            }
            Note::InPlace(number) => {
                write!(f, "Generation {number} serves in place of the dead one")
            }
            Note::StillAccepting(number) => write!(
                f,
                "Generation {number} is still accepting: killing its master"
            ),
            Note::NotResponding { number, pid } => write!(
                f,
                "The master of generation {number} (PID {pid}) is not responding: killing it"
            ),
            Note::DiedLoading { number, pid, how } => write!(
                f,
                "The master of generation {number} (PID {pid}) {how} before it served"
            ),
            Note::Died {
                number,
                pid,
                how,
                pause,
                spared,
            } => {
                write!(f, "The master of generation {number} (PID {pid}) {how}; ")?;
                if *spared {
                    f.write_str("its spare is ")?;
                }
                write!(f, "starting another in {} ms", pause.as_millis())
            }
            Note::Spared(number) => write!(f, "Generation {number} has a spare"),
            Note::SpareLost { number, how, pause } => write!(
                f,
                "The spare of generation {number} {how}; starting another in {} ms",
                pause.as_millis()
            ),
            Note::NotSpared { number, reason } => write!(
                f,
                "Generation {number} has no spare: {reason}; if its master dies, all files and names are read again"
            ),
            Note::NotForked { reason, again } => {
                write!(f, "The spare could not start a master: {reason}; ")?;
                match again {
                    Some(pause) => write!(f, "trying again in {} ms", pause.as_millis()),
                    None => f.write_str("reading all files and names again"),
                }
            }
            Note::Ended(number) => write!(f, "Generation {number} has ended"),
            Note::InvalidMessage { number, error } => write!(
                f,
                "Generation {number} sent an invalid message: killing its master: {error}"
            ),
            Note::OutOfTurn(number) => write!(f, "Generation {number} sent a message out of turn"),
            Note::CanTakeOver => f.write_str("The new binary can take over"),
            Note::CannotTakeOver(how) => {
                write!(f, "The new binary's rehearsal {how}: it cannot take over")
            }
            Note::OldBinaryGoesOn => f.write_str(
                "The running binary stays in use: the lines above say why; only a restart puts the new one into use, \
                 and that ends connections",
            ),
            Note::FileChanged => f.write_str("certWatch: a file has changed, reloading"),
            Note::Listed(count) => write!(f, "Listed {count} active connection(s)"),
            Note::Stopping(signal) => write!(f, "Received {signal}; terminating"),
            Note::Killed(number) => write!(f, "Generation {number} is killed"),
            Note::HelperDied { kind, pid, how } => {
                write!(f, "The {kind} (PID {pid}) {how}; starting another")
            }
        }
    }
}
