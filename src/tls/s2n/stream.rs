//! An established connection. s2n gets whole records only, so between two calls it holds nothing, and its
//! buffers can go. Never in here: a copy of payload that outlives a call.

mod aside;
#[cfg(test)]
mod testing;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rustls::AlertDescription;

use super::Context;
use super::bindings::{Connection, Stop};
use super::halves::{self, Halves, MASTER, Reader, Writer};
use super::policies::{TLS13, TRIPLE_DES};
use super::store::Peer;
use crate::tls::failure::{During, Failure, Offence};
use crate::tls::ocsp::Inquiry;
use crate::tls::record::{HEADER, MAX_CIPHERTEXT, MAX_PLAIN};
use crate::tls::stream::{Decrypted, EARLY, EARLY_PLAIN, MAX_IDLE_RECORDS};
use crate::tls::{Introduction, Negotiated};

/// The most that s2n adds to one piece of plaintext, in bytes, with some to spare: a header, an
/// initialisation vector, a MAC of 48 bytes and padding; a client splits off a record with one byte in
/// TLS 1.0 (BEAST); and the answer to a key update.
const OVERHEAD: usize = 192;
/// What one key of 3DES may encrypt, in bytes: 2^27 of its blocks, where two that are alike (Sweet32) are
/// still improbable.
const TRIPLE_DES_LIMIT: u64 = 1 << 30;

/// An established connection.
pub(crate) struct Stream {
    connection: Connection,
    client: bool,
    tls13: bool,
    idle_records: u8,
    /// How much is to be sent yet in small records, in bytes.
    early: u16,
    /// The peer's close_notify came.
    closed: bool,
    /// Our close_notify is out, or an error came: nothing more is sent.
    finished: bool,
    /// How much may still be sent, and received, in bytes; `None`: the cipher is not 3DES.
    left: Option<[u64; 2]>,
    /// What the connection goes on with where s2n does not, or not as fast.
    halves: Option<Halves>,
    writer: Option<Writer>,
    reader: Option<Reader>,
    /// The peer wants another handshake, which is to be refused, and has been.
    refuses: bool,
    refused: bool,
    /// Where a client's tickets are put.
    keeps: Option<(Arc<Context>, Peer)>,
    negotiated: Negotiated,
    introduction: Option<Box<Introduction>>,
    /// What has to be asked before it may be used.
    inquiry: Option<Box<Inquiry>>,
}

/// Content types of records, and an alert.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// Warnings.
const CLOSE_NOTIFY: [u8; 2] = [1, 0];
const NO_RENEGOTIATION: [u8; 2] = [1, 100];
/// Handshake messages by which a server, and a client, ask for another handshake.
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;

const SENT: usize = 0;
const RECEIVED: usize = 1;

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("s2n::Stream")
            .field(&self.negotiated)
            .finish()
    }
}

impl Stream {
    pub(super) fn new(
        connection: Connection,
        suite: u16,
        negotiated: Negotiated,
        halves: Option<Halves>,
        keeps: Option<(Arc<Context>, Peer)>,
    ) -> Self {
        let mut this = Self {
            client: keeps.is_some(),
            keeps,
            tls13: connection.version() == TLS13,
            connection,
            halves,
            writer: None,
            reader: None,
            refuses: false,
            refused: false,
            idle_records: 0,
            early: EARLY,
            closed: false,
            finished: false,
            left: TRIPLE_DES.contains(&suite).then_some([TRIPLE_DES_LIMIT; 2]),
            negotiated,
            introduction: None,
            inquiry: None,
        };
        let at_once = this
            .halves
            .as_ref()
            .is_some_and(Halves::goes_on_from_finished);
        if at_once {
            this.leave_s2n();
        }
        this
    }

    /// Seals and opens without s2n from here on. `false`: that is not possible, and s2n goes on.
    fn leave_s2n(&mut self) -> bool {
        if let Some(reader) = self.take_over(Halves::reader)
            && self.takes_writing_over()
        {
            self.reader = Some(reader);
        }
        self.reader.is_some()
    }

    /// Appends a fatal alert; the stream encrypts nothing afterwards. s2n has none but close_notify: that goes in its
    /// place where the connection cannot go on without s2n, as in TLS 1.3.
    pub(crate) fn refuse(&mut self, alert: AlertDescription, output: &mut Vec<u8>) {
        if !self.finished && self.takes_writing_over() && self.seal_alert([2, alert.into()], output)
        {
            self.finished = true;
            self.closed = true;
        } else {
            self.close_notify(output);
        }
    }

    /// See the face's `Stream::last_flight_can_wait`.
    pub(crate) fn last_flight_can_wait(&self) -> bool {
        self.client || self.tls13
    }

    /// See the face's `Stream::decrypt`.
    pub(crate) fn decrypt(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<Range<usize>>,
        output: &mut Vec<u8>,
    ) -> Result<Decrypted, Failure> {
        let mut consumed = 0;
        while !self.closed {
            match self.record(&mut input[consumed..]) {
                Ok(None) => break,
                Ok(Some((length, data))) => {
                    if !data.is_empty() {
                        plain.push(consumed + data.start..consumed + data.end);
                    }
                    consumed += length;
                }
                Err(offence) => {
                    self.tell(&offence, output);
                    self.finished = true;
                    self.closed = true;
                    if let Some((context, peer)) = &self.keeps {
                        context.forget(peer);
                    }
                    // s2n knows nothing of what the reader opens.
                    let ours = self.reader.is_some() && offence == Offence::BadRecordMac;
                    let blinding = self.connection.blinding();
                    let blinding = blinding.or_else(|| ours.then(halves::silence));
                    let offence = offence.behind_a_wish(self.refused);
                    return Err(Failure::new(During::Read, offence).blinded(blinding));
                }
            }
        }
        if let Some((context, peer)) = &self.keeps
            && self.tls13
            && consumed > 0
        {
            let tickets = self.connection.take_tickets();
            if !tickets.is_empty() {
                context.keep_tickets(peer, tickets);
            }
        }
        let start = output.len();
        self.connection.flush(output);
        self.sent(&output[start..]);
        if std::mem::take(&mut self.refuses) && !self.finished {
            self.refused = true;
            self.seal_alert(NO_RENEGOTIATION, output);
        }
        Ok(Decrypted {
            consumed,
            closed: self.closed,
        })
    }

    /// Appends the alert for what ends the connection; s2n has none but close_notify, and none after an error.
    fn tell(&mut self, offence: &Offence, output: &mut Vec<u8>) {
        let Some(alert) = offence.own_alert().filter(|_| !self.finished) else {
            return;
        };
        if self.takes_writing_over() {
            self.seal_alert([2, alert.into()], output);
        } else {
            self.connection.close_notify(output);
        }
    }

    /// Opens the record at the front of `input`: its length, and where its plaintext is. `None`: it is not
    /// whole.
    fn record(&mut self, input: &mut [u8]) -> Result<Option<(usize, Range<usize>)>, Offence> {
        let Some([kind, major, _, high, low]) = input.first_chunk::<HEADER>().copied() else {
            return Ok(None);
        };
        if !(20..=23).contains(&kind) || major != 3 {
            return Err(Offence::PlainText);
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > MAX_CIPHERTEXT {
            return Err(Offence::RecordOverflow);
        }
        // Each record has a MAC or a tag, also one whose plaintext is empty. s2n would be asked for no
        // bytes and answer as after a close_notify.
        if length == 0 {
            return Err(Offence::BadRecordMac);
        }
        let Some(record) = input.get_mut(..HEADER + length) else {
            return Ok(None);
        };
        self.count(RECEIVED, length)?;
        // s2n refuses another handshake by a fatal alert, where a warning is right (RFC 5246, section 7.2.2).
        if kind == HANDSHAKE
            && self.reader.is_none()
            && !self.tls13
            && !self.finished
            && !self.leave_s2n()
            && self.is_client_hello(record)
        {
            return Err(Offence::Renegotiation);
        }
        // Bulk comes in: see `Halves::is_faster`.
        if length > MAX_PLAIN
            && self.reader.is_none()
            && !self.finished
            && self.halves.as_ref().is_some_and(Halves::is_faster)
        {
            self.leave_s2n();
        }
        let hidden = kind == ALERT && self.reader.is_none() && self.is_close_notify(record);
        let data = match &mut self.reader {
            Some(reader) => {
                let (start, data) = reader.open(record)?;
                if data > MAX_PLAIN {
                    return Err(Offence::RecordOverflow);
                }
                self.without_s2n(kind, &record[start..start + data])?;
                let data = if kind == APPLICATION_DATA { data } else { 0 };
                start..start + data
            }
            None if hidden => {
                self.closed = true;
                HEADER..HEADER
            }
            None => {
                if let Some(halves) = &mut self.halves {
                    halves.received(record);
                }
                let data = match self.connection.receive(record, HEADER) {
                    Ok(0) => {
                        self.closed = true;
                        0
                    }
                    // s2n takes a little more, which RFC 5246, section 6.2.1, forbids.
                    Ok(data) if data > MAX_PLAIN => return Err(Offence::RecordOverflow),
                    Ok(data) => data,
                    Err(Stop::WantsInput) => 0,
                    Err(stop) => return Err(Offence::in_input(stop)),
                };
                HEADER..HEADER + data
            }
        };
        if data.is_empty() {
            self.idle_records += 1;
            if self.idle_records > MAX_IDLE_RECORDS {
                return Err(Offence::Misbehaved("too many records without data".into()));
            }
        } else {
            self.idle_records = 0;
        }
        Ok(Some((HEADER + length, data)))
    }

    /// Seals without s2n from here on, if not yet. `false`: that is not possible.
    fn takes_writing_over(&mut self) -> bool {
        if self.writer.is_none() {
            self.writer = self.take_over(Halves::writer);
        }
        self.writer.is_some()
    }

    fn take_over<T>(&self, make: fn(&Halves, &[u8; MASTER]) -> Option<T>) -> Option<T> {
        let halves = self.halves.as_ref()?;
        make(halves, &*self.connection.master_secret()?)
    }

    /// Whether it is a close_notify of which s2n is not to know.
    fn is_close_notify(&self, record: &[u8]) -> bool {
        let Some(halves) = self.halves.as_ref().filter(|halves| halves.hides_alerts()) else {
            return false;
        };
        let master = self.connection.master_secret();
        master.is_some_and(|master| halves.is_close_notify(&master, record))
    }

    /// Whether it is a wish for another handshake, where s2n cannot be left. s2n is not to know of it either, or it
    /// keeps the client waiting as if a MAC were wrong.
    fn is_client_hello(&self, record: &[u8]) -> bool {
        let Some(halves) = self.halves.as_ref().filter(|halves| halves.hides_alerts()) else {
            return false;
        };
        let master = self.connection.master_secret();
        master.is_some_and(|master| halves.is_client_hello(&master, record))
    }

    /// What s2n was not told of, and is no data.
    fn without_s2n(&mut self, kind: u8, content: &[u8]) -> Result<(), Offence> {
        let asks = match self.client {
            true => HELLO_REQUEST,
            false => CLIENT_HELLO,
        };
        match (kind, content) {
            (APPLICATION_DATA, _) => {}
            (ALERT, [_, 0]) => self.closed = true,
            // A warning.
            (ALERT, [1, _]) => {}
            (ALERT, [_, alert]) => return Err(Offence::AlertReceived((*alert).into())),
            (HANDSHAKE, [first, ..]) if *first == asks => self.refuses = true,
            _ => return Err(Offence::UnexpectedMessage),
        }
        Ok(())
    }

    fn sent(&mut self, records: &[u8]) {
        if let Some(halves) = &mut self.halves {
            halves.sent(records);
        }
    }

    /// See the face's `Stream::encrypt`.
    pub(crate) fn encrypt(
        &mut self,
        plain: &[u8],
        output: &mut [u8],
    ) -> Result<(usize, usize), Failure> {
        let (mut taken, mut filled) = (0, 0);
        while taken < plain.len() && !self.finished {
            let room = (output.len() - filled).saturating_sub(OVERHEAD);
            let most = match self.early > 0 {
                true => EARLY_PLAIN,
                false => MAX_PLAIN,
            };
            let wanted = (plain.len() - taken).min(most);
            // No crumb behind a full record: what does not fit waits for the next buffer.
            if room == 0 || (room < wanted && taken > 0) {
                break;
            }
            let length = wanted.min(room);
            let piece = &plain[taken..taken + length];
            let sealed = self.count(SENT, length);
            let sealed = sealed.and_then(|()| self.seal(piece, &mut output[filled..]));
            filled += sealed.map_err(|offence| {
                self.finished = true;
                Failure::new(During::Write, offence)
            })?;
            taken += length;
            self.early = self.early.saturating_sub(length as u16);
        }
        Ok((taken, filled))
    }

    fn seal(&mut self, piece: &[u8], output: &mut [u8]) -> Result<usize, Offence> {
        let halves = self.halves.as_ref();
        let behind = self.closed && !self.tls13 && !halves.is_some_and(Halves::hides_alerts);
        // Not for less than a full record, which would not be worth the keys. Behind the peer's close_notify
        // s2n seals nothing but its own.
        if behind || (piece.len() == MAX_PLAIN && halves.is_some_and(Halves::is_faster)) {
            self.takes_writing_over();
        }
        if let Some(writer) = &mut self.writer {
            let sealed = writer.payload(piece, output);
            return sealed.ok_or_else(|| Offence::Internal("a record cannot be sealed".into()));
        }
        if behind {
            return Err(Offence::ClosedBoth);
        }
        let filled = self
            .connection
            .send(piece, output)
            .map_err(Offence::from_s2n)?;
        self.sent(&output[..filled]);
        Ok(filled)
    }

    fn count(&mut self, way: usize, length: usize) -> Result<(), Offence> {
        if let Some(left) = &mut self.left {
            let rest = left[way].checked_sub(length as u64);
            left[way] = rest.ok_or(Offence::TripleDesExhausted)?;
        }
        Ok(())
    }

    /// See the face's `Stream::close_notify`.
    pub(crate) fn close_notify(&mut self, output: &mut Vec<u8>) {
        if self.finished {
            return;
        }
        self.finished = true;
        if self.seal_alert(CLOSE_NOTIFY, output) {
            return;
        }
        if !self.closed
            && let Some(alert) = self.hidden_close_notify()
        {
            output.extend(alert);
            return;
        }
        self.connection.close_notify(output);
        if !self.tls13 && !self.closed && self.reader.is_none() {
            // s2n reads nothing more either.
            self.reader = self.take_over(Halves::reader);
            self.closed = self.reader.is_none();
        }
    }

    /// Our close_notify, where s2n is not to know of it; `None`: it does.
    fn hidden_close_notify(&self) -> Option<Vec<u8>> {
        let halves = self
            .halves
            .as_ref()
            .filter(|halves| halves.hides_alerts())?;
        halves.close_notify(&*self.connection.master_secret()?)
    }

    /// `false`: it is s2n that seals.
    fn seal_alert(&mut self, alert: [u8; 2], output: &mut Vec<u8>) -> bool {
        let Some(writer) = &mut self.writer else {
            return false;
        };
        let start = output.len();
        output.resize(start + OVERHEAD, 0);
        let sealed = writer.seal(ALERT, &alert, &mut output[start..]);
        // What cannot be sealed is not sent.
        output.truncate(start + sealed.unwrap_or(0));
        true
    }

    /// See the face's `Stream::rest`.
    pub(crate) fn rest(&mut self) {
        self.connection.release_buffers();
    }
}
