//! SOCKS, a client's part: version 5 (RFC 1928) without authentication, within the TLS to the SOCKS server, for a
//! local client that knows nothing of it and is not heard meanwhile.

use std::net::IpAddr;

use super::io::{Io, Step, send};
use super::script::State;
use super::{Action, ProtocolError, Side, Target};

/// Why a SOCKS server does not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusedBySocks {
    /// It answers with another version than 5.
    Version(u8),
    /// It wants to know who asks.
    Method(u8),
    /// Its reply's code.
    Code(u8),
    /// An address of a type that is none.
    AddressType(u8),
    /// It closed the connection; some do where others tell a code.
    Closed,
    /// A name of over 255 bytes.
    TooLong,
}

impl std::fmt::Display for RefusedBySocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RefusedBySocks::Version(byte) => write!(
                f,
                "Invalid SOCKS5 message version {byte:#04x}: is it a SOCKS server?"
            ),
            RefusedBySocks::Method(_) => f.write_str(
                "No supported SOCKS5 authentication method received: the server wants a login, and adit has none for it",
            ),
            RefusedBySocks::Code(code) => write!(f, "SOCKS5 request failed: {}", reason(*code)),
            RefusedBySocks::AddressType(byte) => {
                write!(f, "SOCKS5: the server replies with address type {byte:#04x}")
            }
            RefusedBySocks::Closed => f.write_str(
                "SOCKS5 request failed: the server closed the connection instead of a reply; some do so when they \
                 cannot connect",
            ),
            RefusedBySocks::TooLong => f.write_str("SOCKS5: the name in protocolHost is too long"),
        }
    }
}

/// RFC 1928, section 6, in stunnel's words.
fn reason(code: u8) -> String {
    let words = match code {
        1 => "General SOCKS server failure",
        2 => "Connection not allowed by ruleset",
        3 => "Network unreachable",
        4 => "Host unreachable",
        5 => "Connection refused",
        6 => "TTL expired",
        7 => "Command not supported",
        8 => "Address type not supported",
        _ => return format!("Unknown error {code:#04x}"),
    };
    words.to_owned()
}

/// See the module.
#[derive(Debug)]
pub(super) enum Client {
    Start(Target),
    /// Waiting for the method.
    Method(Target),
    /// Waiting for the reply.
    Reply,
}

fn fault<T>(error: RefusedBySocks) -> Result<T, ProtocolError> {
    Err(ProtocolError::RefusedBySocks(error))
}

impl State for Client {
    fn hears_client(&self) -> bool {
        false
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        let ended = io.back.ended;
        let said = io.back.pending();
        if let (Some(&version), Client::Method(_) | Client::Reply) = (said.first(), &self)
            && version != 5
        {
            return fault(RefusedBySocks::Version(version));
        }
        match (self, said) {
            (Client::Start(target), _) => {
                send(io.out, Side::Back, &[5, 1, 0]);
                Ok(Step::Next(Client::Method(target)))
            }
            (Client::Method(target), [_, 0, ..]) => {
                io.back.take(2);
                let request = request(&target)?;
                send(io.out, Side::Back, &request);
                Ok(Step::Next(Client::Reply))
            }
            (Client::Method(_), [_, method, ..]) => fault(RefusedBySocks::Method(*method)),
            (Client::Reply, [_, code, ..]) if *code != 0 => fault(RefusedBySocks::Code(*code)),
            (Client::Reply, [_, _, _, kind, first, ..]) => {
                let address = match kind {
                    1 => 4,
                    4 => 16,
                    3 => 1 + usize::from(*first),
                    other => return fault(RefusedBySocks::AddressType(*other)),
                };
                let length = 4 + address + 2;
                if said.len() < length {
                    return match ended {
                        true => fault(RefusedBySocks::Closed),
                        false => Ok(Step::Wait(Client::Reply)),
                    };
                }
                // What follows is the destination's.
                io.back.take(length);
                let text = "SOCKS5 request succeeded".to_owned();
                io.out.push(Action::Log(6, text));
                Ok(Step::Plain)
            }
            _ if ended => fault(RefusedBySocks::Closed),
            (state, _) => Ok(Step::Wait(state)),
        }
    }
}

/// CONNECT to an address or a name.
fn request(target: &Target) -> Result<Vec<u8>, ProtocolError> {
    let mut request = vec![5, 1, 0];
    let port = match target {
        Target::Address(address) => {
            match address.ip() {
                IpAddr::V4(ip) => {
                    request.push(1);
                    request.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    request.push(4);
                    request.extend(ip.octets());
                }
            }
            address.port()
        }
        Target::Name(name, port) => {
            let Ok(length) = u8::try_from(name.len()) else {
                return fault(RefusedBySocks::TooLong);
            };
            request.extend([3, length]);
            request.extend(name.as_bytes());
            *port
        }
    };
    request.extend(port.to_be_bytes());
    Ok(request)
}
