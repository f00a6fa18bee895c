//! A worker's place in the generation, and the process that fills it.

use std::time::Instant;

use nix::unistd::Pid;

use super::handoff::HandOff;
use super::poll::{Poll, Source};
use super::stall::Stall;
use crate::children::BackOff;
use crate::ipc::channel::Channel;

/// One worker's place: the process that fills it changes.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) process: Option<Running>,
    pub(super) queue: HandOff,
    pub(super) back_off: BackOff,
    /// When to start it again.
    pub(super) start_at: Option<Instant>,
    pub(super) stall: Stall,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: Pid,
    pub(super) channel: Channel,
    /// Where its sockets go.
    pub(super) sockets: Channel,
    pub(super) since: Instant,
    pub(super) ready: bool,
    pub(super) draining: bool,
    /// Its end of the channel is closed: it is at its end, or as good as.
    pub(super) hung_up: bool,
    /// Room in `sockets` is waited for.
    pub(super) full: bool,
}

impl Running {
    /// Whether it takes connections.
    pub(super) fn takes(&self) -> bool {
        !(self.draining || self.hung_up)
    }

    /// Waits for room in its channel of sockets while there is none.
    pub(super) fn poll_for_room(&mut self, full: bool, index: usize, poll: &Poll) {
        if full == self.full || self.hung_up {
            return;
        }
        match full {
            // Without the watch it is tried again at the next turn, at the latest to see what was claimed.
            true => self.full = poll.add(&self.sockets, Source::Room(index)).is_ok(),
            false => {
                poll.remove(&self.sockets);
                self.full = false;
            }
        }
    }

    pub(super) fn stop_polling(&self, poll: &Poll) {
        poll.remove(&self.channel);
        poll.remove(&self.sockets);
    }
}
