//! TLS 1.0 and later by s2n-tls, for peers that rustls cannot serve: CBC, RSA key exchange, DHE, 3DES, and
//! RC4 where it is named. Never in here: s2n's own trust (the chain is judged by `verification`), a
//! socket, a sleep, SSLv3.
//!
//! * `bindings`: the calls of C libraries, all of them;
//! * `policies`: its suites, which of them a service allows, and what it chooses;
//! * `load`: from a service's options to a configuration;
//! * `chain`: the peer's certificates;
//! * `psk`: pre-shared keys;
//! * `handshake`, `stream`: a connection, behind the same face as rustls' is;
//! * `halves`: a half-closed connection, which s2n does not go on with;
//! * `store`: sessions by identifier, which all processes share;
//! * `offences`: its errors in our words.

mod bindings;
mod chain;
mod halves;
mod handshake;
mod load;
mod offences;
pub(super) mod policies;
mod psk;
mod store;
mod stream;

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::backend::Terms;
use super::failure::Failure;
use super::psk::{PreShared, PreSharedKeys};
use super::verification::Verifier;
use policies::Authentication;
use store::{ClientSessions, Peer, Session};

pub(super) use handshake::{Handshake, Turn};
pub(super) use load::{Parts, allowed, load};
pub(super) use policies::Allowed;
pub(super) use stream::Stream;

/// Starts the library: once for a process, while it is root, before its jail. A later call does nothing.
///
/// # Errors
/// s2n cannot start.
pub(super) fn start() -> io::Result<()> {
    bindings::start()
}

/// What a handshake holds, in bytes, once the client's hello is answered.
pub(super) const HELD: usize = 64 << 10;

/// One end of a service, ready to use.
pub(super) struct Context {
    configs: load::Configs,
    allowed: Allowed,
    verifier: Verifier,
    terms: Terms,
    role: Role,
}

enum Role {
    Server {
        /// What its certificate's key can do; `None`: it has no certificate.
        key: Option<Authentication>,
        psk: Option<PreSharedKeys>,
    },
    Client {
        sessions: ClientSessions,
        /// What it shows, and its server proves to know.
        psk: Option<PreSharedKeys>,
    },
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("s2n::Context").field(&self.allowed).finish()
    }
}

impl Context {
    /// Begins a handshake as a server.
    pub(super) fn accept(self: &Arc<Self>) -> Handshake {
        Handshake::accept(Arc::clone(self))
    }

    /// Begins a handshake as a client. The peer's certificate is compared with `name`; it is sent
    /// (SNI) if `send` and if it is no address.
    ///
    /// # Errors
    /// s2n refuses to begin.
    pub(super) fn connect(
        self: &Arc<Self>,
        name: Option<ServerName<'static>>,
        send: bool,
    ) -> Result<Handshake, Failure> {
        Handshake::connect(Arc::clone(self), name, send)
    }

    /// The identity whose pre-shared key a client offers, for the log.
    pub(super) fn shows(&self) -> Option<String> {
        match &self.role {
            Role::Client { psk, .. } => psk.as_ref()?.shows().map(PreShared::name),
            Role::Server { .. } => None,
        }
    }

    /// Whether a server may be asked for a key exchange by RSA, whose secrecy ends with its private key.
    pub(super) fn exchanges_by_rsa(&self) -> bool {
        let rsa = Some(Authentication::Rsa);
        matches!(self.role, Role::Server { key, .. } if key == rsa)
            && self.allowed.exchanges_by_rsa()
    }

    /// Keeps tickets that a server gave.
    fn keep_tickets(&self, peer: &Peer, tickets: Vec<Session>) {
        if let Role::Client { sessions, .. } = &self.role {
            sessions.keep_tickets(peer.clone(), tickets);
        }
    }

    /// Forgets a server's session up to TLS 1.2.
    fn forget(&self, peer: &Peer) {
        if let Role::Client { sessions, .. } = &self.role {
            sessions.forget(peer);
        }
    }

    fn is_client(&self) -> bool {
        matches!(self.role, Role::Client { .. })
    }
}
