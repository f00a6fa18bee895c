//! The TLS handshake on one end; on the other, nothing is read meanwhile.

use std::borrow::Cow;
use std::time::Instant;

use super::advice::{self, Silence};
use super::end::{End, Reading, Received};
use super::failing;
use super::step::{Common, Context, Ending, Next, broken};
use crate::config::Beginning;
use crate::incidents::{Cause, Diagnosis};
use crate::ipc::scoreboard::HandshakeFailure;
use crate::protocol::{self, Side};
use crate::tls::{Handshake, Step, Stream};
use crate::{error, info, notice};

/// Least room for a read.
const LEAST: usize = 4096;

/// The most input that may wait: a handshake message has at most 2^16 bytes that rustls takes,
/// in records of any size down to one byte. A peer that sends more makes no sense.
const MOST: usize = 512 * 1024;

/// Reads in a step before others have their turn.
const READS: usize = 8;

/// What a handshake without end comes to, in stunnel's words.
pub(super) const TOO_LATE: &str = "ssl_start: s_poll_wait: TIMEOUTbusy exceeded";
/// For a client that takes too long.
pub(super) const BUSY_CLIENT: &str =
    "TIMEOUTbusy says how long a client may take for its handshake";

#[derive(Debug)]
pub(crate) struct Handshaking {
    side: Side,
    handshake: Handshake,
    deadline: Instant,
    /// When its first byte was sent or came in.
    began: Option<Instant>,
    silence: Silence,
}

enum Stepped {
    More(Handshake),
    Done,
}

impl Handshaking {
    /// Begins the handshake on the end of `side`.
    ///
    /// # Errors
    /// TLS refuses to begin.
    pub(crate) fn begin(
        side: Side,
        end: &mut End,
        context: &mut Context<'_>,
    ) -> Result<Self, Ending> {
        let common = &*context.common;
        let service = common.service();
        let tls = match side {
            Side::Front => &service.front,
            Side::Back => &service.back,
        };
        let Some(tls) = tls else {
            // A service is served only when what its route asks for was loaded.
            error!(common.log, "INTERNAL ERROR: no TLS for the {side}");
            return Err(Ending::Reset);
        };
        let config = common.config();
        // Behind a proxy the server has a name of its own.
        let behind = config.dialogue.behind_proxy(config.protocol);
        let host = behind.map(|(host, _)| host).or(common.upstream.as_deref());
        let handshake = tls.begin(host, &common.log).map_err(|failure| {
            error!(common.log, "{failure}");
            failed(failure.kind(), &failure.diagnosis(), context);
            Ending::Reset
        })?;
        // A dialogue may have heard the ClientHello and left it over.
        end.take_back(&mut context.resources.pool);
        Ok(Self {
            side,
            handshake,
            deadline: context.resources.now + context.common.config().timeouts.busy,
            began: None,
            // In server mode clients are strangers, and silent ones are no news.
            silence: match side {
                Side::Front if !insists(context.common) => Silence::none(),
                Side::Front | Side::Back => Silence::begin(context.resources.now),
            },
        })
    }

    /// The end that it is on.
    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// The memory that it holds, in bytes, besides the end's.
    pub(crate) fn held(&self) -> usize {
        self.handshake.held()
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Instant {
        let silence = self.silence.due();
        silence.map_or(self.deadline, |at| at.min(self.deadline))
    }

    /// Goes on until it must wait for the peer, or is done.
    ///
    /// # Errors
    /// The handshake failed, took too long, or a peer is gone.
    pub(crate) fn step(
        mut self,
        end: &mut End,
        other: Option<&End>,
        mut context: Context<'_>,
    ) -> Result<Next<Self>, Ending> {
        let log = context.common.log;
        let doing = doing(self.side);
        self.warn_of_silence(end, &context);
        if context.resources.now >= self.deadline {
            info!(log, "{TOO_LATE}: sending reset");
            let late = failing::late(TOO_LATE, self.waits_for(context.common));
            failed(HandshakeFailure::Vanished, &late, &context);
            return Err(Ending::Reset);
        }
        if other.is_some_and(End::failed) {
            let reason =
                format!("{doing}: the other end reset the connection during the handshake");
            info!(log, "{reason}");
            let vanished = failing::vanished(reason);
            failed(HandshakeFailure::Vanished, &vanished, &context);
            return Err(Ending::Reset);
        }
        if let Err(errno) = end.flush(&mut context.resources.pool) {
            let lost = failing::lost(doing, errno);
            failed(HandshakeFailure::Vanished, &lost, &context);
            return Err(broken(&log, doing, errno));
        }
        for _ in 0..READS {
            // The accepting side waits for the ClientHello.
            let begins = self.began.is_none() && self.side == Side::Back;
            if begins || !end.input.is_empty() {
                if self.side == Side::Front {
                    context.common.is_heard();
                    context.common.hears_hello(end.input.bytes());
                }
                let began = *self.began.get_or_insert(context.resources.now);
                self.handshake = match advance(self.side, self.handshake, end, &mut context)? {
                    Stepped::Done => {
                        let took = context.resources.durations(context.common.index());
                        // That of the turn is too old: it is mostly work, and this turn's.
                        took.handshake().count(began.elapsed());
                        return Ok(Next::Advance);
                    }
                    Stepped::More(handshake) => handshake,
                };
            }
            let silent = self.side == Side::Front && self.began.is_none();
            if !hear(self.side, silent, &self.handshake, end, &mut context)? {
                return Ok(Next::Wait(self));
            }
            self.silence.end();
        }
        Ok(Next::Again(self))
    }

    /// What to look at where nothing came.
    fn waits_for(&self, common: &Common) -> &'static str {
        match self.side {
            Side::Back => advice::NO_HELLO,
            Side::Front if insists(common) => advice::SILENT_CLIENT,
            Side::Front => BUSY_CLIENT,
        }
    }

    fn warn_of_silence(&mut self, end: &End, context: &Context<'_>) {
        let (common, now) = (&*context.common, context.resources.now);
        // Its first words may wait for this thread.
        if !end.readable() && self.silence.is_long(now, self.deadline) {
            let began = self.deadline - common.config().timeouts.busy;
            let waited = now.saturating_duration_since(began);
            match self.side {
                Side::Front => advice::silent_client(waited, common),
                Side::Back => advice::no_hello(waited, common),
            }
        }
    }
}

/// Whether this is client mode and the client must begin with TLS.
fn insists(common: &Common) -> bool {
    let config = common.config();
    config.client && config.beginning() == Some(Beginning::AtOnce)
}

/// stunnel's name for the operation.
fn doing(side: Side) -> &'static str {
    match side {
        Side::Front => "SSL_accept",
        Side::Back => "SSL_connect",
    }
}

/// Counts it, and keeps what is wrong.
pub(super) fn failed(why: HandshakeFailure, diagnosis: &Diagnosis, context: &Context<'_>) {
    if context.common.is_a_check() {
        return;
    }
    let row = context.resources.row(context.common.index());
    row.handshake_failed(why);
    context.keep(diagnosis);
}

/// One step of the handshake over what is in `input`.
fn advance(
    side: Side,
    handshake: Handshake,
    end: &mut End,
    context: &mut Context<'_>,
) -> Result<Stepped, Ending> {
    let log = context.common.log;
    let scratch = &mut context.resources.scratch;
    let pool = &mut context.resources.pool;
    scratch.tls.clear();
    let stepped = handshake.step(end.input.bytes_mut(), &mut scratch.tls, &log);
    let sent = match &stepped {
        Ok((_, Step::Done(stream))) if stream.last_flight_can_wait() => {
            end.hold(&scratch.tls, pool)
        }
        // An alert that waits for the end of the silence.
        Err(failure) if failure.blinding().is_some() => {
            end.output.push(&scratch.tls, pool);
            Ok(())
        }
        _ => end.queue(&scratch.tls, pool),
    };
    match stepped {
        Err(failure) => {
            error!(log, "{failure}");
            let mut diagnosis = failure.diagnosis();
            let said = protocol::greeting(end.input.bytes());
            if let (Side::Back, Some(protocol), None) =
                (side, said, context.common.config().protocol)
            {
                let advice = advice::plain_greeting(protocol, context.common);
                diagnosis.remedy = advice.map_or(diagnosis.remedy, Cow::from);
            }
            if side == Side::Front && protocol::begins_with_claim(end.input.bytes()) {
                advice::unasked_header(context.common);
            }
            // No TLS record begins with a letter.
            let first = end.input.bytes().first();
            if side == Side::Front
                && first.is_some_and(u8::is_ascii_alphanumeric)
                && insists(context.common)
            {
                advice::plain_client(context.common);
                diagnosis.remedy = advice::PLAIN_CLIENT.into();
            }
            failed(failure.kind(), &diagnosis, context);
            Err(Ending::of(&failure, side))
        }
        Ok((consumed, step)) => {
            end.input.consume(consumed, pool);
            sent.map_err(|errno| {
                let lost = failing::lost(doing(side), errno);
                failed(HandshakeFailure::Vanished, &lost, context);
                broken(&log, doing(side), errno)
            })?;
            match step {
                Step::More(handshake) => Ok(Stepped::More(handshake)),
                Step::Done(stream) => {
                    established(side, stream, end, context);
                    Ok(Stepped::Done)
                }
            }
        }
    }
}

fn established(side: Side, stream: Stream, end: &mut End, context: &mut Context<'_>) {
    let log = context.common.log;
    let negotiated = stream.negotiated();
    let row = context.resources.row(context.common.index());
    row.handshake(negotiated.version, negotiated.resumed);
    let how = match negotiated.resumed {
        true => "previous session reused",
        false => "new session negotiated",
    };
    let role = match side {
        Side::Front => "accepted",
        Side::Back => "connected",
    };
    info!(log, "TLS {role}: {how}");
    let (version, suite, bits) = (negotiated.version, negotiated.suite, negotiated.bits);
    info!(
        log,
        "{version} ciphersuite: {suite} ({bits}-bit encryption)"
    );
    if let Some(group) = negotiated.group {
        info!(log, "Peer temporary key: {group}");
    }
    if let Some(protocol) = stream.alpn() {
        info!(log, "ALPN: {}", protocol.escape_ascii());
    }
    if negotiated.redirected {
        notice!(log, "Redirecting connection");
        context.common.redirected = true;
    }
    context.common.shook_hands(side, &stream);
    end.unread = !end.input.is_empty();
    end.tls = Some(stream);
}

/// Reads once. Returns whether something came; that nothing ever will is a failure, unless the client has been `silent`.
fn hear(
    side: Side,
    silent: bool,
    handshake: &Handshake,
    end: &mut End,
    context: &mut Context<'_>,
) -> Result<bool, Ending> {
    let log = context.common.log;
    let pool = &mut context.resources.pool;
    if end.reading == Reading::Open && !end.readable() {
        return Ok(false);
    }
    let received = match end.reading {
        Reading::Over => Ok(Received::Eof),
        Reading::Open => receive(end, pool),
    };
    if silent && end.input.is_empty() && matches!(received, Ok(Received::Eof) | Err(_)) {
        return Err(context.common.has_left());
    }
    let (ending, diagnosis) = match received {
        Ok(Received::Bytes(_)) if end.input.len() <= MOST => return Ok(true),
        Ok(Received::Nothing) => return Ok(false),
        Ok(Received::Bytes(_)) => {
            let doing = doing(side);
            let reason =
                format!("{doing}: excessive message size: the peer sent a handshake without end");
            error!(log, "{reason}");
            let diagnosis = Diagnosis::new(Cause::BrokenTls, reason, "its TLS is broken");
            failed(HandshakeFailure::Protocol, &diagnosis, context);
            return Err(Ending::Reset);
        }
        Ok(Received::Eof) => {
            let failure = handshake.vanished();
            error!(log, "{failure}");
            (Ending::Reset, failure.diagnosis())
        }
        Err(errno) => {
            let ending = broken(&log, doing(side), errno);
            (ending, failing::lost(doing(side), errno))
        }
    };
    failed(HandshakeFailure::Vanished, &diagnosis, context);
    Err(ending)
}

/// Reads once into the end's input.
pub(super) fn receive(
    end: &mut End,
    pool: &mut super::buffer::Pool,
) -> Result<Received, nix::errno::Errno> {
    let mut input = std::mem::take(&mut end.input);
    let received = end.receive(input.room(LEAST, pool));
    if let Ok(Received::Bytes(count)) = received {
        input.grown(count);
    }
    input.settle(pool);
    end.input = input;
    received
}
