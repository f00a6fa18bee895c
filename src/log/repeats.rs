//! What strangers can make this process write, bounded: of one kind of line about one address only the first few of a
//! minute are written, the rest is counted and told in one. Never in here: a line that is no stranger's doing.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::fields::Fields;
use super::{Id, installed};

/// For so long lines are counted before they are told.
const SPAN: Duration = Duration::from_mins(1);
/// Addresses and kinds that are told apart; what comes beyond counts as from other addresses, so that the memory is
/// bounded, and the log too.
const MOST: usize = 512;
/// How much of a line stands in the one that sums it up, in bytes.
const SAMPLE: usize = 120;
/// Lines of this level and below are faults: they are counted from the first on. Those above belong to the course of a
/// connection, and are counted once an address has caused too many faults.
const FAULTS: u8 = 4;
/// The kind of lines above, whatever they say.
const COURSE: u32 = 0;

/// Which client a line is about: an IPv4 address, or the network of an IPv6 address, all of which is one client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    V4(u32),
    /// The first 64 bits.
    V6(u64),
}

impl Origin {
    /// The origin of a client with this address.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Origin::V4(address.to_bits()),
            IpAddr::V6(address) => Origin::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Origin::V4(bits) => Ipv4Addr::from_bits(bits).fmt(f),
            Origin::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }
    }
}

/// The kind of the lines that are written at one place of the source.
pub(crate) const fn kind(file: &str, line: u32) -> u32 {
    // FNV-1a.
    let (mut hash, mut at) = (0x811c_9dc5_u32, 0);
    let file = file.as_bytes();
    while at < file.len() {
        hash = (hash ^ file[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash = (hash ^ line).wrapping_mul(0x0100_0193);
    // That one is COURSE.
    if hash == 0 { 1 } else { hash }
}

/// Lines of one kind and origin, in the minute since the first.
#[derive(Debug)]
struct Entry {
    began: Instant,
    written: u32,
    more: u64,
    level: u8,
    /// The first that was not written.
    sample: String,
}

impl Entry {
    fn new(began: Instant, level: u8) -> Self {
        Self {
            began,
            written: 0,
            more: 0,
            level,
            sample: String::new(),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.began + SPAN
    }
}

/// A line that sums up, and its level.
type Sum = (u8, String);

/// What is counted.
#[derive(Debug, Default)]
struct Repeats {
    /// Without an origin: of all those for which there was no room.
    entries: HashMap<(Option<Origin>, u32), Entry>,
    /// When the first entry is over that has something to tell.
    due: Option<Instant>,
    /// Addresses whose connections' course is counted too.
    loud: usize,
}

impl Repeats {
    /// Whether a line is to be written, of which an origin may have `limit` in a minute. What is over is summed up.
    fn admits(
        &mut self,
        (origin, kind, level): (Origin, u32, u8),
        limit: u32,
        now: Instant,
        text: fmt::Arguments<'_>,
        sums: &mut Vec<Sum>,
    ) -> bool {
        let course = (Some(origin), COURSE);
        let is_fault = level <= FAULTS;
        let mut key = match is_fault {
            true => (Some(origin), kind),
            false => course,
        };
        if !is_fault {
            self.calm_down(course, now, sums);
        }
        if !self.entries.contains_key(&key) {
            // All is well with this address.
            if !is_fault {
                return true;
            }
            if self.entries.len() >= MOST {
                self.sum_up(now, false, sums);
            }
            if self.entries.len() >= MOST {
                key.0 = None;
            }
        }
        let entry = self.entries.entry(key);
        let entry = entry.or_insert_with(|| Entry::new(now, level));
        if entry.is_over(now) {
            sums.extend(sum(key.0, key.1, entry));
            *entry = Entry::new(now, level);
        }
        if entry.written < limit {
            entry.written += 1;
            return true;
        }
        entry.more += 1;
        let over = entry.began + SPAN;
        self.due = Some(self.due.map_or(over, |due| due.min(over)));
        if entry.sample.is_empty() && is_fault {
            let _ = Sample(&mut entry.sample).write_fmt(text);
        }
        if is_fault && key.0.is_some() && self.entries.len() < MOST {
            let loud = &mut self.loud;
            self.entries.entry(course).or_insert_with(|| {
                *loud += 1;
                Entry::new(now, 5)
            });
        }
        false
    }

    /// Sums up the course of an address's connections once its minute is over: it is counted anew when there are too
    /// many faults again.
    fn calm_down(&mut self, course: (Option<Origin>, u32), now: Instant, sums: &mut Vec<Sum>) {
        let entry = self.entries.get(&course);
        if entry.is_some_and(|entry| entry.is_over(now)) {
            let entry = self.entries.remove(&course);
            sums.extend(entry.and_then(|entry| sum(course.0, COURSE, &entry)));
            self.loud = self.loud.saturating_sub(1);
        }
    }

    /// Sums up what is over; with `all`, whatever there is.
    fn sum_up(&mut self, now: Instant, all: bool, sums: &mut Vec<Sum>) {
        self.entries.retain(|(origin, kind), entry| {
            let is_over = all || entry.is_over(now);
            if is_over {
                sums.extend(sum(*origin, *kind, entry));
            }
            !is_over
        });
        let untold = self.entries.values().filter(|entry| entry.more > 0);
        self.due = untold.map(|entry| entry.began + SPAN).min();
        let course = self.entries.keys().filter(|(_, kind)| *kind == COURSE);
        self.loud = course.count();
    }
}

/// What tells of the lines that were not written, if there are some.
fn sum(origin: Option<Origin>, kind: u32, entry: &Entry) -> Option<Sum> {
    let count = match entry.more {
        0 => return None,
        more => more,
    };
    let from = match origin {
        Some(origin) => origin.to_string(),
        None => "other addresses".to_owned(),
    };
    let text = match kind {
        COURSE => format!("{count} more line(s) about connections from {from} in a minute"),
        _ => format!(
            "{count} more line(s) about connections from {from} in a minute, as: {}",
            entry.sample
        ),
    };
    Some((entry.level, text))
}

/// Keeps the first part of a line.
struct Sample<'a>(&'a mut String);

impl fmt::Write for Sample<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = SAMPLE - self.0.len().min(SAMPLE);
        let fits = text.floor_char_boundary(room);
        self.0.push_str(&text[..fits]);
        match fits < text.len() {
            true => Err(fmt::Error),
            false => Ok(()),
        }
    }
}

static REPEATS: Mutex<Option<Repeats>> = Mutex::new(None);
/// How many lines a minute; 0: any number.
static LIMIT: AtomicU32 = AtomicU32::new(0);
/// When the next sum is due, in milliseconds after the first line that was counted; 0: there is none.
static DUE: AtomicU64 = AtomicU64::new(0);
static FIRST: OnceLock<Instant> = OnceLock::new();
/// Whether a line that is no fault may have to be counted.
static LOUD: AtomicBool = AtomicBool::new(false);

/// From now on, and in what this process forks, an address may cause so many lines of one kind in a minute; 0: any
/// number.
pub(crate) fn limit_repeats(limit: u32) {
    LIMIT.store(limit, Relaxed);
}

/// Whether a line about `origin` is to be written. Each process counts for itself.
pub(super) fn admits(origin: Origin, kind: u32, level: u8, text: fmt::Arguments<'_>) -> bool {
    let limit = LIMIT.load(Relaxed);
    if limit == 0 || level > FAULTS && !LOUD.load(Relaxed) {
        return true;
    }
    let now = Instant::now();
    FIRST.get_or_init(|| now);
    with(|repeats, sums| repeats.admits((origin, kind, level), limit, now, text, sums))
}

/// When [`sum_up_repeats`] has something to tell.
#[inline]
pub(crate) fn repeats_due() -> Option<Instant> {
    match DUE.load(Relaxed) {
        0 => None,
        due => FIRST.get().map(|first| *first + Duration::from_millis(due)),
    }
}

/// Tells what was not written, once its minute is over.
pub(crate) fn sum_up_repeats(now: Instant) {
    with(|repeats, sums| repeats.sum_up(now, false, sums));
}

/// Tells all of it: the process ends.
pub(crate) fn sum_up_all_repeats() {
    with(|repeats, sums| repeats.sum_up(Instant::now(), true, sums));
}

fn with<T>(act: impl FnOnce(&mut Repeats, &mut Vec<Sum>) -> T) -> T {
    let mut sums = Vec::new();
    let result = {
        let mut repeats = REPEATS.lock().unwrap_or_else(PoisonError::into_inner);
        let repeats = repeats.get_or_insert_default();
        let result = act(repeats, &mut sums);
        LOUD.store(repeats.loud > 0, Relaxed);
        let due = repeats.due.zip(FIRST.get());
        // A whole millisecond later: it is over by then, and no turn comes too early.
        let due = due.map_or(0, |(due, first)| (due - *first).as_millis() + 1);
        DUE.store(u64::try_from(due).unwrap_or(u64::MAX), Relaxed);
        result
    };
    for (level, text) in sums {
        let fields = Fields {
            id: Id::Main,
            about: None,
            more: &[],
        };
        installed::write(level, fields, format_args!("{text}"));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Origin = Origin::V4(1);
    const TWO: Origin = Origin::V4(2);

    struct Log {
        repeats: Repeats,
        start: Instant,
        sums: Vec<Sum>,
    }

    impl Log {
        fn new() -> Self {
            Log {
                repeats: Repeats::default(),
                start: Instant::now(),
                sums: Vec::new(),
            }
        }

        /// How many of `count` lines at that second are written.
        fn say(&mut self, line: (Origin, u32, u8), second: u64, count: usize) -> usize {
            let now = self.start + Duration::from_secs(second);
            let sums = &mut self.sums;
            let mut one = |nth| {
                let text = format_args!("line {nth}");
                self.repeats.admits(line, 10, now, text, sums)
            };
            (0..count).filter(|nth| one(*nth)).count()
        }

        fn told(&mut self, second: u64) -> Vec<Sum> {
            let now = self.start + Duration::from_secs(second);
            self.repeats.sum_up(now, false, &mut self.sums);
            self.sums.sort();
            std::mem::take(&mut self.sums)
        }
    }

    #[test]
    fn ten_of_a_kind_and_address_are_written_and_the_rest_summed_up_each_minute() {
        let mut log = Log::new();
        assert_eq!(log.say((ONE, 7, 3), 0, 1000), 10);
        assert_eq!(log.say((TWO, 7, 3), 1, 5), 5, "another address");
        assert_eq!(log.say((ONE, 8, 4), 1, 5), 5, "another kind");
        assert_eq!(log.told(59), []);
        let sum = "990 more line(s) about connections from 0.0.0.1 in a minute, as: line 10";
        assert_eq!(log.told(60), [(3, sum.to_owned())]);
        // The next minute.
        assert_eq!(log.say((ONE, 7, 3), 61, 11), 10);
        assert_eq!(log.say((ONE, 7, 3), 200, 11), 10);
        assert_eq!(
            log.sums.len(),
            1,
            "no line of a minute that is over is lost"
        );
        assert_eq!(log.told(1000).len(), 2);
        assert!(log.repeats.entries.is_empty());
    }

    #[test]
    fn the_course_of_connections_is_counted_for_those_alone_that_cause_too_many_faults() {
        let mut log = Log::new();
        assert_eq!(log.say((ONE, 9, 5), 0, 100), 100);
        assert!(log.repeats.entries.is_empty() && log.repeats.loud == 0);
        assert_eq!(log.say((ONE, 7, 3), 0, 11), 10);
        assert_eq!(log.repeats.loud, 1);
        assert_eq!(log.say((ONE, 9, 5), 0, 100), 10);
        assert_eq!(log.say((ONE, 10, 7), 0, 100), 0);
        assert_eq!(log.say((TWO, 9, 5), 0, 100), 100);
        let told = log.told(60);
        assert!(told[1].1.starts_with("190 more line(s)"), "{told:?}");
        assert_eq!(log.repeats.loud, 0);
        assert_eq!(log.say((ONE, 9, 5), 61, 100), 100);
    }

    #[test]
    fn an_address_that_calmed_down_is_heard_again_and_its_sum_is_that_of_its_course() {
        let mut log = Log::new();
        assert_eq!(log.say((ONE, 7, 3), 0, 11), 10);
        assert_eq!(log.say((ONE, 9, 5), 1, 5), 5);
        // Nothing was left to tell of the course; a later minute is not counted for the sake of that one.
        assert_eq!(log.say((ONE, 9, 5), 100, 50), 50);
        assert_eq!((log.repeats.loud, log.sums.len()), (0, 0));
        assert_eq!(log.say((ONE, 7, 3), 100, 11), 10);
        assert_eq!(log.say((ONE, 9, 6), 100, 20), 10);
        log.sums.clear();
        assert_eq!(log.say((ONE, 9, 6), 161, 1), 1);
        let sum = "10 more line(s) about connections from 0.0.0.1 in a minute";
        assert_eq!(log.sums, [(5, sum.to_owned())]);
    }

    #[test]
    fn what_is_kept_is_bounded_whatever_addresses_there_are() {
        let mut log = Log::new();
        let count = 3 * MOST as u32;
        let all = (0..count).map(|n| log.say((Origin::V4(n), 7, 3), 0, 11));
        let written: usize = all.sum();
        assert!(written <= 10 * (MOST + 1), "{written}");
        assert!(log.repeats.entries.len() <= MOST + 1);
        let told = log.told(60);
        let others = told
            .iter()
            .filter(|(_, text)| text.contains("other addresses"));
        assert_eq!(others.count(), 1);
        assert_eq!(log.say((ONE, 7, 3), 61, 1), 1);
        let long = "é".repeat(SAMPLE);
        let mut sample = String::new();
        let _ = Sample(&mut sample).write_fmt(format_args!("x{long}{long}"));
        assert_eq!(sample.len(), SAMPLE - 1);
    }

    #[test]
    fn an_origin_is_an_address_or_a_network() {
        for (address, shown) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Origin::of(address).to_string(), shown);
        }
    }

    #[test]
    fn each_place_is_a_kind() {
        let kinds = [kind("a.rs", 1), kind("a.rs", 2), kind("b.rs", 1)];
        assert!(kinds[0] != kinds[1] && kinds[0] != kinds[2] && kinds[1] != kinds[2]);
    }
}
