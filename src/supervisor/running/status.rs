//! What `adit status` is told.

use super::Supervisor;
use super::reload::Pending;
use crate::sandbox::Strength;
use crate::status::{HelperStatus, ReloadStatus, Status};
use crate::supervisor::control::shown;
use crate::supervisor::decider::{Event, Spare};
use crate::tls::CipherOrder;

impl Supervisor {
    /// Answers every client that has connected, without ever waiting for it.
    pub(super) fn answer_status(&mut self) {
        self.happen(Event::StatusWanted);
        let status = self.status();
        let control = self.control.as_mut();
        if control.is_some_and(|control| control.answer(&status)) {
            self.happen(Event::ControlPaused);
        }
    }

    fn status(&self) -> Status {
        let (succeeded, failed) = self.decider.reloads().counts();
        let orphans = self.masters.orphans().iter().map(|o| &o.generation);
        let generations = self.masters.all().iter().chain(orphans);
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            file: self.sources.file.clone(),
            passed: self.listeners.count_passed(),
            sandbox: Some(Strength::of_this_kernel()),
            ciphers: Some(CipherOrder::of(self.config.global.prefer_chacha20)),
            names: self.common.names.clone(),
            reloads: ReloadStatus {
                succeeded,
                failed,
                under_way: self.decider.is_reloading(),
            },
            generations: generations
                .map(|generation| {
                    let state = self.decider.state(generation.number);
                    let common = &self.common;
                    let spare = self.spare_of(generation.number);
                    shown(
                        generation,
                        state,
                        spare,
                        &common.carried,
                        &common.resumption,
                    )
                })
                .collect(),
            helpers: self.helpers_shown(),
        }
    }

    fn helpers_shown(&self) -> Vec<HelperStatus> {
        let pending = self.pending.iter().flat_map(Pending::helpers);
        let all = self.helpers.processes().chain(pending);
        let shown = |(kind, pid): (crate::helper::Kind, nix::unistd::Pid)| HelperStatus {
            kind: kind.name().to_owned(),
            pid: pid.as_raw().unsigned_abs(),
        };
        all.map(shown).collect()
    }

    /// The spare of a generation that is to have one; 0 while it has none.
    fn spare_of(&self, number: u64) -> Option<u32> {
        let stands = self.decider.spare(number)? == Spare::Standing;
        let mut spares = self.masters.spares().iter();
        let pid = spares
            .find(|s| s.behind == number && stands)
            .and_then(|s| s.pid);
        Some(pid.map_or(0, |pid| pid.as_raw().unsigned_abs()))
    }
}
