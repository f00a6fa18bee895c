//! Hearing and saying plaintext. What lies under it, a plain socket or TLS, is the end's own business.
//! Part of the hot path: what is read into the thread's scratch is decrypted there, and only an incomplete
//! record is copied to the session.

use std::ops::Range;

use nix::errno::Errno;

use super::buffer::{BULK, Pool, READ, SMALL};
use super::end::{End, Reading, Received, Writing};
use super::trouble::Trouble;
use crate::info;
use crate::log::Log;

/// Buffers and log for hearing, lent by the relay thread.
pub(super) struct Ears<'a> {
    /// Read into, and decrypted in place.
    pub(super) read: &'a mut [u8],
    /// Where the plaintext lies.
    pub(super) ranges: &'a mut Vec<Range<usize>>,
    /// Answers of TLS itself: an alert, the reply to a key update.
    pub(super) answers: &'a mut Vec<u8>,
    pub(super) pool: &'a mut Pool,
    pub(super) log: &'a Log,
}

/// How a read went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// It took all that there was.
    Short,
    /// It took all it had room for: more is coming at once.
    Full,
    /// So it did, and all of it has gone on: the next may take twice as much. Where the other end is slower, reads stay
    /// short, and so does what a session keeps of them.
    Flowing,
}

impl Fill {
    #[inline]
    fn of(full: bool) -> Self {
        match full {
            true => Fill::Full,
            false => Fill::Short,
        }
    }
}

/// The result of hearing once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Bytes came in. Those of TLS need not hold payload, and may have ended the stream besides.
    Words,
    /// Nothing now.
    Nothing,
    /// The end will say no more.
    Over,
}

impl End {
    /// Hears once: plaintext is given to `pass`, as the pieces of its bytes that the ranges name, with
    /// this end, which may be answered.
    ///
    /// # Errors
    /// The socket is broken, a record is not authentic, the peer sent a fatal alert, or `pass` failed.
    pub(super) fn hear(
        &mut self,
        ears: Ears<'_>,
        pass: impl FnOnce(&mut End, &[u8], &[Range<usize>], &mut Pool) -> Result<(), Trouble>,
    ) -> Result<Heard, Trouble> {
        if self.tls.is_none() {
            return self.hear_plain(ears, pass);
        }
        if self.unread {
            return self.hear_held(ears, pass);
        }
        // An incomplete record is met in one of two ways: on a stream that comes in piece by piece it
        // is completed where it lies; on one that fills every read it is put in front of the next.
        match self.input.is_empty() || self.fill != Fill::Short {
            true => self.hear_through_scratch(ears, pass),
            false => self.hear_in_place(ears, pass),
        }
    }

    /// How much the next read may take, in bytes.
    #[inline]
    fn most(&self) -> usize {
        match self.fill {
            Fill::Flowing => BULK,
            Fill::Full | Fill::Short => READ,
        }
    }

    fn hear_plain(
        &mut self,
        ears: Ears<'_>,
        pass: impl FnOnce(&mut End, &[u8], &[Range<usize>], &mut Pool) -> Result<(), Trouble>,
    ) -> Result<Heard, Trouble> {
        let most = self.most();
        let received = self.receive(&mut ears.read[..most]);
        match received.map_err(Trouble::Read)? {
            Received::Bytes(count) => {
                self.fill = Fill::of(count == most);
                let range = 0..count;
                let words = &ears.read[..count];
                pass(self, words, std::slice::from_ref(&range), ears.pool)?;
                Ok(Heard::Words)
            }
            Received::Nothing => Ok(Heard::Nothing),
            Received::Eof => {
                self.reading = Reading::Over;
                Ok(Heard::Over)
            }
        }
    }

    /// Records that came in behind the end of the handshake.
    fn hear_held(
        &mut self,
        ears: Ears<'_>,
        pass: impl FnOnce(&mut End, &[u8], &[Range<usize>], &mut Pool) -> Result<(), Trouble>,
    ) -> Result<Heard, Trouble> {
        self.unread = false;
        let mut input = std::mem::take(&mut self.input);
        let Ears {
            ranges,
            answers,
            pool,
            log,
            ..
        } = ears;
        let result = self.decrypt(input.bytes_mut(), ranges, answers, pool, log, pass);
        let consumed = *result.as_ref().unwrap_or(&input.len());
        input.consume(consumed, pool);
        self.input = input;
        result.map(|_| Heard::Words)
    }

    fn hear_through_scratch(
        &mut self,
        ears: Ears<'_>,
        pass: impl FnOnce(&mut End, &[u8], &[Range<usize>], &mut Pool) -> Result<(), Trouble>,
    ) -> Result<Heard, Trouble> {
        let Ears {
            read,
            ranges,
            answers,
            pool,
            log,
        } = ears;
        let had = self.input.len();
        self.goes_on = had > 0;
        let whole = (had + self.most()).min(read.len());
        let received = self.receive(&mut read[had..whole]);
        let count = match received.map_err(Trouble::Read)? {
            Received::Bytes(count) => count,
            Received::Nothing => return Ok(Heard::Nothing),
            Received::Eof => return Ok(self.truncated(log)),
        };
        self.fill = Fill::of(had + count == whole);
        read[..had].copy_from_slice(self.input.bytes());
        self.input.clear(pool);
        let work = &mut read[..had + count];
        let consumed = self.decrypt(work, ranges, answers, pool, log, pass)?;
        self.input.push(&work[consumed..], pool);
        Ok(Heard::Words)
    }

    fn hear_in_place(
        &mut self,
        ears: Ears<'_>,
        pass: impl FnOnce(&mut End, &[u8], &[Range<usize>], &mut Pool) -> Result<(), Trouble>,
    ) -> Result<Heard, Trouble> {
        let Ears {
            ranges,
            answers,
            pool,
            log,
            ..
        } = ears;
        let mut input = std::mem::take(&mut self.input);
        self.goes_on = true;
        // A record fits into the smaller kind of block, so there is room behind a part of one.
        let room = input.room(1, pool);
        let space = room.len();
        let received = self.receive(room);
        let result = match received {
            Ok(Received::Bytes(count)) => {
                input.grown(count);
                self.fill = Fill::of(count == space);
                let decrypted = self.decrypt(input.bytes_mut(), ranges, answers, pool, log, pass);
                decrypted.map(|consumed| {
                    input.consume(consumed, pool);
                    Heard::Words
                })
            }
            Ok(Received::Nothing) => Ok(Heard::Nothing),
            Ok(Received::Eof) => Ok(self.truncated(log)),
            Err(errno) => Err(Trouble::Read(errno)),
        };
        debug_assert!(result.is_err() || input.len() <= SMALL);
        self.input = input;
        result
    }

    /// EOF without close_notify: what came may be cut short. Programs that end their half by shutdown(2), as those
    /// in Erlang, Perl and PHP do, still wait for the answer.
    fn truncated(&mut self, log: &Log) -> Heard {
        info!(
            *log,
            "TLS socket closed (SSL_read) without close_notify: what was received may be cut short"
        );
        self.reading = Reading::Over;
        self.cut = true;
        Heard::Over
    }

    /// Decrypts `work` in place and passes it on. Returns how much of it was used up.
    fn decrypt(
        &mut self,
        work: &mut [u8],
        ranges: &mut Vec<Range<usize>>,
        answers: &mut Vec<u8>,
        pool: &mut Pool,
        log: &Log,
        pass: impl FnOnce(&mut End, &[u8], &[Range<usize>], &mut Pool) -> Result<(), Trouble>,
    ) -> Result<usize, Trouble> {
        ranges.clear();
        answers.clear();
        let Some(stream) = &mut self.tls else {
            return Ok(0);
        };
        let decrypted = stream.decrypt(work, ranges, answers);
        if !answers.is_empty() && self.writing == Writing::Open {
            match &decrypted {
                Err(failure) if failure.blinding().is_some() => self.output.push(answers, pool),
                // The answer to a key's update, or an alert: both go to where the records came from.
                // A peer that cannot be reached any more shows when it is read from.
                _ => drop(self.queue(answers, pool)),
            }
        }
        // Authentic payload is passed on even if a record behind it is bad.
        pass(self, work, ranges, pool)?;
        let done = decrypted.map_err(Trouble::Tls)?;
        if done.closed {
            info!(*log, "TLS closed (SSL_read)");
            self.reading = Reading::Over;
        }
        Ok(done.consumed)
    }

    /// Says plaintext: the pieces of `words` that `ranges` names; `write` is scratch space. What does not
    /// fit into the socket waits in `output`.
    ///
    /// # Errors
    /// The socket is broken, or TLS refuses to encrypt.
    pub(super) fn say(
        &mut self,
        words: &[u8],
        ranges: &[Range<usize>],
        write: &mut [u8],
        pool: &mut Pool,
    ) -> Result<(), Trouble> {
        if self.writing != Writing::Open {
            return Ok(());
        }
        if self.tls.is_none() {
            return self
                .queue_pieces(words, ranges, pool)
                .map_err(Trouble::Write);
        }
        let mut filled = 0;
        for range in ranges {
            let mut plain = &words[range.clone()];
            while let Some(stream) = &mut self.tls
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
                    self.queue(&write[..filled], pool).map_err(Trouble::Write)?;
                    filled = 0;
                }
            }
        }
        self.queue(&write[..filled], pool).map_err(Trouble::Write)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::{setsockopt, sockopt};

    use super::super::buffer::Scratch;
    use super::super::poller::Readiness;
    use super::*;
    use crate::log::Id;

    #[test]
    fn a_read_is_long_only_behind_a_full_one_that_went_on() {
        let (mut peer, socket) = UnixStream::pair().unwrap();
        setsockopt(&peer, sockopt::SndBuf, &(1 << 20)).unwrap();
        let mut end = End::new(socket.into(), false, false);
        let (mut scratch, mut pool) = (Scratch::new(), Pool::default());
        let log = Log {
            level: 0,
            id: Id::Main,
            from: None,
        };
        peer.write_all(&[7; 2 * BULK]).unwrap();
        for (read, goes_on) in [
            (READ, true),
            (BULK, false),
            (READ, true),
            (BULK, true),
            (BULK, true),
        ] {
            end.note(Readiness {
                readable: true,
                ..Readiness::default()
            });
            let ears = Ears {
                read: &mut scratch.read,
                ranges: &mut scratch.ranges,
                answers: &mut scratch.tls,
                pool: &mut pool,
                log: &log,
            };
            let mut heard = 0;
            end.hear(ears, |_, words, _, _| {
                heard = words.len();
                Ok(())
            })
            .unwrap();
            assert_eq!(end.fill, Fill::Full);
            if goes_on {
                end.fill = Fill::Flowing;
            }
            assert_eq!(heard, read);
            peer.write_all(&vec![7; read]).unwrap();
        }
        assert_eq!(end.fill, Fill::Flowing);
    }
}
