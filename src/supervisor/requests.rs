//! What an administrator asks by a signal besides reloading and stopping: a log file opened anew
//! (USR1), a list of the connections (USR2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::generation::State;
use super::running::Supervisor;
use crate::ipc::words::{Heard, ToMaster, say_now};
use crate::{log, remedy};

/// How long masters may take to list their connections.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long after a process could not take what it was sent it is tried again.
const SEND_AGAIN: Duration = Duration::from_secs(1);

/// A list of connections being put together (USR2).
pub struct Listing {
    waiting: Vec<u64>,
    count: usize,
    until: Instant,
}

impl Listing {
    /// When patience ends.
    pub fn deadline(&self) -> Instant {
        self.until
    }
}

impl Supervisor {
    /// USR1: opens the log file anew and passes the descriptor down, so that every process changes
    /// over between two lines.
    pub(super) fn reopen_log(&mut self) {
        self.logs_changed |= self.transition.is_some();
        if self.config.global.output.is_none() {
            return;
        }
        match self.pass_log_file() {
            Ok(()) => crate::notice!(self.log, "Log file reopened"),
            Err(error) => {
                let (reason, remedy) = (log::Reason(&error), remedy::making_a_file(&error));
                crate::error!(self.log, "Log file not reopened: {reason} ({remedy})");
            }
        }
    }

    fn pass_log_file(&mut self) -> io::Result<()> {
        let file = log::reopen(&self.config.global)?;
        let mut heard = self.pass_down(&ToMaster::LogFile, file.as_fd());
        heard.add(self.helpers.replace_log_file(file.as_fd()));
        self.send_again_unless(&heard);
        log::replace_file(file)
    }

    /// Has every generation work with another file, socket or channel.
    pub(super) fn pass_down(&self, word: &ToMaster, descriptor: BorrowedFd<'_>) -> Heard {
        let mut heard = Heard::default();
        for generation in &self.generations {
            heard.count(say_now(&generation.channel, word, &[descriptor]));
        }
        heard
    }

    pub(super) fn send_again_unless(&mut self, heard: &Heard) {
        if heard.missed {
            self.missed();
        }
    }

    /// A process had no room for what it was sent, or no descriptor: a moment later it may have.
    pub(super) fn missed(&mut self) {
        self.send_again_at
            .get_or_insert_with(|| Instant::now() + SEND_AGAIN);
    }

    /// Sends the log file, the connection to syslogd and the helpers' channels once more.
    pub(super) fn send_again(&mut self) {
        self.send_again_at = None;
        // What cannot be opened now was told of when it was sent first.
        let _ = self.pass_log_file();
        if self.config.global.syslog {
            let _ = self.pass_syslog();
        }
        self.introduce(&self.helpers.asked());
    }

    /// USR2: every worker lists its connections; the sum is the last line.
    pub(super) fn list(&mut self) {
        let mut waiting = Vec::new();
        for generation in &self.generations {
            let serves = matches!(generation.state, State::Serving | State::Draining(_));
            if serves && say_now(&generation.channel, &ToMaster::List, &[]).is_ok() {
                waiting.push(generation.number);
            }
        }
        for orphans in &self.orphans {
            crate::log_at!(
                self.log,
                0,
                "Generation {} has lost its master, and {} more active connection(s)",
                orphans.generation.number,
                orphans.active()
            );
        }
        self.listing = Some(Listing {
            waiting,
            count: 0,
            until: Instant::now() + PATIENCE,
        });
        self.listed(0, 0);
    }

    pub(super) fn listed(&mut self, number: u64, count: usize) {
        let Some(listing) = &mut self.listing else {
            return;
        };
        let waited = listing.waiting.len();
        listing.waiting.retain(|waiting| *waiting != number);
        if listing.waiting.len() < waited {
            listing.count = listing.count.saturating_add(count);
        }
        if listing.waiting.is_empty() {
            self.finish_listing();
        }
    }

    pub(super) fn finish_listing(&mut self) {
        if let Some(listing) = self.listing.take() {
            crate::log_at!(self.log, 0, "Listed {} active connection(s)", listing.count);
        }
    }
}
