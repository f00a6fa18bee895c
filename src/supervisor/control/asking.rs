//! Clients that have more to ask than the status: root, and the user of this process. Never in here: what becomes of
//! their requests.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{MsgFlags, getsockopt};
use nix::unistd::Uid;

use crate::ipc::channel::Channel;
use crate::ipc::request::{self, MAX_REQUEST, Request};

/// One of which the request is awaited.
#[derive(Debug)]
pub(super) struct Asking(Channel);

/// One whose request has come.
#[derive(Debug)]
pub(in crate::supervisor) struct Asked {
    /// To be answered.
    pub client: UnixStream,
    /// Its request, and the socket that came with it.
    pub request: io::Result<(Request, Option<OwnedFd>)>,
}

impl Asking {
    pub(super) fn new(client: UnixStream) -> Asking {
        Asking(Channel::from(OwnedFd::from(client)))
    }

    /// Hears it without waiting; itself, while nothing has come. `None`: it is gone.
    pub(super) fn hear(self) -> Option<Result<Asked, Asking>> {
        let mut buffer = [0; MAX_REQUEST];
        let request = match self.0.receive(&mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(None) => return None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(Err(self)),
            Ok(Some(mut heard)) => {
                let text = buffer.get(..heard.len).unwrap_or_default();
                request::understood(text).map(|request| (request, heard.descriptors.pop()))
            }
            Err(error) => Err(error),
        };
        let request = match self.may_ask() {
            true => request,
            false => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "only root and the user who started adit may order that (run it as one of them)",
            )),
        };
        Some(Ok(Asked {
            client: UnixStream::from(OwnedFd::from(self.0)),
            request,
        }))
    }

    /// The socket's mode may let others ask for the status; nothing lets them order.
    fn may_ask(&self) -> bool {
        let user = getsockopt(&self.0, PeerCredentials).map(|peer| Uid::from_raw(peer.uid()));
        user.is_ok_and(|user| user.is_root() || user == Uid::effective())
    }
}

impl AsFd for Asking {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
