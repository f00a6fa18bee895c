//! A session whose program is held, `hold`, while its server is tried again and again. Never in here: a program that is
//! left without a word.

use std::os::fd::AsFd;

use super::Session;
use super::closing::close;
use super::life::{Early, Life, inconsistent};
use crate::notice;
use crate::protocol::{Side, Unreachable};
use crate::relay::ends::Ends;
use crate::relay::holding::Hold;
use crate::relay::resources::Resources;
use crate::relay::route::{Late, Part};
use crate::relay::step::{Context, Ending, Next};
use crate::relay::talking::Talking;

impl Session {
    /// Speaks with a program that is held. Returns how the session ends, if it does.
    pub(super) fn attend(&mut self, resources: &mut Resources) -> Option<Ending> {
        let now = resources.now;
        let hold = self.common.holds()?;
        if hold.is_try_over(now) {
            notice!(self.common.log, "hold: the server takes too long");
            if let Err(ending) = self.try_later(Ending::Reset, resources) {
                return Some(ending);
            }
        }
        let hold = self.common.holds()?;
        let over = hold.until() <= now;
        if hold.held.is_none() && !over && !hold.is_due_to_greet(now) {
            return None;
        }
        let held = hold.held.take();
        let common = &mut self.common;
        let mut context = Context { common, resources };
        let front = self.life.end(Side::Front)?;
        let mut held = match held {
            Some(held) => *held,
            None => match Talking::hold(&mut Ends::Front(front), &mut context) {
                Ok(held) => held,
                Err(ending) => return Some(ending),
            },
        };
        if over {
            notice!(context.common.log, "hold: the program's time is over");
            return Some(held.unreachable(Unreachable::TimedOut, front, &mut context));
        }
        loop {
            let (common, resources) = (&mut *context.common, &mut *context.resources);
            let borrowed = Context { common, resources };
            held = match held.step(&mut Ends::Front(front), borrowed) {
                Ok(Next::Again(held)) => held,
                Ok(Next::Wait(held)) => {
                    context.common.holds()?.held = Some(Box::new(held));
                    return None;
                }
                Ok(Next::Advance | Next::Handshake | Next::Over) => return Some(Ending::Closed),
                Err(ending) => return Some(ending),
            };
        }
    }

    /// The server could not be reached: it is tried later, if the program may be held so long.
    ///
    /// # Errors
    /// The session ends.
    pub(super) fn hold_on(
        &mut self,
        ending: Ending,
        resources: &mut Resources,
    ) -> Result<(), Ending> {
        let gone = self
            .life
            .end(Side::Front)
            .is_none_or(|front| front.failed());
        // The silence about a record counts for more.
        let gone = gone || matches!(ending, Ending::Blinded(..));
        let Some(hold) = self.common.holds().filter(|_| !gone) else {
            return Err(ending);
        };
        if hold.for_good {
            let held = hold.held.take();
            let common = &mut self.common;
            let mut context = Context { common, resources };
            return Err(match (held, self.life.end(Side::Front)) {
                (Some(held), Some(front)) => {
                    held.unreachable(Unreachable::Other, front, &mut context)
                }
                // It has heard the server's own words.
                _ => ending,
            });
        }
        self.try_later(ending, resources)?;
        match self.attend(resources) {
            None => Ok(()),
            Some(ending) => Err(ending),
        }
    }

    /// Leaves the server, and the stage that was with it.
    fn try_later(&mut self, ending: Ending, resources: &mut Resources) -> Result<(), Ending> {
        let Some(hold) = self.common.holds() else {
            return Err(inconsistent(&self.common));
        };
        let at = hold.next_try(resources.now);
        let seconds = at.saturating_duration_since(resources.now).as_secs();
        notice!(
            self.common.log,
            "hold: the server is not there; the program is held, and the next try is in {seconds} s"
        );
        self.common.greeting.clear();
        self.common.counted = None;
        let life = std::mem::replace(&mut self.life, Life::Between);
        if let Life::Joined(pair, _) = &life {
            // The next one has the same key.
            resources.poller.remove(pair.back.as_fd());
        }
        let reset = self.common.config().reset;
        let kept = Some(Side::Front);
        let Some(front) = close(life, kept, ending, reset, resources) else {
            return Err(inconsistent(&self.common));
        };
        self.life = Life::Alone(front, Early::Pausing(at));
        Ok(())
    }

    /// Whether the stage that is over was the one for which the program was held.
    pub(super) fn ends_holding(&mut self, stage: usize) -> bool {
        let joined = matches!(self.life, Life::Joined(..));
        joined
            && self.common.holds().is_some()
            && self.common.service().route.late(stage) == Some(Late::Talk(Part::Hold))
    }

    /// The server is there: what the program says goes on to it.
    pub(super) fn arrive(&mut self, resources: &mut Resources) {
        let held = self.common.holds().and_then(Hold::meet);
        if let (Some(held), Some(front)) = (held, self.life.end(Side::Front)) {
            held.hand_over(front, resources);
        }
    }
}
