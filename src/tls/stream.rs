//! An established connection: records in, plain ranges out, and the few messages that come after
//! a handshake (tickets, key updates, alerts, refused renegotiations). Holds no buffer, but for a
//! handshake message that is cut over records.

mod aside;

use std::fmt;
use std::ops::Range;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    AlertDescription, ContentType, Error, ExtractedSecrets, HandshakeType, SupportedCipherSuite,
};

use aside::Aside;

use super::Negotiated;
use super::failure::{During, Failure, Offence};
use super::record::{HEADER, MAX_PLAIN, Opener, Sealer};

/// Records without data in a row that are put up with (OpenSSL's MAX_EMPTY_RECORDS,
/// MAX_KEY_UPDATE_MESSAGES): more are a way to keep us busy for nothing.
pub(super) const MAX_IDLE_RECORDS: u8 = 32;
/// The longest message after a handshake that is taken together: a ticket can have 64 KiB.
const MAX_MESSAGE: usize = 4 + 0x1_0200;

/// Plain bytes of a small record: it fits into one packet, over IPv6 and PPPoE too.
pub(super) const EARLY_PLAIN: usize = 1350;
/// What is sent first, in bytes, goes in small records: as much as TCP sends before it waits for the
/// peer (ten segments, RFC 6928). A full record would be more than that, and of no use to the peer
/// until its end has come, a round trip later.
pub(super) const EARLY: u16 = 10 * EARLY_PLAIN as u16;

/// An established TLS connection.
pub(crate) struct Stream {
    opener: Opener,
    sealer: Sealer,
    /// What rustls keeps for TLS 1.3: the secrets that key updates go on from, and where a
    /// client's tickets are put. `None` for TLS 1.2, which has neither.
    kernel: Option<Box<Kernel>>,
    suite: SupportedCipherSuite,
    client: bool,
    /// A handshake message that is not whole yet.
    message: Vec<u8>,
    idle_records: u8,
    /// The peer has wished for another handshake.
    refused: bool,
    /// How much is to be sent yet in small records, in bytes.
    early: u16,
    /// The peer's close_notify came.
    closed: bool,
    /// Our close_notify, or a fatal alert, is out: nothing more is sent.
    finished: bool,
    negotiated: Negotiated,
    aside: Option<Box<Aside>>,
}

/// rustls' rest of a connection, by role.
pub(super) enum Kernel {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.negotiated).finish()
    }
}

/// What `Stream::decrypt` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decrypted {
    /// Bytes of input used up.
    pub consumed: usize,
    /// The peer's close_notify came, now or before: nothing will follow.
    pub closed: bool,
}

impl Stream {
    pub(super) fn new(
        secrets: ExtractedSecrets,
        kernel: Kernel,
        suite: SupportedCipherSuite,
        negotiated: Negotiated,
    ) -> Result<Self, Error> {
        let (send_from, send) = secrets.tx;
        let (receive_from, receive) = secrets.rx;
        let client = matches!(kernel, Kernel::Client(_));
        let tls13 = matches!(suite, SupportedCipherSuite::Tls13(_));
        Ok(Self {
            opener: Opener::new(suite, receive_from, receive)?,
            sealer: Sealer::new(suite, send_from, send)?,
            kernel: tls13.then(|| Box::new(kernel)),
            suite,
            client,
            message: Vec::new(),
            idle_records: 0,
            refused: false,
            early: EARLY,
            closed: false,
            finished: false,
            negotiated,
            aside: None,
        })
    }

    /// The certificate that the client showed counts no more (`redirect`).
    pub(super) fn redirect(&mut self) {
        self.negotiated.redirected = true;
        if let Some(aside) = &mut self.aside
            && let Some(introduction) = &mut aside.introduction
        {
            introduction.certificate = None;
        }
    }

    /// Appends a fatal alert; the stream encrypts nothing afterwards.
    pub(super) fn refuse(&mut self, alert: AlertDescription, output: &mut Vec<u8>) {
        self.alert(2, alert, output);
        self.finished = true;
        self.closed = true;
    }

    /// What the handshake came to.
    pub(super) fn negotiated(&self) -> Negotiated {
        self.negotiated.clone()
    }

    /// Whether the handshake's last flight may wait for payload to go with: with a client the server
    /// begins to carry only when it has it, with a TLS 1.3 server it is tickets. A TLS 1.2 server's
    /// is awaited.
    pub(super) fn last_flight_can_wait(&self) -> bool {
        self.client || self.kernel.is_some()
    }

    /// Decrypts in place every whole record at the front of `input` and pushes where the plain
    /// bytes lie in it. What TLS itself must send (a key update's answer) is appended to `output`.
    ///
    /// # Errors
    /// A record that is not authentic, a fatal alert; the alert to send is in `output`.
    pub(super) fn decrypt(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<Range<usize>>,
        output: &mut Vec<u8>,
    ) -> Result<Decrypted, Failure> {
        let mut consumed = 0;
        while !self.closed {
            match self.record(&mut input[consumed..], output) {
                Ok(None) => break,
                Ok(Some((length, data))) => {
                    if !data.is_empty() {
                        plain.push(data.start + consumed..data.end + consumed);
                    }
                    consumed += length;
                }
                Err(offence) => {
                    if !matches!(offence, Offence::AlertReceived(_)) {
                        self.alert(2, offence.alert(), output);
                    }
                    self.finished = true;
                    self.closed = true;
                    let offence = offence.behind_a_wish(self.refused);
                    return Err(Failure::new(During::Read, offence));
                }
            }
        }
        Ok(Decrypted {
            consumed,
            closed: self.closed,
        })
    }

    /// Opens the record at the front of `input`: its length, and where its plain bytes lie
    /// (nowhere, for what is TLS' own). `None`: it is not whole.
    fn record(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
    ) -> Result<Option<(usize, Range<usize>)>, Offence> {
        let Some([kind, major, _, high, low]) = input.first_chunk::<HEADER>().copied() else {
            return Ok(None);
        };
        if !(20..=23).contains(&kind) || major != 3 {
            return Err(Offence::PlainText);
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > self.opener.max_ciphertext {
            return Err(Offence::RecordOverflow);
        }
        let Some(body) = input.get_mut(HEADER..HEADER + length) else {
            return Ok(None);
        };
        let kind = ContentType::from(kind);
        if self.kernel.is_some() && kind != ContentType::ApplicationData {
            // Everything is encrypted now, also alerts (RFC 8446, section 5.2).
            return Err(Offence::UnexpectedMessage);
        }
        let start = body.as_ptr() as usize;
        let (kind, payload) = self.opener.open(kind, body).map_err(|error| match error {
            Error::DecryptError => Offence::BadRecordMac,
            Error::PeerSentOversizedRecord => Offence::RecordOverflow,
            _ => Offence::UnexpectedMessage,
        })?;
        let data = match kind {
            ContentType::ApplicationData if self.message.is_empty() => {
                let from = HEADER + (payload.as_ptr() as usize - start);
                from..from + payload.len()
            }
            ContentType::Alert if self.message.is_empty() => {
                self.alert_received(payload)?;
                0..0
            }
            ContentType::Handshake => {
                self.handshake_received(payload, output)?;
                0..0
            }
            _ => return Err(Offence::UnexpectedMessage),
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

    fn alert_received(&mut self, payload: &[u8]) -> Result<(), Offence> {
        let (level, description) = match *payload {
            [level, description] => (level, description),
            // RFC 8446, section 5.4.
            [] if self.kernel.is_some() => return Err(Offence::UnexpectedMessage),
            _ => return Err(Offence::Malformed("alert".into())),
        };
        let alert = AlertDescription::from(description);
        match alert {
            AlertDescription::CloseNotify => self.closed = true,
            // Announces a close_notify (RFC 8446, section 6.1).
            AlertDescription::UserCanceled => {}
            // A warning of TLS 1.2; TLS 1.3 has none, whatever the level says.
            _ if level == 1 && self.kernel.is_none() => {}
            _ => return Err(Offence::AlertReceived(alert)),
        }
        Ok(())
    }

    fn handshake_received(&mut self, payload: &[u8], output: &mut Vec<u8>) -> Result<(), Offence> {
        if self.kernel.is_none() {
            return self.renegotiation_received(payload, output);
        }
        if payload.is_empty() {
            return Err(Offence::UnexpectedMessage);
        }
        // The usual message is whole in its record and is read where it lies.
        let mut joined = std::mem::take(&mut self.message);
        let mut rest = if joined.is_empty() {
            payload
        } else {
            joined.extend_from_slice(payload);
            &joined
        };
        while let Some((kind, body, behind)) = split_message(rest)? {
            self.message_received(kind, body, behind.is_empty(), output)?;
            rest = behind;
        }
        self.message = rest.to_vec();
        Ok(())
    }

    /// TLS 1.2: a wish to renegotiate, which is never granted (RFC 5246, section 7.2.2).
    fn renegotiation_received(
        &mut self,
        payload: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), Offence> {
        let expected = if self.client {
            HandshakeType::HelloRequest
        } else {
            HandshakeType::ClientHello
        };
        match payload.first() {
            Some(kind) if HandshakeType::from(*kind) == expected => {
                self.refused = true;
                self.alert(1, AlertDescription::NoRenegotiation, output);
                Ok(())
            }
            _ => Err(Offence::UnexpectedMessage),
        }
    }

    fn message_received(
        &mut self,
        kind: HandshakeType,
        body: &[u8],
        ends_record: bool,
        output: &mut Vec<u8>,
    ) -> Result<(), Offence> {
        match (kind, self.kernel.as_deref_mut()) {
            (HandshakeType::NewSessionTicket, Some(Kernel::Client(kernel))) => kernel
                .handle_new_session_ticket(body)
                .map_err(|error| Offence::Malformed(error.to_string())),
            // New keys begin with a new record (RFC 8446, section 5.1).
            (HandshakeType::KeyUpdate, Some(kernel)) if ends_record => {
                let secrets = kernel.update(Direction::Receive).map_err(internal)?;
                self.opener = Opener::new(self.suite, secrets.0, secrets.1).map_err(internal)?;
                match body {
                    [0] => Ok(()),
                    [1] => self.answer_key_update(output),
                    [_] => Err(Offence::BadKeyUpdate),
                    _ => Err(Offence::Malformed("key update".into())),
                }
            }
            _ => Err(Offence::UnexpectedMessage),
        }
    }

    fn answer_key_update(&mut self, output: &mut Vec<u8>) -> Result<(), Offence> {
        if self.finished {
            return Ok(());
        }
        let start = output.len();
        output.resize(start + self.key_update_length(), 0);
        self.renew_keys(&mut output[start..])
            .map(drop)
            .map_err(internal)
    }

    fn key_update_length(&self) -> usize {
        KEY_UPDATE.len() + self.sealer.overhead()
    }

    /// Seals a key update into `output` and goes on with the new key.
    fn renew_keys(&mut self, output: &mut [u8]) -> Result<usize, Error> {
        let kernel = self.kernel.as_deref_mut().ok_or(Error::EncryptError)?;
        let written = self
            .sealer
            .seal(ContentType::Handshake, &KEY_UPDATE, output)?;
        let (sequence, secrets) = kernel.update(Direction::Send)?;
        self.sealer = Sealer::new(self.suite, sequence, secrets)?;
        Ok(written)
    }

    /// Encrypts as much of `plain` as fits into `output`, whole records each, small ones first, and
    /// then of 16 KiB where there is enough. Returns how much of `plain` was taken and how much of
    /// `output` was filled; both are 0 when `output` is too small for a record (see
    /// `MAX_RECORD_OVERHEAD`), or after `close_notify`, or after an error.
    ///
    /// # Errors
    /// The sequence numbers are used up (TLS 1.2 after 2^24 records of AES-GCM).
    pub(super) fn encrypt(
        &mut self,
        plain: &[u8],
        output: &mut [u8],
    ) -> Result<(usize, usize), Failure> {
        let failed = |offence| Failure::new(During::Write, offence);
        let (mut taken, mut filled) = (0, 0);
        while taken < plain.len() && !self.finished {
            if self.sealer.worn() {
                if self.kernel.is_none() {
                    return Err(failed(Offence::KeysExhausted));
                }
                if output.len() - filled < self.key_update_length() {
                    break;
                }
                filled += self
                    .renew_keys(&mut output[filled..])
                    .map_err(|error| self.broken(&error))?;
            }
            let room = (output.len() - filled).saturating_sub(self.sealer.overhead());
            let most = if self.early > 0 {
                EARLY_PLAIN
            } else {
                MAX_PLAIN
            };
            let wanted = (plain.len() - taken).min(most);
            // No crumb behind a full record: what does not fit waits for the next buffer.
            if room == 0 || (room < wanted && taken > 0) {
                break;
            }
            let length = wanted.min(room);
            filled += self
                .sealer
                .seal(
                    ContentType::ApplicationData,
                    &plain[taken..taken + length],
                    &mut output[filled..],
                )
                .map_err(|error| self.broken(&error))?;
            taken += length;
            self.early = self.early.saturating_sub(length as u16);
        }
        Ok((taken, filled))
    }

    fn broken(&mut self, error: &Error) -> Failure {
        self.finished = true;
        Failure::new(During::Write, Offence::Internal(error.to_string()))
    }

    /// Appends a close_notify; the stream encrypts nothing afterwards.
    pub(super) fn close_notify(&mut self, output: &mut Vec<u8>) {
        self.alert(1, AlertDescription::CloseNotify, output);
        self.finished = true;
    }

    fn alert(&mut self, level: u8, description: AlertDescription, output: &mut Vec<u8>) {
        if self.finished {
            return;
        }
        let alert = [level, u8::from(description)];
        let start = output.len();
        output.resize(start + alert.len() + self.sealer.overhead(), 0);
        let sealed = self
            .sealer
            .seal(ContentType::Alert, &alert, &mut output[start..]);
        // What cannot be sealed is not sent.
        output.truncate(start + sealed.unwrap_or(0));
    }

    /// Seals a record of any content type.
    #[cfg(fuzzing)]
    pub(super) fn seal_as(&mut self, kind: u8, payload: &[u8], output: &mut Vec<u8>) {
        let start = output.len();
        output.resize(start + payload.len() + self.sealer.overhead(), 0);
        let sealed = self
            .sealer
            .seal(ContentType::from(kind), payload, &mut output[start..]);
        output.truncate(start + sealed.unwrap_or(0));
    }

    #[cfg(test)]
    pub(super) fn wear(&mut self, records_left: u64) {
        self.sealer.wear(records_left);
    }

    #[cfg(test)]
    pub(super) fn seal_empty(&mut self, output: &mut [u8]) -> usize {
        self.sealer
            .seal(ContentType::ApplicationData, &[], output)
            .unwrap()
    }
}

/// key_update, one byte: update_not_requested (RFC 8446, section 4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

enum Direction {
    Send,
    Receive,
}

impl Kernel {
    fn update(
        &mut self,
        direction: Direction,
    ) -> Result<(u64, rustls::ConnectionTrafficSecrets), Error> {
        match (self, direction) {
            (Kernel::Server(kernel), Direction::Send) => kernel.update_tx_secret(),
            (Kernel::Server(kernel), Direction::Receive) => kernel.update_rx_secret(),
            (Kernel::Client(kernel), Direction::Send) => kernel.update_tx_secret(),
            (Kernel::Client(kernel), Direction::Receive) => kernel.update_rx_secret(),
        }
    }
}

fn internal(error: Error) -> Offence {
    Offence::Internal(error.to_string())
}

/// The first whole handshake message: its type, its body, and what is behind.
#[expect(clippy::type_complexity, reason = "three parts of one message")]
fn split_message(bytes: &[u8]) -> Result<Option<(HandshakeType, &[u8], &[u8])>, Offence> {
    let Some(([kind, length @ ..], rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = length
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    if length > MAX_MESSAGE {
        return Err(Offence::Malformed("handshake message too long".into()));
    }
    Ok(rest
        .split_at_checked(length)
        .map(|(body, behind)| (HandshakeType::from(*kind), body, behind)))
}
