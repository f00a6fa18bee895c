//! What the supervisor waits for.

use crate::helper::Kind;
use crate::sys::watch::{self, Interest};

/// The first key of those with a number.
const NUMBERED: usize = 8 + Kind::ALL.len();

/// Waiting for it.
pub(super) type Waiting = watch::Watch<Source>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The signal pipe.
    Signals,
    /// Files that `certWatch` looks at.
    Files,
    /// The folder of syslogd's socket.
    Syslog,
    /// A client of the control socket.
    Control,
    /// Room for more of an answer to one.
    Answer,
    /// The request of one.
    Request,
    /// A client that comes.
    Backlog,
    /// Addresses of names that were looked up again.
    Names,
    /// The answer of a helper that was asked whether its loop comes round.
    Helper(Kind),
    /// The words of the master of a generation.
    Master(u64),
    /// The words of its spare.
    Spare(u64),
    /// The first word of a master that a spare is to fork.
    Unborn(u64),
}

impl watch::Source for Source {
    fn key(self) -> usize {
        match self {
            Source::Signals => 0,
            Source::Files => 1,
            Source::Syslog => 2,
            Source::Control => 3,
            Source::Answer => 4,
            Source::Backlog => 5,
            Source::Names => 6,
            Source::Request => 7,
            Source::Helper(kind) => 8 + kind as usize,
            // Counted up from 1 they never come near the end.
            Source::Master(number) => NUMBERED + 3 * number as usize,
            Source::Spare(number) => NUMBERED + 1 + 3 * number as usize,
            Source::Unborn(number) => NUMBERED + 2 + 3 * number as usize,
        }
    }

    fn of(key: usize) -> Source {
        match key {
            0 => Source::Signals,
            1 => Source::Files,
            2 => Source::Syslog,
            3 => Source::Control,
            4 => Source::Answer,
            5 => Source::Backlog,
            6 => Source::Names,
            7 => Source::Request,
            key if key < NUMBERED => Source::Helper(Kind::ALL[key - 8]),
            key => {
                let number = ((key - NUMBERED) / 3) as u64;
                match (key - NUMBERED) % 3 {
                    0 => Source::Master(number),
                    1 => Source::Spare(number),
                    _ => Source::Unborn(number),
                }
            }
        }
    }

    fn interest(self) -> Interest {
        match self {
            Source::Answer => Interest::Write,
            _ => Interest::Read,
        }
    }
}
