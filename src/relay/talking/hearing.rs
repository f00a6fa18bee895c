//! Hears the two sides of a dialogue, and passes on what they say. Never in here: what it means.

use super::{After, Talking};
use crate::protocol::{Event, Side};
use crate::relay::advice;
use crate::relay::buffer::LARGE;
use crate::relay::end::{End, Reading};
use crate::relay::ends::Ends;
use crate::relay::hearing::{Ears, Heard};
use crate::relay::step::{Context, Ending};
use crate::relay::trouble::Trouble;

impl Talking {
    /// A side is not heard while the other has not taken what it was told: memory stays bounded.
    pub(super) fn may_hear(&self, side: Side, ends: &mut Ends<'_>) -> bool {
        let Some((from, to)) = ends.facing(side) else {
            return false;
        };
        let has_words = !from.plain.is_empty()
            || from.unread
            || from.readable() && from.reading == Reading::Open;
        has_words
            && self.hears(side)
            && to.is_none_or(|to| to.unsent() == 0)
            && from.unsent() < LARGE
    }

    pub(super) fn hears(&self, side: Side) -> bool {
        !(self.deaf && side == Side::Front) && self.dialogue.hears(side)
    }

    /// Hears a side once and feeds the dialogue.
    pub(super) fn hear(
        &mut self,
        side: Side,
        ends: &mut Ends<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        let log = context.common.log;
        let mut words = std::mem::take(&mut context.resources.scratch.kept);
        let heard = match ends.end(side) {
            Some(end) => hear_into(&mut words, end, context),
            None => Ok(Heard::Nothing),
        };
        let fed = match heard {
            Err(Trouble::Read(_)) if side == Side::Front && self.may_be_a_check(context) => {
                Err(context.common.has_left())
            }
            Err(trouble) => {
                context.common.found(trouble.diagnosis());
                Err(trouble.end_dialogue(side, &log))
            }
            Ok(Heard::Nothing) => Ok(()),
            Ok(Heard::Words | Heard::Over) => self.pass(side, &words, ends, context),
        };
        context.resources.scratch.kept = words;
        fed
    }

    /// Whether a client that leaves now has only looked whether adit is there.
    pub(super) fn may_be_a_check(&self, context: &Context<'_>) -> bool {
        !self.within && context.common.is_silent()
    }

    fn pass(
        &mut self,
        side: Side,
        words: &[u8],
        ends: &mut Ends<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        if let Some(idle) = self.idle {
            self.deadline = context.resources.now + idle;
        }
        match side {
            Side::Back => self.silence = None,
            Side::Front => {
                context.common.has_said(words);
                context.common.first_words.client_says(words);
                if let Some(how) = context.common.first_words.take_finding() {
                    advice::own_tls(how, context.common, context.resources);
                }
            }
        }
        if !words.is_empty() {
            self.after = self.feed(Event::Bytes(side, words), ends, context)?;
        }
        let over = ends
            .end(side)
            .is_some_and(|end| end.reading == Reading::Over);
        if self.after == After::More && over {
            self.after = self.feed(Event::Eof(side), ends, context)?;
        }
        Ok(())
    }
}

/// Hears once into `words`: what was left over, or what comes in now.
fn hear_into(
    words: &mut Vec<u8>,
    end: &mut End,
    context: &mut Context<'_>,
) -> Result<Heard, Trouble> {
    let resources = &mut *context.resources;
    words.clear();
    if !end.plain.is_empty() {
        words.extend_from_slice(end.plain.bytes());
        end.plain.clear(&mut resources.pool);
        return Ok(Heard::Words);
    }
    let scratch = &mut resources.scratch;
    let ears = Ears {
        read: &mut scratch.read,
        ranges: &mut scratch.ranges,
        answers: &mut scratch.tls,
        pool: &mut resources.pool,
        log: &context.common.log,
    };
    end.hear(ears, |_, work, ranges, _| {
        for range in ranges {
            words.extend_from_slice(&work[range.clone()]);
        }
        Ok(())
    })
}
