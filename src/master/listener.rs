//! A listener, and how much of its backlog is accepted in one turn.

use std::os::fd::OwnedFd;

/// The most connections accepted from one listener in one turn.
pub(super) const ACCEPT_BATCH: usize = 64;
/// How many turns in a row must find a connection before a turn asks for more than one: when
/// connections come singly, asking for a second costs a system call that finds none.
const TURNS_BEFORE_BATCHES: u32 = 8;

/// A listening socket and its service.
#[derive(Debug)]
pub(super) struct Listener {
    /// Non-blocking, shared with the supervisor.
    pub socket: OwnedFd,
    /// Index of the service.
    pub service: usize,
    /// It is not read: its service has as many connections as it may.
    pub held: bool,
    /// Turns in a row that found as many connections as they asked for.
    full_turns: u32,
}

impl Listener {
    /// A listener from which nothing has been accepted yet.
    pub(super) fn new(socket: OwnedFd, service: usize) -> Self {
        Self {
            socket,
            service,
            held: false,
            full_turns: 0,
        }
    }

    /// The most connections to accept in this turn.
    pub(super) fn most(&self) -> usize {
        let doublings = self.full_turns.saturating_sub(TURNS_BEFORE_BATCHES);
        1 << doublings.min(ACCEPT_BATCH.ilog2())
    }

    /// Records whether the turn found as many as it asked for.
    pub(super) fn took(&mut self, all: bool) {
        self.full_turns = match all {
            true => self.full_turns.saturating_add(1),
            false => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_takes_one_at_first_and_more_while_the_queue_is_longer() {
        let mut listener = Listener::new(tempfile::tempfile().unwrap().into(), 0);
        let mut taken = Vec::new();
        for _ in 0..16 {
            taken.push(listener.most());
            listener.took(true);
        }
        assert_eq!(taken, [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64, 64]);
        listener.took(false);
        assert_eq!(listener.most(), 1);
    }
}
