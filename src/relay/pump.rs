//! Carrying bytes both ways until both ends are over. The hot path: nothing is allocated per read,
//! what is read into the thread's scratch is decrypted there and written from there, and only what
//! cannot go on at once is copied to the session.

use std::ops::Range;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::advice;
use super::buffer::{LARGE, Pool, READ, SMALL, Scratch};
use super::end::{End, Reading, Received, Writing};
use super::first_words::FirstWords;
use super::resources::Resources;
use super::step::{Common, Context, Ending, Next, broken};
use super::trouble::{Trouble, gone, reading, writing};
use crate::log::Log;
use crate::protocol::Side;
use crate::{debug, error, info};

/// Reads in each direction before other sessions have their turn.
const READS: usize = 4;

/// How long a server's tickets wait for the first payload to go with. Who has got them can resume
/// the next connection; nobody waits for that.
const TICKETS_WAIT: Duration = Duration::from_millis(20);

/// `TIMEOUTclose = 0`: how long a client may stay quiet after the server has ended. Enough for its own
/// close_notify or its last data; the option spares the wait for a client that sends neither.
const LAST_DATA: Duration = Duration::from_secs(5);

/// `TIMEOUTclose = 0`: how long a client that has ended its half waits for an answer; the default of
/// TIMEOUTclose.
const ANSWER: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Pump {
    active: Instant,
    due: Instant,
    /// When the end of the handshake goes even without payload.
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
    pub fn begin(context: &mut Context<'_>) -> Self {
        if context.front.tls.is_some() {
            context.common.first_words = FirstWords::within_tls(context.common.config());
        }
        let now = context.resources.now;
        let front = context.front.holds().then_some(now + TICKETS_WAIT);
        let back = context.back.as_ref().is_some_and(End::holds);
        Self {
            release_at: if back { Some(now) } else { front },
            active: now,
            due: now + context.common.config().timeouts.idle,
        }
    }

    /// When it must be stepped though nothing happened.
    pub fn due(&self) -> Instant {
        self.release_at.map_or(self.due, |at| at.min(self.due))
    }

    /// Carries what can be carried both ways, and ends what is over.
    ///
    /// # Errors
    /// An end is broken, or was idle for too long.
    pub fn step(mut self, context: Context<'_>) -> Result<Next<Self>, Ending> {
        let Context {
            common,
            front,
            back,
            resources,
        } = context;
        let log = common.log;
        let Some(back) = back else {
            return Err(Ending::Reset);
        };
        let (mut again, mut moved) = (false, false);
        for side in [Side::Front, Side::Back] {
            let (carried, active) = carry(side, common, front, back, resources)?;
            again |= carried == Carried::Some;
            moved |= active;
        }
        if self.release_at.is_some_and(|at| at <= resources.now) {
            self.release_at = None;
            for end in [&mut *front, &mut *back] {
                end.release(&mut resources.pool)
                    .map_err(|errno| broken(&log, writing(end), errno))?;
            }
        }
        // One direction's answer may be the other's to send: a close_notify, a key's update.
        if front.writing == Writing::Over && back.writing == Writing::Over {
            return Ok(Next::Over);
        }
        if moved {
            self.active = resources.now;
        }
        if again {
            return Ok(Next::Again(self));
        }
        for end in [&mut *front, &mut *back] {
            // Whatever could be read of it has been: an RST came while the other side is stuck.
            if end.failed()
                && let Some(errno) = end.take_error()
            {
                let doing = if end.tls.is_some() {
                    "TLS fd"
                } else {
                    "socket fd"
                };
                return Err(broken(&log, doing, errno));
            }
        }
        self.wait(front, back, &log, common.config().timeouts, resources.now)
    }

    fn wait(
        mut self,
        front: &End,
        back: &End,
        log: &Log,
        timeouts: crate::config::Timeouts,
        now: Instant,
    ) -> Result<Next<Self>, Ending> {
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
            return Ok(Next::Wait(self));
        }
        if idle {
            info!(
                log,
                "transfer: s_poll_wait: TIMEOUTidle exceeded: sending reset"
            );
            return Err(Ending::Reset);
        }
        error!(log, "transfer: s_poll_wait: TIMEOUTclose exceeded: closing");
        Ok(Next::Over)
    }
}

/// Carries one way. Returns how far, and whether anything moved.
fn carry(
    side: Side,
    common: &mut Common,
    front: &mut End,
    back: &mut End,
    resources: &mut Resources,
) -> Result<(Carried, bool), Ending> {
    let (from, to, count, opposite) = match side {
        Side::Front => (front, back, &mut common.to_back, &mut common.to_front),
        Side::Back => (back, front, &mut common.to_front, &mut common.to_back),
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
    let result = flow.run();
    let failed = match &result {
        // In TLS 1.3 a client's certificate is refused only after its handshake is done.
        Err(Trouble::Tls(failure)) => Some(failure.kind()),
        _ => None,
    };
    let ended = result.or_else(|trouble| flow.judge(trouble, side).map(|()| Carried::All));
    let moved = flow.moved;
    *count += flow.carried;
    *opposite += flow.released;
    if let Some(why) = failed {
        resources.row(common.index()).handshake_failed(why);
    }
    if let Some(how) = common.first_words.take_finding() {
        advice::own_tls(how, common, resources);
    }
    Ok((ended?, moved))
}

impl Flow<'_> {
    fn run(&mut self) -> Result<Carried, Trouble> {
        for _ in 0..READS {
            self.flush()?;
            if self.to.unsent() > 0 || self.to.writing != Writing::Open {
                return Ok(Carried::All);
            }
            if !self.from.plain.is_empty() {
                self.carry_leftover()?;
            } else if self.from.unread {
                self.carry_unread()?;
            } else if self.from.reading == Reading::Over {
                return self.finish();
            } else if !self.from.readable() || self.from.output.len() > LARGE {
                return Ok(Carried::All);
            } else if self.from.tls.is_some() {
                self.carry_records()?;
            } else {
                self.carry_plain()?;
            }
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

    fn flush(&mut self) -> Result<(), Trouble> {
        let sent = self.to.flush(self.pool).map_err(Trouble::Write)?;
        self.moved |= sent > 0;
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
        let result = deliver(self.to, words, ranges, write, self.pool);
        plain.clear(self.pool);
        self.account(range.len());
        result
    }

    /// Records that came in behind the end of the handshake.
    fn carry_unread(&mut self) -> Result<(), Trouble> {
        self.from.unread = false;
        let mut input = std::mem::take(&mut self.from.input);
        let result = self.decrypt_and_deliver(input.bytes_mut());
        let consumed = *result.as_ref().unwrap_or(&input.len());
        input.consume(consumed, self.pool);
        self.from.input = input;
        result.map(drop)
    }

    fn carry_plain(&mut self) -> Result<(), Trouble> {
        let Scratch {
            read, write, kept, ..
        } = &mut *self.scratch;
        let count = match self
            .from
            .receive(&mut read[..READ])
            .map_err(Trouble::Read)?
        {
            Received::Bytes(count) => count,
            Received::Nothing => return Ok(()),
            Received::Eof => {
                info!(self.log, "Read socket closed (readsocket)");
                self.from.reading = Reading::Over;
                return self.carry_rest();
            }
        };
        let words = self.first_words.plain(&read[..count], kept);
        let range = 0..words.len();
        let ranges = std::slice::from_ref(&range);
        deliver(self.to, words, ranges, write, self.pool)?;
        self.account(range.len());
        Ok(())
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
        deliver(self.to, kept, ranges, write, self.pool)?;
        self.account(range.len());
        Ok(())
    }

    /// Reads, decrypts in place, and sends on. An incomplete record is met in one of two ways: on
    /// a stream that comes in piece by piece it is completed where it lies; on one that fills
    /// every read it is put in front of the next.
    fn carry_records(&mut self) -> Result<(), Trouble> {
        match self.from.input.is_empty() || self.from.bulk {
            true => self.carry_through_scratch(),
            false => self.carry_in_place(),
        }
    }

    fn carry_through_scratch(&mut self) -> Result<(), Trouble> {
        let mut read = std::mem::take(&mut self.scratch.read);
        let result = self.fill_and_decrypt(&mut read);
        self.scratch.read = read;
        result
    }

    fn fill_and_decrypt(&mut self, read: &mut [u8]) -> Result<(), Trouble> {
        let had = self.from.input.len();
        self.from.goes_on = had > 0;
        let whole = (had + READ).min(read.len());
        let received = self.from.receive(&mut read[had..whole]);
        let Some(count) = self.judge_received(received)? else {
            return Ok(());
        };
        self.from.bulk = had + count == whole;
        read[..had].copy_from_slice(self.from.input.bytes());
        self.from.input.clear(self.pool);
        let work = &mut read[..had + count];
        let consumed = self.decrypt_and_deliver(work)?;
        self.from.input.push(&work[consumed..], self.pool);
        Ok(())
    }

    fn carry_in_place(&mut self) -> Result<(), Trouble> {
        let mut input = std::mem::take(&mut self.from.input);
        self.from.goes_on = true;
        // A record fits into the smaller kind of block, so there is room behind a part of one.
        let room = input.room(1, self.pool);
        let space = room.len();
        let received = self.from.receive(room);
        let result = match self.judge_received(received) {
            Ok(Some(count)) => {
                input.grown(count);
                self.from.bulk = count == space;
                self.decrypt_and_deliver(input.bytes_mut()).map(Some)
            }
            Ok(None) => Ok(None),
            Err(trouble) => Err(trouble),
        };
        if let Ok(Some(consumed)) = result {
            input.consume(consumed, self.pool);
        }
        debug_assert!(result.is_err() || input.len() <= SMALL);
        self.from.input = input;
        result.map(drop)
    }

    /// Notes the end of a TLS stream that comes without close_notify; gives the count otherwise.
    fn judge_received(
        &mut self,
        received: Result<Received, Errno>,
    ) -> Result<Option<usize>, Trouble> {
        match received.map_err(Trouble::Read)? {
            Received::Bytes(count) => Ok(Some(count)),
            Received::Nothing => Ok(None),
            Received::Eof => {
                self.truncated()?;
                Ok(None)
            }
        }
    }

    /// EOF without close_notify. As with stunnel nothing more is sent to that peer either.
    fn truncated(&mut self) -> Result<(), Trouble> {
        let unsent = self.from.unsent();
        if unsent > 0 && self.from.writing == Writing::Open {
            return Err(Trouble::Unsent(unsent));
        }
        info!(
            self.log,
            "TLS socket closed (SSL_read) without close_notify: what was received may be cut short"
        );
        self.from.output.clear(self.pool);
        self.from.reading = Reading::Over;
        self.from.writing = Writing::Over;
        Ok(())
    }

    /// Returns how much of `work` was used up.
    fn decrypt_and_deliver(&mut self, work: &mut [u8]) -> Result<usize, Trouble> {
        let Scratch {
            write,
            ranges,
            tls,
            kept,
            ..
        } = &mut *self.scratch;
        ranges.clear();
        tls.clear();
        let decrypted = self.from.decrypt(work, ranges, tls);
        self.moved = true;
        if !tls.is_empty() && self.from.writing == Writing::Open {
            // The answer to a key's update, or an alert: both go to where the records came from.
            // A peer that cannot be reached any more shows when it is read from.
            let _ = self.from.queue(tls, self.pool);
        }
        let count = ranges.iter().map(Range::len).sum();
        let due = self.first_words.decrypted(work, ranges, kept);
        if !due.is_empty() {
            // As above: a failure shows when the peer is read from.
            let whole = 0..due.len();
            let _ = deliver(
                self.from,
                due,
                std::slice::from_ref(&whole),
                write,
                self.pool,
            );
            self.released += due.len() as u64;
        }
        // What was authentic goes on even if a record behind it was not.
        deliver(self.to, work, ranges, write, self.pool)?;
        self.account(count);
        let (consumed, closed) = decrypted.map_err(Trouble::Tls)?;
        if closed {
            info!(self.log, "TLS closed (SSL_read)");
            self.from.reading = Reading::Over;
        }
        Ok(consumed)
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
    /// What a trouble means: the end of the session, or only of an end.
    fn judge(&mut self, trouble: Trouble, side: Side) -> Result<(), Ending> {
        let log = self.log;
        match trouble {
            Trouble::Read(Errno::EPIPE | Errno::ECONNABORTED) => {
                gone(self.from, self.to, "read", log, self.scratch, self.pool)
            }
            Trouble::Write(Errno::EPIPE | Errno::ECONNABORTED) => {
                gone(self.to, self.from, "write", log, self.scratch, self.pool)
            }
            Trouble::Read(errno) => Err(broken(log, reading(self.from), errno)),
            Trouble::Write(errno) => Err(broken(log, writing(self.to), errno)),
            Trouble::Tls(failure) => {
                error!(log, "{failure}");
                Err(Ending::Alerted(side))
            }
            Trouble::Encrypt(failure) => {
                error!(log, "{failure}");
                Err(Ending::Reset)
            }
            Trouble::Unsent(count) => {
                error!(
                    log,
                    "TLS socket closed (SSL_read) with {count} unsent byte(s)"
                );
                Err(Ending::Reset)
            }
        }
    }
}

/// Sends the payload that lies in `work` at `ranges`; what does not fit into the socket waits in
/// the end's `output`.
fn deliver(
    to: &mut End,
    work: &[u8],
    ranges: &[Range<usize>],
    write: &mut [u8],
    pool: &mut Pool,
) -> Result<(), Trouble> {
    if to.writing != Writing::Open {
        return Ok(());
    }
    if to.tls.is_none() {
        return to.queue_pieces(work, ranges, pool).map_err(Trouble::Write);
    }
    let mut filled = 0;
    for range in ranges {
        let mut plain = &work[range.clone()];
        while let Some(stream) = &mut to.tls
            && !plain.is_empty()
        {
            let (taken, made) = stream
                .encrypt(plain, &mut write[filled..])
                .map_err(Trouble::Encrypt)?;
            plain = &plain[taken..];
            filled += made;
            if taken == 0 {
                // Full, which only a read full of the tiniest records brings about: send that, and go on.
                if filled == 0 {
                    return Err(Trouble::Write(Errno::ENOBUFS));
                }
                to.queue(&write[..filled], pool).map_err(Trouble::Write)?;
                filled = 0;
            }
        }
    }
    to.queue(&write[..filled], pool).map_err(Trouble::Write)
}
