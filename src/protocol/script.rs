//! A dialogue in lines, as a script whose states consume each other.

use std::fmt;

use super::io::{self, Input, Io, Occasion, Step};
use super::{Action, Dialogue, Event, Progress, ProtocolError, Side};
use crate::config::Protocol;
use crate::helper::TokenAnswer;

/// One protocol in one mode.
pub(super) trait State: fmt::Debug + Send + Sized {
    /// Whether the client is heard now; else it waits for the next stage.
    fn hears_client(&self) -> bool {
        true
    }

    /// Goes on with what is there.
    ///
    /// # Errors
    /// The first offence of either end.
    fn step(self, io: &mut Io<'_>) -> Result<Step<Self>, ProtocolError>;
}

/// The dialogue that begins in this state; TLS is the next stage.
pub(super) fn script<S: State + 'static>(protocol: Protocol, state: S) -> Box<dyn Dialogue> {
    Box::new(Script::new(protocol, state))
}

/// The same once TLS has begun.
pub(super) fn within<S: State + 'static>(protocol: Protocol, state: S) -> Box<dyn Dialogue> {
    Box::new(Script {
        within: true,
        ..Script::new(protocol, state)
    })
}

/// The same; TLS begins with the client, before the next stage.
pub(super) fn offer<S: State + 'static>(protocol: Protocol, state: S) -> Box<dyn Dialogue> {
    Box::new(Script {
        tls: Progress::Tls,
        ..Script::new(protocol, state)
    })
}

#[derive(Debug)]
struct Script<S> {
    protocol: Protocol,
    /// What comes when TLS starts.
    tls: Progress,
    /// TLS has begun.
    within: bool,
    front: Input,
    back: Input,
    /// `None` once it is over.
    state: Option<S>,
}

impl<S: State> Script<S> {
    fn new(protocol: Protocol, state: S) -> Self {
        Self {
            protocol,
            tls: Progress::Next,
            within: false,
            front: Input::default(),
            back: Input::default(),
            state: Some(state),
        }
    }

    fn advance(
        &mut self,
        mut state: S,
        occasion: Occasion,
        token: Option<TokenAnswer>,
        out: &mut Vec<Action>,
    ) -> Result<Progress, ProtocolError> {
        let mut io = Io {
            protocol: self.protocol,
            occasion,
            token,
            front: &mut self.front,
            back: &mut self.back,
            out,
        };
        loop {
            state = match state.step(&mut io)? {
                Step::Next(next) => next,
                Step::Wait(waiting) => {
                    io.check_waiting(waiting.hears_client())?;
                    self.state = Some(waiting);
                    return Ok(Progress::More);
                }
                Step::Tls => return Ok(self.tls),
                Step::Plain => return Ok(Progress::Next),
                Step::End => return Ok(Progress::End),
            };
            // An event starts one state; what follows in the same turn has only the input.
            io.occasion = Occasion::Input;
        }
    }

    fn input(&mut self, side: Side) -> &mut Input {
        match side {
            Side::Front => &mut self.front,
            Side::Back => &mut self.back,
        }
    }
}

impl<S: State> Dialogue for Script<S> {
    fn feed(&mut self, event: Event<'_>, out: &mut Vec<Action>) -> Result<Progress, ProtocolError> {
        let state = self.state.take().ok_or(ProtocolError::Over)?;
        let token = match event {
            Event::Token(answer) => Some(answer.clone()),
            _ => None,
        };
        let occasion = match event {
            Event::Start => Occasion::Start,
            Event::Timer => Occasion::Timer,
            Event::Bytes(side, bytes) => {
                self.input(side).push(bytes);
                Occasion::Input
            }
            Event::Eof(side) => {
                self.input(side).ended = true;
                Occasion::Input
            }
            Event::Connected(_) => {
                // It is another connection.
                self.back = Input::default();
                Occasion::Connected
            }
            Event::Unreachable(_) => Occasion::Unreachable,
            // Scripts ask for no addresses.
            Event::Answer(_) | Event::Token(_) => Occasion::Input,
        };
        let result = self
            .advance(state, occasion, token, out)
            .map_err(|error| match self.within {
                true => ProtocolError::WithinTls(Box::new(error)),
                false => error,
            });
        if let Err(error) = &result
            && let Some(farewell) = error.farewell()
        {
            io::send_line(out, Side::Front, farewell.as_bytes());
        }
        result
    }

    fn take_rest(&mut self, side: Side) -> Vec<u8> {
        self.input(side).rest()
    }

    fn hears(&self, side: Side) -> bool {
        side == Side::Back || self.state.as_ref().is_none_or(State::hears_client)
    }

    #[cfg(test)]
    fn held(&self, side: Side) -> usize {
        match side {
            Side::Front => self.front.held(),
            Side::Back => self.back.held(),
        }
    }
}
