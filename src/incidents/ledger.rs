//! What is kept of a service's incidents: how often each cause was met, and the last ones. Never in here: all of them.

use serde::{Deserialize, Serialize};

use super::{Cause, Incident};

/// The last incidents that are kept, of whatever cause.
pub(crate) const RECENT: usize = 8;

/// How often a cause was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub cause: Cause,
    pub count: u64,
    /// When it was met first, in milliseconds since 1970; 0 if that is not known.
    pub first: u64,
    /// When it was met last; as `first`.
    pub last: u64,
    /// The last one; `None`: it was being written, or its writer died over it.
    pub example: Option<Incident>,
}

/// The incidents of a service, or of adit itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ledger {
    /// One for each cause that was met, in the order of their numbers.
    pub tallies: Vec<Tally>,
    /// The last ones, the latest first.
    pub recent: Vec<Incident>,
}

impl Ledger {
    /// Whether nothing ever went wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.tallies.is_empty() && self.recent.is_empty()
    }

    /// Leaves out what is of this cause.
    pub(crate) fn forget(&mut self, cause: Cause) {
        self.tallies.retain(|tally| tally.cause != cause);
        self.recent.retain(|incident| incident.cause != cause);
    }

    /// Adds one.
    pub(crate) fn note(&mut self, incident: Incident) {
        self.add(Ledger {
            tallies: vec![Tally {
                cause: incident.cause,
                count: 1,
                first: incident.at,
                last: incident.at,
                example: Some(incident.clone()),
            }],
            recent: vec![incident],
        });
    }

    /// Adds what another has.
    pub(crate) fn add(&mut self, other: Ledger) {
        for tally in other.tallies {
            match self.tallies.iter_mut().find(|t| t.cause == tally.cause) {
                Some(known) => known.add(tally),
                None => self.tallies.push(tally),
            }
        }
        self.tallies.sort_by_key(|tally| tally.cause);
        let known = std::mem::replace(&mut self.recent, other.recent);
        for incident in known {
            if !self.recent.contains(&incident) {
                self.recent.push(incident);
            }
        }
        // Those of one moment stay in their order, and what is added is the later.
        self.recent.sort_by_key(|i| std::cmp::Reverse(i.at));
        self.recent.truncate(RECENT);
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.count = self.count.saturating_add(other.count);
        self.first = match (self.first, other.first) {
            (0, first) | (first, 0) => first,
            (one, another) => one.min(another),
        };
        self.last = self.last.max(other.last);
        let at = |example: &Option<Incident>| example.as_ref().map(|i| i.at);
        if at(&other.example) > at(&self.example) {
            self.example = other.example;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incidents::Diagnosis;

    fn incident(cause: Cause, at: u64) -> Incident {
        Incident {
            at,
            ..Diagnosis::new(cause, format!("at {at}"), "").met_by(None)
        }
    }

    #[test]
    fn ledgers_add_up_whatever_the_order() {
        let (mut one, mut other) = (Ledger::default(), Ledger::default());
        assert!(one.is_empty());
        for at in 1..=20 {
            one.note(incident(Cause::Vanished, 2 * at));
            other.note(incident(Cause::Vanished, 2 * at + 1));
        }
        other.note(incident(Cause::Alert, 5));
        let (mut left, mut right) = (one.clone(), other.clone());
        left.add(other);
        right.add(one);
        assert_eq!(left, right);
        let tallies: Vec<_> = left
            .tallies
            .iter()
            .map(|t| (t.cause, t.count, t.first, t.last))
            .collect();
        let expected = [(Cause::Alert, 1, 5, 5), (Cause::Vanished, 40, 2, 41)];
        assert_eq!(tallies, expected);
        let recent: Vec<u64> = left.recent.iter().map(|i| i.at).collect();
        assert_eq!(recent, [41, 40, 39, 38, 37, 36, 35, 34]);
        // Of one moment.
        left.note(Incident {
            peer: "192.0.2.7:1".parse().ok(),
            ..incident(Cause::Alert, 41)
        });
        let causes: Vec<Cause> = left.recent.iter().map(|i| i.cause).collect();
        assert_eq!(causes[..2], [Cause::Alert, Cause::Vanished]);
        left = right.clone();
        // What is read twice is there once.
        left.add(Ledger {
            recent: right.recent,
            ..Ledger::default()
        });
        assert_eq!(left.recent.len(), RECENT);
    }
}
