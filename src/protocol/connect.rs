//! HTTP CONNECT: a tunnel through a proxy (RFC 9110, section 9.3.6), to a server that speaks TLS from the first
//! byte. The client has no part in it and is not heard. Never in here: a header of the proxy's that is obeyed.

use super::connect_login::Login;
use super::error::{NOT_SHOWN, excerpt};
use super::io::{Io, Size, Step, send};
use super::login::judged;
use super::script::State;
use super::{Action, Awaited, Fresh, ProtocolError, Side};
use crate::base64;
use crate::config::{Authentication, DialogueOptions, Protocol::Connect, Secret};

/// See the module.
#[derive(Debug)]
pub(super) enum Client {
    /// Nothing said yet.
    Request {
        request: Secret,
        secrets: Secrets,
        login: Option<Box<Login>>,
    },
    /// Waiting for NTLM's challenge.
    Challenge(Box<Login>),
    /// Waiting for the status.
    Status { secrets: Secrets },
    /// Skipping headers until the empty line.
    Headers { size: Size },
}

/// What the request has that no log may show, also not when the proxy repeats it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secrets {
    pub(super) login: bool,
    pub(super) headers: bool,
}

impl Client {
    pub(super) fn new(options: &DialogueOptions, fresh: Fresh) -> Client {
        let account = options.account();
        let secrets = Secrets {
            login: account.is_some(),
            headers: !options.headers.is_empty(),
        };
        let (authorization, login) = match (account, options.authentication) {
            (None, _) => (None, None),
            (Some((name, password)), Some(Authentication::Ntlm)) => {
                let login = Login::new(options, name, password, secrets, fresh);
                (Some(Login::opening()), Some(Box::new(login)))
            }
            (Some((name, password)), _) => {
                let both = Secret::new(format!("{name}:{}", password.reveal()));
                let credentials = base64::encode(both.reveal().as_bytes());
                (Some(Secret::new(format!("Basic {credentials}"))), None)
            }
        };
        Client::Request {
            request: request(options, authorization.as_ref()),
            secrets,
            login,
        }
    }
}

/// The request; `authorization`: what the login has for the proxy.
pub(super) fn request(options: &DialogueOptions, authorization: Option<&Secret>) -> Secret {
    let host = options.host.as_deref().unwrap_or_default();
    let mut request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n");
    if let Some(authorization) = authorization {
        request += "Proxy-Authorization: ";
        request += authorization.reveal();
        request += "\r\n";
    }
    for header in options.header_lines() {
        request += header.reveal();
        request += "\r\n";
    }
    request += "\r\n";
    Secret::new(request)
}

impl State for Client {
    fn hears_client(&self) -> bool {
        false
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        match self {
            Client::Request {
                request,
                secrets,
                login,
            } => {
                send(io.out, Side::Back, request.reveal().as_bytes());
                Ok(Step::Next(match login {
                    Some(login) => Client::Challenge(login),
                    None => Client::Status { secrets },
                }))
            }
            Client::Challenge(login) => login.step(io),
            Client::Status { secrets } => {
                let mut size = Size::default();
                let Some(line) = io.server_line(Awaited::Answer, &mut size)? else {
                    return Ok(Step::Wait(Client::Status { secrets }));
                };
                judge(&line, secrets)?;
                Ok(Step::Next(accepted(io, size)))
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

/// Behind a status that says yes.
pub(super) fn accepted(io: &mut Io<'_>, size: Size) -> Client {
    let text = "CONNECT request accepted".to_owned();
    io.out.push(Action::Log(6, text));
    Client::Headers { size }
}

/// `HTTP/1.x 2xx` and whatever text (RFC 9112, section 4).
pub(super) fn judge(line: &[u8], secrets: Secrets) -> Result<(), ProtocolError> {
    let quiet = secrets.login || secrets.headers;
    let unintelligible = || ProtocolError::Unintelligible {
        protocol: Connect,
        awaited: Awaited::Answer,
        said: match quiet {
            true => NOT_SHOWN.to_owned(),
            false => excerpt(line),
        },
    };
    let status = line.strip_prefix(b"HTTP/1.").ok_or_else(unintelligible)?;
    let [b'0'..=b'9', b' ', status @ ..] = status else {
        return Err(unintelligible());
    };
    let said = match (quiet, status) {
        (false, _) => excerpt(line),
        // The code, which is followed by words of the proxy's choice.
        (true, [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', ..]) => excerpt(&line[..CODE_END]),
        (true, _) => NOT_SHOWN.to_owned(),
    };
    match status {
        [b'2', b'0'..=b'9', b'0'..=b'9'] | [b'2', b'0'..=b'9', b'0'..=b'9', b' ', ..] => Ok(()),
        // 401 is tinyproxy's for credentials that are wrong.
        [b'4', b'0', b'1' | b'7', ..] => Err(ProtocolError::Credentials {
            protocol: Connect,
            awaited: Awaited::Answer,
            given: secrets.login.then(|| judged(&said)),
            said,
            note: None,
        }),
        _ => Err(ProtocolError::Refused {
            protocol: Connect,
            awaited: Awaited::Answer,
            said,
        }),
    }
}

/// Where the code of a status line ends.
const CODE_END: usize = "HTTP/1.1 200".len();
