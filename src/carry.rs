//! Bytes carried between two descriptors that know no TLS, by a process that has nothing else to do: a
//! program's terminal, and the pipes of an inetd. Never in here: what the bytes mean, or a wait.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

/// Bytes on their way: what a terminal takes at once.
const ROOM: usize = 4096;

/// One direction.
#[derive(Debug)]
pub(crate) struct Way {
    bytes: [u8; ROOM],
    start: usize,
    end: usize,
    /// Nothing comes any more.
    pub(crate) ended: bool,
    /// The other end knows that.
    pub(crate) told: bool,
}

impl Default for Way {
    fn default() -> Way {
        Way {
            bytes: [0; ROOM],
            start: 0,
            end: 0,
            ended: false,
            told: false,
        }
    }
}

impl Way {
    /// Nothing is on the way.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Nothing is on the way, and nothing comes any more.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.is_empty()
    }

    /// Adds a byte; it is empty.
    pub(crate) fn push(&mut self, byte: u8) {
        self.bytes[0] = byte;
        (self.start, self.end) = (0, 1);
    }

    /// Reads if there is room, and writes what is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn carry(&mut self, from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
        if self.is_empty() && !self.ended {
            match from.read(&mut self.bytes) {
                Ok(0) => self.ended = true,
                Ok(count) => (self.start, self.end) = (0, count),
                Err(error) if is_passing(&error) => {}
                Err(_) => self.ended = true,
            }
        }
        if self.is_empty() {
            return Ok(());
        }
        match to.write(&self.bytes[self.start..self.end]) {
            Ok(count) => self.start += count,
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
