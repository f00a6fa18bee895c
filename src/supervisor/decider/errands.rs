//! What an administrator or the system asks for beside reloading and stopping: a log file opened anew
//! (USR1), a syslogd that was started anew, a file of the configuration that was written, names whose addresses may
//! have become others, and what had no room at first.

use std::time::Duration;

use super::due::Due;
use super::note::Note;
use super::{Decider, Order, Turn};

/// How long nothing must change before a change counts: certificate and key come one after the other.
const SETTLED: Duration = Duration::from_secs(1);
/// How long after a process could not take what it was sent it is tried again.
const RESEND_AFTER: Duration = Duration::from_secs(1);
/// How long the control socket takes no clients after one could not be taken.
const CONTROL_PAUSE: Duration = Duration::from_secs(1);
/// Between two tries to connect to syslogd: a socket has its name a moment before it can be connected to.
const SYSLOG_PAUSE: Duration = Duration::from_millis(200);
/// Tries to connect to it, after the first.
const SYSLOG_TRIES: u32 = 25;

impl Decider {
    pub(super) fn reopen_log(&mut self, turn: &mut Turn) {
        self.note_that_logs_change();
        turn.order(Order::ReopenLog);
    }

    /// A candidate under way has the old ones open already.
    fn note_that_logs_change(&mut self) {
        self.logs_changed |= self.transition.is_some();
    }

    /// The logs of a configuration that has just come into force were opened before they became others.
    pub(super) fn renew_logs_if_changed(&mut self, turn: &mut Turn) {
        if std::mem::take(&mut self.logs_changed) {
            turn.order(Order::ReopenLog);
            turn.order(Order::ConnectSyslog);
        }
    }

    pub(super) fn syslog_appeared(&mut self, turn: &mut Turn) {
        self.syslog_tries = SYSLOG_TRIES;
        self.due.set(Due::Syslog, turn.now);
    }

    pub(super) fn syslog_connected(&mut self) {
        self.syslog_tries = 0;
        self.note_that_logs_change();
    }

    pub(super) fn syslog_refused(&mut self, turn: &mut Turn) {
        if let Some(left) = self.syslog_tries.checked_sub(1) {
            self.syslog_tries = left;
            self.due.set(Due::Syslog, turn.after(SYSLOG_PAUSE));
        }
    }
}

impl Decider {
    /// Each change puts the reload off until there is none any more.
    pub(super) fn file_written(&mut self, turn: &mut Turn) {
        self.due.set(Due::FilesSettled, turn.after(SETTLED));
    }

    pub(super) fn files_settled(&mut self, turn: &mut Turn) {
        turn.log(Note::FileChanged);
        self.reload_wanted = true;
    }

    /// A process had no room for what it was sent, or no descriptor: a moment later it may have.
    pub(super) fn missed(&mut self, turn: &mut Turn) {
        let at = turn.after(RESEND_AFTER);
        self.due.set_unless_set(Due::Resend, at);
    }

    pub(super) fn names_wanted(&mut self, every: Option<Duration>, turn: &mut Turn) {
        self.names_every = every;
        match every {
            Some(every) => self.due.set(Due::Names, turn.after(every)),
            None => self.due.clear(Due::Names),
        }
    }

    pub(super) fn names_are_due(&mut self, turn: &mut Turn) {
        if let Some(every) = self.names_every.filter(|_| self.stopping.is_none()) {
            self.due.set(Due::Names, turn.after(every));
            turn.order(Order::LookUpNames);
        }
    }

    pub(super) fn control_paused(&mut self, turn: &mut Turn) {
        self.due.set(Due::Control, turn.after(CONTROL_PAUSE));
    }
}
