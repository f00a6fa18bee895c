//! Whether a client begins with TLS: its first bytes are a ClientHello, or they are not, or they do not come
//! while the server has something to say. What is said until then is kept. Never in here: a reply.

use std::time::Duration;

use super::{AHEAD_MAX, Action, DIRECT_TLS_WAIT, Dialogue, Event, Progress, ProtocolError, Side};

/// What comes when the client does not begin with TLS.
#[derive(Debug)]
pub(super) enum Then {
    /// The next stage, when the moment is over.
    Next,
    /// The same, but not before one of both has said something: until then a ClientHello is as welcome as
    /// before.
    Words,
    /// This dialogue, as of [`Then::Words`].
    Dialogue(Box<dyn Dialogue>),
}

#[derive(Debug)]
pub(super) struct Look {
    wait: Duration,
    then: Then,
    stage: Stage,
    front: Heard,
    back: Heard,
}

/// What an end said before it was known what the client does.
#[derive(Debug, Default)]
struct Heard {
    words: Vec<u8>,
    ended: bool,
}

impl Heard {
    fn something(&self) -> bool {
        self.ended || !self.words.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The moment is not over.
    Looking,
    /// It is over, and nothing was said so far.
    Waiting,
    /// The dialogue has begun.
    Talking,
    /// The client begins TLS, or the next stage begins.
    Over,
}

impl Look {
    /// Looks for `wait`.
    pub(super) fn new(wait: Duration, then: Then) -> Look {
        Look {
            wait,
            then,
            stage: Stage::Looking,
            front: Heard::default(),
            back: Heard::default(),
        }
    }

    fn heard(&mut self, side: Side) -> &mut Heard {
        match side {
            Side::Front => &mut self.front,
            Side::Back => &mut self.back,
        }
    }

    /// Whether the client begins with TLS; `None`: not known yet.
    fn begins_with_tls(&self) -> Option<bool> {
        if let Some(known) = is_hello(&self.front.words) {
            return Some(known);
        }
        let spoken = self.front.something() || self.back.something();
        let patient = match (self.stage, &self.then) {
            (Stage::Looking, _) => true,
            (_, Then::Next) => false,
            (_, Then::Words | Then::Dialogue(_)) => !spoken,
        };
        // A server that says so much at once does not wait for a client.
        let flooded = self.back.words.len() > AHEAD_MAX;
        (!patient || self.front.ended || flooded).then_some(false)
    }

    /// The client speaks plain: gives the dialogue what was said so far.
    fn go_on(&mut self, out: &mut Vec<Action>) -> Result<Progress, ProtocolError> {
        let Then::Dialogue(dialogue) = &mut self.then else {
            self.stage = Stage::Over;
            return Ok(Progress::Next);
        };
        self.stage = Stage::Talking;
        let mut progress = dialogue.feed(Event::Start, out)?;
        for (side, heard) in [(Side::Back, &mut self.back), (Side::Front, &mut self.front)] {
            if progress == Progress::More && !heard.words.is_empty() {
                let words = std::mem::take(&mut heard.words);
                progress = dialogue.feed(Event::Bytes(side, &words), out)?;
            }
            if progress == Progress::More && heard.ended {
                progress = dialogue.feed(Event::Eof(side), out)?;
            }
        }
        Ok(progress)
    }
}

impl Dialogue for Look {
    fn feed(&mut self, event: Event<'_>, out: &mut Vec<Action>) -> Result<Progress, ProtocolError> {
        match (self.stage, &mut self.then) {
            (Stage::Talking, Then::Dialogue(dialogue)) => {
                return dialogue.feed(event, out).map_err(late);
            }
            (Stage::Looking | Stage::Waiting, _) => {}
            (Stage::Talking | Stage::Over, _) => return Err(ProtocolError::Over),
        }
        match event {
            Event::Start => out.push(Action::Timer(self.wait)),
            Event::Timer => self.stage = Stage::Waiting,
            Event::Bytes(Side::Back, words) => self.back.words.extend_from_slice(words),
            Event::Bytes(Side::Front, words) => {
                self.front.words.extend_from_slice(words);
                if self.stage == Stage::Waiting && is_hello(&self.front.words).is_none() {
                    // A part of a hello: the rest is on its way.
                    self.stage = Stage::Looking;
                    out.push(Action::Timer(DIRECT_TLS_WAIT));
                }
            }
            Event::Eof(side) => self.heard(side).ended = true,
            // It asks for none of them.
            Event::Connected(_) | Event::Unreachable(_) | Event::Answer(_) | Event::Token(_) => {}
        }
        match self.begins_with_tls() {
            None => Ok(Progress::More),
            Some(true) => {
                self.stage = Stage::Over;
                out.push(Action::Log(7, "The client begins with TLS".to_owned()));
                Ok(Progress::Tls)
            }
            Some(false) => {
                if !matches!(self.then, Then::Next) {
                    out.push(Action::Log(7, "The client begins in plain".to_owned()));
                }
                self.go_on(out).map_err(late)
            }
        }
    }

    fn take_rest(&mut self, side: Side) -> Vec<u8> {
        let mut rest = match &mut self.then {
            Then::Dialogue(dialogue) => dialogue.take_rest(side),
            Then::Next | Then::Words => Vec::new(),
        };
        rest.append(&mut self.heard(side).words);
        rest
    }

    #[cfg(test)]
    fn held(&self, side: Side) -> usize {
        let own = match side {
            Side::Front => &self.front,
            Side::Back => &self.back,
        };
        own.words.len()
            + match &self.then {
                Then::Dialogue(dialogue) => dialogue.held(side),
                Then::Next | Then::Words => 0,
            }
    }
}

/// A hello in the dialogue is one that was looked for, and came behind the greeting.
fn late(error: ProtocolError) -> ProtocolError {
    match error {
        ProtocolError::TlsOutOfTurn { protocol } => ProtocolError::TlsTooLate { protocol },
        other => other,
    }
}

/// Whether a client that says this begins TLS: by a record of a handshake (RFC 8446, section 5.1), or by a
/// ClientHello in the form of SSLv2 (RFC 5246, appendix E.2), which old clients send to be understood by
/// yet older servers. `None`: more must come to tell.
pub(super) fn is_hello(words: &[u8]) -> Option<bool> {
    match words {
        [] | [0x16] => None,
        [0x16, major, ..] => Some(*major == 3),
        // A length of two bytes with the highest bit set, the type of a ClientHello, its version: 3.x, or
        // 0.2 for SSLv2.
        [0x80..=0xff] | [0x80..=0xff, _] | [0x80..=0xff, _, 1] => None,
        [0x80..=0xff, _, 1, major, ..] => Some(matches!(major, 0 | 3)),
        _ => Some(false),
    }
}
