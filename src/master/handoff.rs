//! The hand-off to one worker: every socket is numbered, and the master keeps its own descriptor of
//! each until the worker has claimed that number. When a worker dies, what it had not claimed is
//! intact.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::MsgFlags;

use crate::ipc::channel::Channel;
use crate::ipc::handoff::{BATCH, Connection, Entry, TAG, encode};
use crate::ipc::shares::Key;

/// An accepted connection that no worker has claimed yet.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Non-blocking.
    pub socket: OwnedFd,
    /// What was accepted.
    pub connection: Connection,
    /// What it is counted by for its client's address, if it is.
    pub key: Option<Key>,
}

/// The queue towards one worker process.
#[derive(Debug, Default)]
pub(crate) struct HandOff {
    /// In the order of their numbers; the first has number `claimed + 1`.
    waiting: VecDeque<Accepted>,
    claimed: u64,
    /// How many at the front of `waiting` were sent.
    sent: usize,
    /// The worker's socket was full at the last attempt to send.
    full: bool,
    /// Sockets that were sent and taken back: the worker still has to close them.
    revoked: u64,
}

impl HandOff {
    /// Adds a connection; [`HandOff::flush`] sends it.
    pub(crate) fn push(&mut self, accepted: Accepted) {
        self.waiting.push_back(accepted);
    }

    /// Connections assigned to the worker and not claimed, sent or not.
    pub(crate) fn unclaimed(&self) -> usize {
        self.waiting.len()
    }

    /// Those of them that belong to one of these services.
    pub(crate) fn unclaimed_of(&self, services: &[usize]) -> usize {
        let of_these = |accepted: &&Accepted| services.contains(&accepted.connection.service);
        self.waiting.iter().filter(of_these).count()
    }

    /// Whether an event will report room for what could not be sent.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.is_stuck() && self.full
    }

    /// Whether something could not be sent yet.
    pub(crate) fn is_stuck(&self) -> bool {
        self.sent < self.waiting.len()
    }

    /// Sends what has not been sent, as far as there is room, up to [`BATCH`] in a message.
    ///
    /// # Errors
    /// The worker is gone.
    pub(crate) fn flush(&mut self, channel: &Channel) -> io::Result<()> {
        self.full = false;
        while self.is_stuck() {
            let from = self.sent;
            let batch = self.waiting.range(from..).take(BATCH);
            let count = batch.len();
            let mut message = Vec::with_capacity(64);
            message.push(TAG);
            let mut descriptors = Vec::with_capacity(count);
            for (n, accepted) in batch.enumerate() {
                let entry = Entry {
                    sequence: self.claimed + (from + n) as u64 + 1,
                    connection: accepted.connection,
                };
                encode(&entry, &mut message);
                descriptors.push(accepted.socket.as_fd());
            }
            match channel.send(&message, &descriptors, MsgFlags::MSG_DONTWAIT) {
                Ok(()) => self.sent += count,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.full = true;
                        return Ok(());
                    }
                    io::ErrorKind::ResourceBusy => return Ok(()),
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Releases what the worker has claimed, up to and including number `claimed`.
    pub(crate) fn claim(&mut self, claimed: u64) {
        let count = claimed.saturating_sub(self.claimed).min(self.sent as u64) as usize;
        self.waiting.drain(..count);
        self.claimed += count as u64;
        self.sent -= count;
    }

    /// Whether the worker was sent something that it has not claimed.
    pub(crate) fn is_waiting(&self) -> bool {
        self.sent > 0
    }

    /// Takes back everything after number `claimed`, in order, from a live worker, which may claim no
    /// more; its numbers are not reused.
    pub(crate) fn revoke(&mut self, claimed: u64) -> VecDeque<Accepted> {
        self.claim(claimed);
        self.revoked += self.sent as u64;
        self.claimed += self.sent as u64;
        self.sent = 0;
        std::mem::take(&mut self.waiting)
    }

    /// How many sockets the worker has to close, in total.
    pub(crate) fn revoked(&self) -> u64 {
        self.revoked
    }

    /// The last number used, after [`HandOff::revoke`].
    pub(crate) fn last(&self) -> u64 {
        self.claimed
    }

    /// Takes back everything unclaimed from a dead worker, in order.
    pub(crate) fn take_back(&mut self) -> VecDeque<Accepted> {
        *self = HandOff {
            waiting: std::mem::take(&mut self.waiting),
            ..HandOff::default()
        };
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::handoff::{MAX_MESSAGE, decode};
    use std::os::unix::net::UnixStream;

    fn accepted(number: u64) -> Accepted {
        Accepted {
            socket: UnixStream::pair().unwrap().0.into(),
            connection: Connection {
                number,
                service: 0,
                peer: None,
                warrant: None,
            },
            key: None,
        }
    }

    #[test]
    fn what_is_not_claimed_is_taken_back_and_numbers_go_on_over_batches() {
        let (near, far) = Channel::pair().unwrap();
        let mut queue = HandOff::default();
        (1..=BATCH as u64 + 2).for_each(|n| queue.push(accepted(n)));
        queue.flush(&near).unwrap();
        assert!(!queue.is_stuck());
        let mut buffer = [0; MAX_MESSAGE];
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let message = far.receive(&mut buffer, MsgFlags::MSG_DONTWAIT).unwrap();
            let message = message.unwrap();
            let entries = decode(&buffer[..message.len]).unwrap();
            assert_eq!(entries.len(), message.descriptors.len());
            numbers.extend(
                entries
                    .iter()
                    .map(|entry| (entry.sequence, entry.connection.number)),
            );
        }
        let expected: Vec<_> = (1..=BATCH as u64 + 2).map(|n| (n, n)).collect();
        assert_eq!(numbers, expected);

        queue.claim(3);
        queue.push(accepted(1000));
        queue.flush(&near).unwrap();
        let message = far.receive(&mut buffer, MsgFlags::MSG_DONTWAIT).unwrap();
        let next = decode(&buffer[..message.unwrap().len]).unwrap();
        assert_eq!(next[0].sequence, BATCH as u64 + 3);

        let back: Vec<_> = queue
            .take_back()
            .iter()
            .map(|a| a.connection.number)
            .collect();
        assert_eq!(back[0], 4);
        assert_eq!(back.last(), Some(&1000));
        assert_eq!((queue.unclaimed(), queue.is_stuck()), (0, false));
    }

    #[test]
    fn numbers_that_were_taken_back_are_never_used_again() {
        let (near, far) = Channel::pair().unwrap();
        let mut queue = HandOff::default();
        (1..=4).for_each(|n| queue.push(accepted(n)));
        queue.flush(&near).unwrap();
        queue.push(accepted(5));
        let back: Vec<_> = queue
            .revoke(1)
            .iter()
            .map(|a| a.connection.number)
            .collect();
        assert_eq!(back, [2, 3, 4, 5], "also what was not sent yet");
        assert_eq!((queue.revoked(), queue.last()), (3, 4));
        assert!(!queue.is_waiting() && queue.unclaimed() == 0);
        let mut buffer = [0; MAX_MESSAGE];
        far.receive(&mut buffer, MsgFlags::MSG_DONTWAIT).unwrap();
        queue.push(accepted(6));
        queue.flush(&near).unwrap();
        let message = far.receive(&mut buffer, MsgFlags::MSG_DONTWAIT).unwrap();
        let next = decode(&buffer[..message.unwrap().len]).unwrap();
        assert_eq!(next[0].sequence, 5);
    }

    #[test]
    fn a_full_socket_keeps_the_rest_and_a_claim_never_passes_what_was_sent() {
        let (near, _far) = Channel::pair().unwrap();
        let mut queue = HandOff::default();
        let total = 64 * BATCH;
        let (socket, _other) = UnixStream::pair().unwrap();
        for n in 0..total {
            let socket = socket.try_clone().unwrap().into();
            queue.push(Accepted {
                socket,
                ..accepted(n as u64)
            });
            if n % BATCH == 0 {
                queue.flush(&near).unwrap();
            }
        }
        queue.flush(&near).unwrap();
        if queue.is_stuck() {
            let sent = queue.sent;
            queue.claim(u64::MAX);
            assert_eq!(queue.unclaimed(), total - sent);
        }
    }
}
