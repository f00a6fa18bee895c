//! Shared by the protocols in lines: lines out of bytes, with bounds, and lines back.

use zeroize::Zeroize;

use super::{AHEAD_MAX, Action, Awaited, COMMANDS_MAX, LINE_MAX, ProtocolError, REPLY_MAX, Side};
use crate::config::Protocol;
use crate::helper::TokenAnswer;

/// Bytes of one end that no state has taken yet.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// `bytes` before this were taken.
    start: usize,
    /// No line ends between `start` and here.
    searched: usize,
    /// It said something.
    spoke: bool,
    /// It will say no more.
    pub(super) ended: bool,
}

impl Input {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.spoke = true;
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that were neither taken nor given away.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.pending().len()
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Takes the next `count` bytes away.
    pub(super) fn take(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        self.searched = self.searched.max(self.start);
    }

    /// Wipes what was taken: it was a secret.
    pub(super) fn wipe(&mut self) {
        self.bytes[..self.start].zeroize();
    }

    /// Takes the next line, without its end (CRLF, or LF alone as stunnel takes it). `Err`: it is
    /// longer than [`LINE_MAX`], whether its end has come or not.
    fn line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let Some(at) = self.bytes[self.searched..].iter().position(|&b| b == b'\n') else {
            self.searched = self.bytes.len();
            // One more for the CR of an end that is half there.
            return match self.pending().len() > LINE_MAX + 1 {
                true => Err(TooLong),
                false => Ok(None),
            };
        };
        let end = self.searched + at;
        let line = &self.bytes[self.start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > LINE_MAX {
            return Err(TooLong);
        }
        let line = line.to_vec();
        self.start = end + 1;
        self.searched = self.start;
        Ok(Some(line))
    }

    /// The next line with its end, left where it is; as [`Input::line`].
    pub(super) fn peek_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let (start, searched) = (self.start, self.searched);
        let line = self.line()?;
        let end = self.start;
        self.start = start;
        Ok(line.map(|_| {
            self.searched = searched;
            self.bytes[start..end].to_vec()
        }))
    }

    /// Takes the next line with its end; as [`Input::line`].
    pub(super) fn whole_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let line = self.peek_line()?;
        self.take(line.as_ref().map_or(0, Vec::len));
        Ok(line)
    }

    /// Gives away what is left, and the buffer with it.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..std::mem::take(&mut self.start));
        self.searched = 0;
        bytes
    }
}

/// A line is longer than [`LINE_MAX`].
pub(super) struct TooLong;

/// The result of a state's step.
pub(super) enum Step<S> {
    /// Go on with this state at once.
    Next(S),
    /// This state needs another event.
    Wait(S),
    /// TLS starts.
    Tls,
    /// The client goes on in plain.
    Plain,
    /// The client took its leave.
    End,
}

/// Why a state is stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    Start,
    Timer,
    Input,
    /// The server is connected anew.
    Connected,
    /// It cannot be.
    Unreachable,
}

/// Counts a client's commands.
#[derive(Debug, Default)]
pub(super) struct Count(u16);

impl Count {
    /// Counts one; whether there are at most so many.
    pub(super) fn one_more(&mut self, most: u16) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 <= most
    }
}

/// The size so far of a server's reply, in bytes.
#[derive(Debug, Default)]
pub(super) struct Size(usize);

impl Size {
    /// Adds a line; whether the reply is still short enough.
    fn add(&mut self, line: &[u8]) -> bool {
        self.0 += line.len() + 1;
        self.0 <= REPLY_MAX
    }
}

/// The view and the means of a state in one step.
pub(super) struct Io<'a> {
    pub(super) protocol: Protocol,
    pub(super) occasion: Occasion,
    /// What was asked for.
    pub(super) token: Option<TokenAnswer>,
    pub(super) front: &'a mut Input,
    pub(super) back: &'a mut Input,
    pub(super) out: &'a mut Vec<Action>,
}

impl Io<'_> {
    pub(super) fn tell_client(&mut self, line: impl AsRef<[u8]>) {
        send_line(self.out, Side::Front, line.as_ref());
    }

    pub(super) fn tell_server(&mut self, line: impl AsRef<[u8]>) {
        send_line(self.out, Side::Back, line.as_ref());
    }

    pub(super) fn debug(&mut self, text: &str) {
        self.out.push(Action::Log(7, text.to_owned()));
    }

    /// The next line of a reply, if it is there; `size` is that of the same reply.
    pub(super) fn server_line(
        &mut self,
        awaited: Awaited,
        size: &mut Size,
    ) -> Result<Option<Vec<u8>>, ProtocolError> {
        let protocol = self.protocol;
        match self.back.line() {
            Ok(Some(line)) if !size.add(&line) => {
                Err(ProtocolError::ReplyTooLong { protocol, awaited })
            }
            Ok(None) if self.back.ended => Err(ProtocolError::ServerClosed { protocol, awaited }),
            Ok(line) => Ok(line),
            Err(TooLong) => Err(ProtocolError::LineTooLong { protocol, awaited }),
        }
    }

    /// The client's next command, if it is there (server mode); `commands` counts them. While it
    /// is waited for, a server that leaves ends the dialogue.
    pub(super) fn command(
        &mut self,
        commands: &mut Count,
    ) -> Result<Option<Vec<u8>>, ProtocolError> {
        let protocol = self.protocol;
        if self.back.ended {
            return Err(ProtocolError::ServerClosed {
                protocol,
                awaited: Awaited::Command,
            });
        }
        // A TLS record of a handshake (RFC 8446, section 5.1) is no command of any mail protocol.
        if self.front.pending().first() == Some(&0x16) {
            return Err(ProtocolError::TlsOutOfTurn { protocol });
        }
        match self.front.line() {
            Ok(Some(_)) if commands.0 >= COMMANDS_MAX => {
                Err(ProtocolError::TooManyCommands { protocol })
            }
            Ok(Some(line)) => {
                commands.0 += 1;
                Ok(Some(line))
            }
            Ok(None) if self.front.ended => Err(ProtocolError::ClientClosed { protocol }),
            Ok(line) => Ok(line),
            Err(TooLong) => Err(ProtocolError::CommandTooLong { protocol }),
        }
    }

    /// Whether the client said something, and whether it was the first byte of a TLS handshake.
    pub(super) fn client_began(&self) -> Option<bool> {
        self.front.pending().first().map(|&byte| byte == 0x16)
    }

    /// TLS begins on `side` after plain words there: whatever it said behind the last of them
    /// came before the handshake and must not be taken as coming from within TLS (the injection
    /// of CVE-2011-0411).
    pub(super) fn nothing_behind_starttls(&self, side: Side) -> Result<(), ProtocolError> {
        let input = match side {
            Side::Front => &self.front,
            Side::Back => &self.back,
        };
        match input.pending().is_empty() {
            true => Ok(()),
            false => Err(ProtocolError::PlaintextBehindStarttls {
                protocol: self.protocol,
                side,
            }),
        }
    }

    /// What holds for every state that waits: bounded memory, and a client that is still there.
    /// A client that has closed but left words behind may only have closed its half.
    /// `heard`: the client has a part in it.
    pub(super) fn check_waiting(&self, heard: bool) -> Result<(), ProtocolError> {
        let protocol = self.protocol;
        for (side, input) in [(Side::Front, &self.front), (Side::Back, &self.back)] {
            if input.pending().len() > AHEAD_MAX {
                return Err(ProtocolError::TooMuchAhead { protocol, side });
            }
        }
        if heard && self.front.ended && self.front.pending().is_empty() {
            return Err(match self.back.spoke {
                true => ProtocolError::ClientClosed { protocol },
                // The client may have waited long: it is not to blame.
                false => ProtocolError::NothingSaid { protocol },
            });
        }
        Ok(())
    }
}

/// Adds a line to what goes to `side`, and to the same write as the line before it.
pub(super) fn send_line(out: &mut Vec<Action>, side: Side, line: &[u8]) {
    send(out, side, line);
    send(out, side, b"\r\n");
}

/// As [`send_line`], for bytes as they are.
pub(super) fn send(out: &mut Vec<Action>, side: Side, words: &[u8]) {
    match out.last_mut() {
        Some(Action::Send(to, bytes)) if *to == side => bytes.extend_from_slice(words),
        _ => out.push(Action::Send(side, words.to_vec())),
    }
}

/// Whether `text` begins with `prefix`, whatever the case.
pub(super) fn begins(text: &[u8], prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Whether the first word of `text` is `word`, whatever the case.
pub(super) fn first_word_is(text: &[u8], word: &str) -> bool {
    begins(text, word) && matches!(text.get(word.len()), None | Some(b' '))
}

/// Splits a line at its first blank; the second half has no blanks at its ends.
pub(super) fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|&b| b == b' ') {
        Some(at) => (&line[..at], line[at + 1..].trim_ascii()),
        None => (line, &[]),
    }
}
