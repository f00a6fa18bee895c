//! What a relay thread does for its memory: it returns a burst's, keeps unfinished handshakes within their budget, and
//! ends the oldest of them when the system has none left. Never in here: how memory is counted.

use std::sync::atomic::Ordering::Relaxed;

use super::Reactor;
use crate::incidents::{Cause, Diagnosis};
use crate::ipc::handoff::Handed;
use crate::memory;
use crate::relay::step::Ending;
use crate::worker::burst;
use crate::worker::slab::Key;
use crate::{error, warning};

/// What to do where the system has none left.
const MORE: &str =
    "give the process more memory (ulimit -v, LimitAS=, LimitDATA=), or fewer clients";

impl Reactor {
    /// Returns the memory of a burst. Needs some itself.
    pub(super) fn give_back(&mut self) {
        self.shrink();
        burst::trim();
    }

    fn shrink(&mut self) {
        self.sessions.shrink();
        self.due.shrink_to_fit();
        self.stepping.shrink_to_fit();
        self.resources.shrink();
        memory::trim();
    }

    /// Ends the oldest unfinished handshakes while they hold more than their budget together.
    #[inline]
    pub(super) fn keep_budget(&mut self) {
        while let Some(bits) = self.unfinished.excess(self.resources.now) {
            self.shed(bits);
            if let Some(count) = self.shed.count(self.resources.now) {
                let budget = self.unfinished.budget() >> 10;
                let text = format!(
                    "Unfinished handshakes of a thread hold more than {budget} KiB: the oldest were ended"
                );
                warning!(self.log, "{text} ({count} since this was said last)");
                let remedy = "give the machine, or adit's unit, more memory, or keep strangers out by \
                              `maxConnectionsPerAddress`, `connectRate` or a firewall";
                self.keep_want(text, remedy);
            }
        }
    }

    /// The allocator was refused memory in a step of this session, and the thread's reserve is gone. Makes another by
    /// ending the oldest unfinished handshakes, a quarter of them at least; where there is none, this session.
    #[cold]
    pub(super) fn relieve(&mut self, key: Key) {
        let sessions = self.sessions.len();
        let now = self.resources.now;
        self.unfinished.lower_budget(now);
        while let Some(bits) = self.unfinished.excess(now) {
            self.shed(bits);
        }
        // What needs memory itself comes when there is a reserve again.
        self.shrink();
        while !memory::keep_reserve() {
            let Some(bits) = self.unfinished.oldest() else {
                break;
            };
            self.shed(bits);
            self.resources.shrink();
        }
        if !memory::keep_reserve() && self.sessions.get_mut(key).is_some() {
            self.shed(key.to_bits());
            self.shrink();
        }
        if memory::keep_reserve() {
            self.give_back();
        }
        // What was refused meanwhile is made good.
        let _ = memory::was_refused();
        memory::keep_reserve();
        if let Some(count) = self.refusals.count(self.resources.now) {
            let ended = sessions - self.sessions.len();
            error!(
                self.log,
                "Out of memory: {ended} of the thread's {sessions} connections were ended, the oldest unfinished \
                 handshakes first ({count} time(s) since this was said last): give the process more memory \
                 (ulimit -v, LimitAS=, LimitDATA=), or fewer clients"
            );
            self.keep_want(
                format!(
                    "out of memory: {ended} of the {sessions} connections of a thread were ended"
                ),
                MORE,
            );
        }
    }

    /// Keeps that connections were ended for want of memory; where there is some for that.
    fn keep_want(&self, reason: String, remedy: &'static str) {
        if memory::keep_reserve() {
            let diagnosis = Diagnosis::new(Cause::Memory, reason, remedy);
            self.resources.scoreboard.note_own(&diagnosis);
        }
    }

    /// Ends a session for the sake of its memory.
    fn shed(&mut self, bits: u64) {
        let key = Key::from_bits(bits);
        if let Some(entry) = self.sessions.get_mut(key) {
            entry.session.shed(&self.resources);
        }
        self.finish(key, Ending::Reset);
    }

    /// Takes a connection no further: there is no memory for it.
    #[cold]
    pub(super) fn refuse(&mut self, handed: &Handed) {
        let connection = &handed.connection;
        self.resources.closed(connection.service);
        self.resources.leave(self.resources.key(connection));
        let row = self.resources.row(connection.service);
        row.shed().fetch_add(1, Relaxed);
        if let Some(count) = self.refusals.count(self.resources.now) {
            error!(
                self.log,
                "Out of memory: a connection was refused ({count} since this was said last)"
            );
            self.keep_want("out of memory: a connection was refused".to_owned(), MORE);
        }
    }
}
