//! What is found wrong with a session: kept for `adit status` where it ends the session, or a part of it, in the words of
//! the log. Never in here: what a good session does, payload, or what a client has said.

use std::borrow::Cow;

use nix::errno::Errno;

use super::Reason;
use super::resources::Resources;
use super::step::{Common, Context};
use crate::incidents::{Cause, Diagnosis};

/// For a socket that was cut off.
const CUT_OFF: &str =
    "the other side, or a firewall on the way, cut the connection off: see its log";

impl Common {
    /// Remembers what was found, for [`Context::keep_finding`]; a later finding takes its place.
    pub(super) fn found(&mut self, diagnosis: Diagnosis) {
        self.finding = Some(Box::new(diagnosis));
    }
}

impl Context<'_> {
    /// Keeps what was found wrong last, or this where nothing was.
    pub(super) fn keep_finding(&mut self, or: impl FnOnce() -> Diagnosis) {
        let found = self.common.finding.take();
        let diagnosis = found.map_or_else(or, |found| *found);
        self.keep(&diagnosis);
    }

    /// Keeps what is wrong.
    pub(super) fn keep(&self, diagnosis: &Diagnosis) {
        keep(diagnosis, self.common, self.resources);
    }
}

/// Keeps what is wrong with a session. Nothing is with a balancer's check of whether adit is there.
pub(super) fn keep(diagnosis: &Diagnosis, common: &Common, resources: &Resources) {
    if common.is_a_check() {
        return;
    }
    common.is_found(diagnosis);
    if let Some(incidents) = resources.scoreboard.incidents(common.index()) {
        incidents.note(&diagnosis.met_by(common.peer));
    }
}

/// A socket failed while this was being done.
pub(super) fn lost(doing: &str, errno: Errno) -> Diagnosis {
    Diagnosis::new(
        Cause::Vanished,
        format!("{doing}: {}", Reason(errno)),
        CUT_OFF,
    )
}

/// A peer is gone.
pub(super) fn vanished(reason: impl Into<String>) -> Diagnosis {
    Diagnosis::new(Cause::Vanished, reason, CUT_OFF)
}

/// A peer did not say in time what was waited for.
pub(super) fn late(reason: impl Into<String>, remedy: impl Into<Cow<'static, str>>) -> Diagnosis {
    Diagnosis::new(Cause::TimedOut, reason, remedy)
}
