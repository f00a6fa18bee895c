//! Looks at the servers of services with `probe`, in the worker's main thread, apart from all sessions. Of all workers
//! one claims each round; when it dies, its time runs out, and another does. Never in here: a wait; a session.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::group::Group;
use crate::helper::KnownNames;
use crate::ipc::addresses::now;
use crate::ipc::probes::{FAILURES, ProbeRow, Server};
use crate::ipc::scoreboard::Scoreboard;
use crate::log::Log;
use crate::relay::probing::{Probe, Verdict};
use crate::relay::{ServiceContext, Upstream, lookup};

/// Servers of one worker that are looked at at a time; the others wait for their turn.
const AT_A_TIME: usize = 64;

/// How long a worker has for a round until another may think that it is dead, in seconds. It is renewed while the round
/// goes on, however many servers are silent for `TIMEOUTconnect` each.
const LEASE: u64 = 10;

/// What is left of that when it is renewed.
const RENEWED_AT: u64 = 6;

/// How soon a server that has just failed is looked at again, in seconds.
const SOON: u64 = 1;

/// The longest sleep, since the clock may be set.
const LONGEST: Duration = Duration::from_hours(1);

/// See the module.
pub(super) struct Prober {
    services: Arc<[ServiceContext]>,
    scoreboard: Scoreboard,
    watched: Vec<Watched>,
    /// Connections that are being left.
    leaving: Vec<(usize, Probe)>,
    log: Log,
}

/// A service whose servers are looked at.
struct Watched {
    service: usize,
    /// In seconds.
    every: u64,
    /// Those of all entries: two names may have the same address.
    servers: Vec<Upstream>,
    round: Option<Round>,
}

/// A round that this worker has claimed.
struct Round {
    began: u64,
    /// Until then no other worker takes it, in seconds since 1970.
    lease: u64,
    left: Vec<Upstream>,
    under_way: Vec<Probe>,
}

impl Round {
    /// When its lease is renewed.
    fn renewed_at(&self) -> u64 {
        self.lease - (LEASE - RENEWED_AT)
    }
}

impl Prober {
    /// For the services of this worker; `None`: none wants it.
    pub(super) fn of(
        services: &Arc<[ServiceContext]>,
        group: Group,
        scoreboard: &Scoreboard,
        log: Log,
    ) -> Option<Self> {
        let ours = services.iter().enumerate();
        let ours = ours.filter(|(_, service)| Group::of(&service.config) == group);
        let watched = ours.filter_map(|(index, service)| {
            Some(Watched {
                service: index,
                every: service.config.probe?.as_secs().max(1),
                servers: service.upstreams.clone(),
                round: None,
            })
        });
        let watched: Vec<Watched> = watched.collect();
        (!watched.is_empty()).then(|| Self {
            services: Arc::clone(services),
            scoreboard: scoreboard.clone(),
            watched,
            leaving: Vec::new(),
            log,
        })
    }

    /// Names have other addresses.
    pub(super) fn learn(&mut self, changed: &KnownNames) {
        for watched in &mut self.watched {
            let entries = &self.services[watched.service].config.connect;
            if let Some(now) = lookup::renewed(entries, changed, &watched.servers) {
                watched.servers = now;
            }
        }
    }

    /// What to wait for.
    pub(super) fn wants(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.probes().map(Probe::wants)
    }

    /// How long there is nothing to do.
    pub(super) fn wait(&self) -> Duration {
        let (now, at) = (now(), Instant::now());
        let rounds = self.watched.iter().filter(|it| it.round.is_none());
        let rounds = rounds.map(|watched| {
            let due = self.row(watched).due(now, watched.every);
            Duration::from_secs(due.saturating_sub(now))
        });
        let probes = self
            .probes()
            .map(|probe| probe.due().saturating_duration_since(at));
        let ours = self.watched.iter().filter_map(|it| it.round.as_ref());
        let leases = ours.map(|round| Duration::from_secs(round.renewed_at().saturating_sub(now)));
        let all = rounds.chain(probes).chain(leases);
        all.min().unwrap_or(LONGEST).min(LONGEST)
    }

    /// Goes on with what is under way, and begins what is due.
    pub(super) fn turn(&mut self) {
        let at = Instant::now();
        let services = Arc::clone(&self.services);
        self.leaving.retain_mut(|(service, probe)| {
            probe.step(&services[*service], at);
            !probe.is_over()
        });
        for index in 0..self.watched.len() {
            self.begin_if_due(index);
            self.go_on(index, at);
        }
    }

    fn probes(&self) -> impl Iterator<Item = &Probe> {
        let rounds = self
            .watched
            .iter()
            .filter_map(|watched| watched.round.as_ref());
        let under_way = rounds.flat_map(|round| &round.under_way);
        under_way.chain(self.leaving.iter().map(|(_, probe)| probe))
    }

    fn row(&self, watched: &Watched) -> ProbeRow<'_> {
        self.scoreboard.probes(watched.service)
    }

    fn begin_if_due(&mut self, index: usize) {
        let watched = &self.watched[index];
        let (began, every) = (now(), watched.every);
        let lease = began + LEASE;
        if watched.round.is_none() && self.row(watched).claim(began, every, lease) {
            let watched = &mut self.watched[index];
            let mut left = unique(&watched.servers);
            left.reverse();
            watched.round = Some(Round {
                began,
                lease,
                left,
                under_way: Vec::new(),
            });
        }
    }

    /// Goes on with a round, and ends it when all servers are known.
    fn go_on(&mut self, index: usize, at: Instant) {
        let Some(mut round) = self.watched[index].round.take() else {
            return;
        };
        if !self.keep_lease(index, &mut round) {
            return;
        }
        let service = self.watched[index].service;
        let context = Arc::clone(&self.services);
        let context = &context[service];
        let busy = self.probes().count();
        let room = AT_A_TIME.saturating_sub(busy + round.under_way.len());
        let begin = round.left.len().saturating_sub(room);
        for upstream in round.left.split_off(begin).into_iter().rev() {
            match Probe::begin(context, upstream.clone(), at) {
                Ok(probe) => round.under_way.push(probe),
                Err(verdict) => self.judge(index, &upstream, verdict),
            }
        }
        for mut probe in std::mem::take(&mut round.under_way) {
            match probe.step(context, at) {
                None => round.under_way.push(probe),
                Some(verdict) => {
                    self.judge(index, probe.upstream(), verdict);
                    self.leaving.push((service, probe));
                }
            }
        }
        self.leaving.retain(|(_, probe)| !probe.is_over());
        match round.left.is_empty() && round.under_way.is_empty() {
            true => self.finish(index, &round),
            false => self.watched[index].round = Some(round),
        }
    }

    /// Whether the round is this worker's still: renews its lease where that is due.
    fn keep_lease(&self, index: usize, round: &mut Round) -> bool {
        let (now, watched) = (now(), &self.watched[index]);
        if now < round.renewed_at() {
            return true;
        }
        let next = now + LEASE;
        let is_ours = self.row(watched).renew(round.lease, next);
        round.lease = next;
        is_ours
    }

    /// Takes note of what a probe has found, and tells of a change.
    fn judge(&self, index: usize, upstream: &Upstream, verdict: Verdict) {
        let watched = &self.watched[index];
        let (row, server) = (self.row(watched), upstream.server());
        let name = &self.services[watched.service].config.name;
        match verdict {
            Verdict::Answers if row.answered(server) => crate::notice!(
                self.log,
                "Service [{name}]: {upstream} answers probes again"
            ),
            Verdict::Answers | Verdict::Unknown => {}
            Verdict::Fails(why) => {
                if row.failed(server) == FAILURES {
                    crate::error!(
                        self.log,
                        "Service [{name}]: {upstream} does not answer probes, and comes last until it does: {why}"
                    );
                }
            }
        }
    }

    fn finish(&self, index: usize, round: &Round) {
        let watched = &self.watched[index];
        let row = self.row(watched);
        let servers = unique(&watched.servers);
        let servers: Vec<Server> = servers.iter().map(Upstream::server).collect();
        let again = |server: &Server| (1..FAILURES).contains(&row.failures(*server));
        let pause = match servers.iter().any(again) {
            true => SOON.min(watched.every),
            false => watched.every,
        };
        let was_cut_off = row.tally().none_left();
        row.finish(
            &servers,
            round.lease,
            (round.began + watched.every)
                .min(now() + pause)
                .max(round.began + 1),
        );
        if row.tally().none_left() && !was_cut_off {
            let name = &self.services[watched.service].config.name;
            crate::error!(
                self.log,
                "Service [{name}]: no server answers probes: all are tried all the same"
            );
        }
    }
}

/// An address that stands twice is looked at once.
fn unique(upstreams: &[Upstream]) -> Vec<Upstream> {
    let mut unique: Vec<Upstream> = Vec::new();
    for upstream in upstreams {
        if !unique.iter().any(|it| it.server() == upstream.server()) {
            unique.push(upstream.clone());
        }
    }
    unique
}
