//! The side that asks: relay threads, and the master for programs that stand in place of `accept`.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::MsgFlags;

use super::message::{self, Answer, MAX_MESSAGE, Request, Started};
use crate::ipc::channel::{Channel, Cut};
use crate::log::Reason;

/// A program that was started, and the socket that its bytes go through.
#[derive(Debug)]
pub(crate) struct Launched {
    pub started: Started,
    pub socket: OwnedFd,
}

/// Why there is no program, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused(pub String);

impl Refused {
    /// The launcher died before it answered.
    pub(crate) fn by_death() -> Refused {
        Refused("the process that starts programs has ended; another takes its place".to_owned())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One client's socket to the launcher. Nothing here waits.
#[derive(Debug)]
pub(crate) struct Client {
    channel: Channel,
    next: u64,
    /// Asked and not answered.
    asked: HashSet<u64>,
    buffer: Box<[u8]>,
    gone: bool,
}

impl Client {
    /// `socket` is SOCK_SEQPACKET; its other end is, or is on its way to be, the launcher's.
    pub(crate) fn new(socket: OwnedFd) -> Client {
        Client {
            channel: socket.into(),
            next: 1,
            asked: HashSet::new(),
            buffer: vec![0; MAX_MESSAGE].into_boxed_slice(),
            gone: false,
        }
    }

    /// Asks for a program, under a number that replaces the request's own; gives that.
    ///
    /// # Errors
    /// What the program must be told of its client is too long, the launcher is gone, or it has too much
    /// to read.
    pub(crate) fn ask(&mut self, request: Request) -> Result<u64, Refused> {
        let id = self.next;
        let packet = Some(Request { id, ..request }).filter(Request::is_fit);
        let Some(packet) = packet.as_ref().and_then(message::encode) else {
            let text = "the name in the client's certificate is too long for an environment";
            return Err(Refused(text.to_owned()));
        };
        let said = self.channel.send(&packet, &[], MsgFlags::MSG_DONTWAIT);
        said.map_err(|error| match Channel::is_busy(&error) {
            true => Refused("too many programs are to be started at once".to_owned()),
            false => Refused::by_death(),
        })?;
        self.next += 1;
        self.asked.insert(id);
        Ok(id)
    }

    /// What was answered by now. When the launcher is gone, so is every open question.
    pub(crate) fn answers(&mut self) -> Vec<(u64, Result<Launched, Refused>)> {
        let mut told = Vec::new();
        while !self.gone {
            match self
                .channel
                .receive(&mut self.buffer, MsgFlags::MSG_DONTWAIT)
            {
                Ok(Some(received)) => {
                    let mut sockets = received.descriptors;
                    self.take(received.len, sockets.pop(), &mut told);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return told,
                Err(error) => match Cut::of(&error) {
                    // No descriptor was left for the socket. The program reads its end of file.
                    Some(cut) => self.take(cut.len, None, &mut told),
                    None => self.gone = true,
                },
                Ok(None) => self.gone = true,
            }
        }
        let lost = self.asked.drain().map(|id| (id, Err(Refused::by_death())));
        told.extend(lost);
        told
    }

    /// Whether nothing comes from this launcher any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    fn take(
        &mut self,
        len: usize,
        socket: Option<OwnedFd>,
        told: &mut Vec<(u64, Result<Launched, Refused>)>,
    ) {
        let answer = self.buffer.get(..len).and_then(message::decode::<Answer>);
        let Some(Answer { id, result }) = answer else {
            self.gone = true;
            return;
        };
        if !self.asked.remove(&id) {
            return;
        }
        let no_room = || Refused(Reason(&nix::errno::Errno::EMFILE.into()).to_string());
        let result = match result {
            Ok(started) => socket
                .map(|socket| Launched { started, socket })
                .ok_or_else(no_room),
            Err(why) => Err(Refused(why)),
        };
        told.push((id, result));
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
