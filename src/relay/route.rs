//! The stages of a service's sessions before bytes are carried, decided once, when the configuration is
//! loaded. Never in here: a session.

mod stage;

use std::fmt;

use crate::config::{Beginning, Front, MailProtocol, Protocol, Reception, Service, Transparent};
use crate::protocol::Side;

pub(crate) use stage::{Part, Stage};

/// A stage while there is only the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    Introduce,
    Admit,
    /// As of [`Stage`].
    AskTheGate,
    Identify,
    /// From here on the route is that of the service which is chosen.
    Hello,
    Handshake,
    /// About the client's certificate.
    Verdict,
    Look,
    Talk(Part),
}

impl Early {
    /// Whether it decides if the client may connect at all.
    pub(super) fn is_gate(self) -> bool {
        matches!(
            self,
            Early::Introduce | Early::Admit | Early::AskTheGate | Early::Identify
        )
    }
}

/// A stage when both ends are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// As of [`Early`].
    Hello,
    Handshake(Side),
    Verdict(Side),
    Talk(Part),
    /// Nothing where the front has TLS already.
    Receive(Reception),
}

impl Late {
    /// Whether it is only for a client that has not begun TLS.
    pub(super) fn is_for_plain(self) -> bool {
        matches!(self, Late::Receive(_) | Late::Talk(Part::Unprotected(_)))
    }
}

/// The stages of a service's sessions, in their order. They are kept apart by what they work on, so that
/// no stage can meet an end that is not there: first those of the front alone, then the back is connected,
/// then those of both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    early: Box<[Early]>,
    late: Box<[Late]>,
    /// The back is a program.
    exec: bool,
    /// The client says which of several services it wants.
    names: bool,
    /// Whose addresses it is connected from and to.
    transparent: Transparent,
}

impl Route {
    /// The route of a service's sessions.
    pub(crate) fn of(service: &Service) -> Self {
        let back = service.connected_tls().is_some();
        let route = Self {
            exec: service.program.is_some() && service.front != Front::Program,
            transparent: service.transparent,
            ..Self::over(service.beginning(), back, service.protocol)
        };
        let route = match service.begins_within_tls() {
            Some(protocol) => route.within_tls(protocol),
            None => route,
        };
        let route = match service.hold {
            Some(_) => route.with_hold(),
            None => route,
        };
        let route = match service.login.mail {
            Some(mail) => route.with_login(mail),
            None => route,
        };
        let route = match (service.tls.ocsp.asks(), service.client) {
            (false, _) => route,
            (true, true) => route.with_verdict(Side::Back),
            (true, false) => route.with_verdict(Side::Front),
        };
        let route = match (service.secondaries.is_empty(), &service.virtual_host) {
            (false, _) => route.with_hello(),
            (true, Some(_)) => route.of_begun(),
            (true, None) => route,
        };
        let admission = &service.admission;
        let gates = [
            (service.balancers.are_there(), Early::Introduce),
            (admission.has_lists(), Early::Admit),
            (admission.libwrap, Early::AskTheGate),
            (admission.ident.is_some(), Early::Identify),
        ];
        route.behind(
            gates
                .into_iter()
                .filter(|(there, _)| *there)
                .map(|(_, gate)| gate),
        )
    }

    /// The same, behind what decides whether the client may connect at all.
    fn behind(self, gates: impl IntoIterator<Item = Early>) -> Self {
        let early = gates.into_iter().chain(self.early).collect();
        Self { early, ..self }
    }

    /// The same, with a verdict behind the handshake of that side.
    fn with_verdict(self, side: Side) -> Self {
        let early = self.early.into_iter().flat_map(|stage| {
            let begins = matches!(stage, Early::Handshake | Early::Talk(Part::Opening(_)));
            let verdict = begins && side == Side::Front;
            [stage].into_iter().chain(verdict.then_some(Early::Verdict))
        });
        let late = self.late.into_iter().flat_map(|stage| {
            let verdict = stage == Late::Handshake(side);
            [stage]
                .into_iter()
                .chain(verdict.then_some(Late::Verdict(side)))
        });
        Self {
            early: early.collect(),
            late: late.collect(),
            ..self
        }
    }

    /// The same by what it depends on: how TLS begins on the front, whether it is on the back, and the
    /// dialogue, without a part of the server's alone.
    pub(crate) fn over(front: Option<Beginning>, back: bool, protocol: Option<Protocol>) -> Self {
        let (mut early, mut late) = (Vec::new(), Vec::new());
        let parts = protocol.map_or(Parts::default(), |protocol| {
            Parts::of(protocol, front.is_some(), back)
        });
        // A dialogue belongs to the server's side where TLS is there, and TLS is on the front from the
        // first byte then; else it is the client that starts TLS.
        let talks_in_front = front.is_some() && !back && parts.before.is_some();
        match front {
            Some(Beginning::AtOnce) if !talks_in_front && !parts.opens => {
                early.push(Early::Handshake);
            }
            Some(Beginning::Received(_)) => early.push(Early::Look),
            Some(Beginning::AtOnce) | None => {}
        }
        early.extend(parts.early.map(Early::Talk));
        late.extend(parts.before.map(Late::Talk));
        if talks_in_front {
            late.push(Late::Handshake(Side::Front));
        }
        if back {
            late.push(Late::Handshake(Side::Back));
        }
        if let Some(Beginning::Received(reception)) = front {
            late.push(Late::Receive(reception));
        }
        late.extend(parts.last.map(Late::Talk));
        Self {
            early: early.into(),
            late: late.into(),
            exec: false,
            names: false,
            transparent: Transparent::default(),
        }
    }

    /// With a dialogue of the server's alone, once TLS has begun with it and before a client is heard.
    fn within_tls(mut self, protocol: Protocol) -> Self {
        let mut late = self.late.into_vec();
        let handshake = Late::Handshake(Side::Back);
        if let Some(at) = late.iter().position(|stage| *stage == handshake) {
            late.insert(at + 1, Late::Talk(Part::Within(protocol)));
        }
        self.late = late.into();
        self
    }

    /// With the greeting of a server whose clients are held while it is not there.
    fn with_hold(self) -> Self {
        let hold = Late::Talk(Part::Hold);
        let late = self.late.into_iter().chain([hold]).collect();
        Self { late, ..self }
    }

    /// With a login for the client as the last stage.
    fn with_login(self, mail: MailProtocol) -> Self {
        let login = Late::Talk(Part::Login(mail));
        let late = self.late.into_iter().chain([login]).collect();
        Self { late, ..self }
    }

    /// The same for a service with secondary ones: the client says which before its handshake.
    fn with_hello(self) -> Self {
        let early = self.early.iter().flat_map(|stage| match stage {
            Early::Handshake => vec![Early::Hello, *stage],
            _ => vec![*stage],
        });
        let late = self.late.iter().flat_map(|stage| match stage {
            Late::Handshake(Side::Front) => vec![Late::Hello, *stage],
            _ => vec![*stage],
        });
        Self {
            early: early.collect(),
            late: late.collect(),
            names: true,
            ..self
        }
    }

    /// The same for a secondary service: its clients have begun TLS with its primary's dialogue.
    fn of_begun(self) -> Self {
        let early = self.early.iter().map(|stage| match stage {
            Early::Talk(Part::Opening(_)) => Early::Handshake,
            _ => *stage,
        });
        let late = self.late.iter().filter(|stage| !stage.is_for_plain());
        Self {
            early: early.collect(),
            late: late.copied().collect(),
            ..self
        }
    }

    /// The stage behind the handshake with the client, of those before the back is connected; a dialogue may
    /// have ended in it.
    pub(super) fn early_behind_handshake(&self) -> usize {
        let handshake = self
            .early
            .iter()
            .rposition(|stage| matches!(stage, Early::Handshake | Early::Talk(Part::Opening(_))));
        handshake.map_or(0, |nth| nth + 1)
    }

    /// The same of those after it.
    pub(super) fn late_behind_handshake(&self) -> usize {
        let mut stages = self.late.iter();
        let handshake = stages.position(|stage| *stage == Late::Handshake(Side::Front));
        handshake.map_or(0, |nth| nth + 1)
    }

    /// How many stages decide whether the client may connect, before all others.
    pub(super) fn gates(&self) -> usize {
        let gates = self.early.iter().take_while(|stage| stage.is_gate());
        gates.count()
    }

    /// Whether a program is started where others connect.
    pub(super) fn starts_a_program(&self) -> bool {
        self.exec
    }

    /// The stages in their order.
    pub(crate) fn stages(&self) -> impl Iterator<Item = Stage> {
        let early = self.early.iter().flat_map(|stage| match stage {
            Early::Introduce => vec![Stage::Introduce],
            Early::Admit => vec![Stage::Admit],
            Early::AskTheGate => vec![Stage::AskTheGate],
            Early::Identify => vec![Stage::Identify],
            Early::Hello => vec![Stage::Hello],
            Early::Handshake => vec![Stage::Handshake(Side::Front)],
            Early::Verdict => vec![Stage::Verdict(Side::Front)],
            Early::Look => vec![Stage::Look],
            Early::Talk(part @ Part::Opening(_)) => {
                // It ends in these.
                let hello = self.names.then_some(Stage::Hello);
                let stages = [
                    Some(Stage::Talk(*part)),
                    hello,
                    Some(Stage::Handshake(Side::Front)),
                ];
                stages.into_iter().flatten().collect()
            }
            Early::Talk(part) => vec![Stage::Talk(*part)],
        });
        // A request is answered when the connection is there.
        let replies = self.early.iter().filter_map(|stage| match stage {
            Early::Talk(Part::Request(protocol)) => Some(Stage::Talk(Part::Reply(*protocol))),
            _ => None,
        });
        let late = self.late.iter().map(|stage| match *stage {
            Late::Hello => Stage::Hello,
            Late::Handshake(side) => Stage::Handshake(side),
            Late::Verdict(side) => Stage::Verdict(side),
            Late::Talk(part) => Stage::Talk(part),
            Late::Receive(reception) => Stage::Receive(reception),
        });
        let connect = match self.exec {
            true => Stage::Exec,
            false if self.transparent == Transparent::default() => Stage::Connect,
            false => Stage::Transparent(self.transparent),
        };
        early.chain([connect]).chain(replies).chain(late)
    }

    /// Whether a client may begin TLS only once the back is connected.
    pub(super) fn receives(&self) -> bool {
        let mut late = self.late.iter();
        late.any(|stage| matches!(stage, Late::Receive(_)))
    }

    /// Stage `nth` of those before the back is connected.
    pub(super) fn early(&self, nth: usize) -> Option<Early> {
        self.early.get(nth).copied()
    }

    /// Stage `nth` of those after it.
    pub(super) fn late(&self, nth: usize) -> Option<Late> {
        self.late.get(nth).copied()
    }
}

/// Where the parts of a dialogue stand.
#[derive(Debug, Default)]
struct Parts {
    /// While there is only the front.
    early: Option<Part>,
    /// It may end in the handshake with the client.
    opens: bool,
    /// As soon as the back is connected.
    before: Option<Part>,
    /// Before bytes are carried.
    last: Option<Part>,
}

impl Parts {
    fn of(protocol: Protocol, front: bool, back: bool) -> Parts {
        let server = front && !back;
        let mut parts = Parts::default();
        match protocol {
            Protocol::Socks if back => {}
            Protocol::Socks => parts.early = Some(Part::Request(protocol)),
            Protocol::Proxy => parts.last = Some(Part::Header),
            _ if server && protocol.opens_alone() => {
                parts.early = Some(Part::Opening(protocol));
                parts.opens = true;
                parts.last = match protocol {
                    Protocol::Pgsql => Some(Part::Unprotected(protocol)),
                    Protocol::Xmpp | Protocol::XmppServer => Some(Part::Within(protocol)),
                    _ => None,
                };
            }
            Protocol::Mysql => {
                parts.before = Some(Part::BeforeTls(protocol));
                parts.last = Some(Part::Within(protocol));
            }
            Protocol::Sieve => {
                parts.before = Some(Part::BeforeTls(protocol));
                // A server with TLS does this itself.
                parts.last = server.then_some(Part::Within(protocol));
            }
            Protocol::Pgsql => {
                parts.before = Some(Part::BeforeTls(protocol));
                parts.last = back.then_some(Part::Within(protocol));
            }
            _ => parts.before = Some(Part::BeforeTls(protocol)),
        }
        parts
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in self.stages() {
            write!(f, "{stage}, ")?;
        }
        f.write_str("relay")
    }
}

#[cfg(test)]
mod tests;
