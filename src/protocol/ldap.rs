//! LDAP, a client with StartTLS (RFC 4511, section 4.14). The local client is not heard: it begins when TLS has. Never
//! in here: a message of its own.

use super::error::excerpt;
use super::io::{Io, Step, send};
use super::script::State;
use super::{Action, ProtocolError, Side};

/// ExtendedRequest 1.3.6.1.4.1.1466.20037 as message 1.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// An answer may be this long, in bytes: it has a code, a name and a text.
const ANSWER_MAX: usize = 64 * 1024;

/// The tags of an answer.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const OCTETS: u8 = 0x04;
const EXTENDED_RESPONSE: u8 = 0x78;

/// What an LDAP server says instead of yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LdapError {
    /// What it sends is no message of LDAP.
    Malformed,
    /// It sends another message than the answer.
    Other,
    /// It has no TLS to start, for this reason: the code, and its text, sanitised.
    Refused(u32, String),
    /// It closed the connection.
    Closed,
}

impl std::fmt::Display for LdapError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LdapError::Malformed => f.write_str(
                "LDAP response is not UNIVERSAL SEQUENCE, or inconsistent: is it an LDAP server, and its port one \
                 that begins in plain (389)?",
            ),
            LdapError::Other => f.write_str("LDAP response protocol op is not ExtendedResponse"),
            LdapError::Refused(code, text) => write!(
                f,
                "LDAP response has indicated an error ({code}): the server does not start TLS, {}; it said \"{text}\"",
                meaning(*code)
            ),
            LdapError::Closed => {
                f.write_str("LDAP: the server closed the connection where its answer to StartTLS was expected")
            }
        }
    }
}

/// RFC 4511, appendix A, and what servers mean by it here.
fn meaning(code: u32) -> &'static str {
    match code {
        1 => "operationsError: TLS is there already, or something else is under way",
        2 => "protocolError: it does not know StartTLS, or has no certificate",
        8 => "strongerAuthRequired",
        52 => "unavailable: its TLS does not work",
        53 => "unwillingToPerform",
        _ => "by a code of RFC 4511",
    }
}

/// See the module.
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
                io.debug("Sending LDAP Start TLS request");
                send(io.out, Side::Back, START_TLS);
                Ok(Step::Next(Client::Answer))
            }
            Client::Answer => {
                let taken = answer(io.back.pending()).map_err(ProtocolError::Ldap)?;
                match taken {
                    Some(length) => {
                        io.back.take(length);
                        io.nothing_behind_starttls(Side::Back)?;
                        let text = "LDAP Start TLS successfully negotiated".to_owned();
                        io.out.push(Action::Log(6, text));
                        Ok(Step::Tls)
                    }
                    None if io.back.ended => Err(ProtocolError::Ldap(LdapError::Closed)),
                    None => Ok(Step::Wait(Client::Answer)),
                }
            }
        }
    }
}

/// The length of the answer, if it is there and says yes.
fn answer(bytes: &[u8]) -> Result<Option<usize>, LdapError> {
    let Some((&tag, _)) = bytes.split_first() else {
        return Ok(None);
    };
    if tag != SEQUENCE {
        return Err(LdapError::Malformed);
    }
    let Some((header, length)) = length(&bytes[1..])? else {
        return Ok(None);
    };
    let whole = 1 + header + length;
    if whole > ANSWER_MAX {
        return Err(LdapError::Malformed);
    }
    let Some(message) = bytes.get(1 + header..whole) else {
        return Ok(None);
    };
    let (id, rest) = element(message, INTEGER).ok_or(LdapError::Malformed)?;
    let (response, _) = element(rest, EXTENDED_RESPONSE).ok_or(LdapError::Other)?;
    let (code, rest) = element(response, ENUMERATED).ok_or(LdapError::Malformed)?;
    let code = match code {
        [] | [_, _, _, _, _, ..] => return Err(LdapError::Malformed),
        octets => octets
            .iter()
            .fold(0, |code, byte| code << 8 | u32::from(*byte)),
    };
    // A message without a question (a notice of disconnection) has the number 0.
    if code == 0 && id != [1] {
        return Err(LdapError::Other);
    }
    if code != 0 {
        let text = element(rest, OCTETS).and_then(|(_, rest)| element(rest, OCTETS));
        let text = text.map_or(&[][..], |(text, _)| text);
        return Err(LdapError::Refused(code, excerpt(text)));
    }
    Ok(Some(whole))
}

/// The contents of the element with this tag at the front, and what is behind it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (header, length) = length(rest).ok()??;
    let rest = rest.get(header..)?;
    (rest.len() >= length).then(|| rest.split_at(length))
}

/// A length of BER and how many bytes it takes; `None`: it is not whole. WinLDAP writes four bytes for any.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, LdapError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let count = match first {
        0..=0x7f => return Ok(Some((1, usize::from(first)))),
        0x81..=0x84 => usize::from(first - 0x80),
        _ => return Err(LdapError::Malformed),
    };
    let Some(octets) = rest.get(..count) else {
        return Ok(None);
    };
    let length = octets
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    Ok(Some((1 + count, length)))
}
