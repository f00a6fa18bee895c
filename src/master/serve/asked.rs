//! What an administrator asks of a serving master: its workers' connections, and services that are accepted for no more,
//! or again.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use super::Serving;
use crate::ipc::channel::Channel;
use crate::ipc::inquiry::{Inquiry, Told};
use crate::ipc::retire::{self, LAST_HANDSHAKES};
use crate::ipc::words::{ToWorker, say_now};
use crate::master::listener::Listener;

impl Serving {
    /// Passes it on to every worker, with the socket for their answers.
    pub(super) fn inquire(&mut self, inquiry: Inquiry, descriptors: Vec<OwnedFd>) {
        let Some(asker) = descriptors.into_iter().next() else {
            return;
        };
        let word = ToWorker::Inquire(inquiry);
        if self.workers.say(&word, &[asker.as_fd()]).missed {
            // One that is gone by now needs to know nothing.
            let _ = say_now(&Channel::from(asker), &Told::Missed, &[]);
        }
    }

    /// Accepts nothing more for a service. What is in the queue of a listener that could not be retired is accepted
    /// now; one that was stays until the last handshakes with it are over.
    pub(super) fn withdraw(&mut self, service: usize) {
        self.stop_polling_listeners();
        let is_its = |listener: &Listener| listener.service == service;
        let is_retired = |listener: &Listener| retire::is_retired(listener.socket.as_fd());
        if self.announced && self.accepts {
            for index in 0..self.listeners.len() {
                let listener = &self.listeners[index];
                if is_its(listener) && !is_retired(listener) {
                    self.accept_the_rest_of(index);
                }
            }
        }
        self.listeners
            .retain(|listener| !is_its(listener) || is_retired(listener));
        if self.listeners.iter().any(is_retired) {
            self.closing_at = Some(Instant::now() + LAST_HANDSHAKES);
        }
    }

    /// Accepts from these as well.
    pub(super) fn take_back(&mut self, services: Vec<usize>, sockets: Vec<OwnedFd>) {
        self.stop_polling_listeners();
        let pairs = sockets.into_iter().zip(services);
        let back = pairs.map(|(socket, service)| Listener::new(socket, service));
        self.listeners.extend(back);
    }
}
