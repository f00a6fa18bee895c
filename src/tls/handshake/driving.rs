//! rustls' state machine, fed one record at a time, and the alerts that it owes when it fails. Never in here: what an
//! error amounts to.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, InsufficientSizeError, UnbufferedStatus};
use rustls::{
    AlertDescription, CommonState, ContentType, Error, ExtractedSecrets, InvalidMessage,
    ProtocolVersion,
};

use super::MAX_HANDSHAKE_INPUT;
use crate::tls::alerts;
use crate::tls::record::{HEADER, MAX_CIPHERTEXT, MAX_PLAIN};
use crate::tls::stream::Kernel;

/// Content types of records.
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
/// The length of an encrypted alert of TLS 1.3, in bytes: itself, its content type, a tag.
const DISGUISED_ALERT: usize = 2 + 1 + 16;

/// What the two roles of rustls have in common and do not name.
pub(super) trait Peer: Sized {
    type Data;
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn common(&self) -> &CommonState;
    fn extract(self) -> Result<(ExtractedSecrets, Kernel), Error>;
}

impl Peer for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn common(&self) -> &CommonState {
        self
    }

    fn extract(self) -> Result<(ExtractedSecrets, Kernel), Error> {
        self.dangerous_into_kernel_connection()
            .map(|(secrets, kernel)| (secrets, Kernel::Server(kernel)))
    }
}

impl Peer for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn common(&self) -> &CommonState {
        self
    }

    fn extract(self) -> Result<(ExtractedSecrets, Kernel), Error> {
        self.dangerous_into_kernel_connection()
            .map(|(secrets, kernel)| (secrets, Kernel::Client(kernel)))
    }
}

/// Why a handshake cannot go on.
pub(super) enum Broken {
    /// A close_notify came in the middle of it; rustls has no error of its own for that.
    Closed,
    By(Error),
}

enum Advance {
    Again,
    Blocked,
    Established,
    Closed,
}

/// How far the peer has come.
#[derive(Default)]
pub(super) struct Progress {
    /// Bytes at the front of the next input that rustls has seen but not used up: the beginning of a message that
    /// goes on in a record to come.
    pub(super) seen: usize,
    /// Its change_cipher_spec has come.
    changed: bool,
}

/// Feeds whole records until more is wanted or the handshake is done. Returns how much of the
/// input is used up, and whether it is done. What it fails by is told to the peer.
pub(super) fn drive<P: Peer>(
    peer: &mut P,
    input: &mut [u8],
    progress: &mut Progress,
    output: &mut Vec<u8>,
) -> Result<(usize, bool), Broken> {
    let Progress { seen, changed } = progress;
    let mut used = 0;
    // Where the last record begins.
    let mut last = 0;
    loop {
        let before = output.len();
        let (discard, turn) = turn(peer, &mut input[used..used + *seen], output);
        used += discard;
        *seen -= discard;
        match turn {
            Ok(Advance::Again) => {}
            Ok(Advance::Established) => return Ok((used, true)),
            Ok(Advance::Blocked) => {
                let behind = &input[used + *seen..];
                let length = match record_length(behind, records_due(peer, *changed)) {
                    Ok(None) => return Ok((used, false)),
                    Ok(Some(length)) if *seen + length <= MAX_HANDSHAKE_INPUT => length,
                    Ok(Some(_)) => {
                        let error = Error::PeerSentOversizedRecord;
                        tell(
                            peer,
                            &input[used..used + *seen],
                            None,
                            alerts::due(&error),
                            output,
                        );
                        return Err(Broken::By(error));
                    }
                    Err((error, alert)) => {
                        tell(peer, &input[used..used + *seen], None, alert, output);
                        return Err(Broken::By(error));
                    }
                };
                *changed |= behind.first() == Some(&CHANGE_CIPHER_SPEC);
                last = used + *seen;
                *seen += length;
            }
            Ok(Advance::Closed) => {
                flush_alert(peer, output);
                return Err(Broken::Closed);
            }
            Err(error) => {
                flush_alert(peer, output);
                if !matches!(error, Error::AlertReceived(_)) && !ends_in_alert(&output[before..]) {
                    let last = last.checked_sub(used);
                    tell(
                        peer,
                        &input[used..used + *seen],
                        last,
                        alerts::due(&error),
                        output,
                    );
                }
                return Err(Broken::By(error));
            }
        }
    }
}

/// One turn of rustls' state machine: how many bytes it is done with, and what it wants.
fn turn<P: Peer>(
    peer: &mut P,
    input: &mut [u8],
    output: &mut Vec<u8>,
) -> (usize, Result<Advance, Error>) {
    let UnbufferedStatus { discard, state } = peer.process(input);
    let turn = match state {
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            encode(output, |room| message.encode(room)).map(|()| Advance::Again)
        }
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done();
            Ok(Advance::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Advance::Blocked),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Advance::Established),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Advance::Closed),
        Ok(other) => Err(Error::General(format!("unexpected state {other:?}"))),
        Err(error) => Err(error),
    };
    match turn {
        Ok(Advance::Established) if peer.common().is_handshaking() => {
            (discard, Ok(Advance::Blocked))
        }
        turn => (discard, turn),
    }
}

/// Appends what `encode` writes; it says how much room it wants.
fn encode(
    output: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), Error> {
    let start = output.len();
    let mut room = 0;
    loop {
        output.resize(start + room, 0);
        match encode(&mut output[start..]) {
            Ok(written) => {
                output.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size }))
                if required_size > room =>
            {
                room = required_size;
            }
            Err(error) => {
                output.truncate(start);
                return Err(Error::General(error.to_string()));
            }
        }
    }
}

/// After an error rustls has at most an alert to send, behind what it had queued before. It looks
/// at no input while it has.
fn flush_alert<P: Peer>(peer: &mut P, output: &mut Vec<u8>) {
    while peer.common().wants_write() {
        match turn(peer, &mut [], output).1 {
            Ok(Advance::Again | Advance::Blocked | Advance::Established) => {}
            Ok(Advance::Closed) | Err(_) => return,
        }
    }
}

/// What may come next, as far as a record's header tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Nothing is encrypted.
    Plain,
    /// TLS 1.3 has keys: messages are encrypted, and look like data.
    Disguised,
    /// TLS 1.2 has keys.
    Encrypted,
}

fn records_due<P: Peer>(peer: &P, changed: bool) -> Due {
    let common = peer.common();
    match common.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) if common.negotiated_key_exchange_group().is_some() => {
            Due::Disguised
        }
        Some(ProtocolVersion::TLSv1_2) if changed => Due::Encrypted,
        _ => Due::Plain,
    }
}

/// The length of the whole record at the front of `input`, header included; `None` until all of
/// it is here. What cannot be a record is handed on at once, for rustls to name what is wrong.
///
/// # Errors
/// What rustls would put up with, or answer with another alert than is due, which is given too.
fn record_length(input: &[u8], due: Due) -> Result<Option<usize>, (Error, AlertDescription)> {
    let Some([kind, major, _, high, low]) = input.first_chunk::<HEADER>().copied() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if major != 3 {
        return Ok(Some(input.len()));
    }
    if !(20..=23).contains(&kind) {
        // RFC 8446, section 5; RFC 5246, section 6.
        let error = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        return Err((error, AlertDescription::UnexpectedMessage));
    }
    if kind == HANDSHAKE && due == Due::Disguised {
        let error = Error::InappropriateMessage {
            expect_types: vec![ContentType::ApplicationData],
            got_type: ContentType::Handshake,
        };
        return Err((error, AlertDescription::UnexpectedMessage));
    }
    // What is not encrypted is never longer than plaintext (RFC 8446, section 5.1; RFC 5246, section 6.2.1).
    if kind != DATA && due != Due::Encrypted && length > MAX_PLAIN {
        return Err((
            Error::PeerSentOversizedRecord,
            AlertDescription::RecordOverflow,
        ));
    }
    if length > MAX_CIPHERTEXT {
        return Ok(Some(input.len()));
    }
    Ok((input.len() >= HEADER + length).then_some(HEADER + length))
}

/// Has rustls send an alert where it has none, or another: it refuses a record that we make up, by the keys that it has.
/// `pending` is what it has seen and not used up; `last` is where the record begins in it that it refused.
fn tell<P: Peer>(
    peer: &mut P,
    pending: &[u8],
    last: Option<usize>,
    alert: AlertDescription,
    output: &mut Vec<u8>,
) {
    // A change_cipher_spec with a wrong value: in TLS 1.3 an unexpected message.
    const OUT_OF_PLACE: [u8; 6] = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 2];
    // A content type that there is not: it cannot be decoded.
    const UNREADABLE: [u8; 6] = [0, 3, 3, 0, 1, 0];
    let before = output.len();
    let first = (alert == AlertDescription::UnexpectedMessage).then_some(OUT_OF_PLACE);
    for record in first.into_iter().chain([UNREADABLE]) {
        let mut input = pending.to_vec();
        // rustls may not have come beyond it.
        if let Some(kind) = last.and_then(|last| input.get_mut(last)) {
            *kind = record[0];
        }
        input.extend(record);
        // Each whole message that it holds has a turn.
        for _ in 0..=pending.len() / 4 {
            let (discard, turn) = turn(peer, &mut input, output);
            input.drain(..discard);
            if turn.is_err() {
                flush_alert(peer, output);
            }
            if ends_in_alert(&output[before..]) {
                alerts::correct(&mut output[before..], alert);
                return;
            }
            if matches!(
                turn,
                Ok(Advance::Blocked | Advance::Established | Advance::Closed)
            ) {
                break;
            }
        }
    }
}

/// Whether the last of these records is an alert, encrypted or not.
fn ends_in_alert(mut records: &[u8]) -> bool {
    let mut found = false;
    while let [kind, _, _, high, low, rest @ ..] = records {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // No other message of TLS 1.3 is so short.
        found = *kind == ALERT || (*kind == DATA && length == DISGUISED_ALERT);
        records = rest.get(length..).unwrap_or_default();
    }
    found
}
