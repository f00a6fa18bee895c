//! Clients that come and go without a word, as load balancers do to see whether a service is there: no failures, and told
//! of only where everything is. Never in here: the end of one that has begun to say something.

use std::time::{Duration, Instant};

use super::Address;
use super::record::level_of_steps;
use super::step::{Common, Ending};
use crate::config::Front;
use crate::protocol::Who;
use crate::{debug, notice};

/// So long it may be silent before it is told of.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The level at which everything is told, at once.
const DEBUG: u8 = 7;
/// That of syslog(3) up to which a check is told of.
const CRITICAL: u8 = 2;

/// What is known of whether a client is one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Visit {
    /// Then the line is due that says that the client was accepted, if it is there still.
    welcome_at: Option<Instant>,
    /// It has said something, besides goodbye.
    spoke: bool,
    /// It has left without a word.
    over: bool,
    /// A balancer has called it a check, and it was more.
    is_client: bool,
}

impl Common {
    /// The client may connect. Where it `speaks` first, that is said once it does, or stays.
    pub(super) fn admit(&mut self, speaks: bool) {
        self.hush_a_check();
        match speaks && self.log.level < DEBUG {
            true => self.visit.welcome_at = Some(self.began + PATIENCE),
            false => self.welcome(),
        }
    }

    /// When a silent client is to be told of.
    pub(super) fn welcome_at(&self) -> Option<Instant> {
        self.visit.welcome_at
    }

    /// Tells of a silent client that stays.
    pub(super) fn welcome_if_due(&mut self, now: Instant) {
        if self.visit.welcome_at.is_some_and(|at| at <= now) {
            self.is_heard();
        }
    }

    /// It has begun to say something, or is about to be told of.
    pub(super) fn is_heard(&mut self) {
        if self.visit.welcome_at.take().is_some() {
            self.welcome();
        }
    }

    /// It said these words in a dialogue.
    pub(super) fn has_said(&mut self, words: &[u8]) {
        self.visit.spoke |= !is_goodbye(words);
        if self.visit.spoke {
            self.is_no_check();
        }
    }

    /// Whether it would be one, if it left now.
    pub(super) fn is_silent(&self) -> bool {
        !self.visit.spoke
    }

    /// It has left without a word.
    pub(super) fn has_left(&mut self) -> Ending {
        self.visit.over = true;
        let name = &self.config().name;
        let from = Address(self.peer);
        debug!(
            self.log,
            "Service [{name}]: {from} closed the connection without a word: a check"
        );
        Ending::Closed
    }

    /// Whether a balancer only looks whether this is alive.
    pub(super) fn is_a_check(&self) -> bool {
        let introduced = self.introduced.as_ref();
        let says_so = introduced.is_some_and(|one| one.claim.who == Who::Itself);
        says_so && !self.visit.is_client
    }

    /// A check that comes every few seconds, and ends as it likes, is told of only where everything is.
    pub(super) fn hush_a_check(&mut self) {
        if self.is_a_check() && self.log.level < DEBUG {
            self.log.level = self.log.level.min(CRITICAL);
        }
    }

    /// Whether nothing of it is told but where everything is.
    pub(super) fn is_hushed(&self) -> bool {
        self.log.level <= CRITICAL
    }

    /// It is more than a check, whatever a balancer has called it: it is told of, and counted, as any client.
    pub(super) fn is_no_check(&mut self) {
        if !self.is_a_check() {
            return;
        }
        self.visit.is_client = true;
        if self.is_hushed() {
            self.log.level = level_of_steps(self.config().debug);
            self.visit.welcome_at = None;
            self.welcome();
        }
    }

    /// Whether it was one, or a balancer has said so.
    pub(super) fn was_a_check(&self) -> bool {
        self.visit.over || self.is_a_check()
    }

    /// Whether a client that was carried in plain has said nothing. The lines about it are written: its server was
    /// connected before that could be known.
    pub(super) fn has_said_nothing(&self) -> bool {
        let (config, service) = (self.config(), self.service());
        let answered = self.to_front > 0 && config.protocol.is_none();
        let plain = service.front.is_none() && config.front == Front::Listener;
        plain && self.to_back == 0 && !answered && !self.visit.spoke
    }

    /// Says that the client may connect.
    fn welcome(&self) {
        let (log, config, peer) = (self.log, self.config(), self.peer);
        match (peer, config.front) {
            (None, Front::Program | Front::Inetd) => {
                notice!(log, "Service [{}] accepted connection", config.name);
            }
            _ => {
                let (name, from) = (&config.name, Address(peer));
                notice!(log, "Service [{name}] accepted connection from {from}");
            }
        }
    }
}

/// Nothing, QUIT of SMTP and POP3, LOGOUT of IMAP and Sieve.
fn is_goodbye(words: &[u8]) -> bool {
    let words = words.trim_ascii();
    let last = words
        .rsplit(|byte| *byte == b' ')
        .next()
        .unwrap_or_default();
    let is = |goodbye: &[u8]| last.eq_ignore_ascii_case(goodbye);
    words.is_empty()
        || words.len() <= 32 && (is(b"QUIT") && last.len() == words.len() || is(b"LOGOUT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goodbye_is_no_word() {
        for (words, goodbye) in [
            (&b"QUIT\r\n"[..], true),
            (b"", true),
            (b"quit\n", true),
            (b"a1 LOGOUT\r\n", true),
            (b"LOGOUT\r\n", true),
            (b"EHLO quit\r\n", false),
            (b"EHLO a\r\nQUIT\r\n", false),
            (b"\x16\x03\x01", false),
        ] {
            assert_eq!(is_goodbye(words), goodbye, "{}", words.escape_ascii());
        }
    }
}
