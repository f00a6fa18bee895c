//! What `adit status` is told.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;

use super::Supervisor;
use super::reload::Pending;
use crate::incidents::{Cause, Ledger};
use crate::ipc::scoreboard::Counts;
use crate::ipc::scoreboard::answered::Place;
use crate::sandbox::Strength;
use crate::status::{
    CertificateStatus, FailureStatus, GenerationStatus, HelperStatus, IncidentStatus, ReloadStatus,
    ServiceStatus, Status, UpstreamStatus, WorkerStatus, now,
};
use crate::supervisor::decider::{Spare, State};
use crate::supervisor::generation::{About, Generation};
use crate::tls::CipherOrder;

/// What a generation is called whose master is dead.
pub(super) const ORPHANED: &str = "orphaned";

impl Supervisor {
    pub(super) fn status(&self) -> Status {
        let (succeeded, failed) = self.decider.reloads().counts();
        let orphans = self.masters.orphans().iter().map(|o| &o.generation);
        let generations = self.masters.all().iter().chain(orphans);
        let addresses = self.listeners.addresses();
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: now(),
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
            generations: generations.map(|g| self.shown(g, &addresses)).collect(),
            helpers: self.helpers_shown(),
            failures: FailureStatus::all_of(&self.own_failures()),
        }
    }

    /// What went wrong with adit itself: here, and in masters and workers.
    fn own_failures(&self) -> Ledger {
        let mut all = self.common.carried.incidents.own().clone();
        let orphans = self.masters.orphans().iter().map(|o| &o.generation);
        for generation in self.masters.all().iter().chain(orphans) {
            all.add(generation.scoreboard.own_ledger());
        }
        all
    }

    /// A generation's part. `addresses`: where the services of the serving one accept.
    fn shown(
        &self,
        generation: &Generation,
        addresses: &HashMap<usize, Vec<String>>,
    ) -> GenerationStatus {
        let number = generation.number;
        // Without one it is orphaned.
        let state = self.decider.state(number);
        let board = &generation.scoreboard;
        let since = generation.since.duration_since(UNIX_EPOCH);
        GenerationStatus {
            number,
            state: state.map_or(ORPHANED, State::name).to_owned(),
            pid: state.map_or(0, |_| generation.pid.as_raw().unsigned_abs()),
            spare: self.spare_of(number),
            since: since.map_or(0, |since| since.as_secs()),
            workers: (0..board.workers())
                .map(|index| WorkerStatus::of(board, index))
                .collect(),
            services: (0..generation.names.len())
                .map(|index| self.service_shown(generation, index, state, addresses))
                .collect(),
            warnings: generation.warnings.clone(),
        }
    }

    fn service_shown(
        &self,
        generation: &Generation,
        index: usize,
        state: Option<State>,
        addresses: &HashMap<usize, Vec<String>>,
    ) -> ServiceStatus {
        let serves = state == Some(State::Serving);
        let common = &self.common;
        // The serving generation also shows the totals of those before it.
        let before = match serves {
            true => common.carried.of(&generation.names, index),
            false => Counts::default(),
        };
        let accept = addresses.get(&index).filter(|_| serves);
        let board = &generation.scoreboard;
        let stapled = |slot| common.resumption.stapled(slot);
        let mut ledger = board.ledger(index);
        // A candidate's word on why it was refused, which is told of adit itself.
        ledger.forget(Cause::Reload);
        if serves {
            ledger.add(common.carried.ledger_of(&generation.names, index));
        }
        ServiceStatus {
            failures: FailureStatus::all_of(&ledger),
            recent_failures: IncidentStatus::last_of(&ledger),
            accept: accept.cloned().unwrap_or_default(),
            drained: serves && self.listeners.is_drained(&generation.names[index]),
            connect: generation.connect(index).to_vec(),
            upstream: upstream(generation, index),
            certificates: certificates(generation, index),
            ..ServiceStatus::of(board, index, &generation.names[index], &before, stapled)
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

/// The upstream that answered last.
fn upstream(generation: &Generation, service: usize) -> Option<UpstreamStatus> {
    let answered = generation.scoreboard.shared(service).answer()?;
    let address = match answered.place {
        Place::Tcp(address) => address.to_string(),
        Place::Unix(entry) => generation.connect(service).get(entry)?.clone(),
    };
    Some(UpstreamStatus {
        address,
        at: answered.at,
    })
}

/// The service's own certificates, and when they end.
fn certificates(generation: &Generation, service: usize) -> Vec<CertificateStatus> {
    let board = &generation.scoreboard;
    let row = board.shared(service);
    let nothing = About::default();
    let about = generation.about.get(service).unwrap_or(&nothing);
    [
        ("clients", &about.to_clients, row.ends_to_clients()),
        ("servers", &about.to_servers, row.ends_to_servers()),
    ]
    .into_iter()
    .filter_map(|(shown_to, file, ends)| {
        let ends = ends.load(Relaxed);
        (ends != 0).then(|| CertificateStatus {
            shown_to: shown_to.to_owned(),
            file: file.clone(),
            ends,
        })
    })
    .collect()
}
