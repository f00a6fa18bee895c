//! Incidents in shared memory: what workers found wrong, readable by the supervisor and the teller. Only what fails writes
//! here. A text is true if its checksum is, so a reader never waits, and a writer that dies halfway keeps none waiting.
//! Never in here: a lock that another process has to let go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::incidents::{Cause, Incident, Ledger, MAX_REASON, MAX_REMEDY, RECENT, Tally, shown};

/// Causes that there is room for.
const CAUSES: usize = Cause::MOST as usize + 1;
/// Words of a service: those of [`TALLY`], then a slot for the last incident of each cause, then the last of all.
const SERVICE: usize = TALLY * CAUSES + SLOT * (CAUSES + RECENT);
/// Words of a tally: how often, first and last time.
const TALLY: usize = 3;
/// Words of a slot: what [`Slot`] says.
const SLOT: usize = HEAD + TEXT;
const HEAD: usize = 6;
const TEXT: usize = (MAX_REASON + MAX_REMEDY) / 8;
/// Words for each service in front: the causes it has met, one bit each, and how many incidents it had. They lie together,
/// since a look at memory that was never written takes a page of it.
const FRONT: usize = 2;

/// A writer that has not finished after so many milliseconds is dead; writing takes some hundred instructions.
const PATIENCE: u64 = 2000;
/// How often a reader looks at a slot that is being written.
const LOOKS: usize = 16;

/// Words for so many services.
pub(super) const fn length(services: usize) -> usize {
    services * (FRONT + SERVICE)
}

/// As [`length`], of a number that came in a message.
pub(super) fn checked_length(services: usize) -> Option<usize> {
    services.checked_mul(FRONT + SERVICE)
}

/// The part of one service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incidents<'a> {
    met: &'a AtomicU64,
    written: &'a AtomicU64,
    words: &'a [AtomicU64],
}

impl<'a> Incidents<'a> {
    /// Of service `service` of `services`, whose words these are. `None`: there is no such part.
    pub(super) fn of(words: &'a [AtomicU64], services: usize, service: usize) -> Option<Self> {
        let (front, rest) = words.split_at_checked(services * FRONT)?;
        let [met, written] = front.get(service * FRONT..)?.get(..FRONT)? else {
            return None;
        };
        let words = rest.get(service * SERVICE..)?.get(..SERVICE)?;
        Some(Self {
            met,
            written,
            words,
        })
    }

    /// Counts an incident, and keeps it as the last of its cause.
    pub(crate) fn note(&self, incident: &Incident) {
        let [count, first, last] = self.tally(incident.cause);
        count.fetch_add(1, Relaxed);
        let _ = first.compare_exchange(0, incident.at, Relaxed, Relaxed);
        last.fetch_max(incident.at, Relaxed);
        let bit = 1 << incident.cause.number();
        if self.met.load(Relaxed) & bit == 0 {
            self.met.fetch_or(bit, Relaxed);
        }
        self.slot(usize::from(incident.cause.number()))
            .write(incident);
        let turn = self.written.fetch_add(1, Relaxed);
        let turn = usize::try_from(turn % RECENT as u64).unwrap_or(0);
        self.slot(CAUSES + turn).write(incident);
    }

    /// What is there.
    pub(crate) fn ledger(&self) -> Ledger {
        self.read(|cell| cell.load(Relaxed))
    }

    /// As [`Incidents::ledger`], and sets the counts to zero. The last incidents stay.
    pub(crate) fn take(&self) -> Ledger {
        self.read(|cell| cell.swap(0, Relaxed))
    }

    fn read(&self, number: fn(&AtomicU64) -> u64) -> Ledger {
        let met = self.met.load(Relaxed);
        if met == 0 {
            return Ledger::default();
        }
        let tallies = Cause::ALL.iter().filter(|c| met & (1 << c.number()) != 0);
        let tallies = tallies.filter_map(|&cause| {
            let [count, first, last] = self.tally(cause).map(number);
            (count > 0).then(|| Tally {
                cause,
                count,
                first,
                last,
                example: self
                    .slot(usize::from(cause.number()))
                    .read()
                    .filter(|incident| incident.cause == cause),
            })
        });
        let mut ledger = Ledger {
            tallies: tallies.collect(),
            ..Ledger::default()
        };
        // The latest first: two may be of one moment.
        let written = self.written.load(Relaxed);
        let turns = (1..=RECENT as u64).map(|back| written.wrapping_sub(back) % RECENT as u64);
        let turns = turns.filter_map(|turn| usize::try_from(turn).ok());
        let recent = turns.filter_map(|turn| self.slot(CAUSES + turn).read());
        ledger.add(Ledger {
            recent: recent.collect(),
            ..Ledger::default()
        });
        ledger
    }

    fn tally(&self, cause: Cause) -> [&'a AtomicU64; TALLY] {
        let at = usize::from(cause.number()) * TALLY;
        [&self.words[at], &self.words[at + 1], &self.words[at + 2]]
    }

    fn slot(&self, index: usize) -> Slot<'a> {
        let at = TALLY * CAUSES + index * SLOT;
        Slot(&self.words[at..at + SLOT])
    }
}

/// Room for an incident. Its words: when its writer began, 0 if it has finished; the checksum of the rest; the time; cause,
/// kind of address, port, lengths of both texts; the address, in two; then the texts, one behind the other.
struct Slot<'a>(&'a [AtomicU64]);

impl Slot<'_> {
    /// Writes, unless another writes just now.
    fn write(&self, incident: &Incident) {
        let lock = &self.0[0];
        let now = incident.at.max(1);
        let held = lock.load(Relaxed);
        let free = held == 0 || now.abs_diff(held) > PATIENCE;
        if !free || lock.compare_exchange(held, now, Relaxed, Relaxed).is_err() {
            return;
        }
        let words = encoded(incident);
        for (cell, word) in self.0[2..].iter().zip(words) {
            cell.store(word, Relaxed);
        }
        self.0[1].store(checksum(&words), Relaxed);
        let _ = lock.compare_exchange(now, 0, Relaxed, Relaxed);
    }

    /// What is there; `None`: nothing, or not all of it.
    fn read(&self) -> Option<Incident> {
        for _ in 0..LOOKS {
            let sum = self.0[1].load(Relaxed);
            if sum == 0 {
                return None;
            }
            let mut words = [0; SLOT - 2];
            for (word, cell) in words.iter_mut().zip(&self.0[2..]) {
                *word = cell.load(Relaxed);
            }
            if checksum(&words) == sum {
                return decoded(&words);
            }
            std::hint::spin_loop();
        }
        None
    }
}

/// Tells two texts that were written over each other from one; never 0. No secret depends on it.
fn checksum(words: &[u64]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let sum = words.iter().fold(start, |sum, word| {
        (sum ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    });
    sum.max(1)
}

fn encoded(incident: &Incident) -> [u64; SLOT - 2] {
    let mut words = [0; SLOT - 2];
    let (family, ip, port) = match incident.peer {
        None => (0, [0; 16], 0),
        Some(peer) => match peer.ip() {
            IpAddr::V4(ip) => (4, ip.to_ipv6_mapped().octets(), peer.port()),
            IpAddr::V6(ip) => (6, ip.octets(), peer.port()),
        },
    };
    let reason = shown(&incident.reason, MAX_REASON);
    let remedy = shown(&incident.remedy, MAX_REMEDY);
    words[0] = incident.at;
    words[1] = u64::from(incident.cause.number())
        | family << 8
        | u64::from(port) << 16
        | (reason.len() as u64) << 32
        | (remedy.len() as u64) << 48;
    let text = [ip.as_slice(), reason.as_bytes(), remedy.as_bytes()].concat();
    for (word, bytes) in words[2..].iter_mut().zip(text.chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_le_bytes(whole);
    }
    words
}

/// `None`: it is none, as a worker in wrong hands may write.
fn decoded(words: &[u64; SLOT - 2]) -> Option<Incident> {
    let head = words[1].to_le_bytes();
    let [cause, family, port @ .., _, _, _, _] = head;
    let port = u16::from_le_bytes(port);
    let length = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let bytes: Vec<u8> = words[2..].iter().flat_map(|w| w.to_le_bytes()).collect();
    let (ip, text) = bytes.split_first_chunk::<16>()?;
    let (reason, text) = text.split_at_checked(length(4))?;
    let remedy = text.get(..length(6))?;
    let ip = Ipv6Addr::from(*ip);
    let peer = match family {
        4 => Some(IpAddr::V4(
            ip.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
        )),
        6 => Some(IpAddr::V6(ip)),
        _ => None,
    };
    let text = |bytes, most| shown(&String::from_utf8_lossy(bytes), most);
    Some(Incident {
        cause: Cause::of_number(cause)?,
        at: words[0],
        peer: peer.map(|ip| SocketAddr::new(ip, port)),
        reason: text(reason, MAX_REASON),
        remedy: text(remedy, MAX_REMEDY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incidents::Diagnosis;
    use crate::ipc::scoreboard::Scoreboard;

    fn incident(cause: Cause, at: u64, text: &str) -> Incident {
        let peer = SocketAddr::from(([192, 0, 2, 7], 1042));
        let diagnosis = Diagnosis::new(cause, text, text.to_ascii_uppercase());
        Incident {
            at,
            ..diagnosis.met_by(Some(peer))
        }
    }

    #[test]
    fn each_service_has_its_own_and_what_is_written_is_read() {
        let board = Scoreboard::new(2, 3).unwrap();
        let v6 = "[2001:db8::1]:65535".parse().ok();
        let one = incident(Cause::Password, 5, "refused");
        let other = Incident {
            peer: v6,
            ..incident(Cause::Internal, 6, &"é".repeat(300))
        };
        let third = Incident {
            peer: None,
            ..incident(Cause::ClientCertificateMissing, 7, "")
        };
        for incident in [&one, &other, &third] {
            board.incidents(1).unwrap().note(incident);
        }
        assert!(board.ledger(0).is_empty() && board.ledger(2).is_empty());
        let ledger = board.ledger(1);
        assert_eq!(ledger.recent, [third, other, one.clone()]);
        board.incidents(1).unwrap().note(&Incident { at: 9, ..one });
        let tally = |ledger: &Ledger| {
            let mut all = ledger.tallies.iter();
            let tally = all.find(|t| t.cause == Cause::Password);
            tally.map(|t| (t.count, t.first, t.last, t.example.as_ref().unwrap().at))
        };
        assert_eq!(tally(&board.ledger(1)), Some((2, 5, 9, 9)));
        // What is taken is there no more, but for the last ones.
        assert_eq!(tally(&board.take_ledger(1)), Some((2, 5, 9, 9)));
        let left = board.ledger(1);
        assert_eq!((left.tallies.len(), left.recent.len()), (0, 4));
    }

    #[test]
    fn the_last_of_one_moment_are_told_in_their_order() {
        let board = Scoreboard::new(1, 1).unwrap();
        let incidents = board.incidents(0).unwrap();
        for number in 0..30 {
            // Three in a moment, of which two are in one second.
            incidents.note(&incident(
                Cause::Vanished,
                10_999 + number / 3,
                &number.to_string(),
            ));
            let recent = board.ledger(0).recent.into_iter();
            let told: Vec<u64> = recent.map(|i| i.reason.parse().unwrap()).collect();
            let first = (number + 1).saturating_sub(RECENT as u64);
            assert_eq!(told, (first..=number).rev().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_writer_that_dies_over_it_leaves_no_half_line_and_keeps_none_waiting() {
        let board = Scoreboard::new(1, 1).unwrap();
        let incidents = board.incidents(0).unwrap();
        let slot = incidents.slot(usize::from(Cause::Alert.number()));
        let note = |at, text| incidents.note(&incident(Cause::Alert, at, text));
        note(10_000, "first");
        // It has begun, and written half of it.
        slot.0[0].store(10_001, Relaxed);
        let words = encoded(&incident(Cause::Alert, 10_001, "never to be read"));
        for (cell, word) in slot.0[2..].iter().zip(&words[..8]) {
            cell.store(*word, Relaxed);
        }
        assert_eq!(slot.read(), None);
        let tally = &board.ledger(0).tallies[0];
        assert_eq!((tally.count, &tally.example), (1, &None));
        // Perhaps it still writes.
        note(10_002, "second");
        assert_eq!(slot.read(), None);
        let reasons = |ledger: Ledger| ledger.recent.into_iter().map(|i| i.reason);
        let recent: Vec<_> = reasons(board.ledger(0)).collect();
        assert_eq!(recent, ["second", "first"]);
        note(10_001 + PATIENCE + 1, "third");
        assert_eq!(slot.read().unwrap().reason, "third");
        assert_eq!(slot.0[0].load(Relaxed), 0);
    }

    #[test]
    fn many_writers_never_show_half_a_line() {
        let board = Scoreboard::new(1, 1).unwrap();
        let write = |letter: &str| {
            for at in 1..2000 {
                let text = letter.repeat(usize::try_from(at % 190).unwrap_or(0));
                let incidents = board.incidents(0).unwrap();
                incidents.note(&incident(Cause::Vanished, at, &text));
            }
        };
        std::thread::scope(|scope| {
            let writers: Vec<_> = ["a", "b", "c"]
                .into_iter()
                .map(|letter| scope.spawn(move || write(letter)))
                .collect();
            while writers.iter().any(|writer| !writer.is_finished()) {
                let ledger = board.ledger(0);
                let examples = ledger.tallies.iter().filter_map(|t| t.example.as_ref());
                for Incident { reason, remedy, .. } in examples.chain(&ledger.recent) {
                    let first = reason.chars().next().unwrap_or('a');
                    assert!(reason.chars().all(|c| c == first), "{reason}");
                    assert_eq!(*remedy, reason.to_ascii_uppercase());
                }
            }
        });
        assert_eq!(board.ledger(0).tallies[0].count, 3 * 1999);
    }

    #[test]
    fn what_a_worker_in_wrong_hands_writes_is_text_or_nothing() {
        let mut words = encoded(&incident(Cause::Alert, 1, "x"));
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(seed >> 33 | 1);
            let at = usize::try_from(seed >> 40).unwrap_or(0) % words.len();
            words[at] = seed;
            // Cause and lengths are good now and then.
            words[1] &= 0x01ff_00ff_ffff_ff3f;
            if let Some(Incident { reason, remedy, .. }) = decoded(&words) {
                assert!(reason.len() <= MAX_REASON && remedy.len() <= MAX_REMEDY);
                assert!(!reason.chars().chain(remedy.chars()).any(char::is_control));
            }
        }
    }
}
