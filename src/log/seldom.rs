//! A line a minute at most about what strangers make happen again and again; what happens in between is counted, and
//! told in the next. Never in here: a line.

use std::time::{Duration, Instant};

/// How often a line tells of it.
const EVERY: Duration = Duration::from_mins(1);

/// What happens again and again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seldom {
    untold: u64,
    told_at: Option<Instant>,
}

impl Seldom {
    /// It has happened once more. Whether that is to be told now: no line has been for a minute.
    pub(crate) fn count(&mut self, now: Instant) -> bool {
        if self.due().is_none() && self.told_at.is_none_or(|at| now >= at + EVERY) {
            self.told_at = Some(now);
            return true;
        }
        self.untold += 1;
        false
    }

    /// It goes on. Whether that is to be told now, without a number: once a minute.
    pub(crate) fn recurs(&mut self, now: Instant) -> bool {
        let told = self.told_at.is_some_and(|at| now < at + EVERY);
        if !told {
            self.told_at = Some(now);
        }
        !told
    }

    /// How often it has happened since the last line, where that is to be told now.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<u64> {
        self.due().filter(|at| *at <= now)?;
        self.told_at = Some(now);
        self.take_rest()
    }

    /// The same, whether or not the minute is over.
    pub(crate) fn take_rest(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.untold)).filter(|untold| *untold > 0)
    }

    /// When [`Seldom::take_due`] has something.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.told_at
            .filter(|_| self.untold > 0)
            .map(|at| at + EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_of_a_minute_together() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut seldom = Seldom::default();
        assert!(seldom.count(at(0)) && seldom.due().is_none());
        assert!((1..50).all(|second| !seldom.count(at(second))));
        assert_eq!(
            (seldom.due(), seldom.take_due(at(59))),
            (Some(at(60)), None)
        );
        // It goes on before the line is written.
        assert!(!seldom.count(at(61)));
        assert_eq!((seldom.take_due(at(61)), seldom.due()), (Some(50), None));
        assert!(!seldom.count(at(62)));
        assert_eq!(seldom.take_rest(), Some(1));
        assert!(seldom.count(at(200)), "nothing has been told for long");
        let mut lasting = Seldom::default();
        let told = (0..150).filter(|second| lasting.recurs(at(*second)));
        assert_eq!(told.collect::<Vec<_>>(), [0, 60, 120]);
    }
}
