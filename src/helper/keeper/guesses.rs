//! How often a wrong local password may be tried. Never in here: a password.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Wrong passwords that may come at once.
const MOST: u32 = 10;
/// After this long there is room for another.
const EACH: Duration = Duration::from_secs(6);
/// Those that are remembered. A program that has a wrong one sends it again and again: that is no other guess.
const KNOWN: usize = 16;

/// The tag of a password, by a key of this process.
pub(super) type Tag = [u8; 32];

/// Clients that are trusted at a time.
const TRUSTED: usize = 16;

/// Those who try passwords for an account. A client that has the right one is judged by its own guesses alone: those of
/// others, which anyone on the network may send, do not keep it waiting.
#[derive(Debug, Default)]
pub(super) struct Guessers {
    others: Guesses,
    trusted: VecDeque<(IpAddr, Guesses)>,
}

impl Guessers {
    /// The wrong passwords that count for a client.
    pub(super) fn of(&mut self, client: Option<IpAddr>) -> &mut Guesses {
        let client = client.map(network);
        let mut trusted = self.trusted.iter_mut();
        let own = trusted.find(|(known, _)| Some(*known) == client);
        own.map_or(&mut self.others, |(_, guesses)| guesses)
    }

    /// A client had the right password.
    pub(super) fn trust(&mut self, client: Option<IpAddr>) {
        let Some(client) = client.map(network) else {
            return;
        };
        if self.trusted.iter().any(|(known, _)| *known == client) {
            return;
        }
        if self.trusted.len() == TRUSTED {
            self.trusted.pop_front();
        }
        self.trusted.push_back((client, Guesses::default()));
    }
}

/// One machine has all addresses of a network of IPv6.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(client) => {
            let [a, b, c, d, ..] = client.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Wrong passwords that were tried.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    count: u32,
    /// From when on the count goes down.
    since: Option<Instant>,
    known: VecDeque<Tag>,
}

impl Guesses {
    /// How long no password is looked at, if too many were wrong.
    pub(super) fn wait(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since?;
        let gone = now.saturating_duration_since(since).as_secs() / EACH.as_secs();
        let gone = u32::try_from(gone).unwrap_or(u32::MAX).min(self.count);
        self.count -= gone;
        self.since = (self.count > 0).then_some(since + EACH * gone);
        let since = self.since.filter(|_| self.count >= MOST)?;
        Some((since + EACH).saturating_duration_since(now))
    }

    /// Whether it was wrong before.
    pub(super) fn knows(&self, tag: &Tag) -> bool {
        self.known.contains(tag)
    }

    /// It was wrong.
    pub(super) fn count(&mut self, tag: Tag, now: Instant) {
        if self.knows(&tag) {
            return;
        }
        if self.known.len() == KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(tag);
        self.count += 1;
        self.since.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_different_ones_have_to_wait_and_the_same_one_has_not() {
        let now = Instant::now();
        let mut guesses = Guesses::default();
        for _ in 0..100 {
            guesses.count([0; 32], now);
        }
        assert_eq!(guesses.wait(now), None);
        for n in 1..MOST {
            assert_eq!(guesses.wait(now), None);
            guesses.count([n as u8; 32], now);
        }
        assert_eq!(guesses.wait(now), Some(EACH));
        assert_eq!(guesses.wait(now + EACH / 2), Some(EACH / 2));
        assert_eq!(guesses.wait(now + EACH), None);
        guesses.count([99; 32], now + EACH);
        assert_eq!(guesses.wait(now + EACH), Some(EACH));
        // In the end all is forgotten but the passwords.
        assert_eq!(guesses.wait(now + EACH * 100), None);
        assert_eq!(guesses.count, 0);
        assert!(guesses.knows(&[99; 32]));
    }
}
