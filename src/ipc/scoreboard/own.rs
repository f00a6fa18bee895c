//! What went wrong with adit itself, in a master or a worker. Never in here: what a session met.

use super::Scoreboard;
use crate::incidents::{Cause, Diagnosis, Ledger};
use crate::log;

impl Scoreboard {
    /// Something goes wrong with adit itself.
    pub(crate) fn note_own(&self, diagnosis: &Diagnosis) {
        if let Some(incidents) = self.incidents(self.services) {
            incidents.note(&diagnosis.met_by(None));
        }
    }

    /// What went wrong.
    pub(crate) fn own_ledger(&self) -> Ledger {
        self.ledger(self.services)
    }

    /// As [`Scoreboard::take_ledger`].
    pub(crate) fn take_own_ledger(&self) -> Ledger {
        self.take_ledger(self.services)
    }

    /// Has lines that this process loses told of here from now on.
    pub(crate) fn keep_log_losses(&self) {
        let board = self.clone();
        log::tell_losses_by(move |why| board.note_own(&of_log_losses(why)));
    }
}

/// Lines of the log begin to be lost.
pub(crate) fn of_log_losses(why: &str) -> Diagnosis {
    Diagnosis::new(
        Cause::Log,
        why,
        "make room for it, or see what reads it; connections go on, and the first line that can be written tells how \
         many were lost",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_adits_own_is_no_services() {
        let board = Scoreboard::new(2, 3).unwrap();
        board.note_own(&of_log_losses("log file: No space left on device (28)"));
        assert!((0..3).all(|service| board.ledger(service).is_empty()));
        let own = board.own_ledger();
        assert_eq!((own.tallies.len(), own.tallies[0].count), (1, 1));
        assert_eq!(own.tallies[0].cause, Cause::Log);
        assert!(board.incidents(4).is_none());
        assert_eq!(board.take_own_ledger().tallies, own.tallies);
        assert!(board.own_ledger().tallies.is_empty());
    }
}
