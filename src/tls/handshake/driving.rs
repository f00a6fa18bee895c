//! rustls' state machine, fed one record at a time. Never in here: what an error amounts to.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, InsufficientSizeError, UnbufferedStatus};
use rustls::{CommonState, Error, ExtractedSecrets};

use super::MAX_HANDSHAKE_INPUT;
use crate::tls::record::{HEADER, MAX_CIPHERTEXT};
use crate::tls::stream::Kernel;

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

/// Feeds whole records until more is wanted or the handshake is done. Returns how much of the
/// input is used up, and whether it is done.
pub(super) fn drive<P: Peer>(
    peer: &mut P,
    input: &mut [u8],
    seen: &mut usize,
    output: &mut Vec<u8>,
) -> Result<(usize, bool), Broken> {
    let mut used = 0;
    loop {
        let (discard, turn) = turn(peer, &mut input[used..used + *seen], output);
        used += discard;
        *seen -= discard;
        match turn {
            Ok(Advance::Again) => {}
            Ok(Advance::Established) => return Ok((used, true)),
            Ok(Advance::Blocked) => match record_length(&input[used + *seen..]) {
                Some(length) if *seen + length > MAX_HANDSHAKE_INPUT => {
                    return Err(Broken::By(Error::PeerSentOversizedRecord));
                }
                Some(length) => *seen += length,
                None => return Ok((used, false)),
            },
            Ok(Advance::Closed) => {
                flush_alert(peer, output);
                return Err(Broken::Closed);
            }
            Err(error) => {
                flush_alert(peer, output);
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

/// The length of the whole record at the front of `input`, header included; `None` until all of
/// it is here. What cannot be a record is handed on at once, for rustls to name what is wrong.
fn record_length(input: &[u8]) -> Option<usize> {
    let [kind, major, _, high, low] = *input.first_chunk::<HEADER>()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !(20..=23).contains(&kind) || major != 3 || length > MAX_CIPHERTEXT {
        return Some(input.len());
    }
    (input.len() >= HEADER + length).then_some(HEADER + length)
}
