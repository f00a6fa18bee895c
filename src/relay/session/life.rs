//! Which ends of a session are there, the stage that works on them, and a step of that stage. Never in here:
//! which stage comes next; that is for `advancing`.

use std::time::Instant;

use super::Outcome;
use crate::error;
use crate::protocol::Side;
use crate::relay::choosing::Choosing;
use crate::relay::connecting::{Connecting, Connection, Reached, watch_front};
use crate::relay::end::End;
use crate::relay::ends::{Ends, Pair};
use crate::relay::gatekeeping::Gatekeeping;
use crate::relay::handshaking::Handshaking;
use crate::relay::identifying::Identifying;
use crate::relay::introducing::Introducing;
use crate::relay::launching::{self, Launching};
use crate::relay::pump::Pump;
use crate::relay::resources::Resources;
use crate::relay::step::{Common, Context, Ending, Next};
use crate::relay::talking::Talking;
use crate::relay::verdict::Verdict;

/// The ends that are there, and the stage that works on them.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every session is joined, and each is in its slab's place, not moved"
)]
pub(super) enum Life {
    /// The server is not connected yet.
    Alone(End, Early),
    /// Both ends are there.
    Joined(Pair, Late),
    /// Only while it goes from the one to the other.
    Between,
    /// It is over, and the end of this side alone is not closed yet.
    Leaving(Side, End),
}

impl Life {
    pub(super) fn end(&mut self, side: Side) -> Option<&mut End> {
        match self {
            Life::Alone(front, _) => (side == Side::Front).then_some(front),
            Life::Joined(pair, _) => Some(pair.end(side)),
            Life::Leaving(left, end) => (side == *left).then_some(end),
            Life::Between => None,
        }
    }

    /// The memory that it holds for TLS that has not begun, in bytes; 0 once that is over. A stranger who has shown
    /// nothing yet decides how long that takes.
    pub(super) fn unfinished(&self) -> usize {
        let (ends, more) = match self {
            // The hot path.
            Life::Joined(_, Late::Pump(_)) => return 0,
            Life::Alone(front, Early::Introducing(_) | Early::Choosing(_)) => {
                ([Some(front), None], 0)
            }
            Life::Alone(front, Early::Talking(stage)) if !stage.is_within_tls() => {
                ([Some(front), None], 0)
            }
            Life::Alone(front, Early::Handshaking(stage)) => ([Some(front), None], stage.held()),
            Life::Joined(pair, Late::Choosing(_)) => ([Some(&pair.front), Some(&pair.back)], 0),
            Life::Joined(pair, Late::Talking(stage)) if !stage.is_within_tls() => {
                ([Some(&pair.front), Some(&pair.back)], 0)
            }
            Life::Joined(pair, Late::Handshaking(stage)) => {
                ([Some(&pair.front), Some(&pair.back)], stage.held())
            }
            _ => return 0,
        };
        let waits = |end: &End| end.input.held() + end.plain.held() + end.output.held();
        let waiting: usize = ends.into_iter().flatten().map(waits).sum();
        size_of::<super::Session>() + waiting + more
    }

    /// TLS gives back the memory that it needs only while it works.
    pub(super) fn rest(&mut self) {
        if let Life::Joined(pair, _) = self {
            for end in [&mut pair.front, &mut pair.back] {
                if let Some(stream) = &mut end.tls {
                    stream.rest();
                }
            }
        }
    }
}

#[derive(Debug)]
pub(super) enum Early {
    Introducing(Introducing),
    Gatekeeping(Gatekeeping),
    Identifying(Identifying),
    Choosing(Choosing),
    Talking(Talking),
    Handshaking(Handshaking),
    Verdict(Verdict),
    Connecting(Connecting),
    Launching(Launching),
    /// Until then: the server could not be reached, and the client is held.
    Pausing(Instant),
    /// Only while a step runs, and after its panic.
    Stepping,
}

impl Early {
    /// Gives back what the stage holds of the thread's.
    pub(super) fn release(self, resources: &mut Resources) {
        match self {
            Early::Gatekeeping(stage) => stage.release(resources),
            Early::Identifying(stage) => stage.release(resources),
            Early::Connecting(stage) => stage.release(resources),
            Early::Talking(stage) => stage.release(resources),
            Early::Launching(stage) => stage.release(resources),
            Early::Verdict(stage) => stage.release(resources),
            Early::Introducing(_)
            | Early::Choosing(_)
            | Early::Handshaking(_)
            | Early::Pausing(_)
            | Early::Stepping => {}
        }
    }
}

#[derive(Debug)]
pub(super) enum Late {
    Choosing(Choosing),
    Talking(Talking),
    Handshaking(Handshaking),
    Verdict(Verdict),
    Pump(Pump),
    /// As of [`Early`].
    Stepping,
}

impl Late {
    /// As of [`Early`].
    pub(super) fn release(self, resources: &mut Resources) {
        if let Late::Verdict(stage) = self {
            stage.release(resources);
        }
    }
}

/// The result of a step of the present stage.
pub(super) enum Turn {
    /// The stage goes on later.
    Later(Outcome),
    /// It is over, and the next begins.
    Advance,
    /// The service is chosen.
    Chosen,
    /// It is over, and the handshake with the client comes before the next.
    Handshake,
    /// The server is connected.
    Connected(Connection),
    /// It is left, and connected anew.
    Anew(Box<Talking>),
    /// The session is over, in order.
    Over,
}

/// Puts the stage back if it goes on.
fn turn<S, P>(next: Next<S>, place: &mut P, wrap: impl FnOnce(S) -> P) -> Turn {
    match next {
        Next::Wait(stage) => {
            *place = wrap(stage);
            Turn::Later(Outcome::Wait)
        }
        Next::Again(stage) => {
            *place = wrap(stage);
            Turn::Later(Outcome::Again)
        }
        Next::Advance => Turn::Advance,
        Next::Handshake => Turn::Handshake,
        Next::Over => Turn::Over,
    }
}

pub(super) fn step_early(
    front: &mut End,
    phase: &mut Early,
    waiting: &mut Option<Box<Talking>>,
    mut context: Context<'_>,
) -> Result<Turn, Ending> {
    match std::mem::replace(phase, Early::Stepping) {
        Early::Introducing(stage) => {
            let next = stage.step(front, context)?;
            Ok(turn(next, phase, Early::Introducing))
        }
        Early::Gatekeeping(stage) => {
            let next = stage.step(front, context)?;
            Ok(turn(next, phase, Early::Gatekeeping))
        }
        Early::Identifying(stage) => {
            let next = stage.step(front, context)?;
            Ok(turn(next, phase, Early::Identifying))
        }
        Early::Choosing(stage) => match stage.step(front, None, context)? {
            Next::Advance => Ok(Turn::Chosen),
            next => Ok(turn(next, phase, Early::Choosing)),
        },
        Early::Handshaking(stage) => {
            let next = stage.step(front, None, context)?;
            Ok(turn(next, phase, Early::Handshaking))
        }
        Early::Verdict(stage) => {
            let next = stage.step(front, None, context)?;
            Ok(turn(next, phase, Early::Verdict))
        }
        Early::Talking(stage) => {
            let (common, resources) = (&mut *context.common, &mut *context.resources);
            let borrowed = Context { common, resources };
            match stage.step(&mut Ends::Front(front), borrowed)? {
                Next::Wait(mut stage) if stage.is_to_connect() => {
                    let target = stage.wants();
                    *waiting = Some(Box::new(stage));
                    *phase = Early::Connecting(Connecting::begin(target, front, &mut context));
                    Ok(Turn::Later(Outcome::Again))
                }
                next => {
                    if matches!(next, Next::Advance | Next::Handshake) {
                        context.common.has_talked();
                    }
                    Ok(turn(next, phase, Early::Talking))
                }
            }
        }
        Early::Connecting(stage) => {
            let (common, resources) = (&mut *context.common, &mut *context.resources);
            let borrowed = Context { common, resources };
            let began = stage.began();
            match stage.step(front, borrowed) {
                Ok(Reached::Waiting(stage)) => {
                    *phase = Early::Connecting(stage);
                    Ok(Turn::Later(Outcome::Wait))
                }
                Ok(Reached::Connected(back)) => {
                    let took = resources.durations(common.index()).connect();
                    took.count(resources.now.saturating_duration_since(began));
                    Ok(Turn::Connected(back))
                }
                Err(ending) => Err(match waiting.take() {
                    Some(dialogue) if !front.failed() => {
                        let why = context.common.unreachable;
                        dialogue.unreachable(why, front, &mut context)
                    }
                    _ => ending,
                }),
            }
        }
        Early::Launching(stage) => match stage.step(front, context)? {
            launching::Step::Waiting(stage) => {
                *phase = Early::Launching(stage);
                Ok(Turn::Later(Outcome::Wait))
            }
            launching::Step::Running(back) => Ok(Turn::Connected(back)),
        },
        Early::Pausing(until) => {
            watch_front(front, &mut context)?;
            *phase = match until <= context.resources.now {
                true => Early::Connecting(Connecting::begin(None, front, &mut context)),
                false => {
                    *phase = Early::Pausing(until);
                    return Ok(Turn::Later(Outcome::Wait));
                }
            };
            Ok(Turn::Later(Outcome::Again))
        }
        Early::Stepping => Err(inconsistent(context.common)),
    }
}

pub(super) fn step_late(
    pair: &mut Pair,
    phase: &mut Late,
    mut context: Context<'_>,
) -> Result<Turn, Ending> {
    // The hot path: this stage stays where it is.
    if let Late::Pump(stage) = phase {
        return Ok(match stage.step(pair, context)? {
            Next::Wait(()) => Turn::Later(Outcome::Wait),
            Next::Again(()) => Turn::Later(Outcome::Again),
            Next::Advance | Next::Handshake | Next::Over => Turn::Over,
        });
    }
    match std::mem::replace(phase, Late::Stepping) {
        Late::Choosing(stage) => match stage.step(&mut pair.front, Some(&pair.back), context)? {
            Next::Advance => Ok(Turn::Chosen),
            next => Ok(turn(next, phase, Late::Choosing)),
        },
        Late::Talking(stage) => match stage.step(&mut Ends::Both(pair), context.again())? {
            Next::Wait(stage) if stage.leaves_the_server() => Ok(Turn::Anew(Box::new(stage))),
            next => {
                if matches!(next, Next::Advance | Next::Handshake) {
                    context.common.has_talked();
                }
                Ok(turn(next, phase, Late::Talking))
            }
        },
        Late::Handshaking(stage) => {
            let (end, other) = pair.facing(stage.side());
            let next = stage.step(end, Some(other), context)?;
            Ok(turn(next, phase, Late::Handshaking))
        }
        Late::Verdict(stage) => {
            let (end, other) = pair.facing(stage.side());
            let next = stage.step(end, Some(other), context)?;
            Ok(turn(next, phase, Late::Verdict))
        }
        Late::Pump(_) | Late::Stepping => Err(inconsistent(context.common)),
    }
}

/// A session is stepped no more once a step of it has ended it or panicked.
pub(super) fn inconsistent(common: &Common) -> Ending {
    error!(common.log, "INTERNAL ERROR: a session without a stage");
    Ending::Reset
}
