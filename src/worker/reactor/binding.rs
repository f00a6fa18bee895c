//! Sockets with their clients' addresses, which the binder makes for sessions.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::{BINDER, Reactor};
use crate::helper::{BindClient, NotBound};

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
            self.tell(bits, |session| session.bound(question, Err(NotBound::Gone)));
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
                self.tell(bits, |session| session.bound(question, answer));
            }
        }
    }
}
