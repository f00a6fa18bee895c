//! Where a worker's sockets arrive: a channel from the master in the poller of the first relay thread,
//! which keeps a socket unless another thread of the worker has less to do.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;

use crossbeam_channel::Sender;
use nix::sys::socket::MsgFlags;

use super::shared::Shared;
use crate::ipc::channel::{Channel, Cut};
use crate::ipc::handoff::{self, Entry, Handed, MAX_MESSAGE};

/// The channel, and the threads to share its sockets with.
#[derive(Debug)]
pub(crate) struct Inlet {
    channel: Channel,
    buffer: Box<[u8]>,
    sockets: Sender<Handed>,
    siblings: Vec<Arc<Shared>>,
}

/// One read of the channel.
#[derive(Debug)]
pub(super) enum Message {
    /// Sockets, in the order of their numbers.
    Sockets(Vec<Handed>),
    /// Sockets that did not fit into this process's descriptor table, and the error.
    Lost(Vec<Entry>, io::Error),
    /// Nothing at the moment.
    Nothing,
    /// The end: the master is gone.
    End,
}

impl Inlet {
    /// `channel` comes from the master; the threads of `siblings` receive from `sockets`.
    pub(crate) fn new(
        channel: Channel,
        sockets: Sender<Handed>,
        siblings: Vec<Arc<Shared>>,
    ) -> Self {
        Self {
            channel,
            buffer: vec![0; MAX_MESSAGE].into_boxed_slice(),
            sockets,
            siblings,
        }
    }

    /// Takes one message without waiting.
    ///
    /// # Errors
    /// It cannot be read; its descriptors are closed.
    pub(super) fn receive(&mut self) -> io::Result<Message> {
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = match self.channel.receive(&mut self.buffer, flags) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(Message::End),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Message::Nothing),
            Err(error) => return self.lost(error),
        };
        let entries = handoff::decode(&self.buffer[..message.len])
            .filter(|entries| entries.len() == message.descriptors.len())
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "a hand-off that cannot be read")
            })?;
        let sockets = entries
            .into_iter()
            .zip(message.descriptors)
            .map(|(entry, socket)| Handed {
                socket,
                sequence: entry.sequence,
                connection: entry.connection,
            });
        Ok(Message::Sockets(sockets.collect()))
    }

    fn lost(&self, error: io::Error) -> io::Result<Message> {
        match Cut::of(&error).and_then(|cut| handoff::decode(self.buffer.get(..cut.len)?)) {
            Some(entries) => Ok(Message::Lost(entries, error)),
            None => Err(error),
        }
    }

    /// Passes the socket to a thread with less to do than `load`; returns it if there is none.
    pub(super) fn pass_on(&self, handed: Handed, load: usize) -> Option<Handed> {
        let idlest = self.siblings.iter().min_by_key(|thread| thread.load());
        match idlest {
            Some(idlest) if idlest.load() < load => {
                match self.sockets.send(handed) {
                    Ok(()) => {
                        // Only now: a thread that happens to be awake would find nothing in the
                        // channel, and use up its permit.
                        idlest.permits.fetch_add(1, Release);
                        idlest.poller.notify();
                        None
                    }
                    // All receivers are gone, which cannot be, since this thread has one.
                    Err(unsent) => Some(unsent.into_inner()),
                }
            }
            _ => Some(handed),
        }
    }
}

impl AsFd for Inlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Drop for Inlet {
    /// Dropping this sender closes the channel of sockets without an event, so draining threads must be
    /// woken to look once more.
    fn drop(&mut self) {
        let (closed, _) = crossbeam_channel::bounded(0);
        self.sockets = closed;
        for thread in &self.siblings {
            thread.poller.notify();
        }
    }
}
