//! SOCKS, the server's part: versions 4, 4a, and 5 (RFC 1928) without authentication, and Tor's extension
//! RESOLVE. The client names where it wants to be connected; the relay connects and says how that went, and
//! only then is the client answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::io::Input;
use super::{
    AHEAD_MAX, Action, Dialogue, Event, Progress, ProtocolError, Question, Side, Target,
    Unreachable,
};
use crate::config::Protocol;

/// Tor's command: look a name up (its socks-extensions.txt).
const RESOLVE: u8 = 0xF0;
const CONNECT: u8 = 1;

/// The longest user name of version 4 that is skipped, and the longest name of version 4a, in bytes.
const WORD_MAX: usize = 255;

/// What a SOCKS client may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocksError {
    /// It begins with this byte, which is neither version.
    Version(u8),
    /// Version 5: it offers only ways of authentication that are not served.
    Authentication,
    /// It gave a command other than CONNECT and RESOLVE.
    Command(u8),
    /// Version 5: an address of a type that RFC 1928 does not have.
    AddressType(u8),
    /// A name that no resolver can be asked for.
    Name,
    /// A user name or host name of more than 255 bytes.
    TooLong,
    /// It closed the connection before its request was whole.
    Closed,
}

impl std::fmt::Display for SocksError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SocksError::Version(byte) => write!(
                f,
                "Unsupported SOCKS version: the client's first byte is {byte:#04x}, not 4 or 5"
            ),
            SocksError::Authentication => f.write_str(
                "Unsupported SOCKS5 authentication method: the client asks for one, and there is none: \
                 verify clients by their certificates (verifyChain)",
            ),
            SocksError::Command(byte) => write!(
                f,
                "Unsupported SOCKS command {byte:#04x}: CONNECT and RESOLVE are served"
            ),
            SocksError::AddressType(byte) => {
                write!(f, "Unsupported SOCKS5 address type {byte:#04x}")
            }
            SocksError::Name => f.write_str("SOCKS: the client asks for a name that is none"),
            SocksError::TooLong => write!(
                f,
                "SOCKS: the client sent a name of over {WORD_MAX} bytes"
            ),
            SocksError::Closed => {
                f.write_str("SOCKS: the client closed the connection before its request was whole")
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V4,
    V5,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing said yet.
    Start,
    /// Version 5: the methods were agreed on.
    Request,
    /// The relay connects.
    Connecting(Version),
    /// The resolver is asked.
    Resolving(Version),
    Over,
}

#[derive(Debug)]
pub(super) struct Server {
    input: Input,
    state: State,
}

/// A request, and how many bytes it takes.
struct Request {
    command: u8,
    target: Target,
    length: usize,
}

impl Server {
    pub(super) fn new() -> Self {
        Self {
            input: Input::default(),
            state: State::Start,
        }
    }

    fn advance(
        &mut self,
        event: Event<'_>,
        out: &mut Vec<Action>,
    ) -> Result<Progress, ProtocolError> {
        match (event, self.state) {
            (_, State::Over) => return Err(ProtocolError::Over),
            (Event::Connected(bound), State::Connecting(version)) => {
                let bound = bound.unwrap_or(UNKNOWN);
                send(out, reply(version, Answer::Granted, bound));
                return Ok(Progress::Next);
            }
            (Event::Unreachable(why), State::Connecting(version)) => {
                send(out, reply(version, Answer::of(why), UNKNOWN));
                return Ok(Progress::End);
            }
            (Event::Answer(addresses), State::Resolving(version)) => {
                send(out, resolved(version, addresses));
                return Ok(Progress::End);
            }
            (Event::Bytes(Side::Front, bytes), _) => {
                self.input.push(bytes);
                if self.input.pending().len() > AHEAD_MAX {
                    return Err(ProtocolError::TooMuchAhead {
                        protocol: Protocol::Socks,
                        side: Side::Front,
                    });
                }
            }
            (Event::Eof(Side::Front), _) => self.input.ended = true,
            _ => {}
        }
        loop {
            let before = self.input.pending().len();
            match self.state {
                State::Start => self.start(out)?,
                State::Request => self.request(Version::V5, out)?,
                State::Connecting(_) | State::Resolving(_) | State::Over => {}
            }
            let waits = self.input.pending().len() == before;
            let asks = matches!(self.state, State::Start | State::Request);
            if waits || !asks {
                // A client that has only closed its half still waits for the connection.
                return match self.input.ended && asks {
                    true => Err(ProtocolError::Socks(SocksError::Closed)),
                    false => Ok(Progress::More),
                };
            }
        }
    }

    fn start(&mut self, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        match self.input.pending() {
            [] => Ok(()),
            [4, ..] => self.request(Version::V4, out),
            [5, count, rest @ ..] => {
                let Some(methods) = rest.get(..usize::from(*count)) else {
                    return Ok(());
                };
                let served = methods.contains(&0);
                self.input.take(2 + usize::from(*count));
                send(out, vec![5, if served { 0 } else { 0xFF }]);
                self.state = State::Request;
                match served {
                    true => Ok(()),
                    false => Err(ProtocolError::Socks(SocksError::Authentication)),
                }
            }
            [5] => Ok(()),
            [other, ..] => Err(ProtocolError::Socks(SocksError::Version(*other))),
        }
    }

    fn request(&mut self, version: Version, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let parsed = match version {
            Version::V4 => request_of_4(self.input.pending()),
            Version::V5 => request_of_5(self.input.pending()),
        };
        let request = parsed.map_err(|error| {
            let answer = match error {
                SocksError::AddressType(_) => Answer::AddressType,
                _ => Answer::Failed,
            };
            send(out, reply(version, answer, UNKNOWN));
            ProtocolError::Socks(error)
        })?;
        let Some(request) = request else {
            return Ok(());
        };
        self.input.take(request.length);
        match (request.command, request.target) {
            (CONNECT, target) => {
                out.push(Action::Log(6, format!("SOCKS: asked for {target}")));
                out.push(Action::Connect(target));
                self.state = State::Connecting(version);
            }
            (RESOLVE, Target::Name(name, _)) => {
                out.push(Action::Ask(Question::Addresses(name)));
                self.state = State::Resolving(version);
            }
            // Nothing to look up.
            (RESOLVE, Target::Address(address)) => {
                out.push(Action::Ask(Question::Addresses(address.ip().to_string())));
                self.state = State::Resolving(version);
            }
            (other, _) => {
                send(out, reply(version, Answer::Command, UNKNOWN));
                return Err(ProtocolError::Socks(SocksError::Command(other)));
            }
        }
        Ok(())
    }
}

impl Dialogue for Server {
    fn feed(&mut self, event: Event<'_>, out: &mut Vec<Action>) -> Result<Progress, ProtocolError> {
        let result = self.advance(event, out);
        if !matches!(result, Ok(Progress::More)) {
            self.state = State::Over;
        }
        result
    }

    fn take_rest(&mut self, side: Side) -> Vec<u8> {
        match side {
            Side::Front => self.input.rest(),
            Side::Back => Vec::new(),
        }
    }

    #[cfg(test)]
    fn held(&self, side: Side) -> usize {
        match side {
            Side::Front => self.input.held(),
            Side::Back => 0,
        }
    }
}

/// `04 command port address user NUL`, and with an address of 0.0.0.x the name and a NUL behind (4a).
fn request_of_4(bytes: &[u8]) -> Result<Option<Request>, SocksError> {
    let [_, command, p1, p0, a, b, c, d, rest @ ..] = bytes else {
        return Ok(None);
    };
    let port = u16::from_be_bytes([*p1, *p0]);
    let Some(user) = word(rest)? else {
        return Ok(None);
    };
    let length = 8 + user.len() + 1;
    let named = [*a, *b, *c] == [0; 3] && *d != 0;
    let (target, length) = match named {
        false => {
            let ip = IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d));
            (Target::Address(SocketAddr::new(ip, port)), length)
        }
        true => match word(&bytes[length..])? {
            None => return Ok(None),
            Some(name) => (target(name, port)?, length + name.len() + 1),
        },
    };
    Ok(Some(Request {
        command: *command,
        target,
        length,
    }))
}

/// What stands before the next NUL.
fn word(bytes: &[u8]) -> Result<Option<&[u8]>, SocksError> {
    match bytes.iter().position(|&byte| byte == 0) {
        Some(end) if end <= WORD_MAX => Ok(Some(&bytes[..end])),
        None if bytes.len() <= WORD_MAX => Ok(None),
        _ => Err(SocksError::TooLong),
    }
}

/// `05 command 00 type address port` (RFC 1928, section 4).
fn request_of_5(bytes: &[u8]) -> Result<Option<Request>, SocksError> {
    let [version, command, _, kind, rest @ ..] = bytes else {
        return Ok(None);
    };
    if *version != 5 {
        return Err(SocksError::Version(*version));
    }
    let length = match (kind, rest) {
        (1, _) => 4,
        (4, _) => 16,
        (3, []) => return Ok(None),
        (3, [length, ..]) => 1 + usize::from(*length),
        (other, _) => return Err(SocksError::AddressType(*other)),
    };
    let (Some(address), Some(port)) = (rest.get(..length), rest.get(length..length + 2)) else {
        return Ok(None);
    };
    let port = u16::from_be_bytes([port[0], port[1]]);
    let target = match address {
        [a, b, c, d] if *kind == 1 => {
            let ip = IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d));
            Target::Address(SocketAddr::new(ip, port))
        }
        [_, name @ ..] if *kind == 3 => target(name, port)?,
        _ => {
            let octets: [u8; 16] = address
                .try_into()
                .map_err(|_| SocksError::AddressType(*kind))?;
            Target::Address(SocketAddr::new(Ipv6Addr::from(octets).into(), port))
        }
    };
    Ok(Some(Request {
        command: *command,
        target,
        length: 4 + length + 2,
    }))
}

/// A name, or an address written out as one.
fn target(name: &[u8], port: u16) -> Result<Target, SocksError> {
    let name = std::str::from_utf8(name).map_err(|_| SocksError::Name)?;
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(Target::Address(SocketAddr::new(ip, port)));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match !name.is_empty() && name.chars().all(fits) {
        true => Ok(Target::Name(name.to_owned(), port)),
        false => Err(SocksError::Name),
    }
}

/// A reply's code: version 5's (RFC 1928, section 6); version 4 has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Granted = 0,
    Failed = 1,
    Forbidden = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    Refused = 5,
    Command = 7,
    AddressType = 8,
}

impl Answer {
    fn of(why: Unreachable) -> Self {
        match why {
            Unreachable::Forbidden => Answer::Forbidden,
            Unreachable::Network => Answer::NetworkUnreachable,
            Unreachable::Host | Unreachable::NoSuchName | Unreachable::TimedOut => {
                Answer::HostUnreachable
            }
            Unreachable::Refused => Answer::Refused,
            Unreachable::Other => Answer::Failed,
        }
    }
}

/// An address that is not known.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn reply(version: Version, answer: Answer, address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match (version, address.ip()) {
        (Version::V4, ip) => {
            let code = if answer == Answer::Granted { 90 } else { 91 };
            let octets = match ip {
                IpAddr::V4(ip) => ip.octets(),
                // Version 4 has no room for it.
                IpAddr::V6(_) => [0; 4],
            };
            [&[0, code][..], &port, &octets].concat()
        }
        (Version::V5, IpAddr::V4(ip)) => {
            [&[5, answer as u8, 0, 1][..], &ip.octets(), &port].concat()
        }
        (Version::V5, IpAddr::V6(ip)) => {
            [&[5, answer as u8, 0, 4][..], &ip.octets(), &port].concat()
        }
    }
}

/// The answer to RESOLVE: the first address that the version has room for.
fn resolved(version: Version, addresses: &[IpAddr]) -> Vec<u8> {
    let fits = |ip: &&IpAddr| version == Version::V5 || ip.is_ipv4();
    match addresses.iter().find(fits) {
        Some(ip) => reply(version, Answer::Granted, SocketAddr::new(*ip, 0)),
        None => reply(version, Answer::HostUnreachable, UNKNOWN),
    }
}

fn send(out: &mut Vec<Action>, bytes: Vec<u8>) {
    out.push(Action::Send(Side::Front, bytes));
}
