//! Forks the workers, gives each its sockets, and replaces one that has died, at once the
//! first time and with back-off when workers die fast.

mod assigning;
mod starting;

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fronts::Fronts;
use super::handoff::{Accepted, HandOff};
use super::poll::Poll;
use super::post::Own;
use super::quotas::Older;
use super::slot::{Running, Slot};
use super::stall::{LIFELESS, Stall, StallAction, StallClock};
use super::zygote::Zygote;
use crate::children::BackOff;
use crate::helper::{Contacts, Kind, KnownNames};
use crate::incidents::{Cause, Diagnosis};
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::words::{Heard, ToWorker, say_now};
use crate::log::Log;
use crate::relay::ServiceContext;
use crate::worker::group::Group;

/// How long a worker may take to exit once it was told to end every connection.
const CUT_TIMEOUT: Duration = Duration::from_secs(3);

/// What to do about a worker that died.
const DIED: &str = "another was started; unless it was killed by hand or for want of memory (`dmesg`), please report \
     it with the log of that time";
/// What to do about one that stands still.
const STOPPED: &str = "see whether it was stopped (`kill -CONT`), or the machine is overloaded; it is killed if this \
     goes on";

/// What every worker is started with.
#[derive(Debug)]
pub(crate) struct WorkerConfig {
    /// The number of this generation.
    pub generation: u64,
    /// The services.
    pub services: Arc<[ServiceContext]>,
    /// The group of each worker, by its row on the scoreboard.
    pub groups: Vec<Group>,
    /// Forks the old workers.
    pub(super) zygote: Option<Zygote>,
    /// Where workers count.
    pub scoreboard: Scoreboard,
    /// Readable once the supervisor is gone.
    pub leash: Leash,
    /// Where clients are introduced to helpers.
    pub helpers: Contacts,
    /// Names whose addresses are others than when the configuration was loaded.
    pub names: KnownNames,
    /// Relay threads in each worker.
    pub threads: usize,
    /// How long connections may last once the master is gone.
    pub drain_timeout: Option<Duration>,
    /// The most sessions of one worker: each needs two descriptors in its table.
    pub capacity: usize,
    /// The most sessions of all: `maxConnections`.
    pub max_connections: Option<NonZeroU32>,
    /// Generations that may have connections still.
    pub(super) older: Vec<Older>,
    /// The main log.
    pub log: Log,
}

impl WorkerConfig {
    /// The same for another process.
    ///
    /// # Errors
    /// No descriptors left.
    pub(super) fn for_another(&self, own: Own) -> io::Result<WorkerConfig> {
        Ok(WorkerConfig {
            generation: own.generation,
            services: Arc::clone(&self.services),
            groups: self.groups.clone(),
            zygote: own.zygote,
            scoreboard: own.scoreboard,
            leash: self.leash.try_clone()?,
            helpers: self.helpers.try_clone()?,
            names: self.names.clone(),
            threads: self.threads,
            drain_timeout: self.drain_timeout,
            capacity: self.capacity,
            max_connections: self.max_connections,
            older: self.older.clone(),
            log: self.log,
        })
    }
}

/// All workers of a generation.
#[derive(Debug)]
pub(crate) struct Workers {
    slots: Vec<Slot>,
    /// The group of workers of each service.
    groups: Vec<Group>,
    config: WorkerConfig,
    poll: Rc<Poll>,
    /// Connections without a worker, because the last one died.
    unassigned: Vec<Accepted>,
    /// Every connection is to be ended: when to kill the workers that are left.
    cut: Option<Instant>,
    clock: StallClock,
}

impl Workers {
    /// One slot for each scoreboard row; no worker is started yet.
    pub(super) fn new(config: WorkerConfig, poll: Rc<Poll>) -> Workers {
        let slots = config
            .groups
            .iter()
            .map(|&group| Slot {
                group,
                process: None,
                ordered: None,
                queue: HandOff::default(),
                back_off: BackOff::default(),
                start_at: Some(Instant::now()),
                stall: Stall::default(),
            })
            .collect();
        let zygote = config.zygote.as_ref().map_or(0, Zygote::pid);
        for (index, group) in config.groups.iter().enumerate() {
            let row = config.scoreboard.worker(index);
            let old = *group == Group::Old;
            row.old().store(u64::from(old), Relaxed);
            row.zygote().store(if old { zygote } else { 0 }, Relaxed);
        }
        let services = config.services.iter();
        Workers {
            slots,
            groups: services.map(|service| Group::of(&service.config)).collect(),
            config,
            poll,
            unassigned: Vec::new(),
            cut: None,
            clock: StallClock::new(),
        }
    }

    /// The workers that serve this service.
    pub(crate) fn group(&self, service: usize) -> Group {
        self.groups.get(service).copied().unwrap_or(Group::Modern)
    }

    /// The services, their counts, and where helpers are met, for programs in place of clients.
    pub(super) fn fronts(&self) -> Fronts {
        let config = &self.config;
        let mut fronts = Fronts::new(&config.services, config.scoreboard.clone(), config.log);
        fronts.meet(&config.helpers, &self.poll);
        fronts
    }

    /// What they are started with.
    pub(super) fn config(&self) -> &WorkerConfig {
        &self.config
    }

    /// Where helpers are met.
    pub(super) fn contacts(&self) -> &Contacts {
        &self.config.helpers
    }

    /// The process that old workers are forks of.
    pub(super) fn zygote(&mut self) -> Option<&mut Zygote> {
        self.config.zygote.as_mut()
    }

    /// When the zygote must have answered, or told of a death; else the master ends, and the next one has another.
    pub(crate) fn zygote_deadline(&self) -> Option<Instant> {
        let old = || self.slots.iter().filter(|slot| slot.group == Group::Old);
        let ordered = old().filter_map(|slot| Some(slot.ordered.as_ref()?.at));
        let gone = old().filter_map(|slot| slot.process.as_ref()?.hung_up);
        Some(ordered.chain(gone).min()? + LIFELESS)
    }

    /// Ends a worker that reacts to nothing else. Landlock lets a process signal those alone that it has forked.
    fn end(&self, pid: Pid, group: Group) {
        match (group, &self.config.zygote) {
            (Group::Old, Some(zygote)) => zygote.kill(pid),
            // Not reaped yet, so the number is still its own.
            _ => drop(kill(pid, Signal::SIGKILL)),
        }
    }

    /// One worker's sockets to every helper that is available now.
    fn introduce_all(&self) -> Vec<(Kind, Vec<OwnedFd>)> {
        let kinds = self.config.helpers.kinds();
        kinds
            .filter_map(|kind| Some((kind, self.introduce(kind).ok()?)))
            .collect()
    }

    /// One client socket for each relay thread of a worker, and one for what is stapled.
    fn introduce(&self, kind: Kind) -> io::Result<Vec<OwnedFd>> {
        let count = self.config.threads + usize::from(kind == Kind::Fetcher);
        let clients = (0..count).map(|_| self.config.helpers.introduce(kind));
        clients.collect()
    }

    /// Replaces the helper of that kind: every worker gets new sockets to it.
    pub(crate) fn replace_helper(&mut self, kind: Kind, channel: Channel) -> Heard {
        self.config.helpers.replace(kind, channel);
        let mut heard = Heard::default();
        for index in 0..self.slots.len() {
            let said = self.introduce(kind).and_then(|sockets| {
                let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
                self.say_to(index, &ToWorker::Helper(kind), &sockets)
            });
            heard.count(said);
        }
        heard
    }

    /// Sends one message to every worker.
    pub(crate) fn say(&mut self, word: &ToWorker, descriptors: &[BorrowedFd<'_>]) -> Heard {
        let mut heard = Heard::default();
        for index in 0..self.slots.len() {
            heard.count(self.say_to(index, word, descriptors));
        }
        heard
    }

    /// Tells each worker to drain, once, when all its sockets have been sent.
    pub(crate) fn drain(&mut self) {
        let unassigned = !self.unassigned.is_empty();
        for slot in &mut self.slots {
            if let Some(running) = &mut slot.process
                && !(running.draining || unassigned || slot.queue.is_stuck())
            {
                running.draining = say_now(&running.channel, &ToWorker::Drain, &[]).is_ok();
            }
        }
    }

    fn say_to(
        &self,
        index: usize,
        word: &ToWorker,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        match &self.slots[index].process {
            Some(worker) => say_now(&worker.channel, word, descriptors),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The channel of one worker.
    pub(crate) fn channel(&self, index: usize) -> Option<&Channel> {
        Some(&self.slots[index].process.as_ref()?.channel)
    }

    /// A worker's threads are running: it is told what has changed since the configuration was loaded.
    pub(crate) fn mark_ready(&mut self, index: usize) -> Heard {
        if let Some(running) = &mut self.slots[index].process {
            running.ready = true;
        }
        let mut heard = Heard::default();
        for part in self.config.names.parts() {
            heard.count(self.say_to(index, &ToWorker::Names(part), &[]));
        }
        heard
    }

    /// Names have other addresses.
    pub(super) fn tell_names(&mut self, changed: KnownNames) -> Heard {
        self.config.names.add(changed.clone());
        self.say(&ToWorker::Names(changed), &[])
    }

    /// Whether every worker is ready.
    pub(crate) fn all_ready(&self) -> bool {
        let ready = |slot: &Slot| slot.process.as_ref().is_some_and(|worker| worker.ready);
        self.slots.iter().all(ready)
    }

    /// Whether no worker process is left.
    pub(crate) fn none_left(&self) -> bool {
        let none = |slot: &Slot| slot.process.is_none() && slot.ordered.is_none();
        self.slots.iter().all(none)
    }

    /// Checks for workers that have been sent something and are stalled.
    pub(crate) fn look_after(&mut self) {
        let passed = self.clock.look(Instant::now());
        if self.cut.is_some() {
            return;
        }
        for index in 0..self.slots.len() {
            self.look_after_one(index, passed);
        }
    }

    fn look_after_one(&mut self, index: usize, passed: Duration) {
        let row = self.config.scoreboard.worker(index);
        let Slot {
            group,
            process: Some(Running { pid, .. }),
            queue,
            stall,
            ..
        } = &mut self.slots[index]
        else {
            return;
        };
        let log = self.config.log;
        let name = group.worker();
        let mut to_end = None;
        let let_go = row.let_go().load(Relaxed);
        let seen = (row.last_claimed(), let_go);
        match stall.look(seen, queue.is_waiting(), passed) {
            StallAction::Leave => {}
            StallAction::Revoke => {
                let taken_back = queue.revoke(row.revoke());
                if let Some(all) = self.config.scoreboard.shares() {
                    let keys = taken_back.iter().filter_map(|accepted| accepted.key);
                    keys.for_each(|key| all.leave(index, key));
                }
                crate::warning!(
                    log,
                    "{name} {index} (PID {pid}) is not responding: its {} unclaimed connection(s) go \
                     to others",
                    taken_back.len()
                );
                self.unassigned.extend(taken_back);
                self.config.scoreboard.note_own(&Diagnosis::new(
                    Cause::Process,
                    format!("{name} {index} (PID {pid}) is not responding: others get its new connections"),
                    STOPPED,
                ));
            }
            StallAction::Kill => {
                let seconds = LIFELESS.as_secs();
                crate::error!(
                    log,
                    "{name} {index} (PID {pid}) has not responded for {seconds} s: killing it"
                );
                // Its death is reported as any other, and kept.
                to_end = Some((*pid, *group));
            }
        }
        if stall.revoked && let_go == queue.revoked() {
            row.restore(queue.last());
            *stall = Stall::default();
            crate::notice!(log, "{name} {index} (PID {pid}) responds again");
        }
        if let Some((pid, group)) = to_end {
            self.end(pid, group);
        }
    }

    /// A child died; returns whether it was a worker. What it had not claimed goes to others.
    pub(crate) fn died(&mut self, pid: Pid, how: &str, replace: bool) -> bool {
        let is_it = |slot: &Slot| slot.process.as_ref().is_some_and(|w| w.pid == pid);
        let Some(index) = self.slots.iter().position(is_it) else {
            return false;
        };
        let slot = &mut self.slots[index];
        if let Some(worker) = slot.process.take() {
            worker.stop_polling(&self.poll);
        }
        let row = self.config.scoreboard.worker(index);
        slot.queue.claim(row.last_claimed());
        let rescued = slot.queue.take_back();
        slot.stall = Stall::default();
        self.config.scoreboard.clear_active(index);
        if self.cut.is_some() {
            return true;
        }
        let count = rescued.len();
        self.unassigned.extend(rescued);
        let group = self.slots[index].group;
        if replace || (self.unservable(group) && self.next_start_of(group).is_none()) {
            self.schedule(index, pid, how, count);
        }
        self.flush();
        true
    }

    fn schedule(&mut self, index: usize, pid: Pid, how: &str, rescued: usize) {
        let slot = &mut self.slots[index];
        let name = slot.group.worker();
        let pause = slot.back_off.died(Instant::now());
        slot.start_at = Some(Instant::now() + pause);
        crate::warning!(
            self.config.log,
            "{name} {index} (PID {pid}) {how}; starting another in {} ms; {rescued} unclaimed \
             connection(s) handed to others",
            pause.as_millis()
        );
        self.keep_death(name, index, pid, how);
    }

    /// Keeps a death, which ended the worker's connections.
    fn keep_death(&self, name: &str, index: usize, pid: Pid, how: &str) {
        let text = format!("{name} {index} (PID {pid}) {how}, and its connections with it");
        let diagnosis = Diagnosis::new(Cause::Process, text, DIED);
        self.config.scoreboard.note_own(&diagnosis);
    }

    /// When the next worker is to be started.
    pub(crate) fn next_start(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.start_at).min()
    }

    fn next_start_of(&self, group: Group) -> Option<Instant> {
        let slots = self.slots.iter().filter(|slot| slot.group == group);
        slots.filter_map(|slot| slot.start_at).min()
    }

    /// Starts no worker any more, except one of each group that connections without a worker wait for.
    pub(crate) fn stop_starting(&mut self) {
        for group in [Group::Modern, Group::Old] {
            let soonest = self.next_start_of(group);
            let soonest = soonest.filter(|_| self.unservable(group));
            let mut slots = self.slots.iter();
            let kept = slots.position(|slot| {
                slot.group == group && soonest.is_some() && slot.start_at == soonest
            });
            for (index, slot) in self.slots.iter_mut().enumerate() {
                if slot.group == group {
                    slot.start_at = soonest.filter(|_| kept == Some(index));
                }
            }
        }
    }

    /// Ends every connection; kills workers that do not comply in time.
    pub(crate) fn cut(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.ordered = None);
        self.unassigned.clear();
        self.stop_starting();
        self.say(&ToWorker::Cut, &[]);
        self.cut.get_or_insert(Instant::now() + CUT_TIMEOUT);
    }

    /// When [`Workers::kill_overdue`] has something to do.
    pub(crate) fn cut_deadline(&self) -> Option<Instant> {
        self.cut.filter(|_| !self.none_left())
    }

    /// Kills workers that were told to end and have not: a stalled process reacts to nothing else.
    pub(crate) fn kill_overdue(&mut self) {
        let now = Instant::now();
        if self.cut_deadline().is_some_and(|end| end <= now) {
            for slot in &self.slots {
                if let Some(running) = &slot.process {
                    self.end(running.pid, slot.group);
                }
            }
            self.cut = Some(now + CUT_TIMEOUT);
        }
    }

    /// A worker closed its end of the channel, or sent an invalid message. It has exited, which SIGCHLD
    /// will report, or it is no longer trusted as a worker.
    pub(crate) fn hung_up(&mut self, index: usize) {
        if let Some(running) = &mut self.slots[index].process {
            // A closed channel stays readable forever; the child's death reports the rest.
            running.stop_polling(&self.poll);
            running.hung_up.get_or_insert(Instant::now());
            let (pid, group) = (running.pid, self.slots[index].group);
            self.end(pid, group);
        }
    }
}
