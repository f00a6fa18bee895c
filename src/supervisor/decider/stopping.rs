//! The end: every generation is told, given its time, and at last killed; then nothing is left behind.

use std::time::Duration;

use super::due::Due;
use super::generations::State;
use super::note::Note;
use super::{Decider, Order, Turn};

/// How long masters may take to end after their connections were cut.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Stopping under way.
#[derive(Debug)]
pub(super) struct Stopping {
    status: u8,
    /// Connections are waited for.
    drains: bool,
}

impl Decider {
    /// A signal to end: connections have `drainTimeout`, or none; a second signal cuts them.
    pub(super) fn stop(&mut self, signal: &'static str, turn: &mut Turn) {
        turn.log(Note::Stopping(signal));
        let timeout = match (&self.stopping, self.drain_timeout) {
            (None, Some(drain)) => drain,
            _ => Duration::ZERO,
        };
        self.end_all(0, timeout, turn);
    }

    /// The first generation failed: nothing serves, so nothing is left to do.
    pub(super) fn give_up(&mut self, turn: &mut Turn) {
        self.end_all(1, Duration::ZERO, turn);
    }

    fn end_all(&mut self, status: u8, drain: Duration, turn: &mut Turn) {
        self.abandon_transition(turn);
        self.no_replacement(turn);
        self.end_rehearsal(turn);
        let drains = !drain.is_zero();
        for number in self.generations.all() {
            match self.generations.state(number) {
                Some(State::TakingOver | State::Serving | State::Draining) if drains => {
                    self.drain(number, turn);
                }
                _ => self.cut(number, turn),
            }
        }
        turn.order(Order::CloseListeners);
        // Twice, so that the manager is not the first to lose it.
        turn.order(Order::TellStopping(drain + 2 * STOP_TIMEOUT));
        // A second signal shortens the wait; it never makes it longer.
        let until = turn.after(drain + STOP_TIMEOUT);
        let until = self.due.of(Due::Stopping).map_or(until, |at| at.min(until));
        self.due.set(Due::Stopping, until);
        self.stopping = Some(Stopping { status, drains });
    }

    pub(super) fn end_if_nothing_is_left(&mut self, turn: &mut Turn) {
        let Some(stopping) = &self.stopping else {
            return;
        };
        // Orphans hear no word; they go with this process.
        let orphans = stopping.drains && !self.orphaned.is_empty();
        if self.generations.is_empty() && !orphans {
            self.end(turn);
        }
    }

    /// Everything has ended, or had its time.
    pub(super) fn end(&mut self, turn: &mut Turn) {
        let Some(stopping) = &self.stopping else {
            return;
        };
        for number in self.generations.all() {
            turn.log(Note::Killed(number));
            // Its workers and the helpers follow when the leash is gone.
            turn.order(Order::Kill(number));
        }
        turn.order(Order::End(stopping.status));
    }
}
