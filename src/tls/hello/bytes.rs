//! A message that is read step by step. Never in here: trust in a length.

use super::{Fault, is_grease};

/// What is left of a message; each step is checked against it.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Fault::Lengths)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn number(&mut self) -> Result<u16, Fault> {
        let (&number, rest) = self.0.split_first_chunk().ok_or(Fault::Lengths)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(number))
    }

    /// Bytes behind their length, which has one byte.
    pub(super) fn short_block(&mut self) -> Result<&'a [u8], Fault> {
        let (&length, rest) = self.0.split_first().ok_or(Fault::Lengths)?;
        self.0 = rest;
        self.take(usize::from(length))
    }

    /// Bytes behind their length, which has two bytes.
    pub(super) fn block(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.number()?;
        self.take(usize::from(length))
    }

    pub(super) fn numbers(self) -> Result<impl Iterator<Item = u16>, Fault> {
        let (numbers, rest) = self.0.as_chunks();
        Bytes(rest).end()?;
        Ok(numbers.iter().map(|number| u16::from_be_bytes(*number)))
    }

    pub(super) fn meaningful(self) -> Result<Vec<u16>, Fault> {
        Ok(self.numbers()?.filter(|value| !is_grease(*value)).collect())
    }

    pub(super) fn end(self) -> Result<(), Fault> {
        match self.0 {
            [] => Ok(()),
            _ => Err(Fault::Lengths),
        }
    }
}
