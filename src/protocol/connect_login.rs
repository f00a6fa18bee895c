//! NTLM at a proxy: the first request, whose refusal has a challenge, and the second with the answer, on the same
//! connection. Never in here: a word of the refusal that a log shows, as it may repeat the request.

use super::connect::{Client, Secrets, accepted, judge, request};
use super::io::{Io, Size, Step, begins, send, split_word};
use super::ntlm::{self, Account};
use super::{Awaited, Fresh, ProtocolError, REPLY_MAX, Side};
use crate::base64;
use crate::config::{DialogueOptions, Secret};

/// What a proxy does wrong where its challenge is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NtlmError {
    /// It names other ways to log in, or none; whether Basic is one.
    NotOffered { basic: bool },
    /// It refuses the first request, without a challenge.
    Rejected,
    /// Its challenge is none.
    Malformed,
    /// The length of what it says besides is none.
    Length,
    /// It closes the connection, which a login of NTLM is bound to.
    Closes,
}

impl std::fmt::Display for NtlmError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NtlmError::NotOffered { basic: true } => {
                "Proxy-Authenticate: NTLM header not found: the proxy takes no login by NTLM, but by Basic: set \
                 `protocolAuthentication = basic`"
            }
            NtlmError::NotOffered { basic: false } => {
                "Proxy-Authenticate: NTLM header not found: the proxy takes no login by NTLM, nor by Basic"
            }
            NtlmError::Rejected => {
                "Proxy-Authenticate: NTLM authorization request rejected: the proxy refused to begin a login by NTLM: \
                 is it switched on there?"
            }
            NtlmError::Malformed => {
                "Proxy-Authenticate: Failed to build NTLM response: the proxy's challenge is none of NTLM"
            }
            NtlmError::Length => "Proxy-Authenticate: Invalid Content-Length",
            NtlmError::Closes => {
                "Proxy-Authenticate: the proxy closes the connection behind its challenge, which a login by NTLM cannot \
                 do without"
            }
        })
    }
}

fn fault<T>(error: NtlmError) -> Result<T, ProtocolError> {
    Err(ProtocolError::Ntlm(error))
}

/// See the module.
#[derive(Debug)]
pub(super) struct Login {
    options: DialogueOptions,
    name: String,
    password: Secret,
    secrets: Secrets,
    fresh: Fresh,
    size: Size,
    heard: Heard,
    place: Place,
}

/// Where in the proxy's refusal the next byte stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    Status,
    Headers,
    /// In what it says besides: as many bytes are left.
    Body(usize),
    /// In front of a chunk's size (RFC 9112, section 7.1).
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailer,
}

/// What its headers tell.
#[derive(Debug, Default)]
struct Heard {
    challenge: Option<Vec<u8>>,
    ntlm: bool,
    basic: bool,
    length: usize,
    chunked: bool,
    closes: bool,
}

impl Login {
    pub(super) fn new(
        options: &DialogueOptions,
        name: &str,
        password: Secret,
        secrets: Secrets,
        fresh: Fresh,
    ) -> Login {
        Login {
            options: options.clone(),
            name: name.to_owned(),
            password,
            secrets,
            fresh,
            size: Size::default(),
            heard: Heard::default(),
            place: Place::Status,
        }
    }

    /// What the first request has for the proxy. Old ones close the connection unless they are asked not to.
    pub(super) fn opening() -> Secret {
        let message = base64::encode(&ntlm::negotiate());
        Secret::new(format!("NTLM {message}\r\nProxy-Connection: keep-alive"))
    }

    pub(super) fn step(
        mut self: Box<Self>,
        io: &mut Io<'_>,
    ) -> Result<Step<Client>, ProtocolError> {
        if let Place::Body(left) | Place::Chunk(left) = self.place {
            return self.skip(left, io);
        }
        let Some(line) = io.server_line(Awaited::Answer, &mut self.size)? else {
            return Ok(Step::Wait(Client::Challenge(self)));
        };
        self.place = match self.place {
            Place::Status if is_407(&line) => Place::Headers,
            Place::Status => {
                // It takes everyone, or this one by its address.
                judge(&line, self.secrets).map_err(|error| match error {
                    ProtocolError::Credentials { .. } => ProtocolError::Ntlm(NtlmError::Rejected),
                    error => error,
                })?;
                return Ok(Step::Next(accepted(io, self.size)));
            }
            Place::Headers if line.is_empty() => match (self.heard.chunked, self.heard.length) {
                (true, _) => Place::ChunkSize,
                (false, length) => Place::Body(length),
            },
            Place::Headers => {
                self.heard.header(&line)?;
                Place::Headers
            }
            Place::ChunkSize => match chunk(&line) {
                Some(0) => Place::Trailer,
                Some(size) => Place::Chunk(size),
                None => return fault(NtlmError::Length),
            },
            Place::ChunkEnd if line.is_empty() => Place::ChunkSize,
            Place::ChunkEnd => return fault(NtlmError::Length),
            Place::Trailer if line.is_empty() => Place::Body(0),
            place => place,
        };
        Ok(Step::Next(Client::Challenge(self)))
    }

    /// Skips what the proxy says besides; `left` bytes of it are still to come.
    fn skip(
        mut self: Box<Self>,
        left: usize,
        io: &mut Io<'_>,
    ) -> Result<Step<Client>, ProtocolError> {
        // What no login comes of need not be waited for.
        if let Err(error) = self.heard.judge() {
            return fault(error);
        }
        let there = io.back.pending().len().min(left);
        io.back.take(there);
        let left = left - there;
        self.place = match (self.place, left) {
            (Place::Body(_), 0) => return self.answer(io),
            (Place::Chunk(_), 0) => Place::ChunkEnd,
            (Place::Chunk(_), _) => Place::Chunk(left),
            _ => Place::Body(left),
        };
        match left {
            0 => Ok(Step::Next(Client::Challenge(self))),
            _ if io.back.ended => fault(NtlmError::Closes),
            _ => Ok(Step::Wait(Client::Challenge(self))),
        }
    }

    /// The second request.
    fn answer(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        let challenge = self.heard.judge().map_err(ProtocolError::Ntlm)?;
        let account = Account {
            domain: self.options.domain.as_deref().unwrap_or_default(),
            name: &self.name,
            password: self.password.reveal(),
        };
        let Ok(message) = ntlm::authenticate(challenge, account, self.fresh) else {
            return fault(NtlmError::Malformed);
        };
        let answer = Secret::new(format!("NTLM {}", base64::encode(&message)));
        let request = request(&self.options, Some(&answer));
        send(io.out, Side::Back, request.reveal().as_bytes());
        Ok(Step::Next(Client::Status {
            secrets: self.secrets,
        }))
    }
}

fn is_407(line: &[u8]) -> bool {
    let status = ["HTTP/1.0 407", "HTTP/1.1 407"];
    status.iter().any(|status| begins(line, status)) && matches!(line.get(12), None | Some(b' '))
}

/// A number of octets, which a refusal may not exceed.
fn octets(text: &[u8], radix: u32) -> Option<usize> {
    let digits = std::str::from_utf8(text.trim_ascii()).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let octets = usize::from_str_radix(digits, radix).ok()?;
    (is_number && octets <= REPLY_MAX).then_some(octets)
}

/// A chunk's size; what stands behind the semicolon means nothing here.
fn chunk(line: &[u8]) -> Option<usize> {
    let size = line.split(|&byte| byte == b';').next()?;
    octets(size, 16)
}

impl Heard {
    fn header(&mut self, line: &[u8]) -> Result<(), ProtocolError> {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            return Ok(());
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let mut words = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        let mut has = |word: &str| words.any(|one| one.eq_ignore_ascii_case(word.as_bytes()));
        if is("Proxy-Authenticate") {
            self.ways(value)?;
        } else if is("Content-Length") {
            let Some(length) = octets(value, 10) else {
                return fault(NtlmError::Length);
            };
            self.length = length;
        } else if is("Transfer-Encoding") {
            self.chunked = has("chunked");
        } else if is("Connection") || is("Proxy-Connection") {
            self.closes |= has("close");
        }
        Ok(())
    }

    /// Ways to log in (RFC 9110, section 11.6.1): one, or several with commas between; a way's own parameters may have
    /// commas too, but none begins as another way does.
    fn ways(&mut self, value: &[u8]) -> Result<(), ProtocolError> {
        for way in value.split(|&byte| byte == b',') {
            let (name, token) = split_word(way.trim_ascii());
            self.basic |= name.eq_ignore_ascii_case(b"Basic");
            if !name.eq_ignore_ascii_case(b"NTLM") {
                continue;
            }
            self.ntlm = true;
            if token.is_empty() {
                continue;
            }
            let Some(challenge) = base64::decode(token) else {
                return fault(NtlmError::Malformed);
            };
            self.challenge = Some(challenge);
        }
        Ok(())
    }

    /// The challenge, on a connection that stays.
    fn judge(&self) -> Result<&[u8], NtlmError> {
        match &self.challenge {
            Some(_) if self.closes => Err(NtlmError::Closes),
            Some(challenge) => Ok(challenge),
            None if self.ntlm => Err(NtlmError::Rejected),
            None => Err(NtlmError::NotOffered { basic: self.basic }),
        }
    }
}
