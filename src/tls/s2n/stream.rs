//! An established connection. s2n gets whole records only, so between two calls it holds nothing, and its
//! buffers can go. Never in here: a copy of payload that outlives a call.

use std::fmt;
use std::ops::Range;

use super::bindings::{Connection, Stop};
use super::policies::{TLS13, TRIPLE_DES, Version};
use crate::tls::Negotiated;
use crate::tls::failure::{During, Failure, Offence};
use crate::tls::record::{HEADER, MAX_CIPHERTEXT, MAX_PLAIN};
use crate::tls::stream::{Decrypted, EARLY, EARLY_PLAIN, MAX_IDLE_RECORDS};

/// The most that s2n adds to one piece of plaintext, in bytes, with some to spare: a header, an
/// initialisation vector, a MAC of 48 bytes and padding; a client splits off a record with one byte in
/// TLS 1.0 (BEAST); and the answer to a key update.
const OVERHEAD: usize = 192;
/// What one key of 3DES may encrypt, in bytes: 2^27 of its blocks, where two that are alike (Sweet32) are
/// still improbable.
const TRIPLE_DES_LIMIT: u64 = 1 << 30;

/// The content type of an alert.
const ALERT: u8 = 21;

/// An established connection.
///
/// Before TLS 1.3 s2n sends nothing more once it has seen the peer's close_notify, as RFC 5246 (section 7.2.1)
/// has it. But peers that have said all still wait for the answer, and OpenSSL gives it. So an alert, which such
/// a version shows by its content type, is taken for a close_notify and is kept from s2n until the last is said. It is
/// not authenticated until then; a forged one does no more than a forged FIN, which ends that direction too.
pub(crate) struct Stream {
    connection: Connection,
    client: bool,
    tls13: bool,
    idle_records: u8,
    /// How much is to be sent yet in small records, in bytes.
    early: u16,
    /// The peer's close_notify came.
    closed: bool,
    /// Before TLS 1.3: the record with the peer's alert, which s2n has not seen yet.
    alert: Vec<u8>,
    /// Our close_notify is out, or an error came: nothing more is sent.
    finished: bool,
    /// How much may still be sent, and received, in bytes; `None`: the cipher is not 3DES.
    left: Option<[u64; 2]>,
    negotiated: Negotiated,
}

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
        client: bool,
        version: Version,
        suite: u16,
        negotiated: Negotiated,
    ) -> Self {
        Self {
            connection,
            client,
            tls13: version == TLS13,
            idle_records: 0,
            early: EARLY,
            closed: false,
            alert: Vec::new(),
            finished: false,
            left: TRIPLE_DES.contains(&suite).then_some([TRIPLE_DES_LIMIT; 2]),
            negotiated,
        }
    }

    pub(crate) fn negotiated(&self) -> Negotiated {
        self.negotiated.clone()
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
                    if data > 0 {
                        let start = consumed + HEADER;
                        plain.push(start..start + data);
                    }
                    consumed += length;
                }
                Err(offence) => {
                    self.finished = true;
                    self.closed = true;
                    let blinding = self.connection.blinding();
                    return Err(Failure::new(During::Read, offence).blinded(blinding));
                }
            }
        }
        self.connection.flush(output);
        Ok(Decrypted {
            consumed,
            closed: self.closed,
        })
    }

    /// Opens the record at the front of `input`: its length, and how long its plaintext is, which stands
    /// behind its header. `None`: it is not whole.
    fn record(&mut self, input: &mut [u8]) -> Result<Option<(usize, usize)>, Offence> {
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
        let Some(record) = input.get_mut(..HEADER + length) else {
            return Ok(None);
        };
        if kind == ALERT && !self.tls13 && !self.finished {
            self.alert = record.to_vec();
            self.closed = true;
            return Ok(Some((HEADER + length, 0)));
        }
        self.count(RECEIVED, length)?;
        match self.connection.receive(record, HEADER) {
            Ok(0) => {
                self.closed = true;
                Ok(Some((HEADER + length, 0)))
            }
            Ok(data) => {
                self.idle_records = 0;
                Ok(Some((HEADER + length, data)))
            }
            Err(Stop::WantsInput) => {
                self.idle_records += 1;
                if self.idle_records > MAX_IDLE_RECORDS {
                    return Err(Offence::Misbehaved("too many records without data".into()));
                }
                Ok(Some((HEADER + length, 0)))
            }
            Err(stop) => Err(Offence::from_s2n(stop)),
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
            let sealed = self.count(SENT, length).and_then(|()| {
                let sent = self.connection.send(piece, &mut output[filled..]);
                sent.map_err(Offence::from_s2n)
            });
            filled += sealed.map_err(|offence| {
                self.finished = true;
                Failure::new(During::Write, offence)
            })?;
            taken += length;
            self.early = self.early.saturating_sub(length as u16);
        }
        Ok((taken, filled))
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
        if !self.finished {
            self.connection.close_notify(output);
        }
        self.finished = true;
        let mut alert = std::mem::take(&mut self.alert);
        if !alert.is_empty() {
            // Whatever it says, the connection is over.
            let _ = self.connection.receive(&mut alert, HEADER);
        }
    }

    /// See the face's `Stream::rest`.
    pub(crate) fn rest(&mut self) {
        self.connection.release_buffers();
    }
}
