//! A dialogue: drives [`protocol::Dialogue`] over the ends, in plain or within
//! TLS. What was heard and not used stays with the end that it came from.

mod acting;
mod asking;
mod hearing;
mod holding;
mod meeting;
mod token;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use meeting::{greets_first, meet_each_other};

use super::advice::{self, Silence};
use super::end::End;
use super::ends::Ends;
use super::failing;
use super::lookup::Lookup;
use super::resources::Resources;
use super::route::Part;
use super::step::{Common, Context, Ending, Next, broken};
use super::words;
use crate::config::{Protocol, Reception};
use crate::helper::Resolved;
use crate::incidents::{Cause, Diagnosis};
use crate::info;
use crate::log::Log;
use crate::protocol::{
    self, DIRECT_TLS_WAIT, Dialogue, Event, HELLO_WAIT, Side, Target, Unreachable,
};

/// Reads of each side in a step, before others have their turn.
const READS: usize = 8;

const SIDES: [Side; 2] = [Side::Front, Side::Back];

#[derive(Debug)]
pub(crate) struct Talking {
    dialogue: Box<dyn Dialogue>,
    /// It is spoken within TLS.
    within: bool,
    began: Instant,
    deadline: Instant,
    /// TIMEOUTidle: the client may be one that is carried in plain, and each word gives it that time anew.
    idle: Option<Duration>,
    timer: Option<Instant>,
    /// The greeting of this protocol is awaited.
    silence: Option<(Silence, Protocol)>,
    /// What the client is told later.
    kept: Option<Vec<u8>>,
    after: After,
    /// Where to connect, until that is taken on.
    target: Option<Target>,
    /// A question under way, until then at the latest.
    lookup: Option<(Lookup, Instant)>,
    /// A token that it waits for.
    wanted: Option<Box<token::Wanted>>,
    /// It wants another connection to the server.
    anew: bool,
    /// The client is heard by another dialogue.
    deaf: bool,
    /// It is the one with a client that is held.
    held: bool,
}

/// The next step after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// More of the dialogue.
    More,
    /// The next stage.
    Next,
    /// The handshake with the client.
    Tls,
    /// The end, in order.
    End,
}

impl Talking {
    /// Starts a part of the dialogue.
    ///
    /// # Errors
    /// It failed at once, or a socket is broken.
    pub(crate) fn begin(
        part: Part,
        ends: &mut Ends<'_>,
        context: &mut Context<'_>,
    ) -> Result<Self, Ending> {
        if let Part::Login(_) | Part::Hold = part {
            meet_each_other(ends, context)?;
        }
        if let (Part::Hold, Some(hold)) = (part, context.common.holds()) {
            hold.leave_the_greeting(context.resources.now);
        }
        let dialogue = words::of(part, ends, context.common)?;
        let mut talking = Self::new(dialogue, context);
        talking.within = is_within_tls(part, ends);
        if let (Part::BeforeTls(protocol), Ends::Both(pair)) = (part, &ends) {
            let silence = Silence::begin(context.resources.now);
            talking.silence = Some((silence, protocol));
            // A client that may still begin TLS is not greeted in plain.
            let later = context.common.service().route.receives() && pair.front.tls.is_none();
            // One that adit logs in for learns of the server what it may use.
            let logs_in = context.common.config().login.mail.is_some();
            let holds = context.common.config().hold.is_some();
            talking.kept = (later || logs_in || holds).then(Vec::new);
            talking.deaf = context.common.holds().is_some();
        }
        talking.start(ends, context)
    }

    /// Looks whether the client begins with TLS, before the server is connected: a handshake that fails
    /// costs no connection to it then.
    ///
    /// # Errors
    /// A socket is broken.
    pub(crate) fn look(ends: &mut Ends<'_>, context: &mut Context<'_>) -> Result<Self, Ending> {
        let dialogue = protocol::look(DIRECT_TLS_WAIT);
        Self::new(dialogue, context).start(ends, context)
    }

    /// Receives a client that has not begun TLS yet.
    ///
    /// # Errors
    /// As [`Talking::begin`].
    pub(crate) fn receive(
        reception: Reception,
        ends: &mut Ends<'_>,
        context: &mut Context<'_>,
    ) -> Result<Self, Ending> {
        let (common, now) = (&*context.common, context.resources.now);
        let logs_in = common.config().login.mail.is_some();
        let moment = match reception {
            Reception::Offered(_) => HELLO_WAIT,
            Reception::Required(_) => DIRECT_TLS_WAIT,
        };
        // Connecting took a part of it.
        let wait = (common.began + moment).saturating_duration_since(now);
        let mut talking = Self::new(protocol::receive(reception, wait, logs_in), context);
        if let Reception::Offered(_) = reception {
            let idle = common.config().timeouts.idle;
            talking.idle = Some(idle);
            talking.deadline = now + idle;
        }
        if let Some(back) = ends.end(Side::Back) {
            greets_first(back, context);
            // The server speaks only when the handshake is over for it too, and nothing may follow for long.
            let released = back.release(&mut context.resources.pool);
            released.map_err(|errno| broken(&context.common.log, "s_write", errno))?;
        }
        talking.start(ends, context)
    }

    fn new(dialogue: Box<dyn Dialogue>, context: &Context<'_>) -> Self {
        let now = context.resources.now;
        Self {
            dialogue,
            within: false,
            began: now,
            deadline: now + context.common.config().timeouts.busy,
            idle: None,
            timer: None,
            silence: None,
            kept: None,
            after: After::More,
            target: None,
            lookup: None,
            wanted: None,
            anew: false,
            deaf: false,
            held: false,
        }
    }

    fn start(mut self, ends: &mut Ends<'_>, context: &mut Context<'_>) -> Result<Self, Ending> {
        match self.feed(Event::Start, ends, context) {
            Ok(after) => self.after = after,
            Err(ending) => {
                count_failure(self.within, context);
                return Err(ending);
            }
        }
        Ok(self)
    }

    /// Whether the session's handshakes are all over.
    pub(crate) fn is_within_tls(&self) -> bool {
        self.within
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Instant {
        let silence = self.silence.as_ref().and_then(|(silence, _)| silence.due());
        let lookup = self.lookup.as_ref().map(|(_, until)| *until);
        let wanted = self.wanted.as_ref().and_then(|wanted| wanted.due());
        [self.timer, silence, lookup, wanted]
            .into_iter()
            .flatten()
            .fold(self.deadline, Instant::min)
    }

    fn waits_to_connect(&self) -> bool {
        self.target.is_some() || self.anew
    }

    /// Whether the dialogue waits to be connected.
    pub(crate) fn is_to_connect(&self) -> bool {
        self.target.is_some()
    }

    /// Where the dialogue wants to be connected to: connecting is another stage, and [`Talking::connected`]
    /// or [`Talking::unreachable`] comes back here. Gives it once.
    pub(crate) fn wants(&mut self) -> Option<Target> {
        self.target.take()
    }

    /// Goes on when the connection is there, made from the address `bound`.
    ///
    /// # Errors
    /// As [`Talking::step`].
    pub(crate) fn connected(
        mut self,
        bound: Option<SocketAddr>,
        ends: &mut Ends<'_>,
        context: &mut Context<'_>,
    ) -> Result<Self, Ending> {
        self.deadline = context.resources.now + context.common.config().timeouts.busy;
        self.after = self.feed(Event::Connected(bound), ends, context)?;
        Ok(self)
    }

    /// Tells the client that the connection cannot be made. Returns how the session ends.
    pub(crate) fn unreachable(
        mut self,
        why: Unreachable,
        front: &mut End,
        context: &mut Context<'_>,
    ) -> Ending {
        let ends = &mut Ends::Front(front);
        match self.feed(Event::Unreachable(why), ends, context) {
            // The reply must not be overtaken by an RST.
            Ok(_) => Ending::Closed,
            Err(ending) => ending,
        }
    }

    /// Takes an answer of the resolver's.
    pub(crate) fn answer(&mut self, id: u64, answer: Option<Resolved>, log: &Log) {
        if let Some((lookup, _)) = &mut self.lookup {
            lookup.answer(id, answer, log);
        }
    }

    /// Gives back what it holds.
    pub(crate) fn release(self, resources: &mut Resources) {
        if let Some((lookup, _)) = self.lookup {
            lookup.release(resources);
        }
    }

    /// Passes on what came in, and does what the dialogue wants done.
    ///
    /// # Errors
    /// The dialogue failed, took too long, or a socket is broken.
    pub(crate) fn step(
        self,
        ends: &mut Ends<'_>,
        mut context: Context<'_>,
    ) -> Result<Next<Self>, Ending> {
        let within = self.within;
        let stepped = self.go_on(ends, &mut context);
        match &stepped {
            Err(_) if !context.common.was_a_check() => count_failure(within, &mut context),
            Ok(Next::Over) if !within && context.common.is_silent() => {
                context.common.has_left();
            }
            _ => {}
        }
        stepped
    }

    fn go_on(
        mut self,
        ends: &mut Ends<'_>,
        context: &mut Context<'_>,
    ) -> Result<Next<Self>, Ending> {
        let (log, now) = (context.common.log, context.resources.now);
        if let Some(back) = ends.end(Side::Back) {
            self.warn_of_silence(back, context);
        }
        if now >= self.deadline {
            let reason = match self.idle {
                None => "s_poll_wait: TIMEOUTbusy exceeded",
                Some(_) => "transfer: s_poll_wait: TIMEOUTidle exceeded",
            };
            info!(log, "{reason}: sending reset");
            let remedy = self.waits_for(context.common);
            context.common.found(failing::late(reason, remedy));
            return Err(Ending::Reset);
        }
        if !self.hears(Side::Front) && ends.end(Side::Front).is_some_and(|end| end.failed()) {
            let when = match self.within {
                true => "in the middle of the dialogue",
                false => "before the TLS handshake",
            };
            let reason = format!("The client reset the connection {when}");
            info!(log, "{reason}");
            context.common.found(failing::vanished(reason));
            return Err(Ending::Reset);
        }
        for side in SIDES {
            if let Some(end) = ends.end(side)
                && let Err(errno) = end.flush(&mut context.resources.pool)
            {
                context.common.found(failing::lost("s_write", errno));
                return Err(broken(&log, "s_write", errno));
            }
        }
        self.look_up(ends, context)?;
        self.take_token(ends, context)?;
        for side in SIDES {
            for _ in 0..READS {
                if self.after != After::More
                    || self.waits_to_connect()
                    || !self.may_hear(side, ends)
                {
                    break;
                }
                self.hear(side, ends, context)?;
            }
        }
        // After hearing: what has come in by now came in time.
        if self.after == After::More && self.timer.is_some_and(|timer| timer <= now) {
            self.timer = None;
            self.after = self.feed(Event::Timer, ends, context)?;
        }
        match self.after {
            After::Next | After::Tls => {
                for side in SIDES {
                    let rest = self.dialogue.take_rest(side);
                    if let Some(end) = ends.end(side) {
                        end.plain.push(&rest, &mut context.resources.pool);
                    }
                }
                if let Some(kept) = self.kept {
                    context.common.greeting = kept;
                }
                return Ok(match self.after {
                    After::Tls => Next::Handshake,
                    _ => Next::Advance,
                });
            }
            After::End => return Ok(Next::Over),
            After::More => {}
        }
        if self.waits_to_connect() {
            return Ok(Next::Wait(self));
        }
        // The other side may be readable now that this one was heard.
        let answered = self
            .wanted
            .as_ref()
            .is_some_and(|wanted| wanted.is_answered());
        let more = answered || SIDES.into_iter().any(|side| self.may_hear(side, ends));
        Ok(match more {
            true => Next::Again(self),
            false => Next::Wait(self),
        })
    }

    /// What to look at where nothing came.
    fn waits_for(&self, common: &Common) -> Cow<'static, str> {
        let advice = match &self.silence {
            Some((_, protocol)) => advice::for_no_greeting(*protocol, common),
            None => None,
        };
        advice.map_or_else(
            || "see the other side's log; TIMEOUTbusy says how long it may take".into(),
            Cow::from,
        )
    }

    fn warn_of_silence(&mut self, back: &End, context: &Context<'_>) {
        let (common, now) = (&*context.common, context.resources.now);
        // Its first words may wait for this thread.
        if !back.readable()
            && let Some((silence, protocol)) = &mut self.silence
            && silence.is_long(now, self.deadline)
        {
            let waited = now.saturating_duration_since(self.began);
            advice::no_greeting(*protocol, waited, common);
        }
    }
}

/// Whether a part of the dialogue comes after a handshake: with the server, or with a client that says where to
/// connect to.
fn is_within_tls(part: Part, ends: &mut Ends<'_>) -> bool {
    match part {
        Part::Within(_) | Part::Login(_) | Part::Hold | Part::Header => true,
        Part::Request(_) | Part::Reply(_) => ends
            .end(Side::Front)
            .is_some_and(|front| front.tls.is_some()),
        Part::BeforeTls(_) | Part::Opening(_) | Part::Unprotected(_) => false,
    }
}

fn count_failure(within: bool, context: &mut Context<'_>) {
    if context.common.is_a_check() {
        return;
    }
    let row = context.resources.row(context.common.index());
    let counter = match within {
        true => row.failed_within_tls(),
        false => row.failed_before_tls(),
    };
    counter.fetch_add(1, Relaxed);
    context.keep_finding(|| Diagnosis::new(Cause::Internal, "the dialogue failed", ""));
}
