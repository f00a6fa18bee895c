//! A worker's slot in the generation, and the process that fills it.

use std::time::Instant;

use nix::unistd::Pid;

use super::handoff::HandOff;
use super::poll::{Poll, Source};
use super::stall::Stall;
use crate::children::BackOff;
use crate::ipc::channel::Channel;
use crate::worker::group::Group;

/// One worker's slot; the process in it changes.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) group: Group,
    pub(super) process: Option<Running>,
    /// Its next process was ordered from the zygote.
    pub(super) ordered: Option<Ordered>,
    pub(super) queue: HandOff,
    pub(super) back_off: BackOff,
    /// When to start its next process.
    pub(super) start_at: Option<Instant>,
    pub(super) stall: Stall,
}

/// A worker that the zygote is to fork.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) order: u64,
    pub(super) channel: Channel,
    pub(super) sockets: Channel,
    pub(super) at: Instant,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: Pid,
    pub(super) channel: Channel,
    /// The channel for its sockets.
    pub(super) sockets: Channel,
    pub(super) ready: bool,
    pub(super) draining: bool,
    /// Since when its end of the channel is closed: it has exited, or is about to.
    pub(super) hung_up: Option<Instant>,
    /// `sockets` is being polled for room.
    pub(super) full: bool,
}

impl Running {
    /// Whether it accepts connections.
    pub(super) fn takes(&self) -> bool {
        !(self.draining || self.hung_up.is_some())
    }

    /// Polls its channel of sockets for room, while it is full.
    pub(super) fn poll_for_room(&mut self, full: bool, index: usize, poll: &Poll) {
        if full == self.full || self.hung_up.is_some() {
            return;
        }
        match full {
            // If it cannot be polled, the next turn tries again, at the latest to see what was claimed.
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
