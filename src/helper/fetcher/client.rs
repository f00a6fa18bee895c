//! The side that asks: relay threads, for their sessions. Never in here: a wait.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::message::{Answer, MAX_ANSWER_PACKET, Request, may_ask};

/// A request's number, and what became of it.
pub(crate) type Told = (u64, Result<Vec<u8>, String>);

/// One client's socket to the fetcher.
#[derive(Debug)]
pub(crate) struct Client {
    socket: OwnedFd,
    next: u64,
    /// What was asked and not answered: an answer without a question is not listened to.
    asked: HashSet<u64>,
    gone: bool,
}

impl Client {
    /// `socket` is SOCK_SEQPACKET; its other end is, or is on its way to be, the fetcher's. `first` is its first
    /// request's number: those of the client before it must not come again.
    pub(crate) fn new(socket: OwnedFd, first: u64) -> Self {
        Self {
            socket,
            next: first,
            asked: HashSet::new(),
            gone: false,
        }
    }

    /// The number that the next request gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether the fetcher is gone, so that nothing can be asked here any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Asks for the answer to a POST; gives the request's number.
    ///
    /// # Errors
    /// `InvalidInput`: it is too long. `WouldBlock`: too many requests under way. Others: the fetcher is gone.
    pub(crate) fn ask(&mut self, url: &str, body: &[u8], patience: Duration) -> io::Result<u64> {
        if !may_ask(url, body) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let id = self.next;
        let request = Request {
            id,
            patience,
            url: url.to_owned(),
            body: body.to_vec(),
        };
        let packet = request.encode();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match send(self.socket.as_raw_fd(), &packet, flags) {
                Ok(_) => break,
                Err(Errno::EINTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
        self.next += 1;
        self.asked.insert(id);
        Ok(id)
    }

    /// What was answered by now. When the fetcher is gone every open request is answered with an error.
    pub(crate) fn answers(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        let mut packet = vec![0; MAX_ANSWER_PACKET];
        while !self.gone {
            match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN) => return told,
                Ok(0) | Err(_) => self.gone = true,
                Ok(length) => match Answer::decode(&packet[..length]) {
                    Some(Answer { id, result }) => {
                        if self.asked.remove(&id) {
                            told.push((id, result));
                        }
                    }
                    // The packet is no answer; no other from there is worth more.
                    None => self.gone = true,
                },
            }
        }
        let lost = self.asked.drain();
        told.extend(lost.map(|id| (id, Err("the fetcher process is gone".to_owned()))));
        told
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
