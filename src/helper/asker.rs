//! The side that asks a pool ([`super::pool`]): relay threads, for their sessions, and what loads a configuration.
//! Never in here: a wait.

use std::collections::HashSet;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use zeroize::Zeroize;

/// What a kind of helper answers.
pub(super) trait Answer: Sized {
    /// The longest as a packet, in bytes, and one more, so that one that was cut shows.
    const MAX_PACKET: usize;
    /// Whether questions or answers have secrets, so that each packet is wiped.
    const SECRET: bool = false;

    /// The answer to the question of this number, as a packet.
    fn encode(&self, id: u64) -> Vec<u8>;

    /// From a packet, with the number; `None` if it is not one.
    fn decode(packet: &[u8]) -> Option<(u64, Self)>;
}

/// One client's socket to a helper.
#[derive(Debug)]
pub(super) struct Asker<A> {
    socket: OwnedFd,
    next: u64,
    /// What was asked and not answered: an answer without a question is not listened to.
    asked: HashSet<u64>,
    gone: bool,
    answers: PhantomData<A>,
}

impl<A: Answer> Asker<A> {
    /// `socket` is SOCK_SEQPACKET; its other end is, or is on its way to be, the helper's. `first` is its first
    /// question's number: those of the client before it must not come again.
    pub(super) fn new(socket: OwnedFd, first: u64) -> Self {
        Self {
            socket,
            next: first,
            asked: HashSet::new(),
            gone: false,
            answers: PhantomData,
        }
    }

    /// The number that the next question gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether the helper is gone, as an answer that was read has told.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Sends the question, which `encode` makes a packet of, given its number; gives that.
    ///
    /// # Errors
    /// `WouldBlock`: too many questions under way. Others: the helper is gone.
    pub(super) fn ask(&mut self, encode: impl FnOnce(u64) -> Vec<u8>) -> io::Result<u64> {
        let id = self.next;
        let mut packet = encode(id);
        let sent = self.send(&packet);
        if A::SECRET {
            packet.zeroize();
        }
        sent?;
        self.next += 1;
        self.asked.insert(id);
        Ok(id)
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match send(self.socket.as_raw_fd(), packet, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The answer to this question is not waited for any more.
    pub(super) fn forget(&mut self, id: u64) {
        self.asked.remove(&id);
    }

    /// What was answered by now, with the questions' numbers; `None`: the helper is gone, with every open question.
    pub(super) fn answers(&mut self) -> Vec<(u64, Option<A>)> {
        let mut told = Vec::new();
        let mut packet = vec![0; A::MAX_PACKET];
        while !self.gone {
            match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN) => break,
                Ok(0) | Err(_) => self.gone = true,
                Ok(length) => match A::decode(&packet[..length]) {
                    Some((id, answer)) => {
                        if self.asked.remove(&id) {
                            told.push((id, Some(answer)));
                        }
                    }
                    // The packet is no answer; no other from there is worth more.
                    None => self.gone = true,
                },
            }
        }
        if A::SECRET {
            packet.zeroize();
        }
        if self.gone {
            told.extend(self.asked.drain().map(|id| (id, None)));
        }
        told
    }
}

impl<A> AsFd for Asker<A> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
