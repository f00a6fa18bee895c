//! XMPP in server mode, within TLS: a server that may offer STARTTLS, as its side is plain, does not offer it to a client
//! that has TLS (RFC 6120, section 5.4.3.3). Only the first list of what it can do may; what is no such list passes
//! unchanged, and ends this. Never in here: an error for what a client or a server says.

use super::io::{Input, Io, Step, send};
use super::script::State;
use super::xml::{self, Tag, Token};
use super::xmpp::{self, OPENING_MAX};
use super::{ProtocolError, Side};

#[derive(Debug)]
pub(super) enum Features {
    /// Passing the client's header on.
    Client(usize),
    /// Passing the server's on.
    Server(usize),
    List(Box<List>),
}

/// The server's list.
#[derive(Debug)]
pub(super) struct List {
    stream: Tag,
    /// The tags that are open in it.
    open: Vec<Tag>,
    /// In the offer of TLS, which is that of this depth.
    offer: Option<usize>,
    /// All of it so far, and without the offer.
    whole: Vec<u8>,
    kept: Vec<u8>,
}

/// The next token and its length; `Err`: it is none, or there will be none.
fn look(input: &Input) -> Result<Option<(Token, usize)>, ()> {
    match xml::token(input.pending()) {
        Ok(Some(found)) => Ok(Some(found)),
        Ok(None) if !input.ended => Ok(None),
        Ok(None) | Err(_) => Err(()),
    }
}

/// Takes the next bytes of an end.
fn take(input: &mut Input, length: usize) -> Vec<u8> {
    let text = input.pending()[..length].to_vec();
    input.take(length);
    text
}

impl State for Features {
    fn hears_client(&self) -> bool {
        matches!(self, Features::Client(_))
    }

    fn step(self, io: &mut Io<'_>) -> Result<Step<Features>, ProtocolError> {
        let (side, size) = match &self {
            // A server that speaks first is none of XMPP.
            Features::Client(_) if !io.back.pending().is_empty() || io.back.ended => {
                return Ok(Step::Plain);
            }
            Features::Client(size) => (Side::Front, *size),
            Features::Server(size) => (Side::Back, *size),
            Features::List(list) => (Side::Back, list.whole.len()),
        };
        let input = match side {
            Side::Front => &mut *io.front,
            Side::Back => &mut *io.back,
        };
        let found = match look(input) {
            Ok(None) => return Ok(Step::Wait(self)),
            Ok(Some((token, length))) if size + length <= OPENING_MAX => Some((token, length)),
            Ok(Some(_)) | Err(()) => None,
        };
        Ok(match (self, found) {
            (Features::List(mut list), found) => {
                let heard = match found {
                    Some((token, length)) => list.hear(token, input, length),
                    None => Heard::Other,
                };
                match heard {
                    Heard::More => return Ok(Step::Next(Features::List(list))),
                    Heard::List => send(io.out, Side::Front, &list.kept),
                    Heard::Other => send(io.out, Side::Front, &list.whole),
                }
                Step::Plain
            }
            (state, Some((token, length))) => {
                let next = match (state, token) {
                    (Features::Client(_), Token::Declaration | Token::Text(true)) => {
                        Features::Client(size + length)
                    }
                    (Features::Server(_), Token::Declaration | Token::Text(true)) => {
                        Features::Server(size + length)
                    }
                    // One that is older than such lists is sent none, whatever the server's header says.
                    (Features::Client(_), Token::Start(tag))
                        if xmpp::is_stream(&tag) && xmpp::is_modern(&tag) =>
                    {
                        Features::Server(0)
                    }
                    (Features::Server(_), Token::Start(tag))
                        if xmpp::is_stream(&tag) && xmpp::is_modern(&tag) =>
                    {
                        Features::List(Box::new(List::new(tag)))
                    }
                    _ => return Ok(Step::Plain),
                };
                let text = take(input, length);
                let other = match side {
                    Side::Front => Side::Back,
                    Side::Back => Side::Front,
                };
                send(io.out, other, &text);
                Step::Next(next)
            }
            (_, None) => Step::Plain,
        })
    }
}

enum Heard {
    /// The list goes on.
    More,
    /// It is over.
    List,
    /// It is none; the token was not taken.
    Other,
}

impl List {
    fn new(stream: Tag) -> List {
        List {
            stream,
            open: Vec::new(),
            offer: None,
            whole: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Takes a token of this length, if it belongs to a list.
    fn hear(&mut self, token: Token, input: &mut Input, length: usize) -> Heard {
        let mut hidden = self.offer.is_some();
        let over = match (token, &self.open[..]) {
            (Token::Text(true), []) => false,
            (Token::Text(_), [_, ..]) => false,
            (Token::Start(tag), open) => {
                match open {
                    [] if !xmpp::is_features(&tag, &self.stream) => return Heard::Other,
                    [features] if xmpp::is_offer(&tag, &[features, &self.stream]) => {
                        hidden = true;
                        self.offer = (!tag.empty).then_some(1);
                    }
                    _ => {}
                }
                let empty = tag.empty;
                if !empty {
                    self.open.push(tag);
                }
                empty && self.open.is_empty()
            }
            (Token::End(name), [.., tag]) if tag.ends_with(&name) => {
                self.open.pop();
                self.offer = self.offer.filter(|depth| self.open.len() > *depth);
                self.open.is_empty()
            }
            _ => return Heard::Other,
        };
        let text = take(input, length);
        if !hidden {
            self.kept.extend_from_slice(&text);
        }
        self.whole.extend_from_slice(&text);
        match over {
            true => Heard::List,
            false => Heard::More,
        }
    }
}
