//! XMPP: STARTTLS of RFC 6120, section 5, between clients and servers and between servers. Before TLS adit has a stream
//! of its own; the program's begins within TLS, and no word of the first goes into it. Never in here: a stanza.

use super::io::{Io, Step, send};
use super::script::State;
use super::xml::{self, Fault, Tag, Token};
use super::xmpp_error::XmppError;
use super::{Fresh, ProtocolError, Side};
use crate::config::Protocol;

const STREAMS: &str = "http://etherx.jabber.org/streams";
const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";

/// What one side may say before TLS, in bytes: two headers, and a list of what a server can do.
pub(super) const OPENING_MAX: usize = 16 * 1024;

fn fault<T>(error: XmppError) -> Result<T, ProtocolError> {
    Err(ProtocolError::Xmpp(error))
}

/// The namespace of what is said in a stream, which tells the kinds of its two ends.
fn content(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::XmppServer => "jabber:server",
        _ => "jabber:client",
    }
}

/// The next token of an end; `size` counts them. It is not taken before it is whole.
fn next(io: &mut Io<'_>, side: Side, size: &mut usize) -> Result<Option<Token>, ProtocolError> {
    let input = match side {
        Side::Front => &mut *io.front,
        Side::Back => &mut *io.back,
    };
    let found = xml::token(input.pending()).map_err(|trouble| blame(trouble, side))?;
    let Some((token, length)) = found else {
        return match input.ended {
            true => fault(XmppError::Closed(side)),
            false => Ok(None),
        };
    };
    *size += length;
    if *size > OPENING_MAX {
        return fault(XmppError::TooMuch(side));
    }
    input.take(length);
    Ok(Some(token))
}

fn blame(trouble: Fault, side: Side) -> ProtocolError {
    ProtocolError::Xmpp(match trouble {
        Fault::Restricted => XmppError::Restricted(side),
        Fault::NoXml => XmppError::NoStream(side),
        Fault::TooLong => XmppError::TooMuch(side),
    })
}

/// Whether a tag opens a stream of this protocol, of version 1.
fn judge(tag: &Tag, protocol: Protocol, side: Side) -> Result<(), XmppError> {
    if !tag.is("stream", STREAMS, &[]) || tag.empty {
        return Err(XmppError::NoStream(side));
    }
    match tag.attribute("xmlns") {
        Some(namespace) if namespace == content(protocol) => Ok(()),
        _ => Err(XmppError::OtherKind(side)),
    }
}

/// Whether it is of XMPP 1.0 or later, which bring a list of what a server can do (RFC 6120, section 4.7.5).
pub(super) fn is_modern(tag: &Tag) -> bool {
    let version = tag
        .attribute("version")
        .and_then(|version| version.split('.').next());
    version
        .and_then(|major| major.parse::<u32>().ok())
        .is_some_and(|major| major >= 1)
}

/// Whether it opens a stream.
pub(super) fn is_stream(tag: &Tag) -> bool {
    tag.is("stream", STREAMS, &[])
}

/// Whether it is what a server can do, or its child is the offer of TLS.
pub(super) fn is_features(tag: &Tag, stream: &Tag) -> bool {
    tag.is("features", STREAMS, &[stream])
}

/// See [`is_features`].
pub(super) fn is_offer(tag: &Tag, around: &[&Tag]) -> bool {
    tag.is("starttls", TLS, around)
}

/// The header of a stream of our own. What a peer wrote is repeated where it is a plain name alone.
fn header(protocol: Protocol, names: &[(&str, Option<&str>)]) -> String {
    let mut header = format!(
        "<?xml version='1.0'?><stream:stream xmlns='{}' xmlns:stream='{STREAMS}' version='1.0'",
        content(protocol)
    );
    let is_plain =
        |name: &&str| !name.contains(|char: char| char.is_whitespace() || "'\"<>&".contains(char));
    for (attribute, value) in names {
        if let Some(value) = value.filter(is_plain) {
            header += &format!(" {attribute}='{value}'");
        }
    }
    header + ">"
}

/// Ends our stream with a reason. `header`: it is opened first.
fn end_stream(io: &mut Io<'_>, header: Option<String>, error: &ProtocolError) {
    let ProtocolError::Xmpp(error) = error else {
        return;
    };
    let Some((condition, text)) = error.farewell() else {
        return;
    };
    const ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
    let said = format!(
        "{}<stream:error><{condition} xmlns='{ERRORS}'/><text xmlns='{ERRORS}'>adit: {text}</text></stream:error>\
         </stream:stream>",
        header.unwrap_or_default()
    );
    send(io.out, Side::Front, said.as_bytes());
}

/// A server with STARTTLS behind. Of the client nothing is taken but a look at its header: all that it says goes on
/// within TLS, where the server opens its stream for the first time in its eyes.
#[derive(Debug)]
pub(super) enum Client {
    /// Waiting for the client's header, which names the domain.
    Header,
    /// Waiting for the server's.
    Opening(usize),
    /// Waiting for what it can do; within the tags that are open there.
    Features {
        stream: Box<Tag>,
        open: Vec<Tag>,
        offered: bool,
        size: usize,
    },
    /// Waiting for the go-ahead, or for its end.
    GoAhead {
        stream: Box<Tag>,
        begun: Option<Tag>,
        size: usize,
    },
}

impl State for Client {
    fn hears_client(&self) -> bool {
        matches!(self, Client::Header)
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        let stepped = match self {
            Client::Header => Client::hear_client(io),
            Client::Opening(size) => Client::hear_opening(size, io),
            Client::Features {
                stream,
                open,
                offered,
                size,
            } => Client::hear_features(stream, open, offered, size, io),
            Client::GoAhead {
                stream,
                begun,
                size,
            } => Client::hear_go_ahead(stream, begun, size, io),
        };
        if let Err(error) = &stepped {
            let header = header(io.protocol, &[]);
            end_stream(io, Some(header), error);
        }
        stepped
    }
}

impl Client {
    /// Looks at the client's header, and opens a stream to its server.
    fn hear_client(io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        let said = io.front.pending();
        let mut at = 0;
        while let Some((token, length)) =
            xml::token(&said[at..]).map_err(|trouble| blame(trouble, Side::Front))?
        {
            at += length;
            let tag = match token {
                _ if at > OPENING_MAX => return fault(XmppError::TooMuch(Side::Front)),
                Token::Declaration | Token::Text(true) => continue,
                Token::Start(tag) => tag,
                Token::End(_) | Token::Text(false) => {
                    return fault(XmppError::NoStream(Side::Front));
                }
            };
            judge(&tag, io.protocol, Side::Front).map_err(ProtocolError::Xmpp)?;
            // A client that has no TLS yet does not tell who it is (section 4.7.1).
            let from = tag
                .attribute("from")
                .filter(|_| io.protocol == Protocol::XmppServer);
            let names = [("to", tag.attribute("to")), ("from", from)];
            send(io.out, Side::Back, header(io.protocol, &names).as_bytes());
            return Ok(Step::Next(Client::Opening(0)));
        }
        match io.front.ended {
            true => fault(XmppError::Closed(Side::Front)),
            false => Ok(Step::Wait(Client::Header)),
        }
    }

    fn hear_opening(mut size: usize, io: &mut Io<'_>) -> Result<Step<Client>, ProtocolError> {
        Ok(match next(io, Side::Back, &mut size)? {
            None => Step::Wait(Client::Opening(size)),
            Some(Token::Declaration | Token::Text(true)) => Step::Next(Client::Opening(size)),
            Some(Token::Start(tag)) => {
                judge(&tag, io.protocol, Side::Back).map_err(ProtocolError::Xmpp)?;
                if !is_modern(&tag) {
                    return fault(XmppError::TooOld(Side::Back));
                }
                Step::Next(Client::Features {
                    stream: Box::new(tag),
                    open: Vec::new(),
                    offered: false,
                    size,
                })
            }
            Some(_) => return fault(XmppError::NoStream(Side::Back)),
        })
    }

    fn hear_features(
        stream: Box<Tag>,
        mut open: Vec<Tag>,
        mut offered: bool,
        mut size: usize,
        io: &mut Io<'_>,
    ) -> Result<Step<Client>, ProtocolError> {
        let Some(token) = next(io, Side::Back, &mut size)? else {
            return Ok(Step::Wait(Client::Features {
                stream,
                open,
                offered,
                size,
            }));
        };
        match token {
            Token::Start(tag) => {
                match &open[..] {
                    [] if is_features(&tag, &stream) || tag.is("error", STREAMS, &[&stream]) => {}
                    [] => return fault(XmppError::NoStream(Side::Back)),
                    [first] if first.local() == "error" => {
                        return fault(XmppError::Ended(super::error::excerpt(
                            tag.local().as_bytes(),
                        )));
                    }
                    [features] => offered |= is_offer(&tag, &[features, &stream]),
                    _ => {}
                }
                if !tag.empty {
                    open.push(tag);
                }
            }
            Token::End(name) => match open.pop() {
                Some(tag) if tag.ends_with(&name) => {}
                // Its stream.
                None => return fault(XmppError::Closed(Side::Back)),
                Some(_) => return fault(XmppError::NoStream(Side::Back)),
            },
            Token::Text(true) if open.is_empty() => {
                return Ok(Step::Next(Client::Features {
                    stream,
                    open,
                    offered,
                    size,
                }));
            }
            Token::Text(_) if !open.is_empty() => {}
            Token::Text(_) | Token::Declaration => return fault(XmppError::NoStream(Side::Back)),
        }
        if !open.is_empty() {
            return Ok(Step::Next(Client::Features {
                stream,
                open,
                offered,
                size,
            }));
        }
        if !offered {
            return fault(XmppError::NotOffered);
        }
        send(
            io.out,
            Side::Back,
            format!("<starttls xmlns='{TLS}'/>").as_bytes(),
        );
        Ok(Step::Next(Client::GoAhead {
            stream,
            begun: None,
            size,
        }))
    }

    fn hear_go_ahead(
        stream: Box<Tag>,
        begun: Option<Tag>,
        mut size: usize,
        io: &mut Io<'_>,
    ) -> Result<Step<Client>, ProtocolError> {
        let token = next(io, Side::Back, &mut size)?;
        let state = |begun| Client::GoAhead {
            stream: stream.clone(),
            begun,
            size,
        };
        match (begun, token) {
            (begun, None) => return Ok(Step::Wait(state(begun))),
            (begun, Some(Token::Text(true))) => return Ok(Step::Next(state(begun))),
            (None, Some(Token::Start(tag))) if tag.is("proceed", TLS, &[&stream]) => {
                if !tag.empty {
                    return Ok(Step::Next(state(Some(tag))));
                }
            }
            (None, Some(Token::Start(tag))) if tag.is("failure", TLS, &[&stream]) => {
                return fault(XmppError::Refused);
            }
            (None, Some(Token::Start(tag))) if tag.is("error", STREAMS, &[&stream]) => {
                return fault(XmppError::Ended("instead of the go-ahead".to_owned()));
            }
            (Some(tag), Some(Token::End(name))) if tag.ends_with(&name) => {}
            _ => return fault(XmppError::NoStream(Side::Back)),
        }
        io.nothing_behind_starttls(Side::Back)?;
        Ok(Step::Tls)
    }
}

/// A client with STARTTLS in front. There is no server yet: its stream begins within TLS.
#[derive(Debug)]
pub(super) struct Server {
    /// What tells our stream from others; it is of no use.
    id: String,
    /// The client's, once it is open.
    stream: Option<Box<Tag>>,
    /// STARTTLS, where it waits for its end tag.
    begun: Option<Tag>,
    size: usize,
}

impl Server {
    pub(super) fn new(fresh: Fresh) -> Server {
        Server {
            id: fresh
                .random
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            stream: None,
            begun: None,
            size: 0,
        }
    }

    /// Our header, in answer to the client's.
    fn header(&self, client: Option<&Tag>, protocol: Protocol) -> String {
        let named = |name| client.and_then(|tag| tag.attribute(name));
        let to = named("from").filter(|_| protocol == Protocol::XmppServer);
        header(
            protocol,
            &[("from", named("to")), ("to", to), ("id", Some(&self.id))],
        )
    }

    /// Greets a client that opens its stream.
    fn open(&mut self, tag: Tag, io: &mut Io<'_>) -> Result<(), ProtocolError> {
        judge(&tag, io.protocol, Side::Front).map_err(ProtocolError::Xmpp)?;
        if !is_modern(&tag) {
            return fault(XmppError::TooOld(Side::Front));
        }
        let greeting = format!(
            "{}<stream:features><starttls xmlns='{TLS}'><required/></starttls></stream:features>",
            self.header(Some(&tag), io.protocol)
        );
        send(io.out, Side::Front, greeting.as_bytes());
        self.stream = Some(Box::new(tag));
        Ok(())
    }

    /// Whether TLS starts; `None`: the client ends its stream.
    fn hear(&mut self, token: Token, io: &mut Io<'_>) -> Result<Option<bool>, ProtocolError> {
        match (&self.stream, &self.begun, token) {
            (_, _, Token::Text(true)) | (None, _, Token::Declaration) => Ok(Some(false)),
            (None, _, Token::Start(tag)) => self.open(tag, io).map(|()| Some(false)),
            (None, _, _) => fault(XmppError::NoStream(Side::Front)),
            (Some(stream), None, Token::Start(tag)) if is_offer(&tag, &[stream]) => {
                let whole = tag.empty;
                self.begun = Some(tag);
                Ok(Some(whole))
            }
            (_, Some(tag), Token::End(name)) if tag.ends_with(&name) => Ok(Some(true)),
            (Some(stream), None, Token::End(name)) if stream.ends_with(&name) => Ok(None),
            (Some(_), _, _) => fault(XmppError::NotAsked),
        }
    }

    fn advance(mut self, io: &mut Io<'_>) -> Result<Step<Server>, (bool, ProtocolError)> {
        if self.size == 0 && io.client_began() == Some(true) {
            return Ok(Step::Tls);
        }
        let opened = self.stream.is_some();
        let told = |error| (opened, error);
        let Some(token) = next(io, Side::Front, &mut self.size).map_err(told)? else {
            return Ok(Step::Wait(self));
        };
        match self.hear(token, io).map_err(told)? {
            Some(false) => Ok(Step::Next(self)),
            Some(true) => {
                io.nothing_behind_starttls(Side::Front).map_err(told)?;
                send(
                    io.out,
                    Side::Front,
                    format!("<proceed xmlns='{TLS}'/>").as_bytes(),
                );
                Ok(Step::Tls)
            }
            None => {
                send(io.out, Side::Front, b"</stream:stream>");
                Ok(Step::End)
            }
        }
    }
}

impl State for Server {
    fn step(self, io: &mut Io<'_>) -> Result<Step<Server>, ProtocolError> {
        let header = self.header(None, io.protocol);
        self.advance(io).map_err(|(opened, error)| {
            end_stream(io, (!opened).then_some(header), &error);
            error
        })
    }
}
