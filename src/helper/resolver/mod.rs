//! The DNS process: getaddrinfo for all the others, since an answer from the network is hostile
//! input that neither root nor the jail should parse. Holds no key and no listener.
//!
//! Every client has a SOCK_SEQPACKET socket of its own; it asks by [`message::Request`] and is
//! told by [`Resolved`], in whatever order the answers come in.

mod client;
mod known;
mod lookup;
mod message;
mod server;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{Kind, Life, Role, pool};
use crate::sandbox;
pub(crate) use client::Client;
pub(crate) use known::KnownNames;
pub(in crate::helper) use lookup::host;
pub(crate) use lookup::{lookup, with_port};
pub(crate) use message::Want;
#[cfg(fuzzing)]
pub(crate) use message::fuzz;

/// The process's part of a helper's life.
pub(crate) const ROLE: Role = Role {
    kind: Kind::Resolver,
    life: Life::Outside(sandbox::resolver, pool::serve::<server::Lookups>),
};

/// What is logged of a question that is not answered in time.
pub(crate) const NO_ANSWER: &str = "no answer from the resolver";

/// A name could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolveError {
    /// The name.
    pub host: String,
    /// Why, in getaddrinfo's words.
    pub reason: String,
    /// DNS has answered: there is no such name, or it has no address. Otherwise nothing is known of it.
    pub answered: bool,
}

/// What became of a question: at least one address, or why there is none.
pub(crate) type Resolved = Result<Vec<SocketAddr>, ResolveError>;

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error resolving \"{}\": {}", self.host, self.reason)
    }
}

impl std::error::Error for ResolveError {}

/// The address that `host` is, if it is one in text (with or without brackets): there is nothing
/// to ask. A scope (`fe80::1%eth0`) needs the resolver, which knows the interfaces.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
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
