//! Counts and incidents of generations that no longer serve, kept so that a service's totals survive a reload, the
//! death of a master and an upgrade. A count is either here or on a scoreboard, never on both.

use serde::{Deserialize, Serialize};

use crate::incidents::{Cause, Diagnosis, Ledger};
use crate::ipc::scoreboard::{Counts, Scoreboard};

/// Totals by service: its name, and its position among the services of that name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Carried {
    counts: Vec<(String, usize, Counts)>,
    /// Handed to a new program by themselves: one from before there were any knows the counts alone.
    #[serde(skip)]
    pub(super) incidents: Incidents,
}

/// The incidents that are on no scoreboard.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Incidents {
    /// As the counts.
    services: Vec<(String, usize, Ledger)>,
    /// Those of adit itself.
    own: Ledger,
}

impl Incidents {
    /// What went wrong with adit itself.
    pub(super) fn own(&self) -> &Ledger {
        &self.own
    }

    /// Something goes wrong with adit itself.
    pub(super) fn note(&mut self, diagnosis: &Diagnosis) {
        self.own.note(diagnosis.met_by(None));
    }

    /// Every service's, with its name; names may recur.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, Ledger)> {
        let all = self.services.iter();
        all.map(|(name, _, ledger)| (name.clone(), ledger.clone()))
    }
}

impl Carried {
    /// With the incidents that were handed over beside it.
    pub(super) fn with(self, incidents: Incidents) -> Carried {
        Carried { incidents, ..self }
    }

    /// Moves the counts of a scoreboard here; `names` are its services' names.
    pub(super) fn take(&mut self, names: &[String], board: &Scoreboard) {
        self.incidents.own.add(board.take_own_ledger());
        for (index, name) in names.iter().enumerate() {
            let counts = board.take_counts(index);
            let number = number(names, index);
            match find(&mut self.counts, name, number) {
                Some(total) => total.add(counts),
                None => self.counts.push((name.clone(), number, counts)),
            }
            let mut ledger = board.take_ledger(index);
            // By these candidates tell why they were refused, which is told of adit itself.
            ledger.forget(Cause::Reload);
            if ledger.is_empty() {
                continue;
            }
            match find(&mut self.incidents.services, name, number) {
                Some(total) => total.add(ledger),
                None => {
                    let entry = (name.clone(), number, ledger);
                    self.incidents.services.push(entry);
                }
            }
        }
    }

    /// Every total, with the name of its service; names may recur.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, Counts)> {
        self.counts
            .iter()
            .map(|(name, _, counts)| (name.clone(), *counts))
    }

    /// The total kept for service `index` of `names`.
    pub(super) fn of(&self, names: &[String], index: usize) -> Counts {
        let number = number(names, index);
        let same = |(name, i, _): &&(String, usize, Counts)| *name == names[index] && *i == number;
        self.counts
            .iter()
            .find(same)
            .map_or_else(Counts::default, |found| found.2)
    }

    /// The incidents kept for service `index` of `names`.
    pub(super) fn ledger_of(&self, names: &[String], index: usize) -> Ledger {
        let number = number(names, index);
        let same = |(name, i, _): &&(String, usize, Ledger)| *name == names[index] && *i == number;
        let mut all = self.incidents.services.iter();
        all.find(same)
            .map_or_else(Ledger::default, |found| found.2.clone())
    }
}

/// That of a service, if there is one.
fn find<'a, T>(all: &'a mut [(String, usize, T)], name: &str, number: usize) -> Option<&'a mut T> {
    let mut all = all.iter_mut();
    let found = all.find(|(n, i, _)| n == name && *i == number);
    found.map(|(_, _, total)| total)
}

fn number(names: &[String], index: usize) -> usize {
    let before = names[..index].iter();
    before.filter(|name| **name == names[index]).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn counts_follow_a_service_by_its_name_and_its_number_among_those_of_that_name() {
        let board = Scoreboard::new(2, 3).unwrap();
        for (service, count) in [(0, 1), (1, 20), (2, 300)] {
            board
                .service(0, service)
                .accepted()
                .fetch_add(count, Relaxed);
            board
                .service(1, service)
                .accepted()
                .fetch_add(count, Relaxed);
            board.service(1, service).active().fetch_add(7, Relaxed);
        }
        let mut carried = Carried::default();
        carried.take(&names("smtp imap smtp"), &board);
        carried.take(&names("smtp imap smtp"), &board);
        assert_eq!(
            board.service(1, 0).active().load(Relaxed),
            7,
            "these are still open"
        );
        board.service(0, 2).accepted().fetch_add(1, Relaxed);
        carried.take(&names("smtp imap smtp"), &board);

        let after = names("new smtp smtp smtp imap");
        let accepted = (0..after.len()).map(|index| carried.of(&after, index).accepted);
        assert_eq!(accepted.collect::<Vec<_>>(), [0, 2, 601, 0, 40]);
    }
}
