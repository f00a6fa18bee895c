//! IMAP: STARTTLS of RFC 2595 and RFC 9051, section 6.2.1.

use super::error::excerpt;
use super::io::{Count, Io, Occasion, Size, Step, begins, first_word_is, split_word};
use super::script::State;
use super::{Action, Awaited, DIRECT_TLS_WAIT, ProtocolError, Side};
use crate::config::Protocol::Imap;

/// The tag of our own commands.
pub(super) const TAG: &str = "adit";

/// A plain client in front, a server with STARTTLS behind.
#[derive(Debug)]
pub(super) enum Client {
    /// Waiting for the greeting.
    Greeting,
    /// Waiting for the go-ahead.
    GoAhead { size: Size },
}

impl Client {
    pub(super) fn new() -> Client {
        Client::Greeting
    }
}

impl State for Client {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        match self {
            Client::Greeting => {
                let Some(_) = greeting(io)? else {
                    return Ok(Step::Wait(Client::Greeting));
                };
                // The server's own words may carry capabilities of the time before TLS
                // (STARTTLS, LOGINDISABLED), of which a plain client should not learn.
                io.tell_client("* OK Connected.");
                io.tell_server(format!("{TAG} STARTTLS"));
                Ok(Step::Next(Client::GoAhead {
                    size: Size::default(),
                }))
            }
            Client::GoAhead { mut size } => match status(io, Awaited::GoAhead, &mut size)? {
                None => Ok(Step::Wait(Client::GoAhead { size })),
                Some(Status::Untagged(_)) => Ok(Step::Next(Client::GoAhead { size })),
                Some(Status::Ok) => {
                    io.nothing_behind_starttls(Side::Back)?;
                    Ok(Step::Tls)
                }
            },
        }
    }
}

/// Takes the greeting; one that refuses is passed on. `* PREAUTH` is no greeting to start TLS
/// from (RFC 9051, section 7.1.4): the session would belong to another user.
fn greeting(io: &mut Io<'_>) -> Result<Option<Vec<u8>>, ProtocolError> {
    let awaited = Awaited::Greeting;
    let Some(line) = io.server_line(awaited, &mut Size::default())? else {
        return Ok(None);
    };
    let said = excerpt(&line);
    if first_word_is(&line, "* OK") {
        Ok(Some(line))
    } else if first_word_is(&line, "* BYE") {
        io.tell_client(&line);
        Err(ProtocolError::Refused {
            protocol: Imap,
            awaited,
            said,
        })
    } else {
        Err(ProtocolError::Unintelligible {
            protocol: Imap,
            awaited,
            said,
        })
    }
}

/// A line of the answer to a command of ours.
enum Status {
    /// `* ...`: something the server wanted to say, now or at any time (RFC 9051, section 7).
    Untagged(Vec<u8>),
    /// The command's end.
    Ok,
}

fn status(
    io: &mut Io<'_>,
    awaited: Awaited,
    size: &mut Size,
) -> Result<Option<Status>, ProtocolError> {
    let Some(line) = io.server_line(awaited, size)? else {
        return Ok(None);
    };
    let (tag, rest) = split_word(&line);
    let refused = match tag {
        b"*" if first_word_is(rest, "BYE") => true,
        b"*" => return Ok(Some(Status::Untagged(line))),
        _ if tag != TAG.as_bytes() => false,
        _ if first_word_is(rest, "OK") => return Ok(Some(Status::Ok)),
        _ => first_word_is(rest, "NO") || first_word_is(rest, "BAD"),
    };
    let said = excerpt(&line);
    Err(match refused {
        true => ProtocolError::Refused {
            protocol: Imap,
            awaited,
            said,
        },
        false => ProtocolError::Unintelligible {
            protocol: Imap,
            awaited,
            said,
        },
    })
}

/// A client with STARTTLS (or TLS at once) in front, a plain server behind.
#[derive(Debug)]
pub(super) enum Server {
    /// Nothing said yet.
    Start,
    /// Waiting whether the client begins with TLS at once.
    Detecting,
    /// Waiting for the server's greeting.
    Greeting,
    /// Answering commands until STARTTLS.
    Commands(Count),
    /// The client asked what the server can do, with this tag, and so was the server.
    Capability {
        tag: Vec<u8>,
        commands: Count,
        size: Size,
    },
}

impl Server {
    pub(super) fn new() -> Server {
        Server::Start
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
                    io.debug("RFC 2595 not detected");
                    Step::Tls
                }
                (Some(false), _) | (None, Occasion::Timer) => {
                    io.debug("RFC 2595 detected");
                    Step::Next(Server::Greeting)
                }
                (None, _) => Step::Wait(Server::Detecting),
            }),
            Server::Greeting => {
                let Some(line) = greeting(io)? else {
                    return Ok(Step::Wait(Server::Greeting));
                };
                io.tell_client(without_capabilities(&line));
                Ok(Step::Next(Server::Commands(Count::default())))
            }
            Server::Commands(mut commands) => {
                let Some(line) = io.command(&mut commands)? else {
                    return Ok(Step::Wait(Server::Commands(commands)));
                };
                answer(io, &line, commands)
            }
            Server::Capability {
                tag,
                commands,
                mut size,
            } => match status(io, Awaited::Capability, &mut size)? {
                None => Ok(Step::Wait(Server::Capability {
                    tag,
                    commands,
                    size,
                })),
                Some(Status::Untagged(line)) => {
                    io.tell_client(with_starttls(&line));
                    Ok(Step::Next(Server::Capability {
                        tag,
                        commands,
                        size,
                    }))
                }
                Some(Status::Ok) => {
                    io.tell_client([&tag[..], b" OK CAPABILITY completed"].concat());
                    Ok(Step::Next(Server::Commands(commands)))
                }
            },
        }
    }
}

fn answer(io: &mut Io<'_>, line: &[u8], commands: Count) -> Result<Step<Server>, ProtocolError> {
    let (tag, command) = split_word(line);
    if tag.is_empty() || command.is_empty() || tag == b"*" || tag == b"+" {
        io.tell_client("* BAD Command with a tag expected");
        return Ok(Step::Next(Server::Commands(commands)));
    }
    let tagged = |text: &str| [tag, b" ", text.as_bytes()].concat();
    if command.eq_ignore_ascii_case(b"STARTTLS") {
        io.nothing_behind_starttls(Side::Front)?;
        io.tell_client(tagged("OK Begin TLS negotiation now"));
        return Ok(Step::Tls);
    }
    if command.eq_ignore_ascii_case(b"CAPABILITY") {
        io.tell_server(format!("{TAG} CAPABILITY"));
        return Ok(Step::Next(Server::Capability {
            tag: tag.to_vec(),
            commands,
            size: Size::default(),
        }));
    }
    if command.eq_ignore_ascii_case(b"LOGOUT") {
        io.tell_client("* BYE logging out");
        io.tell_client(tagged("OK LOGOUT completed"));
        io.tell_server(format!("{TAG} LOGOUT"));
        return Ok(Step::End);
    }
    if command.eq_ignore_ascii_case(b"NOOP") {
        io.tell_client(tagged("OK NOOP completed"));
    } else {
        // RFC 5530; whatever LOGIN carried is not passed on.
        io.tell_client(tagged(
            "NO [PRIVACYREQUIRED] Must issue a STARTTLS command first",
        ));
    }
    Ok(Step::Next(Server::Commands(commands)))
}

/// A greeting without its capabilities: they lack STARTTLS, and a client that believed them would
/// not ask again.
pub(super) fn without_capabilities(line: &[u8]) -> Vec<u8> {
    const CODE: &str = "[CAPABILITY";
    let Some(start) = (0..line.len()).find(|&at| begins(&line[at..], CODE)) else {
        return line.to_vec();
    };
    let rest = match line[start..].iter().position(|&byte| byte == b']') {
        Some(end) => line[start + end + 1..].trim_ascii_start(),
        None => &[],
    };
    match rest.is_empty() {
        true => [&line[..start], b"Connected."].concat(),
        false => [&line[..start], rest].concat(),
    }
}

/// The server's capabilities as they are before TLS: no way to log in, and STARTTLS (RFC 2595,
/// section 3). Other lines stay as they are.
fn with_starttls(line: &[u8]) -> Vec<u8> {
    if !begins(line, "* CAPABILITY") {
        return line.to_vec();
    }
    let ours = |word: &&[u8]| {
        !(word.is_empty()
            || begins(word, "AUTH=")
            || word.eq_ignore_ascii_case(b"STARTTLS")
            || word.eq_ignore_ascii_case(b"LOGINDISABLED"))
    };
    let mut words: Vec<&[u8]> = line.split(|&byte| byte == b' ').filter(ours).collect();
    words.extend([&b"STARTTLS"[..], b"LOGINDISABLED"]);
    words.join(&b' ')
}
