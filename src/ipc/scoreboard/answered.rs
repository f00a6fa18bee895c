//! Which upstream of a service answered last, in the words that its workers share. No worker waits for another, and
//! one that dies halfway leaves an address that is read as none. Never in here: a name.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use super::SharedRow;

/// Where an upstream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At an address.
    Tcp(SocketAddr),
    /// At the Unix socket that is this entry of `connect`, from 0.
    Unix(usize),
}

/// The upstream that answered last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Where it is.
    pub place: Place,
    /// When, in seconds since 1970.
    pub at: u64,
}

const UNIX: u64 = 1;
const V4: u64 = 4;
const V6: u64 = 6;

/// How often a place that is being written is looked at again.
const LOOKS: usize = 8;

impl SharedRow<'_> {
    /// Notes that an upstream has answered. While the same one answers, its address is not written again.
    pub(crate) fn note_answer(&self, answered: Answered) {
        let (kind, high, low) = words(answered.place);
        let cells = [
            (self.answered_kind(), kind),
            (self.answered_high(), high),
            (self.answered_low(), low),
            (self.answered_at(), answered.at),
        ];
        for (cell, word) in cells {
            if cell.load(Relaxed) != word {
                cell.store(word, Relaxed);
            }
        }
    }

    /// The upstream that answered last; `None`: none did, or two are being written at once.
    pub(crate) fn answer(&self) -> Option<Answered> {
        (0..LOOKS).find_map(|_| {
            let at = self.answered_at().load(Relaxed);
            let (high, low) = (
                self.answered_high().load(Relaxed),
                self.answered_low().load(Relaxed),
            );
            let place = place(self.answered_kind().load(Relaxed), high, low)?;
            Some(Answered { place, at })
        })
    }
}

/// A place in three words. The first ends in the kind and the port, and begins with what the others must come to:
/// words of two places that two workers write at once do not pass for a third.
fn words(place: Place) -> (u64, u64, u64) {
    let (kind, port, high, low) = match place {
        Place::Unix(entry) => (UNIX, 0, 0, entry as u64),
        Place::Tcp(address) => {
            let (kind, bits) = match address.ip() {
                IpAddr::V4(ip) => (V4, u128::from(u32::from(ip))),
                IpAddr::V6(ip) => (V6, u128::from(ip)),
            };
            let (high, low) = ((bits >> 64) as u64, bits as u64);
            (kind, u64::from(address.port()), high, low)
        }
    };
    let plain = port << 8 | kind;
    (check(plain, high, low) << 32 | plain, high, low)
}

fn place(kind: u64, high: u64, low: u64) -> Option<Place> {
    let plain = kind & 0xffff_ffff;
    if kind == 0 || check(plain, high, low) != kind >> 32 {
        return None;
    }
    let port = u16::try_from(plain >> 8).ok()?;
    let ip = match plain & 0xff {
        UNIX => return Some(Place::Unix(usize::try_from(low).ok()?)),
        V4 => IpAddr::V4(u32::try_from(low).ok()?.into()),
        V6 => IpAddr::V6(Ipv6Addr::from(u128::from(high) << 64 | u128::from(low))),
        _ => return None,
    };
    Some(Place::Tcp(SocketAddr::new(ip, port)))
}

/// 32 bits that depend on every bit of the three words; the multiplier is splitmix64's.
fn check(plain: u64, high: u64, low: u64) -> u64 {
    let mut sum = 0_u64;
    for word in [plain, high, low] {
        sum = (sum ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        sum ^= sum >> 29;
    }
    sum >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::scoreboard::Scoreboard;

    fn tcp(text: &str) -> Place {
        Place::Tcp(text.parse().unwrap())
    }

    #[test]
    fn what_answered_last_is_read_as_it_was_noted() {
        let board = Scoreboard::new(1, 2).unwrap();
        let row = board.shared(1);
        assert_eq!(row.answer(), None);
        for place in [
            tcp("192.0.2.1:465"),
            tcp("0.0.0.0:0"),
            tcp("[2001:db8::1]:65535"),
            Place::Unix(0),
            Place::Unix(3),
        ] {
            let answered = Answered { place, at: 17 };
            row.note_answer(answered);
            assert_eq!(row.answer(), Some(answered));
        }
        assert_eq!(board.shared(0).answer(), None);
    }

    #[test]
    fn half_of_one_address_and_half_of_another_are_none() {
        let board = Scoreboard::new(1, 1).unwrap();
        let row = board.shared(0);
        let note = |place| row.note_answer(Answered { place, at: 1 });
        let (one, two) = (tcp("[2001:db8::1]:1"), tcp("[2001:db9::2]:1"));
        note(one);
        let high = row.answered_high().load(Relaxed);
        note(two);
        row.answered_high().store(high, Relaxed);
        assert_eq!(row.answer(), None);
        // The next one that is noted mends it.
        note(two);
        assert_eq!(row.answer().map(|answered| answered.place), Some(two));
    }

    #[test]
    fn addresses_that_two_workers_write_at_once_are_never_mixed() {
        let board = Scoreboard::new(1, 1).unwrap();
        let places = [tcp("[2001:db8::1]:1"), tcp("[2001:db9::2]:2")];
        std::thread::scope(|scope| {
            for place in places {
                let board = &board;
                scope.spawn(move || {
                    for at in 0..10_000 {
                        board.shared(0).note_answer(Answered { place, at });
                    }
                });
            }
            for _ in 0..10_000 {
                let seen = board.shared(0).answer();
                assert!(seen.is_none_or(|seen| places.contains(&seen.place)));
            }
        });
    }
}
