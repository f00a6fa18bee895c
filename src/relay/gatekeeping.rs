//! Whether a client may connect by hosts.allow and hosts.deny, which a helper reads. Neither this thread nor
//! another session waits.

use std::net::SocketAddr;
use std::time::Instant;

use super::admitting::refused;
use super::connecting::watch_front;
use super::end::End;
use super::resources::Resources;
use super::step::{Context, Ending, Next};
use super::{Address, UNSPECIFIED};
use crate::helper::{Judgement, Kind};
use crate::log;
use crate::{debug, error, notice};

/// What helps a client that it refuses.
const BY_LIBWRAP: &str =
    "where it is to be let in, see /etc/hosts.allow and /etc/hosts.deny: hosts_access(5)";

/// See the module.
#[derive(Debug)]
pub(crate) struct Gatekeeping {
    client: SocketAddr,
    state: State,
    /// Until when the answer is waited for.
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    /// There is no helper that could be asked.
    Unasked,
    /// The helper was asked, by the question of this number.
    Asked(u64),
    Answered(Judgement),
}

impl Gatekeeping {
    /// Begins; `None`: the client has no address that could be judged.
    pub(crate) fn begin(context: &Context<'_>) -> Option<Self> {
        Some(Self {
            client: context.common.peer?,
            state: State::Unasked,
            deadline: context.resources.now + context.common.config().timeouts.busy,
        })
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Instant {
        self.deadline
    }

    /// Takes the answer to question `id`; `None`: another helper must be asked.
    pub(crate) fn judged(&mut self, id: u64, judgement: Option<Judgement>) {
        if matches!(self.state, State::Asked(asked) if asked == id) {
            self.state = judgement.map_or(State::Unasked, State::Answered);
        }
    }

    /// Goes on until it must wait, or the client may connect.
    ///
    /// # Errors
    /// It may not; it is gone.
    pub(crate) fn step(
        mut self,
        front: &mut End,
        mut context: Context<'_>,
    ) -> Result<Next<Self>, Ending> {
        if let Err(ending) = watch_front(front, &mut context) {
            self.release(context.resources);
            return Err(ending);
        }
        if matches!(self.state, State::Unasked) {
            self.ask(front, &mut context);
        }
        let (log, client) = (context.common.log, self.client);
        let late = context.resources.now >= self.deadline;
        let judgement = match self.state {
            State::Answered(judgement) => judgement,
            State::Unasked | State::Asked(_) if !late => return Ok(Next::Wait(self)),
            State::Unasked | State::Asked(_) => {
                if matches!(self.state, State::Asked(_)) {
                    context.resources.is_silent(Kind::Gatekeeper);
                }
                self.release(context.resources);
                Judgement::Undecided(
                    "TIMEOUTbusy exceeded: the gatekeeper process does not answer (a name server may be slow)"
                        .to_owned(),
                )
            }
        };
        match judgement {
            Judgement::Permitted => {
                let (name, from) = (&context.common.config().name, Address(Some(client)));
                debug!(log, "Service [{name}] permitted by libwrap from {from}");
                return Ok(Next::Advance);
            }
            Judgement::Refused(place) => {
                notice!(log, "libwrap: {place}: see hosts_access(5)");
            }
            Judgement::Undecided(why) => error!(log, "libwrap: {why}"),
        }
        Err(refused("libwrap", BY_LIBWRAP, client, &mut context))
    }

    /// Asks, unless there is no helper to ask just now.
    fn ask(&mut self, front: &End, context: &mut Context<'_>) {
        let (common, resources) = (&*context.common, &mut *context.resources);
        let server = common.reached(front).unwrap_or(UNSPECIFIED);
        let name = &common.config().name;
        self.state = match resources.judge(common.key, name, self.client.ip(), server) {
            Ok(Some(id)) => State::Asked(id),
            Ok(None) => State::Unasked,
            Err(error) => {
                let reason = log::Reason(&error);
                let why = format!("the gatekeeper process takes no question: {reason}");
                State::Answered(Judgement::Undecided(why))
            }
        };
    }

    /// Forgets the question under way.
    pub(crate) fn release(self, resources: &mut Resources) {
        if let State::Asked(id) = self.state {
            resources.judgements.remove(&id);
        }
    }
}
