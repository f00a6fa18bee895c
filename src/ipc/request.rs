//! What a command may ask of the supervisor at the control socket, beyond its status: one message, and one document back.
//!
//! A client that wants more than the status has a name of its own before it connects (unix(7), autobind). So the
//! supervisor knows at once which client it hears and which it answers; an older one answers with its status, and hears
//! nothing.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, setsockopt, socket,
    sockopt::{ReceiveTimeout, SendTimeout},
};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::inquiry::{Asked, Inquiry};

/// The longest request, in bytes.
pub(crate) const MAX_REQUEST: usize = 4096;

/// A request. It comes whole, in one piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Ask every worker; a socket for their answers comes with it.
    Inquire(Inquiry),
    /// Accept nothing more for this service.
    Drain(String),
    /// Accept for it again.
    TakeBack(String),
}

/// The supervisor's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It is done; what is to be known of it.
    Done(Option<String>),
    /// The workers were asked, but for those that have so many connections.
    Asked {
        /// Connections of workers that cannot be asked.
        unreached: u64,
        /// Those that were; an older adit does not say.
        #[serde(default)]
        workers: Vec<Asked>,
    },
    /// Not now, and why: asked again, it may be done.
    Later(String),
    /// It is not done, and why, with the remedy.
    Refused(String),
}

/// Reads a request.
///
/// # Errors
/// It is none of this version of adit.
pub(crate) fn understood(message: &[u8]) -> io::Result<Request> {
    Ok(serde_json::from_slice(message)?)
}

/// Sends a request to the supervisor that listens there; the socket to read its answer from.
///
/// # Errors
/// It cannot be reached.
pub(crate) fn send(
    control: &Path,
    request: &Request,
    answers: Option<OwnedFd>,
    timeout: Duration,
) -> io::Result<Channel> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX).max(1);
    let timeout = TimeVal::new(seconds, 0);
    setsockopt(&socket, SendTimeout, &timeout)?;
    setsockopt(&socket, ReceiveTimeout, &timeout)?;
    bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
    connect(socket.as_raw_fd(), &UnixAddr::new(control)?)?;
    let channel = Channel::from(socket);
    let descriptors: Vec<_> = answers.iter().map(std::os::fd::AsFd::as_fd).collect();
    channel.send(
        &serde_json::to_vec(request)?,
        &descriptors,
        MsgFlags::empty(),
    )?;
    Ok(channel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_client_with_a_request_has_a_name_and_one_that_asks_for_the_status_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let listener = UnixListener::bind(&path).unwrap();
        let request = Request::Drain("smtp".into());
        let _channel = send(&path, &request, None, Duration::from_secs(5)).unwrap();
        let (client, name) = listener.accept().unwrap();
        assert!(!name.is_unnamed());
        let mut buffer = [0; MAX_REQUEST];
        let heard = Channel::from(OwnedFd::from(client));
        let heard = heard
            .receive(&mut buffer, MsgFlags::empty())
            .unwrap()
            .unwrap();
        assert_eq!(understood(&buffer[..heard.len]).unwrap(), request);
        let _status = UnixStream::connect(&path).unwrap();
        assert!(listener.accept().unwrap().1.is_unnamed());
        assert!(understood(b"{\"Reboot\":1}").is_err());
    }
}
