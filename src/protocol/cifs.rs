//! CIFS: TLS as Samba 2 had it, by a packet of NetBIOS sessions (RFC 1002, section 4.3) before the first. Never in
//! here: a name of NetBIOS that is looked at.

use super::io::{Io, Step, send};
use super::script::State;
use super::{ProtocolError, Side};

/// SESSION REQUEST and NEGATIVE SESSION RESPONSE.
const REQUEST: u8 = 0x81;
const REFUSAL: u8 = 0x83;
/// Not in the RFC: the session must begin with TLS.
const USE_TLS: u8 = 0x8e;
/// Not listening on called name.
const DENIED: u8 = 0x81;

/// The longest request that is taken, behind its header: two names of 34 bytes are usual; stunnel's.
const REQUEST_MAX: usize = 124;

/// What a peer does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CifsError {
    /// The server's answer is no refusal.
    NoRefusal,
    /// The server's refusal has another size.
    Size,
    /// The server refuses for another reason than TLS.
    OtherReason(u8),
    /// The client's request is too long.
    TooLong,
    /// The client sends something else.
    NoRequest,
    /// This side closed the connection.
    Closed(Side),
}

impl std::fmt::Display for CifsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CifsError::NoRefusal => f.write_str(
                "Negative response expected: the server does not begin with TLS in this way; none since Samba 3 does",
            ),
            CifsError::Size => f.write_str("Unexpected NetBIOS response size"),
            CifsError::OtherReason(code) => write!(
                f,
                "Remote server does not require TLS: it refused the session with code {code:#04x}"
            ),
            CifsError::TooLong => f.write_str("Received block too long: the client's session request"),
            CifsError::NoRequest => f.write_str(
                "Client did not send session setup: it must be one that asks for TLS by a NetBIOS session, as stunnel's \
                 and adit's client mode do",
            ),
            CifsError::Closed(side) => {
                write!(f, "CIFS: the {side} closed the connection before TLS")
            }
        }
    }
}

fn fault<T>(error: CifsError) -> Result<T, ProtocolError> {
    Err(ProtocolError::Cifs(error))
}

/// A server with TLS behind. The local client is not heard.
#[derive(Debug)]
pub(super) enum Client {
    Request,
    Answer,
}

impl State for Client {
    fn hears_client(&self) -> bool {
        false
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        if let Client::Request = self {
            send(io.out, Side::Back, &[REQUEST, 0, 0, 0]);
            return Ok(Step::Next(Client::Answer));
        }
        let said = io.back.pending();
        if said.first().is_some_and(|&kind| kind != REFUSAL) {
            return fault(CifsError::NoRefusal);
        }
        if said.get(2..4).is_some_and(|length| length != [0, 1]) {
            return fault(CifsError::Size);
        }
        match said.get(4) {
            Some(&USE_TLS) => {
                io.back.take(5);
                io.nothing_behind_starttls(Side::Back)?;
                Ok(Step::Tls)
            }
            Some(&code) => fault(CifsError::OtherReason(code)),
            None if io.back.ended => fault(CifsError::Closed(Side::Back)),
            None => Ok(Step::Wait(self)),
        }
    }
}

/// A client with TLS in front.
#[derive(Debug)]
pub(super) struct Server;

impl State for Server {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Server>, ProtocolError> {
        let said = io.front.pending();
        if said.first().is_some_and(|&kind| kind != REQUEST) {
            send(io.out, Side::Front, &[REFUSAL, 0, 0, 1, DENIED]);
            return fault(CifsError::NoRequest);
        }
        let length = match said {
            [_, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ if io.front.ended => return fault(CifsError::Closed(Side::Front)),
            _ => return Ok(Step::Wait(self)),
        };
        if length > REQUEST_MAX {
            return fault(CifsError::TooLong);
        }
        if said.len() < 4 + length {
            return match io.front.ended {
                true => fault(CifsError::Closed(Side::Front)),
                false => Ok(Step::Wait(self)),
            };
        }
        io.front.take(4 + length);
        io.nothing_behind_starttls(Side::Front)?;
        send(io.out, Side::Front, &[REFUSAL, 0, 0, 1, USE_TLS]);
        Ok(Step::Tls)
    }
}
