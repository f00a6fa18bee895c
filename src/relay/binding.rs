//! A socket with the client's address to connect from (`transparent = source`), which a helper makes: sessions have
//! no right to it. Never in here: connect(2).

use std::net::SocketAddr;
use std::time::Instant;

use super::Upstream;
use super::resources::Resources;
use super::step::Context;
use crate::helper::{BindRequest, Bound, Kind, NotBound};
use crate::incidents::{Cause, Diagnosis};
use crate::{error, info};

/// Where the process that makes them does not answer.
const REMEDY: &str = "`ps` shows it as adit: binder";

/// A socket that is asked for, to connect to an address.
#[derive(Debug)]
pub(super) struct Binding {
    state: State,
    pub(super) upstream: Upstream,
    pub(super) deadline: Instant,
}

#[derive(Debug)]
enum State {
    /// The helper was asked, by the question of this number.
    Asked(u64),
    Answered(Result<Bound, NotBound>),
}

/// How far it got.
pub(super) enum Step {
    /// It waits for an event or its time.
    Waiting(Binding),
    /// It is there.
    Bound(Bound, Upstream, Instant),
    /// It is not, which was told.
    Failed(Upstream),
}

impl Binding {
    /// Asks for the socket. Gives the upstream back where there is none for it, which is told.
    pub(super) fn begin(
        upstream: Upstream,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Result<Binding, Upstream> {
        let (common, resources) = (&*context.common, &mut *context.resources);
        let (Some(address), Some(warrant)) = (common.peer, common.warrant) else {
            // stunnel's words.
            error!(
                common.log,
                "Transparent source needs a socket: the client has no address"
            );
            return Err(upstream);
        };
        if upstream
            .ip()
            .is_none_or(|ip| !is_of_the_family(address, ip))
        {
            error!(
                common.log,
                "transparent = source: {upstream} cannot see {}: one is IPv4, the other IPv6",
                address.ip()
            );
            return Err(upstream);
        }
        let request = BindRequest {
            id: 0,
            address,
            // With both addresses the client's, its port would make the connection the client's own to the
            // connection tracking of netfilter, which would send it here again.
            keeps_port: !common.config().transparent.destination,
            warrant,
        };
        let state = match resources.bind(common.key, request) {
            Ok(id) => State::Asked(id),
            Err(refused) => State::Answered(Err(refused)),
        };
        Ok(Binding {
            state,
            upstream,
            deadline,
        })
    }

    /// Takes the answer to question `id`.
    pub(super) fn answer(&mut self, id: u64, answer: Result<Bound, NotBound>) {
        if matches!(self.state, State::Asked(asked) if asked == id) {
            self.state = State::Answered(answer);
        }
    }

    /// Goes on if there is an answer, or the time is over.
    pub(super) fn step(self, context: &mut Context<'_>) -> Step {
        let log = context.common.log;
        match self.state {
            State::Asked(_) if context.resources.now < self.deadline => Step::Waiting(self),
            State::Asked(id) => {
                let reason = "transparent = source: TIMEOUTconnect exceeded: the process that binds to clients' \
                              addresses does not answer";
                error!(log, "{reason} ({REMEDY})");
                let finding = Diagnosis::new(Cause::UpstreamOther, reason, REMEDY);
                context.common.found(finding);
                context.resources.bindings.remove(&id);
                context.resources.is_silent(Kind::Binder);
                Step::Failed(self.upstream)
            }
            State::Answered(Err(refused)) => {
                error!(log, "{refused}");
                let finding = Diagnosis::new(Cause::UpstreamOther, refused.to_string(), "");
                context.common.found(finding);
                Step::Failed(self.upstream)
            }
            State::Answered(Ok(bound)) => {
                info!(log, "IP_TRANSPARENT socket option set");
                let port = match bound.has_port {
                    true => "the original port",
                    false => "an ephemeral port",
                };
                info!(log, "bind succeeded on {port}");
                Step::Bound(bound, self.upstream, self.deadline)
            }
        }
    }

    /// Gives back what it holds.
    pub(super) fn release(self, resources: &mut Resources) {
        match self.state {
            State::Asked(id) => drop(resources.bindings.remove(&id)),
            State::Answered(Ok(bound)) => resources.closing.push(bound.socket),
            State::Answered(Err(_)) => {}
        }
    }
}

fn is_of_the_family(address: SocketAddr, ip: std::net::IpAddr) -> bool {
    address.is_ipv4() == ip.to_canonical().is_ipv4()
}
