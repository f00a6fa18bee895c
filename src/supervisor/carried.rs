//! Counts of generations that no longer serve, kept so that a service's totals survive a reload, the
//! death of a master and an upgrade. A count is either here or on a scoreboard, never on both.

use serde::{Deserialize, Serialize};

use crate::ipc::scoreboard::{Counts, Scoreboard};

/// Totals by service: its name, and its position among the services of that name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Carried(Vec<(String, usize, Counts)>);

impl Carried {
    /// Moves the counts of a scoreboard here; `names` are its services' names.
    pub(super) fn take(&mut self, names: &[String], board: &Scoreboard) {
        for (index, name) in names.iter().enumerate() {
            let counts = board.take_counts(index);
            let number = number(names, index);
            let known = self
                .0
                .iter_mut()
                .find(|(n, i, _)| n == name && *i == number);
            match known {
                Some((_, _, total)) => total.add(counts),
                None => self.0.push((name.clone(), number, counts)),
            }
        }
    }

    /// Every total, with the name of its service; names may recur.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, Counts)> {
        self.0
            .iter()
            .map(|(name, _, counts)| (name.clone(), *counts))
    }

    /// The total kept for service `index` of `names`.
    pub(super) fn of(&self, names: &[String], index: usize) -> Counts {
        let number = number(names, index);
        let same = |(name, i, _): &&(String, usize, Counts)| *name == names[index] && *i == number;
        self.0
            .iter()
            .find(same)
            .map_or_else(Counts::default, |found| found.2)
    }
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
