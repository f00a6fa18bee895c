//! Sockets with their clients' addresses, which the binder makes for sessions.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::{BINDER, Key, Reactor, queue};
use crate::helper::{BindClient, Bound, NotBound};

impl Reactor {
    /// Asks this binder from now on.
    pub(super) fn set_binder(&mut self, socket: OwnedFd) -> io::Result<()> {
        let first = self.resources.binder.as_ref().map_or(1, BindClient::next);
        let client = BindClient::new(socket, first);
        self.shared.poller.add(client.as_fd(), BINDER)?;
        // What the last one was asked is lost with it.
        self.take_bound();
        self.resources.binder = Some(client);
        let lost: Vec<(u64, u64)> = self.resources.bindings.drain().collect();
        for (question, bits) in lost {
            self.bound(question, bits, Err(NotBound::Gone));
        }
        Ok(())
    }

    /// Takes what the binder has answered.
    pub(super) fn take_bound(&mut self) {
        let Some(binder) = &mut self.resources.binder else {
            return;
        };
        for (question, answer) in binder.answers() {
            // The socket of a session that is over is closed.
            if let Some(bits) = self.resources.bindings.remove(&question) {
                self.bound(question, bits, answer);
            }
        }
    }

    fn bound(&mut self, question: u64, bits: u64, answer: Result<Bound, NotBound>) {
        let key = Key::from_bits(bits);
        if let Some(entry) = self.sessions.get_mut(key) {
            entry.session.bound(question, answer);
            queue(&mut self.due, key, entry);
        }
    }
}
