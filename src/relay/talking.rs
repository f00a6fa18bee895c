//! The dialogue before TLS: drives [`crate::protocol::Dialogue`] over the two sockets, both in plain.
//! What was read and not used up goes on: on the TLS side to the handshake, on the plain side to
//! the pump.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::advice::{self, Silence};
use super::buffer::LARGE;
use super::end::{End, Reading, Received};
use super::session::{Context, Ending, Next, broken};
use crate::protocol::{Action, Dialogue, Event, Progress, Side};
use crate::{error, info, log_at};

/// What is read at once: replies are short, and what follows a go-ahead is not for a dialogue.
const CHUNK: usize = 4096;

/// Reads of each side in a step, before others have their turn.
const READS: usize = 8;

/// See the module.
#[derive(Debug)]
pub struct Talking {
    dialogue: Dialogue,
    deadline: Instant,
    timer: Option<Instant>,
    silence: Silence,
    after: After,
}

/// What follows an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// More of the dialogue.
    More,
    /// TLS.
    Tls,
    /// The end, in order.
    End,
}

impl Talking {
    /// Starts the dialogue.
    ///
    /// # Errors
    /// It failed at once, or a socket is broken.
    pub fn begin(mut context: Context<'_>) -> Result<Self, Ending> {
        let config = context.common.config();
        let Some(protocol) = config.protocol else {
            return Err(Ending::Reset);
        };
        let mut talking = Self {
            dialogue: Dialogue::new(protocol, config.client, config.protocol_host.as_deref()),
            deadline: context.resources.now + config.timeouts.busy,
            timer: None,
            silence: Silence::begin(context.resources.now),
            after: After::More,
        };
        let started = talking.feed(Event::Start, &mut context);
        talking.after = started.inspect_err(|_| count_failure(&context))?;
        Ok(talking)
    }

    /// When it must be stepped though nothing happened.
    pub fn due(&self) -> Instant {
        [self.timer, self.silence.due()]
            .into_iter()
            .flatten()
            .fold(self.deadline, Instant::min)
    }

    /// Passes on what came in, and does what the dialogue wants done.
    ///
    /// # Errors
    /// The dialogue failed, took too long, or a socket is broken.
    pub fn step(self, mut context: Context<'_>) -> Result<Next<Self>, Ending> {
        let stepped = self.go_on(&mut context);
        if stepped.is_err() {
            count_failure(&context);
        }
        stepped
    }

    fn go_on(mut self, context: &mut Context<'_>) -> Result<Next<Self>, Ending> {
        let (log, now) = (context.common.log, context.resources.now);
        self.warn_of_silence(context);
        if now >= self.deadline {
            info!(log, "s_poll_wait: TIMEOUTbusy exceeded: sending reset");
            return Err(Ending::Reset);
        }
        flush(context)?;
        if self.timer.is_some_and(|timer| timer <= now) {
            self.timer = None;
            self.after = self.feed(Event::Timer, context)?;
        }
        for side in [Side::Front, Side::Back] {
            for _ in 0..READS {
                if self.after != After::More || !may_hear(side, context) {
                    break;
                }
                self.hear(side, context)?;
            }
        }
        match self.after {
            After::Tls => return Ok(Next::Advance),
            After::End => return Ok(Next::Over),
            After::More => {}
        }
        // What was read may let the other side be read that had to wait.
        let more = [Side::Front, Side::Back]
            .into_iter()
            .any(|side| may_hear(side, context));
        Ok(match more {
            true => Next::Again(self),
            false => Next::Wait(self),
        })
    }

    fn warn_of_silence(&mut self, context: &Context<'_>) {
        let (common, now) = (&*context.common, context.resources.now);
        // Its first words may wait for this thread.
        let waits = context.back.as_ref().is_some_and(|back| !back.readable());
        if let Some(protocol) = common.config().protocol
            && waits
            && self.silence.is_long(now, self.deadline)
        {
            let began = self.deadline - common.config().timeouts.busy;
            advice::no_greeting(protocol, now.saturating_duration_since(began), common);
        }
    }

    /// Reads once from a side and feeds the dialogue.
    fn hear(&mut self, side: Side, context: &mut Context<'_>) -> Result<(), Ending> {
        let log = context.common.log;
        let mut chunk = [0; CHUNK];
        let end = end_of(side, context)?;
        let event = match end.receive(&mut chunk) {
            Ok(Received::Bytes(count)) => Event::Bytes(side, &chunk[..count]),
            Ok(Received::Nothing) => return Ok(()),
            Ok(Received::Eof) => {
                end.reading = Reading::Over;
                Event::Eof(side)
            }
            Err(errno) => return Err(broken(&log, "s_read", errno)),
        };
        match event {
            Event::Bytes(Side::Back, _) | Event::Eof(Side::Back) => self.silence.end(),
            Event::Bytes(Side::Front, words) => {
                context.common.first_words.client_says(words);
                if let Some(how) = context.common.first_words.take_finding() {
                    advice::own_tls(how, context.common, context.resources);
                }
            }
            _ => {}
        }
        self.after = self.feed(event, context)?;
        Ok(())
    }

    fn feed(&mut self, event: Event<'_>, context: &mut Context<'_>) -> Result<After, Ending> {
        let mut actions = std::mem::take(&mut context.resources.scratch.actions);
        let progress = self.dialogue.feed(event, &mut actions);
        let told = actions
            .iter()
            .any(|action| matches!(action, Action::Send(Side::Front, _)));
        let done = actions
            .drain(..)
            .try_for_each(|action| self.perform(action, context));
        context.resources.scratch.actions = actions;
        match progress {
            // The dialogue's own reason comes before that of a socket it could not reach.
            Err(failure) => {
                error!(context.common.log, "{failure}");
                // A client that was told why must be able to read it.
                Err(match told {
                    true => Ending::Alerted(Side::Front),
                    false => Ending::Reset,
                })
            }
            Ok(Progress::More) => done.map(|()| After::More),
            Ok(Progress::End) => done.map(|()| After::End),
            Ok(Progress::Done { front, back }) => {
                keep(front, back, context);
                done.map(|()| After::Tls)
            }
        }
    }

    fn perform(&mut self, action: Action, context: &mut Context<'_>) -> Result<(), Ending> {
        let log = context.common.log;
        match action {
            Action::Send(side, bytes) => {
                let (front, back) = (&mut *context.front, context.back.as_mut());
                let end = match side {
                    Side::Front => front,
                    Side::Back => back.ok_or(Ending::Reset)?,
                };
                end.queue(&bytes, &mut context.resources.pool)
                    .map_err(|errno| broken(&log, "s_write", errno))?;
            }
            Action::Timer(after) => self.timer = Some(context.resources.now + after),
            Action::Log(level, text) => log_at!(log, level, "{text}"),
        }
        Ok(())
    }
}

fn count_failure(context: &Context<'_>) {
    let row = context.resources.row(context.common.index());
    row.failed_before_tls().fetch_add(1, Relaxed);
}

fn end_of<'a>(side: Side, context: &'a mut Context<'_>) -> Result<&'a mut End, Ending> {
    match side {
        Side::Front => Ok(&mut *context.front),
        Side::Back => context.back.as_mut().ok_or(Ending::Reset),
    }
}

/// A side is not read while the other has not taken what it was told: memory stays bounded.
fn may_hear(side: Side, context: &mut Context<'_>) -> bool {
    let Some(back) = context.back.as_mut() else {
        return false;
    };
    let (from, to) = match side {
        Side::Front => (&*context.front, &*back),
        Side::Back => (&*back, &*context.front),
    };
    from.reading == Reading::Open
        && from.readable()
        && to.output.is_empty()
        && from.output.len() < LARGE
}

fn flush(context: &mut Context<'_>) -> Result<(), Ending> {
    let log = context.common.log;
    let ends = [Some(&mut *context.front), context.back.as_mut()];
    for end in ends.into_iter().flatten() {
        end.flush(&mut context.resources.pool)
            .map_err(|errno| broken(&log, "s_write", errno))?;
    }
    Ok(())
}

/// Puts what was left over where the next stage looks for it.
fn keep(front: Vec<u8>, back: Vec<u8>, context: &mut Context<'_>) {
    let tls = match context.common.service().tls {
        Some(_) => Some(context.common.tls_side()),
        None => None,
    };
    let ends = [
        (Side::Front, Some(&mut *context.front), front),
        (Side::Back, context.back.as_mut(), back),
    ];
    for (side, end, bytes) in ends {
        let Some(end) = end else {
            continue;
        };
        let place = match tls == Some(side) {
            true => &mut end.input,
            false => &mut end.plain,
        };
        place.push(&bytes, &mut context.resources.pool);
    }
}
