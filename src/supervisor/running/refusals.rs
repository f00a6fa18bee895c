//! What `adit status` is told of reloads that failed, and of what else goes wrong with adit itself. Never in here: what
//! the log is told.

use std::sync::{Mutex, PoisonError};

use super::Supervisor;
use crate::incidents::{Cause, Diagnosis, Incident};
use crate::ipc::scoreboard::of_log_losses;
use crate::log;
use crate::supervisor::decider::Why;
use crate::supervisor::decider::note::Note;

/// Where nothing better is known.
const REMEDY: &str =
    "see the log from that time on, and `adit check`; the running configuration stays in force";

/// What to do about a process that died, or was killed since it did not answer.
pub(super) const DIED: &str = "another was started, and no connection is lost; unless it was killed by hand or for want of memory \
     (`dmesg`), please report it with the log of that time";
/// What to do where there can be no other now.
pub(super) const LACKS: &str =
    "see `ulimit -u`, TasksMax= and memory, and the log from that time on";

/// Why lines of the log are lost, until that is kept.
static LOST: Mutex<Option<String>> = Mutex::new(None);

/// Has what this process loses kept.
pub(super) fn keep_log_losses() {
    log::tell_losses_by(|why| {
        *LOST.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    });
}

/// What to do about what the log is told, where it is about a process of adit's that is not as it should be.
fn remedy_of(note: &Note) -> Option<&'static str> {
    Some(match note {
        Note::Died { .. }
        | Note::SpareLost { .. }
        | Note::HelperDied { .. }
        | Note::NotResponding { .. }
        | Note::StillAccepting(_)
        | Note::InvalidMessage { .. } => DIED,
        Note::NotForked { .. } | Note::NotSpared { .. } | Note::NoMaster(_) => LACKS,
        _ => return None,
    })
}

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
        if let Some(remedy) = remedy_of(note)
            && !self.was_killed(note)
        {
            self.process_fails(note.to_string(), remedy);
        }
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

    /// Whether a death is that of a process which stood still: that was told, and is one failure.
    fn was_killed(&mut self, note: &Note) -> bool {
        match note {
            Note::NotResponding { pid, .. } => {
                self.stood_still.push(*pid);
                false
            }
            Note::Died { pid, .. } | Note::HelperDied { pid, .. } => {
                let place = self.stood_still.iter().position(|it| it == pid);
                place.map(|at| self.stood_still.swap_remove(at)).is_some()
            }
            _ => false,
        }
    }

    /// A process of adit's has died, or stands still, or cannot be started.
    pub(super) fn process_fails(&mut self, reason: String, remedy: &'static str) {
        let diagnosis = Diagnosis::new(Cause::Process, reason, remedy);
        self.common.carried.incidents.note(&diagnosis);
    }

    /// Keeps that lines of this process's log are lost.
    pub(super) fn note_log_losses(&mut self) {
        let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = lost.take() {
            self.common.carried.incidents.note(&of_log_losses(&why));
            self.told.is_outdated();
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
