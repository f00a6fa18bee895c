//! Inspects the first plaintext of a session: a local client's for a wrong setting, a mail server's for
//! an offer of STARTTLS. After that everything passes unchanged, at one comparison for each read.

use std::ops::Range;

use crate::config::Service;
use crate::protocol::{Offers, Opening, OwnTls};

#[derive(Debug)]
pub(super) enum FirstWords {
    /// Client mode: inspecting what the local client says.
    Client(Opening),
    /// The local client starts TLS itself; not logged yet.
    Found(OwnTls),
    /// Server mode, within TLS: removing a mail server's offers of STARTTLS.
    Server(Offers),
    /// Everything passes unchanged.
    Over,
}

impl FirstWords {
    /// At the start of a session.
    pub(super) fn of(config: &Service) -> Self {
        match config.accepted_tls() {
            None => FirstWords::Client(Opening::default()),
            Some(_) => FirstWords::Over,
        }
    }

    /// Once TLS is established with the client, and the server speaks plain.
    pub(super) fn within_tls(config: &Service) -> Self {
        FirstWords::Server(Offers::new(config.protocol))
    }

    /// What was found, once.
    #[inline]
    pub(super) fn take_finding(&mut self) -> Option<OwnTls> {
        match *self {
            FirstWords::Found(how) => {
                *self = FirstWords::Over;
                Some(how)
            }
            _ => None,
        }
    }

    /// Inspects plaintext from a local client.
    pub(super) fn client_says(&mut self, words: &[u8]) {
        if let FirstWords::Client(opening) = self {
            if let Some(how) = opening.hear(words) {
                *self = FirstWords::Found(how);
            } else if opening.is_over() {
                *self = FirstWords::Over;
            }
        }
    }

    /// Inspects plaintext from the end without TLS: the local client, or the server behind server mode.
    /// Returns what to pass on; `kept` is scratch space for it.
    #[inline]
    pub(super) fn plain<'a>(&mut self, words: &'a [u8], kept: &'a mut Vec<u8>) -> &'a [u8] {
        match self {
            FirstWords::Over => words,
            _ => self.inspect(words, kept),
        }
    }

    fn inspect<'a>(&mut self, words: &'a [u8], kept: &'a mut Vec<u8>) -> &'a [u8] {
        match self {
            FirstWords::Over | FirstWords::Found(_) => words,
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

    /// As [`FirstWords::plain`], for what the dialogue before TLS left over: there a local client's words
    /// were inspected already.
    pub(super) fn left_over<'a>(&mut self, words: &'a [u8], kept: &'a mut Vec<u8>) -> &'a [u8] {
        match self {
            FirstWords::Server(_) => self.plain(words, kept),
            _ => words,
        }
    }

    /// The end without TLS sent its last byte: puts what was held back into `kept`.
    pub(super) fn plain_ends(&mut self, kept: &mut Vec<u8>) {
        kept.clear();
        if let FirstWords::Server(offers) = self {
            offers.server_ends(kept);
            *self = FirstWords::Over;
        }
    }

    /// Inspects decrypted plaintext: `work` at `ranges`. Returns what was held back of the server's words
    /// and is due now; `kept` is scratch space for it.
    #[inline]
    pub(super) fn decrypted<'a>(
        &mut self,
        work: &[u8],
        ranges: &[Range<usize>],
        kept: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        match self {
            FirstWords::Server(_) => self.filter(work, ranges, kept),
            _ => &[],
        }
    }

    fn filter<'a>(
        &mut self,
        work: &[u8],
        ranges: &[Range<usize>],
        kept: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        let FirstWords::Server(offers) = self else {
            return &[];
        };
        kept.clear();
        for range in ranges {
            offers.client_says(&work[range.clone()], kept);
        }
        self.end_with_offers();
        kept
    }

    fn end_with_offers(&mut self) {
        if matches!(self, FirstWords::Server(offers) if offers.is_over()) {
            *self = FirstWords::Over;
        }
    }
}
