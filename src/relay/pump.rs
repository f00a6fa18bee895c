//! Carrying bytes both ways until both ends are over. The hot path: nothing is allocated per read,
//! what is read into the thread's scratch is decrypted there and written from there, and only what
//! cannot go on at once is copied to the session.

use std::ops::Range;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Reason;
use super::advice;
use super::buffer::{LARGE, Pool, Scratch};
use super::end::{End, Reading, Writing};
use super::ends::Pair;
use super::failing;
use super::first_words::FirstWords;
use super::hearing::{Ears, Fill, Heard};
use super::record::{Fault, How};
use super::resources::Resources;
use super::step::{Common, Context, Ending, Next, broken};
use super::trouble::{Trouble, cannot_read, gone, how_read, reading, writing};
use crate::config::Timeouts;
use crate::log::Log;
use crate::protocol::Side;
use crate::{debug, error, info};

/// Reads in each direction before other sessions have their turn; a long one counts twice.
const READS: usize = 4;

/// How long a server's tickets wait in a buffer of the pool for the first payload, or the end, to go with; then in one
/// of their own size. They never go alone: a client that only sends, as many do to a log, would not read them, and
/// closing a socket with something unread is a reset, by which the client's last words are lost.
const TICKETS_WAIT: Duration = Duration::from_millis(20);

/// `TIMEOUTclose = 0`: how long a client may stay quiet after the server has ended. Enough for its own
/// close_notify or its last data; the option spares the wait for a client that sends neither.
const LAST_DATA: Duration = Duration::from_secs(5);

/// `TIMEOUTclose = 0`: how long a client that has ended its half waits for an answer; the default of
/// TIMEOUTclose.
const ANSWER: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Pump {
    active: Instant,
    due: Instant,
    /// When the end of the handshake with the server goes even without payload, and what the client is not sent yet
    /// gives its buffer back.
    release_at: Option<Instant>,
}

/// How far one direction got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    /// As far as there was something to read, and room to write.
    All,
    /// Others have their turn first.
    Some,
}

/// One direction.
struct Flow<'a> {
    from: &'a mut End,
    to: &'a mut End,
    scratch: &'a mut Scratch,
    pool: &'a mut Pool,
    log: &'a Log,
    first_words: &'a mut FirstWords,
    /// Payload carried, in bytes.
    carried: u64,
    /// Payload that had been held back from `from`, in bytes.
    released: u64,
    /// Anything read or written, also what is not payload: the connection is not idle.
    moved: bool,
}

impl Pump {
    /// Begins to carry.
    pub(crate) fn begin(pair: &Pair, context: &mut Context<'_>) -> Self {
        if pair.front.tls.is_some() && pair.back.tls.is_none() {
            context.common.first_words = FirstWords::within_tls(context.common.config());
        }
        let now = context.resources.now;
        let front = pair.front.holds().then_some(now + TICKETS_WAIT);
        let back = pair.back.holds();
        Self {
            release_at: if back { Some(now) } else { front },
            active: now,
            due: now + context.common.config().timeouts.idle,
        }
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Instant {
        self.release_at.map_or(self.due, |at| at.min(self.due))
    }

    /// Carries what can be carried both ways, and ends what is over.
    ///
    /// # Errors
    /// An end is broken, or was idle for too long.
    pub(crate) fn step(
        &mut self,
        pair: &mut Pair,
        context: Context<'_>,
    ) -> Result<Next<()>, Ending> {
        let Context { common, resources } = context;
        let log = common.log;
        let Pair { front, back } = pair;
        let (mut again, mut moved) = (false, false);
        for side in [Side::Front, Side::Back] {
            let (from, to) = match side {
                Side::Front => (&mut *front, &mut *back),
                Side::Back => (&mut *back, &mut *front),
            };
            // As a rule one direction rests, and an echo's cost is mostly this step's.
            if from.is_silent() && !to.must_flush() {
                continue;
            }
            let (carried, active) = carry(side, common, from, to, resources)?;
            again |= carried == Carried::Some;
            moved |= active;
        }
        if self.release_at.is_some_and(|at| at <= resources.now) {
            self.release_at = None;
            back.release(&mut resources.pool)
                .map_err(|errno| broken(&log, writing(back), errno))?;
            if front.holds() {
                front.output.shrink(&mut resources.pool);
            }
        }
        if front.cut && front.writing == Writing::Open && is_on_a_terminal(common) {
            front.output.clear(&mut resources.pool);
            front.writing = Writing::Over;
        }
        // One direction's answer may be the other's to send: a close_notify, a key's update.
        if front.writing == Writing::Over && back.writing == Writing::Over {
            return Ok(Next::Over);
        }
        if moved {
            self.active = resources.now;
        }
        if again {
            return Ok(Next::Again(()));
        }
        if front.failed() || back.failed() {
            look_for_an_error(front, Side::Front, common)?;
            look_for_an_error(back, Side::Back, common)?;
        }
        self.wait(front, back, common, resources.now)
    }

    fn wait(
        &mut self,
        front: &End,
        back: &End,
        common: &Common,
        now: Instant,
    ) -> Result<Next<()>, Ending> {
        let (log, timeouts): (_, Timeouts) = (common.log, common.config().timeouts);
        let both = front.reading == Reading::Open && back.reading == Reading::Open;
        let idle = both || front.unsent() > 0 || back.unsent() > 0;
        let patience = match (idle, front.reading) {
            (true, _) => timeouts.idle,
            (false, _) if !timeouts.close.is_zero() => timeouts.close,
            (false, Reading::Over) => ANSWER,
            (false, Reading::Open) => LAST_DATA,
        };
        self.due = self.active + patience;
        if self.due > now {
            return Ok(Next::Wait(()));
        }
        if idle {
            info!(
                log,
                "transfer: s_poll_wait: TIMEOUTidle exceeded: sending reset"
            );
            common.blame(How::Idle, None, "TIMEOUTidle exceeded");
            return Err(Ending::Reset);
        }
        error!(log, "transfer: s_poll_wait: TIMEOUTclose exceeded: closing");
        Ok(Next::Over)
    }
}

/// Whether the client sits at a terminal, whose line is cut where TLS ends without a word: the program is hung up on.
fn is_on_a_terminal(common: &Common) -> bool {
    let program = common.config().program.as_ref();
    program.is_some_and(|program| program.pty)
}

/// Whatever could be read of an end has been: an RST came while the other side is stuck.
fn look_for_an_error(end: &End, side: Side, common: &Common) -> Result<(), Ending> {
    if end.failed()
        && !end.is_a_program()
        && let Some(errno) = end.take_error()
    {
        let doing = match end.tls {
            Some(_) => "TLS fd",
            None => "socket fd",
        };
        common.blame(how_read(end, errno), Some(Fault::of(side)), Reason(errno));
        return Err(cannot_read(end, &common.log, doing, errno));
    }
    Ok(())
}

/// Carries one way. Returns how far, and whether anything moved.
fn carry(
    side: Side,
    common: &mut Common,
    from: &mut End,
    to: &mut End,
    resources: &mut Resources,
) -> Result<(Carried, bool), Ending> {
    let (count, opposite) = match side {
        Side::Front => (&mut common.to_back, &mut common.to_front),
        Side::Back => (&mut common.to_front, &mut common.to_back),
    };
    let mut flow = Flow {
        from,
        to,
        scratch: &mut resources.scratch,
        pool: &mut resources.pool,
        log: &common.log,
        first_words: &mut common.first_words,
        carried: 0,
        released: 0,
        moved: false,
    };
    let mut blamed = None;
    let result = flow.run();
    let failed = match &result {
        // In TLS 1.3 a client's certificate is refused only after its handshake is done.
        Err(Trouble::Tls(failure)) => Some((failure.kind(), failure.diagnosis())),
        _ => None,
    };
    if let (Err(trouble), Some(_)) = (&result, &common.record) {
        let how = match trouble {
            Trouble::Read(errno) => how_read(flow.from, *errno),
            _ => How::Failed,
        };
        blamed = Some((how, trouble.fault(side), trouble.to_string()));
    }
    let ended = result.or_else(|trouble| flow.judge(trouble, side).map(|()| Carried::All));
    let moved = flow.moved;
    *count += flow.carried;
    *opposite += flow.released;
    if let Some((why, diagnosis)) = failed {
        resources.row(common.index()).handshake_failed(why);
        failing::keep(&diagnosis, common, resources);
    }
    if let Some((how, fault, reason)) = blamed {
        common.blame(how, Some(fault), reason);
    }
    if let Some(how) = common.first_words.take_finding() {
        advice::own_tls(how, common, resources);
    }
    Ok((ended?, moved))
}

impl Flow<'_> {
    fn run(&mut self) -> Result<Carried, Trouble> {
        let mut left = READS;
        while left > 0 {
            self.flush()?;
            if self.to.unsent() > 0 || self.to.writing != Writing::Open {
                return Ok(Carried::All);
            }
            if !self.from.plain.is_empty() {
                self.carry_leftover()?;
            } else if self.from.unread {
                self.carry_words()?;
            } else if self.from.reading == Reading::Over {
                return self.finish();
            } else if !self.from.readable() || self.from.output.len() > LARGE {
                return Ok(Carried::All);
            } else {
                self.carry_words()?;
            }
            left = left.saturating_sub(1 + usize::from(self.from.fill == Fill::Flowing));
        }
        // The turn is over; what is left to do needs another one, as no event will announce it.
        self.flush()?;
        let more = self.from.readable()
            || self.from.reading == Reading::Over
            || self.from.unread
            || !self.from.plain.is_empty();
        Ok(match more && self.to.unsent() == 0 {
            true => Carried::Some,
            false => Carried::All,
        })
    }

    #[inline]
    fn flush(&mut self) -> Result<(), Trouble> {
        // As a rule there is nothing.
        if self.to.must_flush() {
            let sent = self.to.flush(self.pool).map_err(Trouble::Write)?;
            self.moved |= sent > 0;
        }
        Ok(())
    }

    /// All that came from one end has gone to the other: it is told that no more will.
    fn finish(&mut self) -> Result<Carried, Trouble> {
        match self.to.tls {
            Some(_) => debug!(self.log, "Sending close_notify alert"),
            None => debug!(self.log, "Sent socket write shutdown"),
        }
        self.moved = true;
        self.to
            .finish(&mut self.scratch.tls, self.pool)
            .map_err(Trouble::Write)?;
        Ok(Carried::All)
    }

    /// Payload that came in before the pump began.
    fn carry_leftover(&mut self) -> Result<(), Trouble> {
        let mut plain = std::mem::take(&mut self.from.plain);
        let Scratch { write, kept, .. } = &mut *self.scratch;
        let words = self.first_words.left_over(plain.bytes(), kept);
        let range = 0..words.len();
        let ranges = std::slice::from_ref(&range);
        let result = self.to.say(words, ranges, write, self.pool);
        plain.clear(self.pool);
        self.account(range.len());
        result
    }

    /// Hears once, and says it to the other end.
    fn carry_words(&mut self) -> Result<(), Trouble> {
        let Scratch {
            read,
            write,
            ranges,
            tls,
            kept,
            ..
        } = &mut *self.scratch;
        let (to, first_words) = (&mut *self.to, &mut *self.first_words);
        let encrypted = self.from.tls.is_some();
        let (mut carried, mut released, mut moved) = (0, 0, false);
        let ears = Ears {
            read,
            ranges,
            answers: tls,
            pool: self.pool,
            log: self.log,
        };
        let heard = self.from.hear(ears, |from, work, ranges, pool| {
            moved = true;
            if !encrypted {
                let words = first_words.plain(work, kept);
                let range = 0..words.len();
                to.say(words, std::slice::from_ref(&range), write, pool)?;
                carried = range.len();
                return Ok(());
            }
            let due = first_words.decrypted(work, ranges, kept);
            if !due.is_empty() {
                // A peer that cannot be reached any more shows when it is read from.
                let whole = 0..due.len();
                let _ = from.say(due, std::slice::from_ref(&whole), write, pool);
                released = due.len();
            }
            to.say(work, ranges, write, pool)?;
            carried = ranges.iter().map(Range::len).sum();
            Ok(())
        });
        self.released += released as u64;
        self.moved |= moved;
        if self.from.fill == Fill::Full && self.to.unsent() == 0 {
            self.from.fill = Fill::Flowing;
        }
        if carried > 0 {
            self.account(carried);
        }
        match heard? {
            Heard::Over if !encrypted => {
                info!(self.log, "Read socket closed (readsocket)");
                self.carry_rest()
            }
            Heard::Words | Heard::Nothing | Heard::Over => Ok(()),
        }
    }

    /// Passes on what was held back when the server ended.
    fn carry_rest(&mut self) -> Result<(), Trouble> {
        let Scratch { write, kept, .. } = &mut *self.scratch;
        self.first_words.plain_ends(kept);
        if kept.is_empty() {
            return Ok(());
        }
        let range = 0..kept.len();
        let ranges = std::slice::from_ref(&range);
        self.to.say(kept, ranges, write, self.pool)?;
        self.account(range.len());
        Ok(())
    }

    fn account(&mut self, count: usize) {
        self.carried += count as u64;
        if count > 0 {
            self.from.answered();
        }
        self.moved = true;
    }
}

impl Flow<'_> {
    /// Decides whether a trouble ends the session or only one end.
    fn judge(&mut self, trouble: Trouble, side: Side) -> Result<(), Ending> {
        let log = self.log;
        match trouble {
            Trouble::Read(Errno::EPIPE | Errno::ECONNABORTED) => {
                gone(self.from, self.to, "read", log, self.scratch, self.pool)
            }
            Trouble::Write(Errno::EPIPE) if self.to.is_a_program() => {
                info!(log, "transfer: writesocket: Socket is closed");
                self.to.output.clear(self.pool);
                self.to.writing = Writing::Over;
                Ok(())
            }
            Trouble::Write(Errno::EPIPE | Errno::ECONNABORTED) => {
                gone(self.to, self.from, "write", log, self.scratch, self.pool)
            }
            Trouble::Read(errno) => Err(cannot_read(self.from, log, reading(self.from), errno)),
            Trouble::Write(errno) => Err(broken(log, writing(self.to), errno)),
            Trouble::Tls(failure) => {
                error!(log, "{failure}");
                Err(Ending::of(&failure, side))
            }
            Trouble::Encrypt(failure) => {
                error!(log, "{failure}");
                Err(Ending::Reset)
            }
        }
    }
}
