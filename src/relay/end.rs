//! One end of a connection: a socket, plain or TLS, what waits to go in or out, and which of its
//! directions are over. Never in here: the other end.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, Shutdown, UnixAddr, getsockopt, recv, send, sendmsg, setsockopt, shutdown, sockopt,
};

use super::buffer::{Buffer, Pool, SMALL};
use super::hearing::Fill;
use super::outbound::local_address;
use super::poller::Readiness;
use crate::sys::sockopt::QuickAck;
use crate::tls::Stream;

/// MSG_MORE, which nix has no name for.
const MORE: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_MORE);

/// Pieces that one sendmsg(2) takes; what is behind goes with the next.
const PIECES: usize = 16;

/// Less than a segment on any common link. The sender's Nagle algorithm never holds back a full one.
const SHORT: usize = 1024;

/// The receiving direction of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// More may come.
    Open,
    /// It said that no more will come: FIN, or with TLS close_notify.
    Over,
}

/// The sending direction of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// More may be sent.
    Open,
    /// The last is in `output`; a FIN follows when that is written.
    Finishing,
    /// Nothing can be sent any more.
    Over,
}

/// The result of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// Nothing ever again.
    Eof,
}

#[derive(Debug)]
pub(crate) struct End {
    socket: OwnedFd,
    /// TCP, not a Unix socket.
    tcp: bool,
    /// A program's, which may end before it has read everything.
    program: bool,
    ready: Readiness,
    /// Its poller tells of room to write.
    room_watched: bool,
    /// The TLS on it, once its handshake is done; payload is plain without.
    pub tls: Option<Stream>,
    /// Bytes as they came in that could not be used yet: an incomplete record.
    pub input: Buffer,
    /// `input` may hold a whole record, left over from a handshake or a dialogue.
    pub unread: bool,
    /// How the last read went.
    pub fill: Fill,
    /// Payload that came in before the other end could take it.
    pub plain: Buffer,
    /// Bytes that the full socket did not take.
    pub output: Buffer,
    /// `output` is the last flight of a handshake; the peer does not wait for it, so it goes with the next
    /// payload, or the end.
    held: bool,
    /// TLS ended without close_notify.
    pub cut: bool,
    /// Bytes that came in since the last wait and caused nothing to be sent so far.
    unanswered: usize,
    /// The last read went on with an incomplete record.
    pub goes_on: bool,
    /// Whether more may come.
    pub reading: Reading,
    /// Whether more may go.
    pub writing: Writing,
}

impl End {
    /// An end in plain on a connected, non-blocking socket, of TCP or not, that was registered with
    /// a poller, for room to write or not.
    pub(crate) fn new(socket: OwnedFd, tcp: bool, room_watched: bool) -> Self {
        Self {
            socket,
            tcp,
            program: false,
            room_watched,
            // Whether there is something to read, the first event says; room there is.
            ready: Readiness {
                writable: true,
                ..Readiness::default()
            },
            tls: None,
            input: Buffer::default(),
            unread: false,
            fill: Fill::Short,
            plain: Buffer::default(),
            output: Buffer::default(),
            held: false,
            cut: false,
            unanswered: 0,
            goes_on: false,
            reading: Reading::Open,
            writing: Writing::Open,
        }
    }

    /// The same for the socket of a program. A Unix socket's peer that closes it with something unread is
    /// reported as a reset; of a program it only says that it wanted no more, and what it said counts.
    pub(crate) fn of_a_program(socket: OwnedFd) -> Self {
        Self {
            program: true,
            ..Self::new(socket, false, false)
        }
    }

    /// Whether it is a program's.
    pub(crate) fn is_a_program(&self) -> bool {
        self.program
    }

    /// Takes note of an event.
    pub(crate) fn note(&mut self, ready: Readiness) {
        self.ready.merge(ready);
    }

    /// Whether a wait has to be prepared: bytes came in that caused no answer, or the socket is full and
    /// the poller does not watch for room yet.
    #[inline]
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unanswered > 0 || !(self.ready.writable || self.room_watched)
    }

    /// Whether the socket is full and the poller does not watch for room yet. From here on it counts as watched.
    pub(crate) fn must_watch_room(&mut self) -> bool {
        let must = !self.ready.writable && !self.room_watched;
        self.room_watched |= must;
        must
    }

    /// Whether there is nothing of it to carry before its next event.
    #[inline]
    pub(crate) fn is_silent(&self) -> bool {
        !self.ready.readable
            && !self.unread
            && self.plain.is_empty()
            && self.reading == Reading::Open
    }

    /// Whether [`End::flush`] has something to do.
    #[inline]
    pub(crate) fn must_flush(&self) -> bool {
        self.unsent() > 0 || self.writing == Writing::Finishing
    }

    /// Whether a read may give something.
    pub(crate) fn readable(&self) -> bool {
        self.ready.readable
    }

    /// Whether the socket has failed, as by an RST. A peer that has only closed may have sent
    /// something before, which is still to be carried.
    pub(crate) fn failed(&self) -> bool {
        self.ready.failed
    }

    /// Reads once. `buffer` must not be empty.
    ///
    /// # Errors
    /// The socket is broken: ECONNRESET, ETIMEDOUT and their like.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, Errno> {
        if !self.ready.readable {
            return Ok(Received::Nothing);
        }
        loop {
            match recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(0) => {
                    self.ready.readable = false;
                    return Ok(Received::Eof);
                }
                Ok(count) => {
                    // epoll(7): a stream that gives less than asked for is drained, and what
                    // comes later makes a new edge. Not so when its end was announced already.
                    if count < buffer.len() && !self.ready.more_behind {
                        self.ready.readable = false;
                    }
                    self.unanswered += count;
                    return Ok(Received::Bytes(count));
                }
                Err(Errno::EAGAIN) => {
                    self.ready.readable = false;
                    return Ok(Received::Nothing);
                }
                Err(Errno::EINTR) => {}
                // Comes after what was said; the end of file does after this.
                Err(Errno::ECONNRESET) if self.program => {}
                Err(error) => {
                    self.ready.readable = false;
                    return Err(error);
                }
            }
        }
    }

    /// Something came in since the last wait and caused nothing to be sent.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered > 0
    }

    /// The received bytes were passed on or answered.
    pub(crate) fn answered(&mut self) {
        self.unanswered = 0;
    }

    /// The session waits: sends TCP's acknowledgement now if what came in caused nothing to be sent.
    /// TCP delays it by 40 ms, to go with an answer; a peer with Nagle's algorithm, which sends one
    /// short segment at a time, keeps its request back meanwhile.
    pub(crate) fn acknowledge(&mut self) {
        let unanswered = std::mem::take(&mut self.unanswered);
        // Bulk arrives as full segments, many to a record: TCP acknowledges every other one anyway.
        let bulk = self.goes_on && !self.input.is_empty() && unanswered >= SHORT;
        if self.tcp && unanswered > 0 && !bulk && self.reading == Reading::Open {
            // If it fails, the acknowledgement is late, and nothing is lost.
            let _ = setsockopt(&self.socket, QuickAck, &true);
        }
    }

    /// As [`End::queue`], but for what may wait for the payload that comes after it, or the end;
    /// [`End::release`] sends it before.
    ///
    /// # Errors
    /// As [`End::queue`].
    pub(crate) fn hold(&mut self, bytes: &[u8], pool: &mut Pool) -> Result<(), Errno> {
        if !self.output.is_empty() {
            return self.queue(bytes, pool);
        }
        self.output.push(bytes, pool);
        self.held = !bytes.is_empty();
        Ok(())
    }

    /// Whether [`End::hold`] keeps something back.
    pub(crate) fn holds(&self) -> bool {
        self.held
    }

    /// Sends what was held.
    ///
    /// # Errors
    /// As [`End::queue`].
    pub(crate) fn release(&mut self, pool: &mut Pool) -> Result<usize, Errno> {
        self.held = false;
        self.flush(pool)
    }

    /// How many bytes wait for the socket.
    pub(crate) fn unsent(&self) -> usize {
        match self.held {
            true => 0,
            false => self.output.len(),
        }
    }

    /// Sends `bytes`, behind what waits already; what the socket does not take waits.
    ///
    /// # Errors
    /// The socket is broken: EPIPE, ECONNRESET and their like.
    pub(crate) fn queue(&mut self, bytes: &[u8], pool: &mut Pool) -> Result<(), Errno> {
        if self.held && !bytes.is_empty() {
            if bytes.len() <= SMALL - self.output.len().min(SMALL) {
                self.output.push(bytes, pool);
                return self.release(pool).map(drop);
            }
            self.release(pool)?;
        }
        let sent = match self.output.is_empty() {
            true => self.transmit(bytes)?,
            false => 0,
        };
        self.output.push(&bytes[sent..], pool);
        Ok(())
    }

    /// As [`End::queue`], for the pieces of `work` that `ranges` names.
    ///
    /// # Errors
    /// As [`End::queue`].
    pub(crate) fn queue_pieces(
        &mut self,
        work: &[u8],
        ranges: &[Range<usize>],
        pool: &mut Pool,
    ) -> Result<(), Errno> {
        if self.held && !ranges.is_empty() {
            self.release(pool)?;
        }
        if let [range] = ranges {
            return self.queue(&work[range.clone()], pool);
        }
        for pieces in ranges.chunks(PIECES) {
            let mut sent = match self.output.is_empty() {
                true => self.transmit_pieces(work, pieces)?,
                false => 0,
            };
            for piece in pieces {
                let skipped = sent.min(piece.len());
                sent -= skipped;
                self.output
                    .push(&work[piece.start + skipped..piece.end], pool);
            }
        }
        Ok(())
    }

    /// Writes what waits and is not held, as far as the socket takes it, and the FIN behind the last
    /// of it. Returns how many bytes went.
    ///
    /// # Errors
    /// As [`End::queue`].
    #[inline]
    pub(crate) fn flush(&mut self, pool: &mut Pool) -> Result<usize, Errno> {
        match self.must_flush() {
            true => self.flush_what_waits(pool),
            false => Ok(0),
        }
    }

    fn flush_what_waits(&mut self, pool: &mut Pool) -> Result<usize, Errno> {
        if self.held && self.writing == Writing::Open {
            return Ok(0);
        }
        self.held = false;
        let mut total = 0;
        while !self.output.is_empty() && self.ready.writable {
            let sent = transmit(&self.socket, &mut self.ready, self.output.bytes())?;
            self.sent(sent);
            self.output.consume(sent, pool);
            total += sent;
        }
        if self.writing == Writing::Finishing && self.output.is_empty() {
            self.writing = Writing::Over;
            // ENOTCONN: the peer is gone already.
            let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
        }
        Ok(total)
    }

    /// Says that no more will come: close_notify on TLS, and a FIN, behind what waits.
    ///
    /// # Errors
    /// As [`End::queue`].
    pub(crate) fn finish(&mut self, alert: &mut Vec<u8>, pool: &mut Pool) -> Result<(), Errno> {
        if self.writing != Writing::Open {
            return Ok(());
        }
        self.writing = Writing::Finishing;
        if let Some(stream) = &mut self.tls {
            alert.clear();
            stream.close_notify(alert);
            // The FIN goes in the same packet: shutdown(2) pushes what MSG_MORE held back.
            let sent = match self.output.is_empty() {
                true => send_with(&self.socket, &mut self.ready, alert, MORE)?,
                false => 0,
            };
            self.sent(sent);
            self.output.push(&alert[sent..], pool);
        }
        self.flush(pool).map(drop)
    }

    /// Whether it is TCP, not a Unix socket.
    pub(crate) fn is_tcp(&self) -> bool {
        self.tcp
    }

    /// Takes plaintext back that was heard and not used: TLS begins, and it is the first of it.
    pub(crate) fn take_back(&mut self, pool: &mut Pool) {
        if !self.plain.is_empty() {
            self.input.push(self.plain.bytes(), pool);
            self.plain.clear(pool);
        }
    }

    /// Closing will send an RST, not a FIN: what was on its way is thrown away.
    pub(crate) fn reset_on_close(&self) -> Result<(), Errno> {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&self.socket, sockopt::Linger, &linger)
    }

    /// Sends what waits (an alert, a farewell) and a FIN, and reads away what came in: closing a
    /// socket with unread bytes sends an RST, which can overtake them.
    pub(crate) fn let_last_words_arrive(&mut self, scratch: &mut [u8], pool: &mut Pool) {
        self.writing = Writing::Finishing;
        if self.flush(pool).is_err() {
            return;
        }
        for _ in 0..PIECES {
            if !matches!(self.receive(scratch), Ok(Received::Bytes(_))) {
                return;
            }
        }
    }

    /// Lets go of everything but the socket and what waits for it: nothing more is heard.
    pub(crate) fn forget(&mut self, pool: &mut Pool) {
        self.input.clear(pool);
        self.plain.clear(pool);
        self.tls = None;
    }

    /// The address that the socket has on this machine.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        local_address(&self.socket)
    }

    /// Where the peer wanted to connect to before netfilter redirected it here (SO_ORIGINAL_DST); `None`: here.
    pub(crate) fn original_destination(&self) -> Option<SocketAddr> {
        let own = self.local_address()?;
        let original = match own.ip().to_canonical() {
            IpAddr::V4(_) => {
                let found = getsockopt(&self.socket, sockopt::OriginalDst).ok()?;
                SocketAddr::V4(nix::sys::socket::SockaddrIn::from(found).into())
            }
            IpAddr::V6(_) => {
                let found = getsockopt(&self.socket, sockopt::Ip6tOriginalDst).ok()?;
                SocketAddr::V6(nix::sys::socket::SockaddrIn6::from(found).into())
            }
        };
        let canonical = SocketAddr::new(own.ip().to_canonical(), own.port());
        (original != canonical).then_some(original)
    }

    /// The same, also where TPROXY has sent it here: then it wanted to go to the address that the socket has here,
    /// at a port that is none of `ports`, at which its service accepts. Else it would be connected to itself, and
    /// that again.
    pub(crate) fn wanted(&self, ports: Option<&[u16]>) -> Option<SocketAddr> {
        let original = self.original_destination();
        let own = || {
            let own = self.local_address()?;
            let elsewhere = ports.is_some_and(|ports| !ports.contains(&own.port()));
            elsewhere.then(|| SocketAddr::new(own.ip().to_canonical(), own.port()))
        };
        original.or_else(own)
    }

    /// Takes the error that the socket holds, if there is one.
    pub(crate) fn take_error(&self) -> Option<Errno> {
        take_error(&self.socket)
    }

    /// Gives every buffer back and the socket out, to be closed when the event batch is done.
    pub(crate) fn into_socket(mut self, pool: &mut Pool) -> OwnedFd {
        self.input.clear(pool);
        self.plain.clear(pool);
        self.output.clear(pool);
        self.socket
    }

    fn transmit(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let sent = transmit(&self.socket, &mut self.ready, bytes)?;
        self.sent(sent);
        Ok(sent)
    }

    /// Sent data carries the acknowledgement of received data.
    fn sent(&mut self, count: usize) {
        if count > 0 {
            self.answered();
        }
    }

    fn transmit_pieces(&mut self, work: &[u8], pieces: &[Range<usize>]) -> Result<usize, Errno> {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut whole = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(&work[piece.clone()]);
            whole += piece.len();
        }
        let slices = &slices[..pieces.len()];
        let socket = self.socket.as_raw_fd();
        let sent = attempt(&mut self.ready, whole, || {
            sendmsg::<UnixAddr>(socket, slices, &[], MsgFlags::MSG_NOSIGNAL, None)
        })?;
        self.sent(sent);
        Ok(sent)
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Takes the error that a socket holds, if there is one.
pub(crate) fn take_error(socket: &OwnedFd) -> Option<Errno> {
    match getsockopt(socket, sockopt::SocketError) {
        Ok(0) => None,
        Ok(code) => Some(Errno::from_raw(code)),
        Err(error) => Some(error),
    }
}

fn transmit(socket: &OwnedFd, ready: &mut Readiness, bytes: &[u8]) -> Result<usize, Errno> {
    send_with(socket, ready, bytes, MsgFlags::empty())
}

fn send_with(
    socket: &OwnedFd,
    ready: &mut Readiness,
    bytes: &[u8],
    flags: MsgFlags,
) -> Result<usize, Errno> {
    attempt(ready, bytes.len(), || {
        send(socket.as_raw_fd(), bytes, flags | MsgFlags::MSG_NOSIGNAL)
    })
}

/// One write; less than `whole` means that the socket is full, and that room makes a new edge.
fn attempt(
    ready: &mut Readiness,
    whole: usize,
    mut write: impl FnMut() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    if whole == 0 || !ready.writable {
        return Ok(0);
    }
    loop {
        match write() {
            Ok(sent) => {
                ready.writable = sent == whole;
                return Ok(sent);
            }
            Err(Errno::EAGAIN) => {
                ready.writable = false;
                return Ok(0);
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}
