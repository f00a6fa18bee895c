//! One connection's life, between a front (accepted) and a back (connected) end. A session goes
//! through the stages of its plan ([`session`]): [`introducing`] (by its balancer), [`admitting`] and [`gatekeeping`] (by its address), [`identifying`] (by its user), [`choosing`] (the service, by SNI), [`connecting`] or
//! [`launching`], [`talking`] (the dialogue before TLS), [`handshaking`]; then [`pump`] carries bytes until both
//! ends are over.
//! Never in here: a wait, a thread, unsafe code, the name of a TLS library.
#![forbid(unsafe_code)]

mod admitting;
pub(crate) mod advice;
mod binding;
pub(crate) mod buffer;
pub(crate) mod choosing;
pub(crate) mod connecting;
pub(crate) mod end;
mod ends;
mod failing;
mod first_words;
mod gatekeeping;
pub(crate) mod handshaking;
mod hearing;
mod holding;
pub(crate) mod hosts;
mod identifying;
mod introducing;
pub(crate) mod launching;
pub(crate) mod lookup;
pub(crate) mod outbound;
pub(crate) mod poller;
pub(crate) mod probing;
pub(crate) mod pump;
mod record;
pub(crate) mod resources;
pub(crate) mod route;
pub(crate) mod session;
pub(crate) mod step;
pub(crate) mod talking;
mod trouble;
pub(crate) mod verdict;
mod visiting;
mod words;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use hosts::Hosts;
pub(crate) use route::Route;

use crate::config::Service;
use crate::ipc::scoreboard::Target;
use crate::log;
use crate::tls;

/// Everything that the sessions of a service need, made when the configuration is loaded.
#[derive(Debug)]
pub(crate) struct ServiceContext {
    /// Its options.
    pub config: Service,
    /// TLS on accepted connections.
    pub front: Option<tls::Context>,
    /// TLS on the connections to `connect`.
    pub back: Option<tls::Context>,
    /// Which clients it hands to which secondary service; `None`: it has none.
    pub hosts: Option<Hosts>,
    /// The stages of its sessions.
    pub route: Route,
    /// The addresses of its `connect` entries as of the load, in their order;
    /// empty with `delay = yes` or when nothing resolved.
    pub upstreams: Vec<Upstream>,
    /// The same of its `redirect` entries.
    pub redirects: Vec<Upstream>,
    /// The address of `local`.
    pub local: Option<IpAddr>,
    /// The ports at which its clients are accepted. One whose connection has another one here was sent here by TPROXY.
    /// `None`: this service cannot tell, or need not.
    pub ports: Option<Arc<[u16]>>,
}

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// TCP, and the host as the configuration names it.
    Tcp(SocketAddr, String),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Upstream {
    /// What its connections are counted by.
    fn target(&self, service: usize) -> Target {
        match self {
            Upstream::Tcp(address, _) => Target::of(service, address),
            Upstream::Unix(path) => Target::of(service, path),
        }
    }

    /// The IP address, if it is TCP.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Upstream::Tcp(address, _) => Some(address.ip()),
            Upstream::Unix(_) => None,
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Upstream::Tcp(address, _) => Address(Some(*address)).fmt(f),
            Upstream::Unix(path) => path.display().fmt(f),
        }
    }
}

/// An address in the shape that stunnel logs, which filters match on: IPv6 without brackets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address(pub Option<SocketAddr>);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(SocketAddr::V4(address)) => {
                let (text, length) = dotted(address);
                f.write_str(std::str::from_utf8(&text[..length]).unwrap_or_default())
            }
            Some(address) => write!(f, "{}:{}", address.ip(), address.port()),
            None => f.write_str("unnamed socket"),
        }
    }
}

/// An address and its port as text, and how long that is. By hand, since each connection has some in its lines, and
/// `write!` takes ten times as long.
fn dotted(address: SocketAddrV4) -> ([u8; 22], usize) {
    let (mut text, mut length) = ([0; 22], 0);
    let [first, second, third, fourth] = address.ip().octets().map(u16::from);
    for (number, behind) in [
        (first, b'.'),
        (second, b'.'),
        (third, b'.'),
        (fourth, b':'),
        (address.port(), 0),
    ] {
        let mut unit = 10_000;
        while unit > 1 && number < unit {
            unit /= 10;
        }
        while unit > 0 {
            text[length] = b'0' + (number / unit % 10) as u8;
            (length, unit) = (length + 1, unit / 10);
        }
        (text[length], length) = (behind, length + 1);
    }
    (text, length - 1)
}

/// Where nothing is.
const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A system error as stunnel words it: `Connection refused (111)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason(pub nix::errno::Errno);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        log::Reason(&self.0.into()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_the_library_writes_it() {
        for ip in ["0.0.0.0", "10.9.100.255", "127.0.0.1", "255.255.255.255"] {
            for port in [0, 9, 10, 99, 100, 465, 1024, 9999, 10_000, u16::MAX] {
                let address = SocketAddr::new(ip.parse().unwrap(), port);
                assert_eq!(Address(Some(address)).to_string(), address.to_string());
            }
        }
        let address = "[2001:db8::1]:465".parse().unwrap();
        assert_eq!(Address(Some(address)).to_string(), "2001:db8::1:465");
        assert_eq!(Address(None).to_string(), "unnamed socket");
    }
}
