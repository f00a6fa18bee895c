//! What `adit status` is told of reloads that failed. Never in here: what the log is told.

use super::Supervisor;
use crate::incidents::{Cause, Diagnosis, Incident};
use crate::supervisor::decider::Why;
use crate::supervisor::decider::note::Note;

/// Where nothing better is known.
const REMEDY: &str =
    "see the log from that time on, and `adit check`; the running configuration stays in force";

impl Supervisor {
    /// Why the reload under way comes to nothing, unless that is known. What another master fails by, which is to
    /// replace a dead one, is no reload's reason.
    pub(super) fn is_refused_by(&mut self, diagnosis: impl FnOnce() -> Diagnosis) {
        let mut pending = self.pending.iter();
        if pending.any(|pending| pending.why == Why::Reload) {
            self.refusal.get_or_insert_with(diagnosis);
        }
    }

    /// Follows a reload by what the log is told of it.
    pub(super) fn follow(&mut self, note: &Note) {
        match note {
            Note::DiedLoading { .. } | Note::TooSlow(_) => {
                self.is_refused_by(|| Diagnosis::new(Cause::Reload, note.to_string(), REMEDY));
            }
            Note::CannotTakeOver(_) => {
                self.refusal = Some(Diagnosis::new(Cause::Reload, note.to_string(), REMEDY));
            }
            Note::RunningGoesOn | Note::OldBinaryGoesOn => {
                let refusal = self.refusal.take().or_else(|| self.said_by_candidate());
                let refusal = refusal
                    .unwrap_or_else(|| Diagnosis::new(Cause::Reload, "the reload failed", REMEDY));
                self.common.carried.incidents.note(&refusal);
            }
            Note::Reloaded(_) => self.refusal = None,
            _ => {}
        }
    }

    /// The first error that a candidate has left on its board.
    fn said_by_candidate(&self) -> Option<Diagnosis> {
        let all = self.masters.all().iter();
        let said = all.flat_map(|generation| generation.scoreboard.ledger(0).recent);
        let last = said
            .filter(|incident| incident.cause == Cause::Reload)
            .max_by_key(|incident| incident.at)?;
        let Incident { reason, remedy, .. } = last;
        Some(Diagnosis::new(Cause::Reload, reason, remedy))
    }
}
