//! MySQL and MariaDB (their "Connection Phase"): the server greets first, and a client that wants TLS says so in the
//! beginning of its answer. The greeting tells each side what the other can do through adit; as the one side has a
//! packet more than the other, packets are numbered anew until the login is over. Never in here: a password, which
//! stays in the packet that it came in.

use super::io::{Input, Io, Step, send};
use super::script::State;
use super::{ProtocolError, Side};

/// The header of a packet: its length in three bytes, and its number.
const HEADER: usize = 4;
/// The longest packet of a login that is taken, in bytes.
const PACKET_MAX: usize = 64 * 1024 - HEADER;
/// Packets of a login.
const PACKETS_MAX: u8 = 64;

const CLIENT_SSL: u32 = 0x0800;
const CLIENT_PROTOCOL_41: u32 = 0x0200;
/// An SSLRequest is so much of the client's answer.
const SSL_REQUEST: usize = 32;

/// The first bytes of the server's packets in a login.
const OK: u8 = 0x00;
const ERROR: u8 = 0xff;
/// The protocol of every server since MySQL 3.21.
const VERSION: u8 = 10;

/// What a MySQL client or server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MysqlError {
    /// The server refuses the client before it has spoken; the client was told.
    Refused,
    /// What this side sends is no packet of a login.
    Malformed(Side),
    /// The server has no TLS.
    NoTls,
    /// The client wants no TLS.
    NotRequested,
    /// The client asks for TLS though it was told that there is none.
    OwnTls,
    /// The login has no end.
    TooLong,
    /// This side closed the connection before the login was over.
    Closed(Side),
}

impl std::fmt::Display for MysqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MysqlError::Refused => f.write_str(
                "MySQL: the server refused the connection instead of greeting; the client was told why",
            ),
            MysqlError::Malformed(side) => {
                write!(f, "MySQL: the {side} sent what is no packet of a login")
            }
            MysqlError::NoTls => f.write_str(
                "MySQL server does not support TLS: it has no certificate (`ssl_cert`), or `skip_ssl`",
            ),
            MysqlError::NotRequested => f.write_str(
                "MySQL client did not request TLS, rejecting: set `ssl-mode=REQUIRED` (MariaDB: `ssl`) in the program",
            ),
            MysqlError::OwnTls => f.write_str(
                "MySQL: the local client asks for TLS itself: switch it off in the program, as adit adds TLS",
            ),
            MysqlError::TooLong => f.write_str("MySQL: a login without end"),
            MysqlError::Closed(side) => {
                write!(f, "MySQL: the {side} closed the connection before the login was over")
            }
        }
    }
}

fn fault<T>(error: MysqlError) -> Result<T, ProtocolError> {
    Err(ProtocolError::Mysql(error))
}

/// The length of the next packet of `side`, its header included, if it is there; it is left where it is.
fn packet(input: &Input, side: Side) -> Result<Option<usize>, ProtocolError> {
    let waits = match input.ended {
        true => fault(MysqlError::Closed(side)),
        false => Ok(None),
    };
    let [l0, l1, l2, _, ..] = *input.pending() else {
        return waits;
    };
    let length = usize::from(l0) | usize::from(l1) << 8 | usize::from(l2) << 16;
    if length == 0 || length > PACKET_MAX {
        return fault(MysqlError::Malformed(side));
    }
    match input.pending().len() >= HEADER + length {
        true => Ok(Some(HEADER + length)),
        false => waits,
    }
}

/// Where the lower half of the capabilities stands in a greeting, from its header on; `None`: it is no greeting.
fn capabilities(greeting: &[u8]) -> Option<usize> {
    let payload = greeting.get(HEADER..)?;
    let version = payload.strip_prefix(&[VERSION])?;
    let name = version.iter().position(|&byte| byte == 0)?;
    // The name's end, the connection's number, eight bytes to hash with, and a zero.
    let at = HEADER + 1 + name + 1 + 4 + 8 + 1;
    (greeting.len() >= at + 2).then_some(at)
}

/// The server's greeting, with CLIENT_SSL in it or not; whether it was in it.
fn greeting(io: &mut Io<'_>, tls: bool) -> Result<Option<bool>, ProtocolError> {
    let Some(length) = packet(io.back, Side::Back)? else {
        return Ok(None);
    };
    let mut said = io.back.pending()[..length].to_vec();
    io.back.take(length);
    if said.get(HEADER) == Some(&ERROR) {
        send(io.out, Side::Front, &said);
        return fault(MysqlError::Refused);
    }
    let Some(at) = capabilities(&said) else {
        return fault(MysqlError::Malformed(Side::Back));
    };
    // CLIENT_SSL is in the second byte of the lower half.
    let bit = (CLIENT_SSL >> 8) as u8;
    let had = said[at + 1] & bit != 0;
    match tls {
        true => said[at + 1] |= bit,
        false => said[at + 1] &= !bit,
    }
    if tls || had {
        send(io.out, Side::Front, &said);
    }
    Ok(Some(had))
}

/// The capabilities in a client's answer.
fn wishes(answer: &[u8]) -> Option<u32> {
    let (wishes, _) = answer.get(HEADER..)?.split_first_chunk::<4>()?;
    let wishes = u32::from_le_bytes(*wishes);
    (wishes & CLIENT_PROTOCOL_41 != 0 && answer.len() >= HEADER + SSL_REQUEST).then_some(wishes)
}

/// An error packet of this number and text.
fn refusal(number: u8, text: &str) -> Vec<u8> {
    // ER_SECURE_TRANSPORT_REQUIRED; its SQL state is the general one.
    let body = [
        &[ERROR][..],
        &3159u16.to_le_bytes(),
        b"#HY000adit: ",
        text.as_bytes(),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap_or_default().to_le_bytes();
    [&length[..3], &[number], &body].concat()
}

/// Client mode, before TLS: the greeting is passed on as one without TLS, and what the client answers tells how to
/// ask for TLS; that answer waits.
#[derive(Debug)]
pub(super) enum Client {
    Greeting,
    Answer,
}

impl State for Client {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        match self {
            Client::Greeting => match greeting(io, false)? {
                None => Ok(Step::Wait(self)),
                Some(true) => Ok(Step::Next(Client::Answer)),
                Some(false) => {
                    send(io.out, Side::Front, &refusal(0, "the server has no TLS"));
                    fault(MysqlError::NoTls)
                }
            },
            Client::Answer => {
                let Some(length) = packet(io.front, Side::Front)? else {
                    return Ok(Step::Wait(self));
                };
                let answer = &io.front.pending()[..length];
                let Some(wishes) = wishes(answer) else {
                    return fault(MysqlError::Malformed(Side::Front));
                };
                if wishes & CLIENT_SSL != 0 {
                    return fault(MysqlError::OwnTls);
                }
                // Its header, its wishes with TLS among them, and what else stands before the name.
                let mut request = vec![SSL_REQUEST as u8, 0, 0, 1];
                request.extend((wishes | CLIENT_SSL).to_le_bytes());
                request.extend(&answer[HEADER + 4..HEADER + SSL_REQUEST]);
                io.nothing_behind_starttls(Side::Back)?;
                send(io.out, Side::Back, &request);
                Ok(Step::Tls)
            }
        }
    }
}

/// Server mode, before TLS: the greeting is passed on as one with TLS, and the client begins it.
#[derive(Debug)]
pub(super) enum Server {
    Greeting,
    Request,
}

impl State for Server {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Server>, ProtocolError> {
        match self {
            Server::Greeting => match greeting(io, true)? {
                None => Ok(Step::Wait(self)),
                Some(_) => Ok(Step::Next(Server::Request)),
            },
            Server::Request => {
                let Some(length) = packet(io.front, Side::Front)? else {
                    return Ok(Step::Wait(self));
                };
                let answer = &io.front.pending()[..length];
                let Some(wishes) = wishes(answer) else {
                    return fault(MysqlError::Malformed(Side::Front));
                };
                if wishes & CLIENT_SSL == 0 || length != HEADER + SSL_REQUEST {
                    let number = answer[3].wrapping_add(1);
                    let text = "connections must be encrypted";
                    send(io.out, Side::Front, &refusal(number, text));
                    return fault(MysqlError::NotRequested);
                }
                io.front.take(length);
                // The client goes on with TLS at once.
                match io.front.pending().first() {
                    None | Some(0x16) => Ok(Step::Tls),
                    Some(_) => {
                        io.nothing_behind_starttls(Side::Front)?;
                        Ok(Step::Tls)
                    }
                }
            }
        }
    }
}

/// Within TLS, until the login is over: which side has had the packet more.
#[derive(Debug)]
pub(super) enum Login {
    /// The client's answer; `server`: the server has TLS.
    Answer { server: bool },
    /// What follows, packet by packet.
    Rest { server: bool, count: u8 },
}

impl Login {
    pub(super) fn new(server: bool) -> Login {
        Login::Answer { server }
    }
}

/// Passes on the next packet of `from` with another number and other wishes; its first byte, if it was there.
fn pass(
    io: &mut Io<'_>,
    from: Side,
    server: bool,
    first: bool,
) -> Result<Option<u8>, ProtocolError> {
    let input = match from {
        Side::Front => &mut *io.front,
        Side::Back => &mut *io.back,
    };
    let Some(length) = packet(input, from)? else {
        return Ok(None);
    };
    let mut words = input.pending()[..length].to_vec();
    input.take(length);
    // The server with TLS has had one more of the client's.
    words[3] = match server == (from == Side::Front) {
        true => words[3].wrapping_add(1),
        false => words[3].wrapping_sub(1),
    };
    if first {
        let Some(wishes) = wishes(&words) else {
            return fault(MysqlError::Malformed(from));
        };
        let wishes = match server {
            true => wishes | CLIENT_SSL,
            false => wishes & !CLIENT_SSL,
        };
        words[HEADER..HEADER + 4].copy_from_slice(&wishes.to_le_bytes());
    }
    let to = match from {
        Side::Front => Side::Back,
        Side::Back => Side::Front,
    };
    send(io.out, to, &words);
    Ok(words.get(HEADER).copied())
}

impl State for Login {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Login>, ProtocolError> {
        match self {
            Login::Answer { server } => Ok(match pass(io, Side::Front, server, true)? {
                None => Step::Wait(self),
                Some(_) => Step::Next(Login::Rest { server, count: 0 }),
            }),
            Login::Rest {
                count: PACKETS_MAX, ..
            } => fault(MysqlError::TooLong),
            Login::Rest { server, count } => {
                let next = Login::Rest {
                    server,
                    count: count + 1,
                };
                match pass(io, Side::Back, server, false)? {
                    // From here on each command begins with 0 on both sides.
                    Some(OK | ERROR) => return Ok(Step::Plain),
                    Some(_) => return Ok(Step::Next(next)),
                    None => {}
                }
                Ok(match pass(io, Side::Front, server, false)? {
                    Some(_) => Step::Next(next),
                    None => Step::Wait(self),
                })
            }
        }
    }
}
