//! What services did in the last minutes, as those saw it that looked at the page: nothing is noted while none does,
//! so that an idle adit does not wake up.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Points that are kept for each service.
const KEPT: usize = 60;
/// Points are this far apart at least, however many look.
const APART: Duration = Duration::from_secs(1);
/// After a pause like this it begins anew: nothing is known of what was between.
const PAUSE: Duration = Duration::from_mins(1);
/// A rate is that of so long, since what long connections carry is counted in steps.
const SMOOTHED: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub(in super::super) struct History {
    last: Option<Instant>,
    services: BTreeMap<String, VecDeque<Point>>,
}

/// A service at one moment.
#[derive(Debug, Clone, Copy)]
struct Point {
    at: Instant,
    open: u64,
    bytes: u64,
}

impl History {
    /// Notes what services have now: name, open connections, bytes carried so far.
    pub(super) fn note(&mut self, at: Instant, services: &[(&str, u64, u64)]) {
        let since = self.last.map(|last| at.saturating_duration_since(last));
        if since.is_some_and(|since| since < APART) {
            return;
        }
        if since.is_some_and(|since| since > PAUSE) {
            self.services.clear();
        }
        self.last = Some(at);
        for &(name, open, bytes) in services {
            if !self.services.contains_key(name) {
                self.services.insert(name.to_owned(), VecDeque::new());
            }
            if let Some(points) = self.services.get_mut(name) {
                if points.len() == KEPT {
                    points.pop_front();
                }
                points.push_back(Point { at, open, bytes });
            }
        }
        // Those that are gone.
        self.services
            .retain(|_, points| points.back().is_some_and(|point| point.at == at));
    }

    /// How many connections a service had open, the latest last.
    pub(super) fn open(&self, service: &str) -> Vec<u64> {
        let points = self.services.get(service).into_iter().flatten();
        points.map(|point| point.open).collect()
    }

    /// How many bytes it carried in a second, the latest last.
    pub(super) fn rates(&self, service: &str) -> Vec<u64> {
        let Some(points) = self.services.get(service) else {
            return Vec::new();
        };
        let rate = |to: usize| {
            let point = points.get(to)?;
            let is_near = |from: &&Point| point.at.duration_since(from.at) <= SMOOTHED;
            let from = points.iter().take(to).find(is_near)?;
            let bytes = point.bytes.saturating_sub(from.bytes);
            let millis = point.at.duration_since(from.at).as_millis().max(1);
            u64::try_from(u128::from(bytes) * 1000 / millis).ok()
        };
        (1..points.len()).filter_map(rate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(history: &mut History, at: Instant, open: u64, bytes: u64) {
        history.note(at, &[("mail", open, bytes)]);
    }

    #[test]
    fn it_is_bounded_and_begins_anew_after_a_pause() {
        let (mut history, start) = (History::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        for second in 0..100 {
            note(&mut history, after(second * 1000), second, 0);
            note(&mut history, after(second * 1000 + 500), 7777, 0);
        }
        assert_eq!(history.open("mail"), (40..100).collect::<Vec<_>>());
        assert_eq!(history.open("other"), [0; 0]);
        note(&mut history, after(200_000), 3, 0);
        assert_eq!(history.open("mail"), [3]);
        history.note(after(202_000), &[("other", 1, 1)]);
        assert_eq!(history.open("mail"), [0; 0]);
        assert_eq!(history.open("other"), [1]);
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let (mut history, start) = (History::default(), Instant::now());
        for (second, bytes) in [(0, 0), (2, 200), (4, 600), (30, 600), (32, 1600)] {
            note(&mut history, start + Duration::from_secs(second), 0, bytes);
        }
        assert_eq!(history.rates("mail"), [100, 150, 500]);
        assert_eq!(history.rates("other"), [0; 0]);
    }
}
