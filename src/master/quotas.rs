//! How much clients may take, judged where they are accepted: by what all workers have open, and what older generations
//! still have. Where there is no room the listener is not read: clients wait in the kernel's queue. So they do while a
//! certificate lacks what it demands. Never in here: a byte of a client's, a wait.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::workers::{WorkerConfig, Workers};
use crate::config::{Balancers, Over, Quota};
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::shares::{Key, Moment, Shares};
use crate::limits;
use crate::log::{Log, Seldom};
use crate::relay::{Address, ServiceContext};
use crate::tls::Context;
use crate::{info, warning};

/// The shortest and longest time until it is looked again whether there is room, while clients wait for it.
const TICK: Duration = Duration::from_millis(1);
const LONGEST_TICK: Duration = Duration::from_millis(64);

/// What is added to `TIMEOUTocsp` until a response that a certificate demands is waited for no more: a worker that died may
/// have asked for it.
const GRACE: Duration = Duration::from_secs(2);

/// A generation that may have connections still: they count.
#[derive(Debug, Clone)]
pub(crate) struct Older {
    board: Scoreboard,
    /// Those of its services that stand for each of ours.
    services: Vec<Vec<usize>>,
}

impl Older {
    /// One whose services have these names.
    pub(super) fn of(board: Scoreboard, names: &[String], services: &[ServiceContext]) -> Older {
        let all = (0..services.len()).map(|index| {
            let ours = whole(services, index);
            let ours = ours.into_iter().filter_map(|index| services.get(index));
            let theirs = ours.filter_map(|one| names.iter().position(|n| *n == one.config.name));
            theirs.collect()
        });
        Older {
            services: all.collect(),
            board,
        }
    }

    /// One of these very services.
    pub(super) fn same(board: Scoreboard, services: &[ServiceContext]) -> Older {
        Older {
            services: (0..services.len())
                .map(|index| whole(services, index))
                .collect(),
            board,
        }
    }

    /// Whether one of its workers lives.
    pub(super) fn lives(&self) -> bool {
        let mut pids = (0..self.board.workers()).map(|worker| self.board.worker(worker).pid());
        pids.any(|pid| pid.load(Relaxed) != 0)
    }

    fn connections(&self) -> u64 {
        let active = (0..self.board.workers()).map(|worker| self.board.worker(worker).active());
        active
            .map(|active| active.load(Relaxed))
            .fold(0, u64::saturating_add)
    }

    fn of_service(&self, service: usize) -> u64 {
        let theirs = self.services.get(service).into_iter().flatten();
        theirs.map(|index| self.board.active(*index)).sum()
    }
}

/// A service, and those that it hands clients to.
fn whole(services: &[ServiceContext], index: usize) -> Vec<usize> {
    let service = services.get(index).into_iter();
    let secondaries = service.flat_map(|service| service.config.secondaries.iter().copied());
    std::iter::once(index).chain(secondaries).collect()
}

/// What is told of a limit, seldom.
#[derive(Debug, Clone, Default)]
struct Told {
    seldom: Seldom,
    /// What it was about.
    last: Option<SocketAddr>,
    /// Clients wait for room: it is counted once until there is some.
    waits: bool,
}

/// What a service may have.
#[derive(Debug)]
struct Limited {
    name: String,
    quota: Quota,
    balancers: Balancers,
    /// Itself, and those that it hands clients to.
    all: Vec<usize>,
    log: Log,
    /// Until then its clients wait for the OCSP response without which they are to refuse its certificate.
    unstapled_until: Option<Instant>,
    /// Its clients wait for room, by this limit or by that of all.
    waits: bool,
    full: Told,
    over_address: Told,
    over_rate: Told,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Quotas {
    total: Option<NonZeroU32>,
    services: Vec<Limited>,
    contexts: Arc<[ServiceContext]>,
    older: Vec<Older>,
    scoreboard: Scoreboard,
    full: Told,
    log: Log,
    /// Listeners are not read until then.
    held_until: Option<Instant>,
    tick: Duration,
    /// When there is something to tell.
    due: Option<Instant>,
}

impl Quotas {
    /// Those of a generation; warns where there are not as many descriptors as connections are allowed.
    pub(super) fn of(config: &WorkerConfig) -> Quotas {
        let (services, log) = (config.services.iter().enumerate(), config.log);
        let services = services.map(|(index, service)| Limited {
            name: service.config.name.clone(),
            quota: service.config.quota,
            balancers: service.config.balancers.clone(),
            all: whole(&config.services, index),
            log: Log {
                level: service.config.debug,
                ..log
            },
            unstapled_until: unstapled_until(&config.services, index),
            waits: false,
            full: Told::default(),
            over_address: Told::default(),
            over_rate: Told::default(),
        });
        let quotas = Quotas {
            total: config.max_connections,
            services: services.collect(),
            contexts: Arc::clone(&config.services),
            older: config.older.clone(),
            scoreboard: config.scoreboard.clone(),
            full: Told::default(),
            log,
            held_until: None,
            tick: TICK,
            due: None,
        };
        let workers = config.groups.len();
        let fit = (config.capacity as u64).saturating_mul(workers as u64);
        if let Some(most) = quotas.total.filter(|most| u64::from(most.get()) > fit) {
            warning!(
                log,
                "maxConnections = {most}: no more than {fit} fit, {} in each of {workers} workers, as a process may \
                 open {} files ({})",
                config.capacity,
                limits::open_files(),
                limits::RAISE
            );
        }
        quotas
    }

    /// Whether one more connection of a service may be accepted. If not, it is looked again later. `waits`: there is a
    /// client that waits for it. `last`: there is no later, and what its certificate demands is not waited for.
    pub(super) fn have_room(
        &mut self,
        service: usize,
        workers: &Workers,
        waits: bool,
        last: bool,
    ) -> bool {
        let awaits = |limited: &Limited| limited.unstapled_until.is_some();
        let may_await = !last && self.services.get(service).is_some_and(awaits);
        if may_await && self.is_unstapled(service, waits) {
            self.held_until.get_or_insert(Instant::now() + self.tick);
            return false;
        }
        let Some(limited) = self.services.get(service) else {
            return true;
        };
        let (total, own) = (self.total, limited.quota.connections);
        if total.is_none() && own.is_none() {
            return true;
        }
        let full = |most: &NonZeroU32, open: u64| open >= most.get().into();
        let (all, mine) = (self.older.iter(), self.older.iter());
        let all = || workers.connections() + all.map(Older::connections).sum::<u64>();
        let mine = || {
            let older: u64 = mine.map(|one| one.of_service(service)).sum();
            workers.of_services(&limited.all) + older
        };
        if let Some(most) = total.filter(|most| full(most, all())) {
            self.hold(waits.then_some((service, None, most)));
            return false;
        }
        self.full.waits = false;
        if let Some(most) = own.filter(|most| full(most, mine())) {
            self.hold(waits.then_some((service, Some(service), most)));
            return false;
        }
        let limited = &mut self.services[service];
        limited.full.waits = false;
        limited.waits = false;
        self.tick = TICK;
        true
    }

    /// Whether the clients of a service wait for what its certificate demands. `waits`: there is one.
    #[cold]
    fn is_unstapled(&mut self, service: usize, waits: bool) -> bool {
        let limited = &mut self.services[service];
        let lacks = limited
            .all
            .iter()
            .any(|index| lacks_staple(&self.contexts, *index));
        let Some(until) = limited.unstapled_until else {
            return false;
        };
        if !lacks || until <= Instant::now() {
            limited.unstapled_until = None;
            limited.waits = false;
            self.tick = TICK;
            return false;
        }
        if waits && !std::mem::replace(&mut limited.waits, true) {
            let name = &limited.name;
            info!(
                limited.log,
                "Service [{name}]: clients wait for the OCSP response that its certificate demands"
            );
        }
        true
    }

    /// Judges a client by what its address has; what it is counted by, if it is.
    ///
    /// # Errors
    /// It is refused.
    pub(super) fn judge(
        &mut self,
        service: usize,
        peer: Option<SocketAddr>,
    ) -> Result<Option<Key>, Over> {
        let (Some(limited), Some(peer)) = (self.services.get(service), peer) else {
            return Ok(None);
        };
        let Some(shares) = self.scoreboard.shares() else {
            return Ok(None);
        };
        let quota = limited.quota;
        // The worker learns a balancer's client, and judges that one.
        if !quota.knows_addresses() || limited.balancers.have(Some(peer)) {
            return Ok(None);
        }
        let key = shares.key(&limited.name, peer.ip());
        let over = over(shares, quota, key);
        match over {
            None => Ok(quota.per_address.map(|_| key)),
            Some(over) => {
                self.refuse(service, peer, over);
                Err(over)
            }
        }
    }

    /// Counts a refused client, and tells of it.
    fn refuse(&mut self, service: usize, peer: SocketAddr, over: Over) {
        let row = self.scoreboard.service(0, service);
        let limited = &mut self.services[service];
        let (told, count) = match over {
            Over::Address(_) => (&mut limited.over_address, row.over_address()),
            Over::Rate(_) => (&mut limited.over_rate, row.over_rate()),
        };
        count.fetch_add(1, Relaxed);
        if let Some(incidents) = self.scoreboard.incidents(service) {
            incidents.note(&over.diagnosis().met_by(Some(peer)));
        }
        told.last = Some(peer);
        if told.seldom.count(Instant::now()) {
            let (name, from) = (&limited.name, Address(Some(peer)));
            warning!(
                limited.log,
                "Service [{name}] REFUSED by {over} from {from}"
            );
        }
        self.due = self.due.into_iter().chain(told.seldom.due()).min();
    }

    /// There is no room. For a client that waits: of which service, by whose limit, and that; `None`: by that of all.
    fn hold(&mut self, client: Option<(usize, Option<usize>, NonZeroU32)>) {
        let now = Instant::now();
        self.held_until.get_or_insert(now + self.tick);
        let Some((service, limit_of, most)) = client else {
            return;
        };
        if !std::mem::replace(&mut self.services[service].waits, true) {
            let row = self.scoreboard.service(0, service);
            row.full().fetch_add(1, Relaxed);
        }
        let (told, log, name) = match limit_of {
            Some(service) => {
                let limited = &mut self.services[service];
                let name = format!("Service [{}]: ", limited.name);
                (&mut limited.full, limited.log, name)
            }
            None => (&mut self.full, self.log, String::new()),
        };
        if std::mem::replace(&mut told.waits, true) {
            return;
        }
        if told.seldom.count(now) {
            warning!(
                log,
                "{name}maxConnections = {most} is reached: more clients wait until a connection ends"
            );
        }
        self.due = self.due.into_iter().chain(told.seldom.due()).min();
    }

    /// Whether it is time to read listeners again for which there was no room.
    pub(super) fn look_again(&mut self, now: Instant) -> bool {
        let due = self.held_until.take_if(|until| *until <= now).is_some();
        if due {
            self.tick = (self.tick * 2).min(LONGEST_TICK);
        }
        due
    }

    /// When there is something to do here.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held_until.into_iter().chain(self.due).min()
    }

    /// Tells what was counted, once its minute is over; with `all`, whatever there is.
    pub(super) fn tell(&mut self, now: Instant, all: bool) {
        if !all && self.due.is_none_or(|due| due > now) {
            return;
        }
        let take = |told: &mut Told| match all {
            true => told.seldom.take_rest(),
            false => told.seldom.take_due(now),
        };
        if let (Some(count), Some(most)) = (take(&mut self.full), self.total) {
            full_again(&self.log, "", most, count);
        }
        for limited in &mut self.services {
            let quota = limited.quota;
            let name = format!("Service [{}]", limited.name);
            if let (Some(count), Some(most)) = (take(&mut limited.full), quota.connections) {
                full_again(&limited.log, &format!("{name}: "), most, count);
            }
            let by = [
                (
                    &mut limited.over_address,
                    quota.per_address.map(Over::Address),
                ),
                (&mut limited.over_rate, quota.rate.map(Over::Rate)),
            ];
            for (told, over) in by {
                if let (Some(count), Some(over)) = (take(told), over) {
                    let last = Address(told.last);
                    warning!(
                        limited.log,
                        "{name} REFUSED by {over}: {count} more connection(s) in a minute, the last from {last}"
                    );
                }
            }
        }
        let told = self.services.iter();
        let told = told.flat_map(|one| [&one.full, &one.over_address, &one.over_rate]);
        let told = told.chain([&self.full]);
        self.due = told.filter_map(|told| told.seldom.due()).min();
    }
}

/// Until when clients of a service wait for what a certificate of its demands; `None`: it is there.
fn unstapled_until(services: &[ServiceContext], index: usize) -> Option<Instant> {
    let all = whole(services, index).into_iter();
    let lack = all.filter(|index| lacks_staple(services, *index));
    let patience = lack.map(|index| services[index].config.timeouts.ocsp).max();
    patience.map(|patience| Instant::now() + patience + GRACE)
}

fn lacks_staple(services: &[ServiceContext], index: usize) -> bool {
    let context = services
        .get(index)
        .and_then(|service| service.front.as_ref());
    context
        .and_then(Context::staple)
        .is_some_and(|staple| staple.is_awaited())
}

fn over(shares: &Shares, quota: Quota, key: Key) -> Option<Over> {
    let most = quota.per_address;
    if let Some(most) = most.filter(|most| shares.open(key) >= most.get().into()) {
        return Some(Over::Address(most));
    }
    let pace = quota.rate?;
    let may = shares.paces_out(key, pace, Moment::now());
    (!may).then_some(Over::Rate(pace))
}

fn full_again(log: &Log, name: &str, most: NonZeroU32, count: u64) {
    warning!(
        log,
        "{name}maxConnections = {most} was reached {count} more time(s) in a minute"
    );
}
