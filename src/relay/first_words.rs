//! The first words of a session, which tell of a wrong setting, or offer what must not be offered.
//! Over after them: then everything passes as it is, and this costs one comparison a read.

use std::ops::Range;

use crate::config::Service;
use crate::protocol::{Offers, Opening, Wish};

/// See the module.
#[derive(Debug)]
pub enum FirstWords {
    /// Client mode: the local client's are listened to.
    Client(Opening),
    /// The local client's told this, which is not said yet.
    Told(Wish),
    /// Server mode, once TLS is on: a mail server's lose their offers of STARTTLS.
    Server(Offers),
    /// Nothing is listened to, or no longer.
    Over,
}

impl FirstWords {
    /// Those of a session that begins.
    pub fn of(config: &Service) -> Self {
        match config.client {
            true => FirstWords::Client(Opening::default()),
            false => FirstWords::Over,
        }
    }

    /// Those within TLS, in server mode.
    pub fn within_tls(config: &Service) -> Self {
        FirstWords::Server(Offers::new(config.protocol))
    }

    /// What the local client wants, once it is known; given once.
    pub fn take_wish(&mut self) -> Option<Wish> {
        match *self {
            FirstWords::Told(wish) => {
                *self = FirstWords::Over;
                Some(wish)
            }
            _ => None,
        }
    }

    /// A local client says this, in plain.
    pub fn client_says(&mut self, words: &[u8]) {
        if let FirstWords::Client(opening) = self {
            if let Some(wish) = opening.hear(words) {
                *self = FirstWords::Told(wish);
            } else if opening.is_over() {
                *self = FirstWords::Over;
            }
        }
    }

    /// What passes of words on the end without TLS: the local client's, or the server's behind server
    /// mode. `kept` is room for it.
    pub fn plain<'a>(&mut self, words: &'a [u8], kept: &'a mut Vec<u8>) -> &'a [u8] {
        match self {
            FirstWords::Over | FirstWords::Told(_) => words,
            FirstWords::Client(_) => {
                self.client_says(words);
                words
            }
            FirstWords::Server(offers) => {
                kept.clear();
                offers.server_says(words, kept);
                self.end_with_offers();
                kept
            }
        }
    }

    /// As [`FirstWords::plain`], for what was read in the dialogue before TLS, where a local client was
    /// heard already.
    pub fn left_over<'a>(&mut self, words: &'a [u8], kept: &'a mut Vec<u8>) -> &'a [u8] {
        match self {
            FirstWords::Server(_) => self.plain(words, kept),
            _ => words,
        }
    }

    /// The end without TLS says no more: puts what was held back into `kept`.
    pub fn plain_ends(&mut self, kept: &mut Vec<u8>) {
        kept.clear();
        if let FirstWords::Server(offers) = self {
            offers.server_ends(kept);
            *self = FirstWords::Over;
        }
    }

    /// Words from within TLS: those of `work` at `ranges`.
    pub fn decrypted(&mut self, work: &[u8], ranges: &[Range<usize>]) {
        if let FirstWords::Server(offers) = self {
            for range in ranges {
                offers.client_says(&work[range.clone()]);
            }
            self.end_with_offers();
        }
    }

    fn end_with_offers(&mut self) {
        if matches!(self, FirstWords::Server(offers) if offers.is_over()) {
            *self = FirstWords::Over;
        }
    }
}
