//! Forks the workers, gives each its sockets, and replaces one that has died, at once the
//! first time and with back-off when workers die fast.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::balance::least_loaded;
use super::handoff::{Accepted, HandOff};
use super::poll::{Poll, Source};
use super::slot::{Ordered, Running, Slot};
use super::stall::{LIFELESS, Stall, StallAction, StallClock};
use super::zygote::Zygote;
use crate::children::BackOff;
use crate::helper::{Contacts, Kind};
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::words::{Heard, ToWorker, say_now};
use crate::jail::Jailed;
use crate::log::Log;
use crate::process::{self, OneThread};
use crate::relay::ServiceContext;
use crate::step::NameStep;
use crate::worker::{self, group::Group};

/// How long a worker may take to exit once it was told to end every connection.
const CUT_TIMEOUT: Duration = Duration::from_secs(3);

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
    /// What the master polls.
    pub poll: Rc<Poll>,
    /// Relay threads in each worker.
    pub threads: usize,
    /// How long connections may last once the master is gone.
    pub drain_timeout: Option<Duration>,
    /// The most sessions of one worker: each needs two descriptors in its table.
    pub capacity: usize,
    /// The main log.
    pub log: Log,
}

/// All workers of a generation.
#[derive(Debug)]
pub(crate) struct Workers {
    slots: Vec<Slot>,
    /// The group of workers of each service.
    groups: Vec<Group>,
    config: WorkerConfig,
    /// Connections without a worker, because the last one died.
    unassigned: Vec<Accepted>,
    /// Every connection is to be ended: when to kill the workers that are left.
    cut: Option<Instant>,
    clock: StallClock,
}

impl Workers {
    /// One slot for each scoreboard row; no worker is started yet.
    pub(crate) fn new(config: WorkerConfig) -> Workers {
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
            unassigned: Vec::new(),
            cut: None,
            clock: StallClock::new(),
        }
    }

    /// The workers that serve this service.
    pub(crate) fn group(&self, service: usize) -> Group {
        self.groups.get(service).copied().unwrap_or(Group::Modern)
    }

    /// The process that old workers are forks of.
    pub(super) fn zygote(&mut self) -> Option<&mut Zygote> {
        self.config.zygote.as_mut()
    }

    /// What the master polls: workers' messages, and other sources.
    pub(crate) fn poll(&self) -> Rc<Poll> {
        Rc::clone(&self.config.poll)
    }

    /// Starts every worker that is due.
    ///
    /// # Errors
    /// No process or descriptor is available; it is tried again later.
    pub(crate) fn start_due(&mut self, jailed: &Jailed) -> io::Result<()> {
        let now = Instant::now();
        for index in 0..self.slots.len() {
            if self.slots[index].start_at.is_some_and(|at| at <= now) {
                self.slots[index].start_at = Some(now + Duration::from_secs(1));
                self.start(index, jailed)?;
                self.slots[index].start_at = None;
            }
        }
        Ok(())
    }

    fn start(&mut self, index: usize, jailed: &Jailed) -> io::Result<()> {
        let (ours, theirs) = Channel::pair().step("socketpair(2)")?;
        let (sockets, their_sockets) = Channel::pair().step("socketpair(2)")?;
        self.config.scoreboard.clear_active(index);
        if self.slots[index].group == Group::Old {
            return self.order(index, [&theirs, &their_sockets], ours, sockets);
        }
        let pid = self.fork_modern(index, theirs, their_sockets, jailed)?;
        self.started(index, pid, ours, sockets)
    }

    /// A worker runs.
    fn started(
        &mut self,
        index: usize,
        pid: Pid,
        channel: Channel,
        sockets: Channel,
    ) -> io::Result<()> {
        let name = self.slots[index].group.worker();
        crate::debug!(self.config.log, "{name} {index} started (PID {pid})");
        self.config.poll.add(&channel, Source::Worker(index))?;
        self.slots[index].process = Some(Running {
            pid,
            channel,
            sockets,
            since: Instant::now(),
            ready: false,
            draining: false,
            hung_up: None,
            full: false,
        });
        Ok(())
    }

    fn fork_modern(
        &self,
        index: usize,
        theirs: Channel,
        their_sockets: Channel,
        jailed: &Jailed,
    ) -> io::Result<Pid> {
        let start = worker::Start {
            index,
            group: Group::Modern,
            generation: self.config.generation,
            services: self.config.services.clone(),
            scoreboard: self.config.scoreboard.clone(),
            master: theirs,
            sockets: their_sockets,
            leash: self.config.leash.try_clone()?,
            helpers: self.introduce_all(),
            threads: self.config.threads,
            drain_timeout: self.config.drain_timeout,
            log: self.config.log,
        };
        process::spawn(&OneThread::prove()?, |fresh| {
            worker::run(start, fresh, jailed)
        })
    }

    /// Has the zygote fork an old worker.
    fn order(
        &mut self,
        index: usize,
        theirs: [&Channel; 2],
        channel: Channel,
        sockets: Channel,
    ) -> io::Result<()> {
        let helpers = self.introduce_all();
        let Some(zygote) = &mut self.config.zygote else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let order = zygote.order(index, theirs.map(AsFd::as_fd), &helpers)?;
        self.slots[index].ordered = Some(Ordered {
            order,
            channel,
            sockets,
            at: Instant::now(),
        });
        Ok(())
    }

    /// The zygote has forked the worker of this order. One that is not awaited any more finds its channels
    /// closed, and ends.
    pub(super) fn forked(&mut self, order: u64, pid: Pid) -> io::Result<()> {
        match self.take_ordered(order) {
            Some((index, ordered)) => self.started(index, pid, ordered.channel, ordered.sockets),
            None => Ok(()),
        }
    }

    /// The zygote could not fork the worker of this order; it is tried again.
    pub(super) fn not_forked(&mut self, order: u64, reason: &str) {
        if let Some((index, _)) = self.take_ordered(order) {
            crate::error!(self.config.log, "A worker cannot be started: {reason}");
            self.slots[index].start_at = Some(Instant::now() + Duration::from_secs(1));
        }
    }

    fn take_ordered(&mut self, order: u64) -> Option<(usize, Ordered)> {
        let is_it = |slot: &Slot| slot.ordered.as_ref().is_some_and(|one| one.order == order);
        let index = self.slots.iter().position(is_it)?;
        Some((index, self.slots[index].ordered.take()?))
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

    /// One client socket for each relay thread of a worker.
    fn introduce(&self, kind: Kind) -> io::Result<Vec<OwnedFd>> {
        let clients = (0..self.config.threads).map(|_| self.config.helpers.introduce(kind));
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

    /// A worker's threads are running.
    pub(crate) fn mark_ready(&mut self, index: usize) {
        if let Some(running) = &mut self.slots[index].process {
            running.ready = true;
        }
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

    /// A worker's load: what it has claimed and not finished, and what it has yet to claim.
    fn load(&self, index: usize) -> usize {
        let active = self.config.scoreboard.worker(index).active().load(Relaxed);
        // The worker itself writes this count.
        (active as usize).saturating_add(self.slots[index].queue.unclaimed())
    }

    fn takes(&self, index: usize) -> bool {
        let slot = &self.slots[index];
        !slot.stall.revoked && slot.process.as_ref().is_some_and(Running::takes)
    }

    /// Whether connections without a worker can only be served by one of this group that has yet to start.
    fn unservable(&self, group: Group) -> bool {
        let waits = |accepted: &Accepted| self.group(accepted.connection.service) == group;
        self.unassigned.iter().any(waits)
            && !(0..self.slots.len())
                .any(|index| self.slots[index].group == group && self.takes(index))
    }

    /// The worker of a group that gets the next connection: one of the least busy that have room.
    fn least_busy(&self, group: Group, returns: bool) -> Option<usize> {
        let loads = (0..self.slots.len())
            .filter(|&index| {
                let slot = &self.slots[index];
                slot.group == group && self.takes(index) && !slot.queue.is_stuck()
            })
            .map(|index| (index, self.load(index)))
            .filter(|(_, load)| *load < self.config.capacity);
        least_loaded(loads, returns)
    }

    /// Whether a worker of this group has room for another connection now.
    pub(crate) fn have_room(&self, group: Group) -> bool {
        let waits = |accepted: &Accepted| self.group(accepted.connection.service) == group;
        !self.unassigned.iter().any(waits) && self.least_busy(group, false).is_some()
    }

    /// Whether every running worker of this group is at its limit of sessions.
    pub(crate) fn at_capacity(&self, group: Group) -> bool {
        let mut running = (0..self.slots.len())
            .filter(|&index| self.slots[index].group == group && self.takes(index))
            .peekable();
        running.peek().is_some() && running.all(|index| self.load(index) >= self.config.capacity)
    }

    /// Connections in all workers, including those on their way there.
    pub(crate) fn connections(&self) -> u64 {
        (0..self.slots.len())
            .map(|index| self.load(index) as u64)
            .sum()
    }

    /// The most connections of one worker.
    pub(crate) fn capacity(&self) -> usize {
        self.config.capacity
    }

    /// Gives a connection to the least busy worker; [`Workers::flush`] sends it.
    pub(crate) fn assign(&mut self, accepted: Accepted) {
        // In client mode each worker has sessions of its own with the server; adit's own tickets work
        // in all workers.
        let service = self.config.services.get(accepted.connection.service);
        let returns = service.is_some_and(|service| service.config.client);
        match self.least_busy(self.group(accepted.connection.service), returns) {
            Some(index) => self.slots[index].queue.push(accepted),
            None => self.unassigned.push(accepted),
        }
    }

    /// Releases what was claimed, which until then counts twice, as waiting and as active.
    pub(crate) fn let_go(&mut self) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let row = self.config.scoreboard.worker(index);
            slot.queue.claim(row.last_claimed());
        }
    }

    /// Sends what was assigned and releases what was claimed. Returns whether anything is unclaimed.
    pub(crate) fn flush(&mut self) -> bool {
        for accepted in std::mem::take(&mut self.unassigned) {
            self.assign(accepted);
        }
        self.let_go();
        let mut unclaimed = !self.unassigned.is_empty();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(running) = &mut slot.process {
                // A dead worker is noticed by its end of file; its sockets stay here.
                let _ = slot.queue.flush(&running.sockets);
                running.poll_for_room(slot.queue.waits_for_room(), index, &self.config.poll);
            }
            unclaimed |= slot.queue.unclaimed() > 0 || slot.stall.revoked;
        }
        unclaimed
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
                crate::warning!(
                    log,
                    "{name} {index} (PID {pid}) is not responding: its {} unclaimed connection(s) go \
                     to others",
                    taken_back.len()
                );
                self.unassigned.extend(taken_back);
            }
            StallAction::Kill => {
                let seconds = LIFELESS.as_secs();
                crate::error!(
                    log,
                    "{name} {index} (PID {pid}) has not responded for {seconds} s: killing it"
                );
                // Its death is reported as any other.
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
        let lived = slot.process.take().map_or(Duration::ZERO, |worker| {
            worker.stop_polling(&self.config.poll);
            worker.since.elapsed()
        });
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
            self.schedule(index, lived, pid, how, count);
        }
        self.flush();
        true
    }

    fn schedule(&mut self, index: usize, lived: Duration, pid: Pid, how: &str, rescued: usize) {
        let slot = &mut self.slots[index];
        let name = slot.group.worker();
        let pause = slot.back_off.died(lived);
        slot.start_at = Some(Instant::now() + pause);
        crate::warning!(
            self.config.log,
            "{name} {index} (PID {pid}) {how}; starting another in {} ms; {rescued} unclaimed \
             connection(s) handed to others",
            pause.as_millis()
        );
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
            running.stop_polling(&self.config.poll);
            running.hung_up.get_or_insert(Instant::now());
            let (pid, group) = (running.pid, self.slots[index].group);
            self.end(pid, group);
        }
    }
}
