//! HTTP CONNECT: a tunnel through a proxy (RFC 9110, section 9.3.6), to a server that speaks TLS from the first
//! byte. The client has no part in it and is not heard. Never in here: a header of the proxy's that is obeyed.

use super::error::excerpt;
use super::io::{Io, Size, Step, send};
use super::script::State;
use super::{Action, Awaited, ProtocolError, Side};
use crate::base64;
use crate::config::{DialogueOptions, Protocol::Connect, Secret};

/// See the module.
#[derive(Debug)]
pub(super) enum Client {
    /// Nothing said yet; `logs_in`: the request has credentials.
    Request { request: Secret, logs_in: bool },
    /// Waiting for the status.
    Status { logs_in: bool },
    /// Skipping headers until the empty line.
    Headers { size: Size },
}

impl Client {
    pub(super) fn new(options: &DialogueOptions) -> Client {
        let host = options.host.as_deref().unwrap_or_default();
        let mut request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n");
        let account = options.account();
        if let Some((name, password)) = account {
            let credentials = base64::encode(format!("{name}:{password}").as_bytes());
            request += &format!("Proxy-Authorization: Basic {credentials}\r\n");
        }
        for header in &options.headers {
            request += header.reveal();
            request += "\r\n";
        }
        request += "\r\n";
        Client::Request {
            request: Secret::new(request),
            logs_in: account.is_some(),
        }
    }
}

impl State for Client {
    fn hears_client(&self) -> bool {
        false
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        match self {
            Client::Request { request, logs_in } => {
                send(io.out, Side::Back, request.reveal().as_bytes());
                Ok(Step::Next(Client::Status { logs_in }))
            }
            Client::Status { logs_in } => {
                let mut size = Size::default();
                let Some(line) = io.server_line(Awaited::Answer, &mut size)? else {
                    return Ok(Step::Wait(Client::Status { logs_in }));
                };
                judge(&line, logs_in)?;
                io.out
                    .push(Action::Log(6, "CONNECT request accepted".to_owned()));
                Ok(Step::Next(Client::Headers { size }))
            }
            // What follows the empty line is the server's already.
            Client::Headers { mut size } => match io.server_line(Awaited::Answer, &mut size)? {
                None => Ok(Step::Wait(Client::Headers { size })),
                Some(line) if line.is_empty() => Ok(Step::Tls),
                Some(_) => Ok(Step::Next(Client::Headers { size })),
            },
        }
    }
}

/// `HTTP/1.x 2xx` and whatever text (RFC 9112, section 4).
fn judge(line: &[u8], logs_in: bool) -> Result<(), ProtocolError> {
    let said = excerpt(line);
    let unintelligible = || ProtocolError::Unintelligible {
        protocol: Connect,
        awaited: Awaited::Answer,
        said: said.clone(),
    };
    let status = line.strip_prefix(b"HTTP/1.").ok_or_else(unintelligible)?;
    let [b'0'..=b'9', b' ', status @ ..] = status else {
        return Err(unintelligible());
    };
    match status {
        [b'2', b'0'..=b'9', b'0'..=b'9'] | [b'2', b'0'..=b'9', b'0'..=b'9', b' ', ..] => Ok(()),
        // 401 is tinyproxy's for credentials that are wrong.
        [b'4', b'0', b'1' | b'7', ..] => Err(ProtocolError::Credentials {
            protocol: Connect,
            awaited: Awaited::Answer,
            given: logs_in,
            said,
        }),
        _ => Err(ProtocolError::Refused {
            protocol: Connect,
            awaited: Awaited::Answer,
            said,
        }),
    }
}
