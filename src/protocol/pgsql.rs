//! PostgreSQL (its manual's "Message Flow"): in client mode TLS is asked of the server before the client is heard,
//! and the client, which speaks plain, is told that there is none; in server mode the client asks for it, or begins
//! with it. Never in here: a login, or a plain word but a cancellation's to or from the other side of TLS.

use super::io::{Input, Io, Step, send};
use super::script::State;
use super::{Action, ProtocolError, Side};

/// A packet without a type: its length, 8, and this instead of a version.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// The longest startup packet that a server takes (MAX_STARTUP_PACKET_LENGTH).
const STARTUP_MAX: usize = 10_000;
/// The longest cancellation: 4 bytes of key up to protocol 3.0, 256 from 3.2 on.
const CANCEL_MAX: usize = 268;
/// The longest message of a server before it has authenticated anyone that is looked at.
const MESSAGE_MAX: usize = 30_000;
/// Messages that may come before it asks for authentication.
const MESSAGES_MAX: u8 = 16;

/// What a PostgreSQL client or server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PgsqlError {
    /// The server has no TLS.
    Rejected,
    /// The server answers something else than S or N.
    Answer(u8),
    /// The client wants no TLS.
    NotRequested,
    /// The client begins TLS after plain words.
    Late,
    /// The client's packet is none.
    Malformed,
    /// The client asks for encryption again and again.
    AskedAgain,
    /// The client begins with TLS, which adit has added already.
    OwnTls,
    /// The server takes only a login that is bound to its own TLS.
    OnlyBound,
    /// The client closed the connection before it had said what it wants.
    Closed,
}

impl std::fmt::Display for PgsqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PgsqlError::Rejected => f.write_str(
                "PostgreSQL server rejected TLS: it has `ssl = off`, or `connect` is its Unix socket, where it never speaks TLS",
            ),
            PgsqlError::Answer(byte) => write!(
                f,
                "PostgreSQL server rejected TLS: it answered SSLRequest with {byte:#04x}, not with S or N; is it one?"
            ),
            PgsqlError::NotRequested => f.write_str(
                "PostgreSQL client did not request TLS, rejecting: set `sslmode=require` in the program",
            ),
            PgsqlError::Late => f.write_str(
                "PostgreSQL: the client began TLS after it had spoken in plain",
            ),
            PgsqlError::Malformed => {
                f.write_str("PostgreSQL: the client begins with what is no packet of that protocol")
            }
            PgsqlError::AskedAgain => {
                f.write_str("PostgreSQL: the client repeats a request that was refused")
            }
            PgsqlError::OwnTls => f.write_str(
                "PostgreSQL: the local client speaks TLS itself: set `sslmode=disable` in the program, as adit adds TLS",
            ),
            PgsqlError::OnlyBound => f.write_str(
                "PostgreSQL: the server takes nothing but SCRAM-SHA-256-PLUS, which is bound to the TLS of the client \
                 itself: allow SCRAM-SHA-256, or let the program speak TLS without adit",
            ),
            PgsqlError::Closed => {
                f.write_str("PostgreSQL: the client closed the connection before its request was whole")
            }
        }
    }
}

fn fault<T>(error: PgsqlError) -> Result<T, ProtocolError> {
    Err(ProtocolError::Pgsql(error))
}

/// What a client begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packet {
    Ssl,
    Gss,
    Cancel,
    Startup,
}

/// The client's next packet and its length, if it is there; it is left where it is.
fn packet(input: &Input) -> Result<Option<(Packet, usize)>, ProtocolError> {
    let Some((head, _)) = input.pending().split_first_chunk::<8>() else {
        return match input.ended {
            true => fault(PgsqlError::Closed),
            false => Ok(None),
        };
    };
    let [l3, l2, l1, l0, c3, c2, c1, c0] = *head;
    let code = u32::from_be_bytes([c3, c2, c1, c0]);
    let length = u32::from_be_bytes([l3, l2, l1, l0]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let packet = match (code, length) {
        (SSL_REQUEST, 8) => Packet::Ssl,
        (GSS_REQUEST, 8) => Packet::Gss,
        (CANCEL_REQUEST, 16..=CANCEL_MAX) => Packet::Cancel,
        (SSL_REQUEST | GSS_REQUEST | CANCEL_REQUEST, _) => return fault(PgsqlError::Malformed),
        (_, 8..=STARTUP_MAX) => Packet::Startup,
        _ => return fault(PgsqlError::Malformed),
    };
    match input.pending().len() >= length {
        true => Ok(Some((packet, length))),
        false if input.ended => fault(PgsqlError::Closed),
        false => Ok(None),
    }
}

/// Which refusals a client has had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Refused {
    ssl: bool,
    gss: bool,
}

impl Refused {
    /// Answers a request for encryption with no, once.
    fn refuse(mut self, packet: Packet, io: &mut Io<'_>) -> Result<Self, ProtocolError> {
        let before = match packet {
            Packet::Ssl => &mut self.ssl,
            _ => &mut self.gss,
        };
        if std::mem::replace(before, true) {
            return fault(PgsqlError::AskedAgain);
        }
        io.front.take(8);
        send(io.out, Side::Front, b"N");
        Ok(self)
    }

    fn any(self) -> bool {
        self.ssl || self.gss
    }
}

/// Client mode, before TLS: the server is asked for it.
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
        match self {
            Client::Request => {
                let request = [8u32.to_be_bytes(), SSL_REQUEST.to_be_bytes()].concat();
                send(io.out, Side::Back, &request);
                Ok(Step::Next(Client::Answer))
            }
            Client::Answer => match io.back.pending().first() {
                Some(b'S') => {
                    io.back.take(1);
                    // CVE-2021-23222.
                    io.nothing_behind_starttls(Side::Back)?;
                    Ok(Step::Tls)
                }
                Some(b'N') => fault(PgsqlError::Rejected),
                Some(other) => fault(PgsqlError::Answer(*other)),
                None if io.back.ended => fault(PgsqlError::Rejected),
                None => Ok(Step::Wait(Client::Answer)),
            },
        }
    }
}

/// Client mode, within TLS: the client is told that there is none, and the server's offer of a login that is bound
/// to TLS is taken out, as it is another TLS than the client's.
#[derive(Debug)]
pub(super) enum Within {
    /// Until the client's startup packet.
    Startup(Refused),
    /// Until the server asks for authentication; messages so far.
    Authentication(u8),
}

impl Within {
    pub(super) fn new() -> Within {
        Within::Startup(Refused::default())
    }
}

impl State for Within {
    fn hears_client(&self) -> bool {
        matches!(self, Within::Startup(_))
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Within>, ProtocolError> {
        match self {
            Within::Startup(refused) => {
                if io.front.pending().starts_with(&[0x16, 0x03]) {
                    return fault(PgsqlError::OwnTls);
                }
                let Some((packet, length)) = packet(io.front)? else {
                    return Ok(Step::Wait(Within::Startup(refused)));
                };
                match packet {
                    Packet::Ssl | Packet::Gss => {
                        let refused = refused.refuse(packet, io)?;
                        Ok(Step::Next(Within::Startup(refused)))
                    }
                    Packet::Cancel => {
                        pass(io, Side::Front, length);
                        Ok(Step::Plain)
                    }
                    Packet::Startup => {
                        pass(io, Side::Front, length);
                        Ok(Step::Next(Within::Authentication(0)))
                    }
                }
            }
            Within::Authentication(count) => authentication(count, io),
        }
    }
}

/// Passes on the server's messages until one of them tells how to log in.
fn authentication(count: u8, io: &mut Io<'_>) -> Result<Step<Within>, ProtocolError> {
    let wait = Within::Authentication(count);
    let Some(([kind, l3, l2, l1, l0], _)) = io.back.pending().split_first_chunk::<5>() else {
        return Ok(match io.back.ended {
            true => Step::Plain,
            false => Step::Wait(wait),
        });
    };
    let kind = *kind;
    let length = u32::from_be_bytes([*l3, *l2, *l1, *l0]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    // Notices and the like come before; an error, or what is no message, is the client's to understand.
    let looked_at = matches!(kind, b'R' | b'N' | b'v') && (4..=MESSAGE_MAX).contains(&length);
    if !looked_at || count >= MESSAGES_MAX {
        return Ok(Step::Plain);
    }
    let Some(message) = io.back.pending().get(..=length) else {
        return Ok(match io.back.ended {
            true => Step::Plain,
            false => Step::Wait(wait),
        });
    };
    if kind != b'R' {
        pass(io, Side::Back, 1 + length);
        return Ok(Step::Next(Within::Authentication(count + 1)));
    }
    if let Some(unbound) = without_binding(&message[5..]) {
        let unbound = unbound?;
        io.back.take(1 + length);
        send(io.out, Side::Front, &unbound);
        io.debug("SCRAM-SHA-256-PLUS was taken out of what the server offers");
    }
    Ok(Step::Plain)
}

/// AuthenticationSASL without the mechanisms that are bound to a channel; `None`: there are none, or it is another
/// message.
fn without_binding(body: &[u8]) -> Option<Result<Vec<u8>, ProtocolError>> {
    let list = body.strip_prefix(&10u32.to_be_bytes())?;
    let names: Vec<&[u8]> = list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .collect();
    let kept: Vec<&[u8]> = names
        .iter()
        .copied()
        .filter(|name| !name.ends_with(b"-PLUS"))
        .collect();
    if kept.len() == names.len() {
        return None;
    }
    if kept.is_empty() {
        return Some(fault(PgsqlError::OnlyBound));
    }
    let mut body = 10u32.to_be_bytes().to_vec();
    for name in kept {
        body.extend_from_slice(name);
        body.push(0);
    }
    body.push(0);
    // It is shorter than it was.
    let length = u32::try_from(body.len() + 4).unwrap_or_default();
    Some(Ok([&b"R"[..], &length.to_be_bytes(), &body].concat()))
}

/// Passes on so many bytes of one side.
fn pass(io: &mut Io<'_>, from: Side, length: usize) {
    let (input, to) = match from {
        Side::Front => (&mut *io.front, Side::Back),
        Side::Back => (&mut *io.back, Side::Front),
    };
    let words = input.pending().get(..length).unwrap_or_default();
    send(io.out, to, words);
    input.take(length);
}

/// Server mode: the client asks for TLS, or begins with it, or asks in plain for a query to be cancelled, as
/// clients do whose own connection is encrypted.
#[derive(Debug)]
pub(super) struct Server(Refused);

impl Server {
    pub(super) fn new() -> Server {
        Server(Refused::default())
    }
}

impl State for Server {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Server>, ProtocolError> {
        if io.front.pending().first() == Some(&0x16) {
            return match self.0.any() {
                true => fault(PgsqlError::Late),
                false => Ok(Step::Tls),
            };
        }
        let Some((packet, _)) = packet(io.front)? else {
            return Ok(Step::Wait(self));
        };
        match packet {
            Packet::Ssl => {
                io.front.take(8);
                io.nothing_behind_starttls(Side::Front)?;
                send(io.out, Side::Front, b"S");
                Ok(Step::Tls)
            }
            Packet::Gss => Ok(Step::Next(Server(self.0.refuse(packet, io)?))),
            Packet::Cancel => Ok(Step::Plain),
            Packet::Startup => {
                send(io.out, Side::Front, &unencrypted());
                fault(PgsqlError::NotRequested)
            }
        }
    }
}

/// ErrorResponse: the client must speak TLS.
fn unencrypted() -> Vec<u8> {
    // 28000: invalid authorization specification.
    let fields =
        b"SFATAL\0VFATAL\0C28000\0Madit: the connection must be encrypted: set sslmode=require\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap_or_default();
    [&b"E"[..], &length.to_be_bytes(), fields].concat()
}

/// Server mode, a client without TLS: its cancellation goes to the server, and nothing else does.
#[derive(Debug)]
pub(super) enum Cancellation {
    Request,
    /// The server closes when it has taken note.
    Sent,
}

impl State for Cancellation {
    fn hears_client(&self) -> bool {
        matches!(self, Cancellation::Request)
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Cancellation>, ProtocolError> {
        match self {
            Cancellation::Request => match packet(io.front)? {
                Some((Packet::Cancel, length)) => {
                    pass(io, Side::Front, length);
                    io.out.push(Action::Log(
                        6,
                        "PostgreSQL: a cancellation goes to the server".to_owned(),
                    ));
                    Ok(Step::Next(Cancellation::Sent))
                }
                Some(_) => fault(PgsqlError::NotRequested),
                None => Ok(Step::Wait(self)),
            },
            Cancellation::Sent => {
                // It says nothing; what it says anyway is not for a client without TLS.
                drop(io.back.rest());
                Ok(match io.back.ended {
                    true => Step::End,
                    false => Step::Wait(self),
                })
            }
        }
    }
}
