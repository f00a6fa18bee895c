//! The workers' nanny: forks them, gives each its sockets, and replaces one that died, at once the
//! first time and with back-off when workers die fast.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::handoff::{Accepted, HandOff};
use super::stall::{LIFELESS, Stall, Verdict, Watchman};
use super::watch::{Source, Watch};
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
use crate::worker;

/// How long a worker may take to end once it was told to end every connection.
const CUT_PATIENCE: Duration = Duration::from_secs(3);

/// One worker's place: the process that fills it changes.
#[derive(Debug)]
struct Slot {
    process: Option<Running>,
    queue: HandOff,
    back_off: BackOff,
    /// When to start it again.
    start_at: Option<Instant>,
    stall: Stall,
}

#[derive(Debug)]
struct Running {
    pid: Pid,
    channel: Channel,
    /// Where its sockets go.
    sockets: Channel,
    since: Instant,
    ready: bool,
    draining: bool,
    /// Its end of the channel is closed: it is at its end, or as good as.
    hung_up: bool,
    /// Room in `sockets` is waited for.
    full: bool,
}

impl Running {
    /// Whether it takes connections.
    fn takes(&self) -> bool {
        !(self.draining || self.hung_up)
    }

    /// Waits for room in its channel of sockets while there is none.
    fn watch_room(&mut self, full: bool, index: usize, watch: &Watch) {
        if full == self.full || self.hung_up {
            return;
        }
        match full {
            // Without the watch it is tried again at the next turn, at the latest to see what was claimed.
            true => self.full = watch.add(&self.sockets, Source::Room(index)).is_ok(),
            false => {
                watch.remove(&self.sockets);
                self.full = false;
            }
        }
    }

    fn unwatch(&self, watch: &Watch) {
        watch.remove(&self.channel);
        watch.remove(&self.sockets);
    }
}

/// What every worker is born with.
#[derive(Debug)]
pub struct Nursery {
    /// The number of this generation.
    pub generation: u64,
    /// The services.
    pub services: Arc<[ServiceContext]>,
    /// Where workers count.
    pub scoreboard: Scoreboard,
    /// The supervisor's life.
    pub leash: Leash,
    /// Where clients are introduced to helpers.
    pub helpers: Contacts,
    /// Where the master waits for them.
    pub watch: Rc<Watch>,
    /// Relay threads a worker.
    pub threads: usize,
    /// How long connections may go on when nobody commands the workers any more.
    pub drain_timeout: Option<Duration>,
    /// Sessions one worker may have: two descriptors each must fit into its table.
    pub capacity: usize,
    /// The main log.
    pub log: Log,
}

/// All workers of a generation.
#[derive(Debug)]
pub struct Workers {
    slots: Vec<Slot>,
    nursery: Nursery,
    /// Connections that no worker has: the last one died.
    homeless: Vec<Accepted>,
    /// Every connection was to be ended: when patience with the workers ends.
    cut: Option<Instant>,
    watchman: Watchman,
}

impl Workers {
    /// Places for so many workers as the scoreboard has rows; none is started yet.
    pub fn new(nursery: Nursery) -> Workers {
        let slots = (0..nursery.scoreboard.workers())
            .map(|_| Slot {
                process: None,
                queue: HandOff::default(),
                back_off: BackOff::default(),
                start_at: Some(Instant::now()),
                stall: Stall::default(),
            })
            .collect();
        Workers {
            slots,
            nursery,
            homeless: Vec::new(),
            cut: None,
            watchman: Watchman::new(),
        }
    }

    /// The services that they serve.
    pub fn services(&self) -> &[ServiceContext] {
        &self.nursery.services
    }

    /// Where the workers' words are waited for, and others' may be.
    pub fn watch(&self) -> Rc<Watch> {
        Rc::clone(&self.nursery.watch)
    }

    /// Starts every worker whose time has come.
    ///
    /// # Errors
    /// No process or descriptor to be had; it is tried again later.
    pub fn start_due(&mut self, jailed: &Jailed) -> io::Result<()> {
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
        let one = OneThread::prove()?;
        let (ours, theirs) = Channel::pair().step("socketpair(2)")?;
        let (sockets, their_sockets) = Channel::pair().step("socketpair(2)")?;
        let start = worker::Start {
            index,
            generation: self.nursery.generation,
            services: self.nursery.services.clone(),
            scoreboard: self.nursery.scoreboard.clone(),
            master: theirs,
            sockets: their_sockets,
            leash: self.nursery.leash.try_clone()?,
            helpers: self.introduce_all(),
            threads: self.nursery.threads,
            drain_timeout: self.nursery.drain_timeout,
            log: self.nursery.log,
        };
        self.nursery.scoreboard.clear_active(index);
        let pid = process::spawn(&one, |fresh| worker::run(start, fresh, jailed))?;
        crate::debug!(self.nursery.log, "Worker {index} started (PID {pid})");
        self.nursery.watch.add(&ours, Source::Worker(index))?;
        self.slots[index].process = Some(Running {
            pid,
            channel: ours,
            sockets,
            since: Instant::now(),
            ready: false,
            draining: false,
            hung_up: false,
            full: false,
        });
        Ok(())
    }

    /// Sockets to every helper that can be asked just now, for one worker.
    fn introduce_all(&self) -> Vec<(Kind, Vec<OwnedFd>)> {
        let kinds = self.nursery.helpers.kinds();
        kinds
            .filter_map(|kind| Some((kind, self.introduce(kind).ok()?)))
            .collect()
    }

    /// A client's socket for each relay thread of one worker.
    fn introduce(&self, kind: Kind) -> io::Result<Vec<OwnedFd>> {
        let clients = (0..self.nursery.threads).map(|_| self.nursery.helpers.introduce(kind));
        clients.collect()
    }

    /// A new helper of that kind: every worker gets new sockets to it.
    pub fn replace_helper(&mut self, kind: Kind, channel: Channel) -> Heard {
        self.nursery.helpers.replace(kind, channel);
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

    /// Says one word to every worker.
    pub fn say(&mut self, word: &ToWorker, descriptors: &[BorrowedFd<'_>]) -> Heard {
        let mut heard = Heard::default();
        for index in 0..self.slots.len() {
            heard.count(self.say_to(index, word, descriptors));
        }
        heard
    }

    /// Tells each worker to drain, once, when everything meant for it was sent to it.
    pub fn drain(&mut self) {
        let homeless = !self.homeless.is_empty();
        for slot in &mut self.slots {
            if let Some(running) = &mut slot.process
                && !(running.draining || homeless || slot.queue.is_stuck())
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
    pub fn channel(&self, index: usize) -> Option<&Channel> {
        Some(&self.slots[index].process.as_ref()?.channel)
    }

    /// A worker said that its threads are up.
    pub fn mark_ready(&mut self, index: usize) {
        if let Some(running) = &mut self.slots[index].process {
            running.ready = true;
        }
    }

    /// Whether every worker has been up.
    pub fn all_ready(&self) -> bool {
        let ready = |slot: &Slot| slot.process.as_ref().is_some_and(|worker| worker.ready);
        self.slots.iter().all(ready)
    }

    /// Whether no worker process is left.
    pub fn none_left(&self) -> bool {
        self.slots.iter().all(|slot| slot.process.is_none())
    }

    /// How busy a worker is: what it has claimed and not finished, and what it has yet to claim.
    fn load(&self, index: usize) -> usize {
        let active = self.nursery.scoreboard.worker(index).active().load(Relaxed);
        // A worker writes its count itself.
        (active as usize).saturating_add(self.slots[index].queue.unclaimed())
    }

    fn takes(&self, index: usize) -> bool {
        let slot = &self.slots[index];
        !slot.stall.revoked && slot.process.as_ref().is_some_and(Running::takes)
    }

    /// Whether connections that no worker has will get one only if another is started.
    fn forsaken(&self) -> bool {
        !self.homeless.is_empty() && !(0..self.slots.len()).any(|index| self.takes(index))
    }

    /// The worker that gets the next connection: one of the least busy that have room.
    fn least_busy(&self, returns: bool) -> Option<usize> {
        let loads = (0..self.slots.len())
            .filter(|&index| {
                let slot = &self.slots[index];
                self.takes(index) && !slot.queue.is_stuck()
            })
            .map(|index| (index, self.load(index)))
            .filter(|(_, load)| *load < self.nursery.capacity);
        warmest(loads, returns)
    }

    /// Whether a connection could be given to somebody now.
    pub fn have_room(&self) -> bool {
        self.homeless.is_empty() && self.least_busy(false).is_some()
    }

    /// Whether every worker that runs is at its limit of sessions.
    pub fn at_capacity(&self) -> bool {
        let mut running = (0..self.slots.len())
            .filter(|&index| self.takes(index))
            .peekable();
        running.peek().is_some() && running.all(|index| self.load(index) >= self.nursery.capacity)
    }

    /// Connections in all workers, those among them that are on their way there.
    pub fn connections(&self) -> u64 {
        (0..self.slots.len())
            .map(|index| self.load(index) as u64)
            .sum()
    }

    /// How many a worker takes.
    pub fn capacity(&self) -> usize {
        self.nursery.capacity
    }

    /// Gives a connection to the least busy worker; [`Workers::flush`] sends it.
    pub fn assign(&mut self, accepted: Accepted) {
        // In client mode each worker has its own sessions with the server; tickets of ours all know.
        let service = self.nursery.services.get(accepted.service as usize);
        let returns = service.is_some_and(|service| service.config.client);
        match self.least_busy(returns) {
            Some(index) => self.slots[index].queue.push(accepted),
            None => self.homeless.push(accepted),
        }
    }

    /// Lets go of what was claimed: until then it counts twice, as waiting and as active.
    pub fn let_go(&mut self) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let row = self.nursery.scoreboard.worker(index);
            slot.queue.claim(row.last_claimed());
        }
    }

    /// Sends what was assigned, lets go of what was claimed. Returns whether anything is unclaimed.
    pub fn flush(&mut self) -> bool {
        for accepted in std::mem::take(&mut self.homeless) {
            self.assign(accepted);
        }
        self.let_go();
        let mut unclaimed = !self.homeless.is_empty();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(running) = &mut slot.process {
                // A worker that is gone is noticed by its end of file; its sockets stay here.
                let _ = slot.queue.flush(&running.sockets);
                running.watch_room(slot.queue.waits_for_room(), index, &self.nursery.watch);
            }
            unclaimed |= slot.queue.unclaimed() > 0 || slot.stall.revoked;
        }
        unclaimed
    }

    /// Looks after workers that stand still with something given to them.
    pub fn look_after(&mut self) {
        let passed = self.watchman.look(Instant::now());
        if self.cut.is_some() {
            return;
        }
        for index in 0..self.slots.len() {
            self.look_after_one(index, passed);
        }
    }

    fn look_after_one(&mut self, index: usize, passed: Duration) {
        let row = self.nursery.scoreboard.worker(index);
        let Slot {
            process: Some(Running { pid, .. }),
            queue,
            stall,
            ..
        } = &mut self.slots[index]
        else {
            return;
        };
        let log = self.nursery.log;
        let let_go = row.let_go().load(Relaxed);
        let seen = (row.last_claimed(), let_go);
        match stall.look(seen, queue.is_waiting(), passed) {
            Verdict::Leave => {}
            Verdict::Revoke => {
                let taken_back = queue.revoke(row.revoke());
                crate::warning!(
                    log,
                    "Worker {index} (PID {pid}) stands still: {} connection(s) that it has not \
                     taken go to others",
                    taken_back.len()
                );
                self.homeless.extend(taken_back);
            }
            Verdict::Kill => {
                let seconds = LIFELESS.as_secs();
                crate::error!(
                    log,
                    "Worker {index} (PID {pid}) stands still for {seconds} s: it is killed"
                );
                // Its end, which SIGCHLD tells, says the rest. Not reaped yet, so the number is its own.
                let _ = kill(*pid, Signal::SIGKILL);
            }
        }
        if stall.revoked && let_go == queue.revoked() {
            row.restore(queue.last());
            *stall = Stall::default();
            crate::notice!(log, "Worker {index} (PID {pid}) goes on");
        }
    }

    /// A child died; whether it was a worker of ours. What it had not claimed goes to others.
    pub fn died(&mut self, pid: Pid, how: &str, replace: bool) -> bool {
        let is_it = |slot: &Slot| slot.process.as_ref().is_some_and(|w| w.pid == pid);
        let Some(index) = self.slots.iter().position(is_it) else {
            return false;
        };
        let slot = &mut self.slots[index];
        let lived = slot.process.take().map_or(Duration::ZERO, |worker| {
            worker.unwatch(&self.nursery.watch);
            worker.since.elapsed()
        });
        let row = self.nursery.scoreboard.worker(index);
        slot.queue.claim(row.last_claimed());
        let rescued = slot.queue.take_back();
        slot.stall = Stall::default();
        self.nursery.scoreboard.clear_active(index);
        if self.cut.is_some() {
            return true;
        }
        let count = rescued.len();
        self.homeless.extend(rescued);
        if replace || (self.forsaken() && self.next_start().is_none()) {
            self.schedule(index, lived, pid, how, count);
        }
        self.flush();
        true
    }

    fn schedule(&mut self, index: usize, lived: Duration, pid: Pid, how: &str, rescued: usize) {
        let slot = &mut self.slots[index];
        let pause = slot.back_off.died(lived);
        slot.start_at = Some(Instant::now() + pause);
        crate::warning!(
            self.nursery.log,
            "Worker {index} (PID {pid}) {how}; starting another in {} ms; {rescued} unclaimed \
             connection(s) handed to others",
            pause.as_millis()
        );
    }

    /// When the next worker is to be started.
    pub fn next_start(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.start_at).min()
    }

    /// Nobody is started any more, but for the one that connections without a worker wait for.
    pub fn stop_starting(&mut self) {
        let soonest = self.next_start().filter(|_| self.forsaken());
        let is_soonest = |slot: &Slot| soonest.is_some() && slot.start_at == soonest;
        let kept = self.slots.iter().position(is_soonest);
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.start_at = soonest.filter(|_| kept == Some(index));
        }
    }

    /// Every connection is to be ended; who does not do so in time is killed.
    pub fn cut(&mut self) {
        self.homeless.clear();
        self.stop_starting();
        self.say(&ToWorker::Cut, &[]);
        self.cut.get_or_insert(Instant::now() + CUT_PATIENCE);
    }

    /// When [`Workers::kill_overdue`] has something to do.
    pub fn patience_ends(&self) -> Option<Instant> {
        self.cut.filter(|_| !self.none_left())
    }

    /// Kills what was told to end and has not: a process that stands still hears nothing else.
    pub fn kill_overdue(&mut self) {
        let now = Instant::now();
        if self.patience_ends().is_some_and(|end| end <= now) {
            for running in self.slots.iter().filter_map(|slot| slot.process.as_ref()) {
                // Not reaped yet, so the number is still its own.
                let _ = kill(running.pid, Signal::SIGKILL);
            }
            self.cut = Some(now + CUT_PATIENCE);
        }
    }

    /// A worker closed its end, or spoke nonsense. It is at its end, which SIGCHLD will tell; and if
    /// it is not, it is no worker of ours any more.
    pub fn hung_up(&mut self, index: usize) {
        if let Some(running) = &mut self.slots[index].process {
            // What was hung up stays readable for ever: the child's death tells the rest.
            running.unwatch(&self.nursery.watch);
            running.hung_up = true;
            let _ = kill(running.pid, Signal::SIGKILL);
        }
    }
}

/// The least busy, the lowest of several. Where clients `return` to what only one worker remembers,
/// one connection alone counts as none: who comes back at once finds the last one still ending.
fn warmest(
    mut loads: impl Iterator<Item = (usize, usize)> + Clone,
    returns: bool,
) -> Option<usize> {
    let (least, total) = loads
        .clone()
        .fold((usize::MAX, 0), |(least, total), (_, load)| {
            (least.min(load), total + load)
        });
    let slack = usize::from(returns && total == 1);
    loads
        .find(|(_, load)| *load <= least.saturating_add(slack))
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warmest_of(loads: &[usize]) -> Option<usize> {
        warmest(loads_of(loads), true)
    }

    fn loads_of(loads: &[usize]) -> impl Iterator<Item = (usize, usize)> + Clone {
        loads.iter().copied().enumerate()
    }

    #[test]
    fn a_quiet_service_stays_with_the_lowest_worker_and_a_busy_one_spreads() {
        assert_eq!(warmest_of(&[]), None);
        assert_eq!(warmest_of(&[0, 0]), Some(0));
        assert_eq!(
            warmest_of(&[1, 0]),
            Some(0),
            "its last connection is ending"
        );
        assert_eq!(warmest(loads_of(&[1, 0]), false), Some(1));
        assert_eq!(warmest_of(&[2, 0]), Some(1));
        assert_eq!(warmest_of(&[7, 6, 5]), Some(2));
        assert_eq!(warmest_of(&[2, 1]), Some(1));
        let mut loads = [0; 4];
        for _ in 0..400 {
            let Some(index) = warmest_of(&loads) else {
                panic!("nobody");
            };
            loads[index] += 1;
        }
        assert_eq!(loads, [100; 4]);
    }
}
