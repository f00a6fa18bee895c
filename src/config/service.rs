//! The options of one service. Never in here: how a value is read; that is for the table in `options`.

mod draft;
mod options;
mod tls;

use std::time::Duration;

use super::accepted::{AcceptTls, Beginning};
use super::admission::Admission;
use super::balancers::Balancers;
use super::dialogue::{DialogueOptions, Protocol};
use super::endpoint::Endpoint;
use super::login::Login;
use super::program::{Front, Program};
use super::quota::Quota;
use super::socket::SocketOption;
use super::tls_options::TlsFlags;
use super::transparent::Transparent;
use super::value::Origins;
use super::versions::Asked;
use super::virtual_hosts::VirtualHost;

pub(super) use draft::Draft;
pub(super) use options::OPTIONS;
pub(crate) use tls::{PeerVerification, SecurityLevel, TlsOptions, TlsVersion};

/// `failover = rr | prio | leastconn`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failover {
    /// Start at the next entry each time.
    RoundRobin,
    /// Start at the first entry each time (the default).
    Priority,
    /// Start at the address with the fewest open connections.
    LeastConnections,
}

/// `logId = sequential | unique | thread | process`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogId {
    /// The connection's number, counted over all workers (the default).
    Sequential,
    /// A random identifier, unique over machines.
    Unique,
    /// The relay thread's system thread id.
    Thread,
    /// The worker's process id.
    Process,
}

/// The waiting times of the relay, as in stunnel(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// Waiting for expected data (handshake, dialogue). Default 300 s.
    pub busy: Duration,
    /// Waiting for close_notify. Default 60 s.
    pub close: Duration,
    /// `TIMEOUThandshake`, as it is given: see [`Timeouts::until_relayed`].
    pub handshake: Option<Duration>,
    /// Waiting to connect. Default 10 s.
    pub connect: Duration,
    /// An idle connection is ended after this. Default 43200 s.
    pub idle: Duration,
    /// Waiting for one OCSP responder. Default 5 s.
    pub ocsp: Duration,
}

/// The least time until a client must be relayed, unless `TIMEOUThandshake` is given.
const UNTIL_RELAYED: Duration = Duration::from_mins(10);

impl Timeouts {
    /// How long it may take from the acceptance of a client until it is relayed; `None`: any time. Unless given, some
    /// waits that `TIMEOUTbusy` allows have room in it: stunnel has no such limit.
    pub(crate) fn until_relayed(&self) -> Option<Duration> {
        let given = self.handshake;
        let time = given.unwrap_or_else(|| UNTIL_RELAYED.max(self.busy.saturating_mul(2)));
        Some(time).filter(|time| !time.is_zero())
    }
}

/// One `[section]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// The section's name.
    pub name: String,
    /// Addresses to accept on.
    pub accept: Vec<Endpoint>,
    /// Addresses to connect to.
    pub connect: Vec<Endpoint>,
    /// Server mode: addresses to connect clients to that show no valid certificate. Empty: they are refused.
    pub redirect: Vec<Endpoint>,
    /// The program behind it; or, as [`Front::Program`], before it.
    pub program: Option<Box<Program>>,
    /// Where its clients come from.
    pub front: Front,
    /// Client mode: plain front, TLS back. Otherwise TLS front, plain back.
    pub client: bool,
    /// The order in which `connect` is tried.
    pub failover: Failover,
    /// Resolve `connect` at each connection.
    pub delay: bool,
    /// Source address for connecting.
    pub local: Option<String>,
    /// Which addresses are the client's.
    pub transparent: Transparent,
    /// setsockopt calls.
    pub socket: Vec<SocketOption>,
    /// Pass an RST on as an RST. Default yes.
    pub reset: bool,
    /// What stands in a log line's brackets.
    pub log_id: LogId,
    /// Highest level this service logs; the global one unless given.
    pub debug: u8,
    /// Waiting times.
    pub timeouts: Timeouts,
    /// The dialogue before TLS.
    pub protocol: Option<Protocol>,
    /// What it is told.
    pub dialogue: DialogueOptions,
    /// How programs log in.
    pub login: Login,
    /// How long a program is held while the server cannot be reached.
    pub hold: Option<Duration>,
    /// How often its servers are looked at.
    pub probe: Option<Duration>,
    /// Owner of a Unix accept socket; as stunnel, the global `setuid` unless the section has its own.
    pub setuid: Option<String>,
    /// Group of a Unix accept socket; as with `setuid`.
    pub setgid: Option<String>,
    /// Clients may come from anywhere: TLS below 1.2 is served to them, and so is a plain listener.
    pub accept_anywhere: bool,
    /// Which clients it takes.
    pub admission: Admission,
    /// Which of them name their client by a PROXY header.
    pub balancers: Balancers,
    /// How much they may take.
    pub quota: Quota,
    /// TLS on the end that `client` says.
    pub tls: TlsOptions,
    /// `acceptTLS` in client mode: TLS on accepted connections as well.
    pub accept_tls: Option<Box<AcceptTls>>,
    /// `sni` in server mode: it accepts nothing itself, and its primary service hands it clients.
    pub virtual_host: Option<VirtualHost>,
    /// The indices of the services that it is the primary of, in the order of the file.
    pub secondaries: Vec<usize>,
    /// What a secondary one has of it.
    pub asked: Asked,
    /// Where each option that was given was written, by its canonical name; `""` is the section line.
    pub origins: Origins,
}

impl Service {
    /// TLS on accepted connections, if it is there.
    pub(crate) fn accepted_tls(&self) -> Option<&TlsOptions> {
        match self.client {
            true => self.accept_tls.as_deref().map(|accept| &accept.tls),
            false => Some(&self.tls),
        }
    }

    /// How TLS begins on accepted connections, if it is there; in server mode a dialogue may come before it.
    pub(crate) fn beginning(&self) -> Option<Beginning> {
        match self.client {
            true => self.accept_tls.as_deref().map(|accept| accept.beginning),
            false => Some(Beginning::AtOnce),
        }
    }

    /// TLS on the connections to `connect`, if it is there.
    pub(crate) fn connected_tls(&self) -> Option<&TlsOptions> {
        self.client.then_some(&self.tls)
    }

    /// The protocol in which something is said to the server first within TLS, before the client is heard.
    pub(crate) fn begins_within_tls(&self) -> Option<Protocol> {
        let begins = |protocol: &Protocol| match protocol {
            Protocol::Smtp => self.login.mail.is_none() && self.dialogue.account().is_some(),
            Protocol::Socks => true,
            _ => false,
        };
        let protocol = self.protocol.filter(|_| self.client);
        protocol.filter(begins)
    }

    /// Server mode: the dialogue that comes before TLS.
    pub(crate) fn dialogue_before_tls(&self) -> Option<Protocol> {
        let before = |protocol: &Protocol| !matches!(protocol, Protocol::Socks | Protocol::Proxy);
        self.protocol.filter(before).filter(|_| !self.client)
    }

    /// The same, if it is held with a server that is connected by then.
    pub(crate) fn connects_before_tls(&self) -> bool {
        self.dialogue_before_tls()
            .is_some_and(|protocol| !protocol.opens_alone())
    }

    /// Whether its sessions log in by tokens that the keeper gives.
    pub(crate) fn asks_for_tokens(&self) -> bool {
        self.login.mail.is_some() && self.login.is_by_token()
    }

    /// Whether it accepts on a socket that systemd passes.
    pub(crate) fn takes_passed_socket(&self) -> bool {
        self.accept.is_empty() && self.virtual_host.is_none() && self.front == Front::Listener
    }

    /// What was decided beyond what its options ask for holds for its secondary services as well; `lowest` was
    /// the lowest version before.
    pub(super) fn hold_secondaries_to(&mut self, lowest: Option<TlsVersion>) {
        let tls = &self.tls;
        if tls.version_min != lowest {
            self.asked.min = tls.version_min;
        }
        if tls.no_ticket {
            self.asked.flags = self.asked.flags.with(TlsFlags::NO_TICKET);
        }
    }

    /// The TLS of both ends, as far as it is there.
    pub(crate) fn each_tls(&self) -> impl Iterator<Item = &TlsOptions> {
        self.accepted_tls().into_iter().chain(self.connected_tls())
    }
}

#[cfg(test)]
impl Service {
    /// Gives a client service TLS with its clients, from the first byte.
    pub(crate) fn accept_tls_at_once(&mut self, tls: TlsOptions) {
        let beginning = Beginning::AtOnce;
        self.accept_tls = Some(Box::new(AcceptTls { tls, beginning }));
    }

    /// One of which nothing is configured, for tests that need some service.
    pub(crate) fn blank() -> Service {
        Draft::blank().service
    }
}
