//! The pass phrases of keys, kept by the supervisor from the start on, so that a reload, a master in
//! place of a dead one and a new binary need no one to type them again. It holds no key.
//!
//! One page that is never swapped, in no core dump, and wiped in every child: only a process that is given a copy
//! has one.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;

use crate::sys::page::Page;
use crate::tls::PassPhrases;

/// Room for all of them, in bytes.
pub(super) const SIZE: NonZeroUsize = NonZeroUsize::new(16384).unwrap();
/// Before each stands its length.
const HEAD: usize = size_of::<u16>();

pub(super) struct Vault {
    /// `None`: there are no pass phrases.
    page: Option<Page>,
}

impl Vault {
    /// Locks pass phrases up.
    ///
    /// # Errors
    /// No memory; more than there is room for.
    pub(super) fn new(phrases: &PassPhrases) -> io::Result<Vault> {
        if phrases.iter().next().is_none() {
            return Ok(Vault { page: None });
        }
        let mut page = Page::new(SIZE)?;
        let mut free = page.bytes_mut();
        for phrase in phrases.iter() {
            let too_much = || io::Error::other("more pass phrases than there is room for");
            let length = u16::try_from(phrase.len()).map_err(|_| too_much())?;
            if free.len() < HEAD + phrase.len() + HEAD || length == 0 {
                return Err(too_much());
            }
            let (head, rest) = free.split_at_mut(HEAD);
            let (body, rest) = rest.split_at_mut(phrase.len());
            head.copy_from_slice(&length.to_ne_bytes());
            body.copy_from_slice(phrase);
            free = rest;
        }
        Ok(Vault { page: Some(page) })
    }

    /// A copy, for a child that needs it.
    pub(super) fn open(&self) -> PassPhrases {
        let mut phrases = PassPhrases::none();
        let mut rest = self.page.as_ref().map_or(&[][..], Page::bytes);
        while let Some((head, behind)) = rest.split_first_chunk::<HEAD>() {
            let length = usize::from(u16::from_ne_bytes(*head));
            match behind.split_at_checked(length) {
                Some((phrase, behind)) if length > 0 => {
                    phrases.push(phrase);
                    rest = behind;
                }
                _ => break,
            }
        }
        phrases
    }
}

impl fmt::Debug for Vault {
    /// Shows nothing: it is all secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases(all: &[&[u8]]) -> PassPhrases {
        let mut phrases = PassPhrases::none();
        all.iter().for_each(|phrase| phrases.push(phrase));
        phrases
    }

    #[test]
    fn what_is_locked_up_comes_out_again_and_nothing_else() {
        let long = [b'x'; 5000];
        let all: [&[&[u8]]; 3] = [&[], &[b"one"], &[b"one", &long, b"\xff"]];
        for all in all {
            let vault = Vault::new(&phrases(all)).unwrap();
            let opened = vault.open();
            assert!(opened.iter().eq(all.iter().copied()));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Vault::new(&phrases(&[&[b'x'; SIZE.get() - HEAD]])).is_err());
        assert!(Vault::new(&phrases(&[&[b'x'; SIZE.get() - 2 * HEAD]])).is_ok());
        assert!(Vault::new(&phrases(&[&[b'x'; 70_000]])).is_err());
    }
}
