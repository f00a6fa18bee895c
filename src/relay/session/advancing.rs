//! From one stage of a session's route to the next. Never in here: a step of a stage.

use std::os::fd::AsFd;

use super::Session;
use super::closing::close;
use super::life::{Early, Late, Life, inconsistent};
use crate::config::Reception;
use crate::protocol::{Side, Unreachable};
use crate::relay::choosing::Choosing;
use crate::relay::connecting::{Connecting, Connection};
use crate::relay::end::End;
use crate::relay::ends::{Ends, Pair};
use crate::relay::gatekeeping::Gatekeeping;
use crate::relay::handshaking::Handshaking;
use crate::relay::identifying::Identifying;
use crate::relay::introducing::Introducing;
use crate::relay::launching::Launching;
use crate::relay::pump::Pump;
use crate::relay::resources::Resources;
use crate::relay::route::Part;
use crate::relay::step::{Common, Context, Ending};
use crate::relay::talking::Talking;
use crate::relay::verdict::Verdict;
use crate::relay::{admitting, route};

impl Session {
    /// Begins the next stage of the route.
    pub(super) fn advance(&mut self, resources: &mut Resources) -> Result<(), Ending> {
        let nth = self.next;
        self.next += 1;
        if nth > 0 && self.ends_holding(nth - 1) {
            self.arrive(resources);
        }
        let common = &mut self.common;
        let (early, late) = {
            let route = &common.service().route;
            (route.early(nth), route.late(nth))
        };
        let mut context = Context { common, resources };
        match &mut self.life {
            Life::Alone(front, phase) => {
                if nth == context.common.service().route.gates() {
                    let speaks = [Some(route::Early::Hello), Some(route::Early::Handshake)];
                    context.common.admit(speaks.contains(&early));
                }
                *phase = match early {
                    Some(route::Early::Introduce) => match Introducing::begin(front, &context) {
                        Some(stage) => Early::Introducing(stage),
                        None => return self.advance(resources),
                    },
                    Some(route::Early::Admit) => {
                        admitting::by_lists(&mut context)?;
                        return self.advance(resources);
                    }
                    Some(route::Early::AskTheGate) => match Gatekeeping::begin(&context) {
                        Some(stage) => Early::Gatekeeping(stage),
                        None => return self.advance(resources),
                    },
                    Some(route::Early::Identify) => match Identifying::begin(front, &context) {
                        Some(stage) => Early::Identifying(stage),
                        None => return self.advance(resources),
                    },
                    Some(route::Early::Hello) => {
                        Early::Choosing(Choosing::begin(front, &mut context))
                    }
                    Some(route::Early::Handshake) => {
                        Early::Handshaking(Handshaking::begin(Side::Front, front, &mut context)?)
                    }
                    Some(route::Early::Verdict) => {
                        match Verdict::begin(Side::Front, front, &context) {
                            Some(verdict) => Early::Verdict(verdict),
                            None => return self.advance(resources),
                        }
                    }
                    Some(route::Early::Look) => {
                        let ends = &mut Ends::Front(front);
                        Early::Talking(Talking::look(ends, &mut context)?)
                    }
                    // It is for the server that the client is not connected to.
                    Some(route::Early::Talk(_)) if context.common.redirected => {
                        Early::Connecting(Connecting::begin(None, front, &mut context))
                    }
                    Some(route::Early::Talk(part)) => {
                        let ends = &mut Ends::Front(front);
                        Early::Talking(Talking::begin(part, ends, &mut context)?)
                    }
                    None if starts_a_program(context.common) => {
                        Early::Launching(Launching::begin(front, &mut context))
                    }
                    None => {
                        context.common.begin_hold(context.resources.now);
                        context.common.may_be_held(context.resources.now);
                        Early::Connecting(Connecting::begin(None, front, &mut context))
                    }
                }
            }
            // It has begun TLS already.
            // The same where its server is connected anew.
            Life::Joined(pair, _)
                if late.is_some_and(route::Late::is_for_plain)
                    && (pair.front.tls.is_some() || context.common.again) =>
            {
                return self.advance(resources);
            }
            Life::Joined(pair, phase) => {
                *phase = match late {
                    Some(route::Late::Hello) => {
                        Late::Choosing(Choosing::begin(&mut pair.front, &mut context))
                    }
                    Some(route::Late::Verdict(side)) => {
                        match Verdict::begin(side, pair.end(side), &context) {
                            Some(verdict) => Late::Verdict(verdict),
                            None => return self.advance(resources),
                        }
                    }
                    Some(route::Late::Receive(reception)) => {
                        if let Reception::Offered(_) = reception {
                            context.common.is_relayed();
                        }
                        let ends = &mut Ends::Both(pair);
                        Late::Talking(Talking::receive(reception, ends, &mut context)?)
                    }
                    // Its client is held no more.
                    Some(route::Late::Talk(Part::Hold)) if context.common.again => {
                        return self.advance(resources);
                    }
                    Some(route::Late::Talk(Part::Login(_))) if context.common.again => {
                        context.common.again = false;
                        let Some(waiting) = self.waiting.take() else {
                            return Err(inconsistent(&self.common));
                        };
                        let ends = &mut Ends::Both(pair);
                        Late::Talking(waiting.meet(ends, &mut context)?)
                    }
                    Some(route::Late::Talk(part)) => {
                        context.common.begins_to_talk(part, context.resources.now);
                        let ends = &mut Ends::Both(pair);
                        Late::Talking(Talking::begin(part, ends, &mut context)?)
                    }
                    Some(route::Late::Handshake(side)) => {
                        let end = pair.end(side);
                        Late::Handshaking(Handshaking::begin(side, end, &mut context)?)
                    }
                    None => {
                        context.common.is_relayed();
                        Late::Pump(Pump::begin(pair, &mut context))
                    }
                }
            }
            Life::Between | Life::Leaving(..) => return Err(inconsistent(&self.common)),
        }
        Ok(())
    }

    /// A dialogue has ended in TLS with the client: the handshake begins, or the choice before it.
    pub(super) fn meet(&mut self, resources: &mut Resources) -> Result<(), Ending> {
        self.common.begins_tls(resources.now);
        if self.common.service().hosts.is_none() {
            return self.shake_hands(resources);
        }
        let common = &mut self.common;
        let mut context = Context { common, resources };
        match &mut self.life {
            Life::Alone(front, phase) => {
                *phase = Early::Choosing(Choosing::begin(front, &mut context));
            }
            Life::Joined(pair, phase) => {
                *phase = Late::Choosing(Choosing::begin(&mut pair.front, &mut context));
            }
            Life::Between | Life::Leaving(..) => return Err(inconsistent(&self.common)),
        }
        Ok(())
    }

    /// Begins the handshake with the client, and goes on behind it by the route of the service that it has
    /// chosen.
    pub(super) fn go_on_as_chosen(&mut self, resources: &mut Resources) -> Result<(), Ending> {
        let route = &self.common.service().route;
        self.next = match self.life {
            Life::Alone(..) => route.early_behind_handshake(),
            Life::Joined(..) | Life::Between | Life::Leaving(..) => route.late_behind_handshake(),
        };
        // It is the one that it wanted to connect to.
        let common = &mut self.common;
        admitting::by_lists(&mut Context { common, resources })?;
        self.shake_hands(resources)
    }

    /// Begins the handshake with the client, which is no stage of the route: the client asks for it.
    fn shake_hands(&mut self, resources: &mut Resources) -> Result<(), Ending> {
        let common = &mut self.common;
        let mut context = Context { common, resources };
        let mut begin = |front: &mut End| Handshaking::begin(Side::Front, front, &mut context);
        match &mut self.life {
            Life::Alone(front, phase) => *phase = Early::Handshaking(begin(front)?),
            Life::Joined(pair, phase) => *phase = Late::Handshaking(begin(&mut pair.front)?),
            Life::Between | Life::Leaving(..) => return Err(inconsistent(&self.common)),
        }
        Ok(())
    }

    /// Both ends are there from now on.
    pub(super) fn join(
        &mut self,
        mut back: Connection,
        resources: &mut Resources,
    ) -> Result<(), Ending> {
        self.common.counted = back.take_count();
        self.life = match std::mem::replace(&mut self.life, Life::Between) {
            Life::Alone(front, _) => {
                let back = back.into();
                Life::Joined(Pair { front, back }, Late::Stepping)
            }
            other => other,
        };
        self.next = 0;
        self.common.is_connected();
        if self.common.again {
            // TLS comes first.
            return self.advance(resources);
        }
        let (Some(waiting), Life::Joined(pair, phase)) = (self.waiting.take(), &mut self.life)
        else {
            return self.advance(resources);
        };
        let common = &mut self.common;
        let mut context = Context { common, resources };
        let bound = pair.back.local_address();
        let ends = &mut Ends::Both(pair);
        *phase = Late::Talking(waiting.connected(bound, ends, &mut context)?);
        Ok(())
    }
}

impl Session {
    /// Leaves the server, and connects it anew for a dialogue that goes on with it then.
    pub(super) fn connect_anew(
        &mut self,
        talking: Box<Talking>,
        resources: &mut Resources,
    ) -> Result<(), Ending> {
        let life = std::mem::replace(&mut self.life, Life::Between);
        self.common.counted = None;
        if let Life::Joined(pair, _) = &life {
            // The new one has the same key.
            resources.poller.remove(pair.back.as_fd());
        }
        let reset = self.common.config().reset;
        let kept = Some(Side::Front);
        let Some(front) = close(life, kept, Ending::Closed, reset, resources) else {
            return Err(inconsistent(&self.common));
        };
        self.common.again = true;
        self.waiting = Some(talking);
        let common = &mut self.common;
        let connecting = Connecting::begin(None, &front, &mut Context { common, resources });
        self.life = Life::Alone(front, Early::Connecting(connecting));
        Ok(())
    }

    /// A dialogue that waits for the server tells the client when it has waited for long enough.
    pub(super) fn lose_patience(&mut self, resources: &mut Resources) -> Option<Ending> {
        if !self.common.again {
            return None;
        }
        let now = resources.now;
        let waiting = self
            .waiting
            .take_if(|waiting| waiting.patience().is_some_and(|until| until <= now))?;
        let common = &mut self.common;
        let mut context = Context { common, resources };
        let front = self.life.end(Side::Front)?;
        Some(waiting.unreachable(Unreachable::TimedOut, front, &mut context))
    }
}

/// Whether the back is a program. It is none of a client's that is sent elsewhere.
fn starts_a_program(common: &Common) -> bool {
    common.service().route.starts_a_program() && !common.redirected
}
