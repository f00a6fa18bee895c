//! The stages of a service's sessions before bytes are carried, decided once, when the configuration is
//! loaded. Never in here: a session.

use std::fmt;

use crate::config::{Beginning, Front, Protocol, Reception, Service, Transparent};
use crate::protocol::Side;

/// One stage of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The client's address is looked up in the service's lists.
    Admit,
    /// A helper reads hosts.allow and hosts.deny.
    AskTheGate,
    /// The client's machine says whose the connection is.
    Identify,
    /// The name that the client asks for decides on the service.
    Hello,
    /// TLS on an end.
    Handshake(Side),
    /// What OCSP responders say about the certificate on an end.
    Verdict(Side),
    /// A dialogue, or the part of one.
    Talk(Part),
    /// TLS with a client that begins with it.
    Look,
    /// Receives a client that has not begun TLS yet.
    Receive(Reception),
    /// Connects the back, from or to an address of the client's.
    Transparent(Transparent),
    /// Connects the back.
    Connect,
    /// Starts the program that is the back.
    Exec,
}

/// Which dialogue, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// In plain on both ends, until TLS starts.
    BeforeTls(Protocol),
    /// With the client alone, until it starts TLS.
    Opening(Protocol),
    /// With the client alone, which says where it wants to be connected to.
    Request(Protocol),
    /// The answer to that request.
    Reply(Protocol),
    /// With the server, told first of all where the client comes from.
    Header,
    /// Once TLS has begun with the server.
    Within(Protocol),
    /// For a client that did not begin TLS.
    Unprotected(Protocol),
}

/// A stage while there is only the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
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
    fn is_gate(self) -> bool {
        matches!(self, Early::Admit | Early::AskTheGate | Early::Identify)
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

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Admit => f.write_str("acceptFrom and denyFrom"),
            Stage::AskTheGate => f.write_str("hosts.allow and hosts.deny"),
            Stage::Identify => f.write_str("IDENT of the client"),
            Stage::Hello => f.write_str("choice of the service by SNI"),
            Stage::Handshake(Side::Front) => f.write_str("TLS handshake with the client"),
            Stage::Handshake(Side::Back) => f.write_str("TLS handshake with the server"),
            Stage::Verdict(Side::Front) => f.write_str("OCSP of the client's certificate"),
            Stage::Verdict(Side::Back) => f.write_str("OCSP of the server's certificate"),
            Stage::Talk(Part::BeforeTls(protocol)) => {
                write!(f, "{} before TLS", protocol.name())
            }
            Stage::Talk(Part::Request(protocol)) => {
                write!(f, "{} request", protocol.name())
            }
            Stage::Talk(Part::Reply(protocol)) => {
                write!(f, "{} reply", protocol.name())
            }
            Stage::Talk(Part::Opening(protocol)) => {
                write!(f, "{} with the client until it starts TLS", protocol.name())
            }
            Stage::Talk(Part::Header) => f.write_str("PROXY header to the server"),
            Stage::Talk(Part::Within(protocol)) => write!(f, "{} within TLS", protocol.name()),
            Stage::Talk(Part::Unprotected(protocol)) => {
                write!(f, "else {} request in plain", protocol.name())
            }
            Stage::Look => f.write_str("TLS handshake with the client if it begins with TLS"),
            Stage::Receive(Reception::Required(mail)) => {
                let protocol = Protocol::from(*mail).name();
                write!(f, "else {protocol} with the client until it starts TLS")
            }
            Stage::Receive(Reception::Offered(Some(mail))) => {
                let protocol = Protocol::from(*mail).name();
                write!(
                    f,
                    "else {protocol} with the client until it starts TLS or goes on in plain"
                )
            }
            Stage::Receive(Reception::Offered(None)) => {
                f.write_str("else TLS or plain as the client begins")
            }
            Stage::Transparent(Transparent {
                source,
                destination,
            }) => {
                let from = if *source {
                    " from the client's address"
                } else {
                    ""
                };
                let to = if *destination {
                    " to where the client wanted to go"
                } else {
                    ""
                };
                write!(f, "connect{from}{to}")
            }
            Stage::Connect => f.write_str("connect"),
            Stage::Exec => f.write_str("exec"),
        }
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
mod tests {
    use super::*;
    use crate::config::MailProtocol;
    use Beginning::{AtOnce, Received};
    use Protocol::{Smtp, Socks};
    use Reception::{Offered, Required};
    use Side::{Back, Front};
    use Stage::{Connect, Handshake, Look, Receive, Talk};

    #[test]
    fn each_kind_of_service_has_its_route() {
        let talk = Talk(Part::BeforeTls(Smtp));
        let route = |front, back, protocol| -> Vec<Stage> {
            Route::over(front, back, protocol).stages().collect()
        };
        let stages = |front: bool, back, protocol| route(front.then_some(AtOnce), back, protocol);
        // Both ends in plain.
        assert_eq!(stages(false, false, None), [Connect]);
        assert_eq!(stages(false, false, Some(Smtp)), [Connect, talk]);
        // Client mode.
        assert_eq!(stages(false, true, None), [Connect, Handshake(Back)]);
        let starttls = [Connect, talk, Handshake(Back)];
        assert_eq!(stages(false, true, Some(Smtp)), starttls);
        // Server mode.
        assert_eq!(stages(true, false, None), [Handshake(Front), Connect]);
        let starttls = [Connect, talk, Handshake(Front)];
        assert_eq!(stages(true, false, Some(Smtp)), starttls);
        // The client says where to.
        let socks = [
            Handshake(Front),
            Talk(Part::Request(Socks)),
            Connect,
            Talk(Part::Reply(Socks)),
        ];
        assert_eq!(stages(true, false, Some(Socks)), socks);
        // Dialogues that are not the server's alone before TLS, by protocol and mode.
        let (pgsql, cifs) = (Protocol::Pgsql, Protocol::Cifs);
        let before = Talk(Part::BeforeTls(pgsql));
        let within = Talk(Part::Within(pgsql));
        assert_eq!(
            stages(false, true, Some(pgsql)),
            [Connect, before, Handshake(Back), within]
        );
        let opening = Talk(Part::Opening(pgsql));
        let plain = Talk(Part::Unprotected(pgsql));
        assert_eq!(
            stages(true, false, Some(pgsql)),
            [opening, Handshake(Front), Connect, plain]
        );
        assert_eq!(
            stages(true, false, Some(cifs)),
            [Talk(Part::Opening(cifs)), Handshake(Front), Connect]
        );
        let xmpp = Protocol::Xmpp;
        assert_eq!(
            stages(true, false, Some(xmpp)),
            [
                Talk(Part::Opening(xmpp)),
                Handshake(Front),
                Connect,
                Talk(Part::Within(xmpp))
            ]
        );
        // The client's choice comes between them; it has begun TLS when a secondary service is chosen.
        let names = Route::over(Some(AtOnce), false, Some(pgsql));
        let primary: Vec<Stage> = names.clone().with_hello().stages().collect();
        let shown = [opening, Stage::Hello, Handshake(Front), Connect, plain];
        assert_eq!(primary, shown);
        let secondary: Vec<Stage> = names.of_begun().stages().collect();
        assert_eq!(secondary, [Handshake(Front), Connect]);
        assert_eq!(
            stages(true, false, Some(Protocol::Proxy)),
            [Handshake(Front), Connect, Talk(Part::Header)]
        );
        // A part of the server's alone comes before any word of the client's.
        let smtp = MailProtocol::Smtp;
        let front = Some(Received(Offered(Some(smtp))));
        let logged_in = Route::over(front, true, Some(Smtp)).within_tls(Smtp);
        let logged_in: Vec<Stage> = logged_in.stages().collect();
        let login = Talk(Part::Within(Smtp));
        let receive = Receive(Offered(Some(smtp)));
        assert_eq!(
            logged_in,
            [Look, Connect, talk, Handshake(Back), login, receive]
        );
        // TLS on both ends.
        let both = [Handshake(Front), Connect, Handshake(Back)];
        assert_eq!(stages(true, true, None), both);
        let starttls = [Handshake(Front), Connect, talk, Handshake(Back)];
        assert_eq!(stages(true, true, Some(Smtp)), starttls);
        // The same, by STARTTLS or not at all.
        let smtp = MailProtocol::Smtp;
        for reception in [Required(smtp), Offered(Some(smtp)), Offered(None)] {
            let front = Some(Received(reception));
            let receive = Receive(reception);
            let direct = [Look, Connect, Handshake(Back), receive];
            assert_eq!(route(front, true, None), direct);
            let starttls = [Look, Connect, talk, Handshake(Back), receive];
            assert_eq!(route(front, true, Some(Smtp)), starttls);
            assert!(Route::over(front, true, None).receives());
        }
        assert!(!Route::over(Some(AtOnce), true, Some(Smtp)).receives());
    }

    #[test]
    fn what_decides_whether_a_client_may_connect_comes_first_of_all() {
        let over = || Route::over(Some(AtOnce), false, None);
        assert_eq!(over().gates(), 0);
        let route = over()
            .with_hello()
            .behind([Early::Admit, Early::AskTheGate]);
        assert_eq!(route.gates(), 2);
        let stages: Vec<Stage> = route.stages().collect();
        let behind = [
            Stage::Admit,
            Stage::AskTheGate,
            Stage::Hello,
            Handshake(Front),
            Connect,
        ];
        assert_eq!(stages, behind);
        // A client that comes from another service goes on behind the handshake.
        assert_eq!(route.early_behind_handshake(), 4);
    }

    #[test]
    fn a_verdict_comes_right_behind_the_handshake_that_it_is_about() {
        let stages = |front: Option<Beginning>, back, protocol, side| -> Vec<Stage> {
            let route = Route::over(front, back, protocol).with_verdict(side);
            route.stages().collect()
        };
        let verdict = Stage::Verdict(Back);
        let client = [Connect, Handshake(Back), verdict];
        assert_eq!(stages(None, true, None, Back), client);
        let both = [Handshake(Front), Connect, Handshake(Back), verdict];
        assert_eq!(stages(Some(AtOnce), true, None, Back), both);
        let verdict = Stage::Verdict(Front);
        let server = [Handshake(Front), verdict, Connect];
        assert_eq!(stages(Some(AtOnce), false, None, Front), server);
        let talk = Talk(Part::BeforeTls(Smtp));
        let starttls = [Connect, talk, Handshake(Front), verdict];
        assert_eq!(stages(Some(AtOnce), false, Some(Smtp), Front), starttls);
    }
}
