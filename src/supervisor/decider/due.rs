//! The one table of deadlines. What is due is set here and nowhere else, so the loop cannot wait for
//! one deadline and look at another.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::helper::Kind;

/// What happens when a deadline comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A generation's state has lasted as long as it may.
    Generation(u64),
    /// The masters of a handover have had their time to accept no more.
    Handover,
    /// A new binary has had its time to rehearse.
    Rehearsal,
    /// A master is started in place of one that died.
    Replacement,
    /// Retired listeners are looked at.
    Retired,
    /// A spare has had its time to fork a master.
    Promotion,
    /// The spare of a generation has had its time to stand, or is asked for again.
    Spare(u64),
    /// Masters have had their time to list their connections.
    Listing,
    /// A master has had its time to show that its loop comes round.
    Answer,
    /// What is left of the program is killed.
    Stopping,
    /// systemd's watchdog is fed.
    Watchdog,
    /// The files of a configuration have stopped changing.
    FilesSettled,
    /// syslogd is connected to.
    Syslog,
    /// What a process had no room for is sent again.
    Resend,
    /// Clients of the control socket are taken again.
    Control,
    /// A helper is started in place of one that died.
    Helper(Kind),
    /// A helper has had its time to show that its loop comes round.
    HelperAnswer(Kind),
    /// It is looked whether clients wait that the master has not taken.
    Backlog,
    /// The names of the configuration in force are looked up again.
    Names,
}

/// When each is due.
#[derive(Debug, Default)]
pub(crate) struct Timetable(BTreeMap<Due, Instant>);

impl Timetable {
    /// Sets a deadline, in place of an earlier one for the same.
    pub(crate) fn set(&mut self, due: Due, at: Instant) {
        self.0.insert(due, at);
    }

    /// Sets a deadline unless there is one for the same.
    pub(crate) fn set_unless_set(&mut self, due: Due, at: Instant) {
        self.0.entry(due).or_insert(at);
    }

    /// Forgets a deadline.
    pub(crate) fn clear(&mut self, due: Due) {
        self.0.remove(&due);
    }

    /// When it is due.
    pub(crate) fn of(&self, due: Due) -> Option<Instant> {
        self.0.get(&due).copied()
    }

    /// The soonest of all.
    pub(crate) fn soonest(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Takes the soonest out of the table if its time has come.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(Due, Instant)> {
        let (due, at) = self.0.iter().min_by_key(|(_, at)| **at)?;
        let soonest = (*due, *at);
        if soonest.1 > now {
            return None;
        }
        self.0.remove(&soonest.0);
        Some(soonest)
    }

    /// All that is set.
    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = (Due, Instant)> {
        self.0.iter().map(|(due, at)| (*due, *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_deadline_comes_once_in_the_order_of_time_and_not_before() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut table = Timetable::default();
        table.set(Due::Stopping, at(9));
        table.set(Due::Handover, at(3));
        table.set(Due::Listing, at(5));
        table.set(Due::Handover, at(6));
        table.set_unless_set(Due::Listing, at(1));
        table.set(Due::Control, at(1));
        table.clear(Due::Control);
        assert_eq!(table.soonest(), Some(at(5)));
        assert_eq!(table.take(at(4)), None);
        assert_eq!(table.take(at(7)), Some((Due::Listing, at(5))));
        assert_eq!(table.take(at(7)), Some((Due::Handover, at(6))));
        assert_eq!(table.take(at(7)), None);
        assert_eq!(table.of(Due::Stopping), Some(at(9)));
    }
}
