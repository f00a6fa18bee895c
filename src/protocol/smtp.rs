//! SMTP: STARTTLS of RFC 3207; LMTP, which differs by a word here.

use super::error::excerpt;
use super::io::{Count, Io, Occasion, Size, Step, begins, first_word_is, split_word};
use super::script::State;
use super::{Action, Awaited, DIRECT_TLS_WAIT, ProtocolError, Side};

/// A plain client in front, a server with STARTTLS behind.
#[derive(Debug)]
pub(super) enum Client {
    /// Passing the greeting on, line by line; then EHLO with this name.
    Greeting { ehlo: String, size: Size },
    /// Skipping the answer to EHLO.
    Ehlo { size: Size },
    /// Waiting for the go-ahead.
    GoAhead { size: Size },
}

impl Client {
    pub(super) fn new(host: Option<&str>) -> Client {
        Client::saying(ehlo(host))
    }

    /// The same in LMTP (RFC 2033).
    pub(super) fn of_lmtp(host: Option<&str>) -> Client {
        Client::saying(ehlo(host).replacen("EHLO", "LHLO", 1))
    }

    fn saying(ehlo: String) -> Client {
        Client::Greeting {
            ehlo,
            size: Size::default(),
        }
    }
}

/// EHLO with this name, or another.
pub(super) fn ehlo(host: Option<&str>) -> String {
    // A line end in the name would be a command of its own.
    let name = host.unwrap_or("localhost").chars();
    let name: String = name.filter(|c| !c.is_control()).collect();
    format!("EHLO {name}")
}

impl State for Client {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        match self {
            Client::Greeting { ehlo, mut size } => {
                let Some(line) = reply_line(io, Awaited::Greeting, "220", &mut size, true)? else {
                    return Ok(Step::Wait(Client::Greeting { ehlo, size }));
                };
                if !line.last {
                    return Ok(Step::Next(Client::Greeting { ehlo, size }));
                }
                io.tell_server(ehlo);
                Ok(Step::Next(Client::Ehlo {
                    size: Size::default(),
                }))
            }
            Client::Ehlo { mut size } => {
                let Some(line) = reply_line(io, Awaited::Ehlo, "250", &mut size, false)? else {
                    return Ok(Step::Wait(Client::Ehlo { size }));
                };
                if !line.last {
                    return Ok(Step::Next(Client::Ehlo { size }));
                }
                // Asked for although it may not have been offered, as stunnel does: what counts
                // is the answer, which an attacker could forge as well as the offer.
                io.tell_server("STARTTLS");
                Ok(Step::Next(Client::GoAhead {
                    size: Size::default(),
                }))
            }
            Client::GoAhead { mut size } => {
                let Some(line) = reply_line(io, Awaited::GoAhead, "220", &mut size, false)? else {
                    return Ok(Step::Wait(Client::GoAhead { size }));
                };
                if !line.last {
                    return Ok(Step::Next(Client::GoAhead { size }));
                }
                io.nothing_behind_starttls(Side::Back)?;
                Ok(Step::Tls)
            }
        }
    }
}

/// A line of a reply that has the right code.
pub(super) struct ReplyLine {
    /// What follows the code and its separator.
    pub(super) text: Vec<u8>,
    /// No `-` behind the code: the reply's last line.
    pub(super) last: bool,
}

/// Takes a line of a reply (RFC 5321, section 4.2) that must have this code; `pass_on` gives the
/// client a reply also when it refuses.
pub(super) fn reply_line(
    io: &mut Io<'_>,
    awaited: Awaited,
    code: &str,
    size: &mut Size,
    pass_on: bool,
) -> Result<Option<ReplyLine>, ProtocolError> {
    let Some(line) = io.server_line(awaited, size)? else {
        return Ok(None);
    };
    let well_formed = line.len() >= 3
        && line[..3].iter().all(u8::is_ascii_digit)
        && matches!(line.get(3), None | Some(b' ' | b'-'));
    if !well_formed {
        return Err(ProtocolError::Unintelligible {
            protocol: io.protocol,
            awaited,
            said: excerpt(&line),
        });
    }
    if pass_on {
        io.tell_client(&line);
    }
    if !begins(&line, code) {
        return Err(ProtocolError::Refused {
            protocol: io.protocol,
            awaited,
            said: excerpt(&line),
        });
    }
    Ok(Some(ReplyLine {
        text: line.get(4..).unwrap_or_default().to_vec(),
        last: line.get(3) != Some(&b'-'),
    }))
}

/// A client with STARTTLS (or TLS at once) in front, a plain server behind.
#[derive(Debug)]
pub(super) enum Server {
    /// Nothing said yet.
    Start,
    /// Waiting whether the client begins with TLS at once.
    Detecting,
    /// Passing the greeting on; `domain` is known from its first line on.
    Greeting { domain: Option<Vec<u8>>, size: Size },
    /// Answering commands until STARTTLS.
    Commands { domain: Vec<u8>, commands: Count },
}

impl Server {
    pub(super) fn new() -> Server {
        Server::Start
    }

    /// For a client that is known not to begin with TLS.
    pub(super) fn greeting() -> Server {
        Server::Greeting {
            domain: None,
            size: Size::default(),
        }
    }
}

impl State for Server {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Server>, ProtocolError> {
        match self {
            Server::Start => {
                io.out.push(Action::Timer(DIRECT_TLS_WAIT));
                Ok(Step::Next(Server::Detecting))
            }
            Server::Detecting => Ok(match (io.client_began(), io.occasion) {
                (Some(true), _) => {
                    io.debug("RFC 2487 not detected");
                    Step::Tls
                }
                (Some(false), _) | (None, Occasion::Timer) => {
                    io.debug("RFC 2487 detected");
                    Step::Next(Server::greeting())
                }
                (None, _) => Step::Wait(Server::Detecting),
            }),
            Server::Greeting { domain, mut size } => {
                let Some(line) = reply_line(io, Awaited::Greeting, "220", &mut size, true)? else {
                    return Ok(Step::Wait(Server::Greeting { domain, size }));
                };
                let domain = domain.unwrap_or_else(|| match split_word(&line.text).0 {
                    b"" => b"localhost".to_vec(),
                    name => name.to_vec(),
                });
                Ok(Step::Next(match line.last {
                    true => Server::Commands {
                        domain,
                        commands: Count::default(),
                    },
                    false => Server::Greeting {
                        domain: Some(domain),
                        size,
                    },
                }))
            }
            Server::Commands {
                domain,
                mut commands,
            } => {
                let Some(line) = io.command(&mut commands)? else {
                    return Ok(Step::Wait(Server::Commands { domain, commands }));
                };
                match answer(io, &line, &domain)? {
                    Answer::Go => Ok(Step::Tls),
                    Answer::Bye => Ok(Step::End),
                    Answer::Next => Ok(Step::Next(Server::Commands { domain, commands })),
                }
            }
        }
    }
}

enum Answer {
    Go,
    Bye,
    Next,
}

fn answer(io: &mut Io<'_>, line: &[u8], domain: &[u8]) -> Result<Answer, ProtocolError> {
    let is = |word| first_word_is(line, word);
    let arguments = split_word(line).1;
    if is("STARTTLS") && arguments.is_empty() {
        io.nothing_behind_starttls(Side::Front)?;
        io.tell_client("220 Go ahead");
        return Ok(Answer::Go);
    }
    if is("QUIT") {
        io.tell_client([b"221 ", domain, b" closing connection"].concat());
        io.tell_server("QUIT");
        return Ok(Answer::Bye);
    }
    if is("EHLO") || is("LHLO") {
        io.tell_client([b"250-", domain].concat());
        io.tell_client("250 STARTTLS");
    } else if is("HELO") {
        io.tell_client([b"250 ", domain].concat());
    } else if is("STARTTLS") {
        io.tell_client("501 Syntax error (no parameters allowed)");
    } else if is("NOOP") || is("RSET") {
        io.tell_client("250 OK");
    } else {
        // RFC 3207, section 4: anything else may be refused with this.
        io.tell_client("530 5.7.0 Must issue a STARTTLS command first");
    }
    Ok(Answer::Next)
}
