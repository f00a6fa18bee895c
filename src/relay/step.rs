//! The common ground of a session's stages: the session's identity, the context and the results of a step.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::end::End;
use super::first_words::FirstWords;
use super::holding::Hold;
use super::introducing::Introduced;
use super::record::{Record, level_of_steps};
use super::resources::Resources;
use super::visiting::Visit;
use super::{Reason, ServiceContext, Upstream};
use crate::config::{Endpoint, Service, SocketOption};
use crate::incidents::Diagnosis;
use crate::ipc::handoff::{Handed, Warrant};
use crate::ipc::scoreboard::Open;
use crate::ipc::scoreboard::answered::{Answered, Place};
use crate::ipc::shares::Key;
use crate::log::{self, Log, Subject};
use crate::protocol::{Side, Unreachable};
use crate::sys::sockopt;
use crate::tls::Failure;
use crate::{error, warning};

/// How often a long connection's bytes are put on the scoreboard.
const REPORT: Duration = Duration::from_secs(5);

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In order.
    Closed,
    /// Broken: passed on as an RST, with `reset = yes`.
    Reset,
    /// Broken, and the peer of that side was told so, by an alert or in the protocol's own words;
    /// they must not be overtaken by an RST, so only the other side gets one.
    Alerted(Side),
    /// Broken on that side, and nothing may be seen of it for this long: when an error shows tells an
    /// attacker what was wrong with a record (CBC and RSA key exchange).
    Blinded(Side, Duration),
}

impl Ending {
    /// The ending of a session whose TLS failed on that side; the alert, if there is one, was sent.
    pub(super) fn of(failure: &Failure, side: Side) -> Ending {
        match failure.blinding() {
            Some(time) => Ending::Blinded(side, time),
            None => Ending::Alerted(side),
        }
    }
}

/// The result of a stage's step.
#[derive(Debug)]
pub(crate) enum Next<S> {
    /// It waits for an event or its time.
    Wait(S),
    /// It has more to do, after others had their turn.
    Again(S),
    /// It is done, and the next stage begins.
    Advance,
    /// It is done, and the client begins TLS: the handshake with it comes before the next stage.
    Handshake,
    /// The session is over, in order.
    Over,
}

/// The identity and counts of a session, whatever stage it is in.
#[derive(Debug)]
pub(crate) struct Common {
    /// The key under which its events come; the lowest bit is set for the back.
    pub key: u64,
    /// Its number, over all workers.
    pub number: u64,
    /// Where its lines go.
    pub log: Log,
    /// The client's address as it was accepted: a socket that was reset meanwhile does not know it any more
    /// (getpeername(2), ENOTCONN). `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// What the balancer said that connected for it, whose own address it is else.
    pub introduced: Option<Box<Introduced>>,
    /// The right to that address as one to connect from.
    pub warrant: Option<Warrant>,
    /// What it is counted by for that address, if it is.
    pub(super) counted_by: Option<Key>,
    /// The host of the `connect` entry in use, once connected by TCP.
    pub upstream: Option<String>,
    /// Why the last address could not be connected to.
    pub unreachable: Unreachable,
    /// Payload carried from the front to the back, in bytes.
    pub to_back: u64,
    /// Payload carried from the back to the front, in bytes.
    pub to_front: u64,
    /// The client has shown no valid certificate, and is connected to what `redirect` says.
    pub redirected: bool,
    /// When the client was taken on.
    pub began: Instant,
    /// When it must be relayed; `None`: it is, or may take any time.
    pub(super) relayed_by: Option<Instant>,
    /// It was told something in the words of its protocol.
    pub greeted: bool,
    /// The server is connected anew, for a dialogue that waits.
    pub again: bool,
    /// `hold`, once the server is to be connected.
    pub(super) hold: Option<Box<Hold>>,
    /// Its connection counts among those that are open, as long as this is kept.
    pub counted: Option<Box<Open>>,
    /// What the server greeted with, before TLS, while the client could not be told yet.
    pub greeting: Vec<u8>,
    /// What was found wrong with it last; see [`super::failing`].
    pub(super) finding: Option<Box<Diagnosis>>,
    /// What is told of it at its end; `None`: no format in force has a place for it.
    pub(super) record: Option<Box<Record>>,
    /// Whether its client only looked whether adit is there.
    pub(super) visit: Visit,
    /// Inspects the session's first plaintext.
    pub(super) first_words: FirstWords,
    services: Arc<[ServiceContext]>,
    service: usize,
    reported: (u64, u64),
    report_at: Option<Instant>,
}

impl Common {
    /// Of a session that begins with `handed`.
    pub(super) fn new(
        handed: &Handed,
        key: u64,
        log: Log,
        services: Arc<[ServiceContext]>,
        now: Instant,
    ) -> Self {
        let config = &services[handed.connection.service].config;
        Self {
            key,
            number: handed.connection.number,
            log,
            peer: handed.connection.peer,
            introduced: None,
            counted: None,
            warrant: handed.connection.warrant,
            counted_by: None,
            upstream: None,
            unreachable: Unreachable::Other,
            to_back: 0,
            to_front: 0,
            began: now,
            relayed_by: config.timeouts.until_relayed().map(|time| now + time),
            greeting: Vec::new(),
            greeted: false,
            again: false,
            hold: None,
            redirected: false,
            finding: None,
            record: Record::if_wanted(),
            visit: Visit::default(),
            first_words: FirstWords::of(config),
            service: handed.connection.service,
            services,
            reported: (0, 0),
            report_at: None,
        }
    }

    /// The service it belongs to.
    pub(crate) fn service(&self) -> &ServiceContext {
        &self.services[self.service]
    }

    /// Hands it to another service, by whose options it goes on.
    pub(super) fn switch(&mut self, service: usize, front: &End) {
        let socket_options = &self.config().socket;
        let local = |options: &[SocketOption]| -> Vec<SocketOption> {
            let local = options.iter().filter(|option| option.on == 'l');
            local.cloned().collect()
        };
        let before = local(socket_options);
        let time = self.config().timeouts.until_relayed();
        self.service = service;
        if front.is_tcp() && before != local(&self.config().socket) {
            set_options(front, 'l', self.config(), &self.log);
        }
        self.log.level = level_of_steps(self.config().debug);
        self.log.from = Some(Subject::new(self.peer.map(|peer| peer.ip()), service));
        self.goes_by_another_time(time);
        self.hush_a_check();
    }

    /// The service's options.
    pub(crate) fn config(&self) -> &Service {
        &self.service().config
    }

    /// Where the client has connected to: here, or to the balancer before.
    pub(super) fn reached(&self, front: &End) -> Option<SocketAddr> {
        let introduced = self.introduced.as_ref();
        match introduced.and_then(|introduced| introduced.addresses) {
            Some((_, to)) => Some(to),
            None => front.local_address(),
        }
    }

    /// The service's index.
    pub(crate) fn index(&self) -> usize {
        self.service
    }

    /// Where the client is connected to, unless it says so itself.
    pub(super) fn destinations(&self) -> &[Endpoint] {
        match self.redirected {
            true => &self.config().redirect,
            false => &self.config().connect,
        }
    }

    /// Whether the client is connected to where it wanted to go before it was sent here.
    pub(super) fn goes_where_it_wanted(&self) -> bool {
        self.config().transparent.destination && !self.redirected
    }

    /// Its addresses as of the load.
    pub(super) fn addresses(&self) -> &[Upstream] {
        match self.redirected {
            true => &self.service().redirects,
            false => &self.service().upstreams,
        }
    }

    /// Bytes sent to TLS and to the plain socket, as the last line gives them; with TLS on both ends, to the
    /// server and to the client.
    pub(super) fn sent(&self) -> (u64, u64) {
        match self.config().client {
            true => (self.to_back, self.to_front),
            false => (self.to_front, self.to_back),
        }
    }

    /// When the bytes are to be put on the scoreboard.
    pub(super) fn report_at(&self) -> Option<Instant> {
        self.report_at
    }

    /// Puts the bytes on the scoreboard if that is due; makes it due if there are new ones. Whether it was due.
    pub(super) fn report_if_due(&mut self, resources: &Resources) -> bool {
        match self.report_at {
            Some(at) if at <= resources.now => {
                self.report(resources);
                true
            }
            None if (self.to_back, self.to_front) != self.reported => {
                self.report_at = Some(resources.now + REPORT);
                self.has_carried();
                false
            }
            _ => false,
        }
    }

    /// Puts the bytes on the scoreboard.
    pub(super) fn report(&mut self, resources: &Resources) {
        let row = resources.row(self.service);
        let (back, front) = self.reported;
        row.bytes_to_back().fetch_add(self.to_back - back, Relaxed);
        row.bytes_to_front()
            .fetch_add(self.to_front - front, Relaxed);
        self.reported = (self.to_back, self.to_front);
        self.report_at = None;
    }
}

/// The context of a stage's step, besides the ends.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The session's identity and counts.
    pub common: &'a mut Common,
    /// The resources of the relay thread.
    pub resources: &'a mut Resources,
}

impl Context<'_> {
    /// The same, for a step within this one.
    pub(super) fn again(&mut self) -> Context<'_> {
        Context {
            common: self.common,
            resources: self.resources,
        }
    }

    /// Notes for `adit status` that this upstream has answered.
    pub(super) fn note_answer(&self, upstream: &Upstream) {
        let place = match upstream {
            Upstream::Tcp(address, _) => Some(Place::Tcp(*address)),
            Upstream::Unix(path) => {
                let mut entries = self.common.config().connect.iter();
                let entry = entries.position(|e| matches!(e, Endpoint::Unix(own) if own == path));
                entry.map(Place::Unix)
            }
        };
        if let Some(place) = place {
            let at = SystemTime::now().duration_since(UNIX_EPOCH);
            let at = at.map_or(0, |since| since.as_secs());
            let row = self.resources.scoreboard.shared(self.common.index());
            row.note_answer(Answered { place, at });
        }
    }
}

/// Sets the options of `socket = l:…` or `r:…`, as stunnel with a warning for what is refused.
pub(crate) fn set_options(end: &impl AsFd, on: char, config: &Service, log: &Log) {
    let mut failed = false;
    for option in config.socket.iter().filter(|option| option.on == on) {
        if let Err(error) = sockopt::set(end.as_fd(), option) {
            error!(log, "setsockopt {}: {}", option.name, log::Reason(&error));
            failed = true;
        }
    }
    if failed {
        let which = if on == 'l' { "local" } else { "remote" };
        warning!(log, "Failed to set {which} socket options");
    }
}

/// A line about a socket's failure, as stunnel words it, and the ending that it means.
pub(crate) fn broken(log: &Log, doing: &str, errno: nix::errno::Errno) -> Ending {
    error!(log, "{doing}: {}", Reason(errno));
    Ending::Reset
}
