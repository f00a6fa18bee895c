//! The DNS process: getaddrinfo for all the others, since an answer from the network is hostile
//! input that neither root nor the jail should parse. Holds no key and no listener.
//!
//! Every client has a SOCK_SEQPACKET socket of its own; it asks by [`message::Request`] and is
//! told by [`message::Answer`], in whatever order the answers come in.

mod client;
mod lookup;
mod message;
mod server;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::MsgFlags;

use crate::ipc::channel::Channel;

pub use client::Client;
pub use message::Want;
#[cfg(fuzzing)]
pub(crate) use message::fuzz;
pub use server::serve;

/// What comes with a descriptor on the resolver's channel: a client's socket.
const CLIENT: &[u8] = b"c";
/// The log file.
const LOG_FILE: &[u8] = b"l";
/// A connection to syslogd.
const SYSLOG: &[u8] = b"s";

/// A name could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveError {
    /// The name.
    pub host: String,
    /// Why, in getaddrinfo's words.
    pub reason: String,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error resolving \"{}\": {}", self.host, self.reason)
    }
}

impl std::error::Error for ResolveError {}

/// The address that `host` is, if it is one in text (with or without brackets): nobody needs to
/// be asked. A scope (`fe80::1%eth0`) needs the resolver, which knows the interfaces.
pub fn literal(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

/// Makes a client's socket and sends its other end to the resolver that listens on `channel`;
/// for [`Client::new`], here or in a child.
///
/// # Errors
/// No descriptors left; the resolver is gone, or has too many introductions to read.
pub fn introduce(channel: &Channel) -> io::Result<OwnedFd> {
    let (ours, theirs) = Channel::pair()?;
    channel.send(CLIENT, &[theirs.as_fd()], MsgFlags::MSG_DONTWAIT)?;
    Ok(ours.into())
}

/// Tells the resolver that the log file was opened anew.
///
/// # Errors
/// The resolver is gone, or has too much to read.
pub fn replace_log_file(channel: &Channel, file: BorrowedFd<'_>) -> io::Result<()> {
    channel.send(LOG_FILE, &[file], MsgFlags::MSG_DONTWAIT)
}

/// Tells the resolver that there is another syslogd.
///
/// # Errors
/// The resolver is gone, or has too much to read.
pub fn replace_syslog(channel: &Channel, socket: BorrowedFd<'_>) -> io::Result<()> {
    channel.send(SYSLOG, &[socket], MsgFlags::MSG_DONTWAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_text_are_told_from_names() {
        assert_eq!(literal("192.0.2.1"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(literal("2001:db8::1"), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(literal("[::1]"), Some("::1".parse().unwrap()));
        for name in [
            "localhost",
            "",
            "[",
            "192.0.2",
            "1",
            "fe80::1%eth0",
            "a.example",
        ] {
            assert_eq!(literal(name), None, "{name}");
        }
    }
}
