//! Starts workers that are due: forks the modern ones, and has the zygote fork the old ones.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::Workers;
use crate::incidents::{Cause, Diagnosis};
use crate::ipc::channel::Channel;
use crate::jail::Jailed;
use crate::master::poll::Source;
use crate::master::slot::{Ordered, Running, Slot};
use crate::process::{self, OneThread};
use crate::step::NameStep;
use crate::worker::{self, group::Group};

impl Workers {
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
        self.poll.add(&channel, Source::Worker(index))?;
        self.slots[index].process = Some(Running {
            pid,
            channel,
            sockets,
            ready: false,
            draining: false,
            hung_up: None,
            full: false,
        });
        Ok(())
    }

    /// The zygote has forked the worker of this order. One that is not awaited any more finds its channels
    /// closed, and ends.
    pub(in crate::master) fn forked(&mut self, order: u64, pid: Pid) -> io::Result<()> {
        match self.take_ordered(order) {
            Some((index, ordered)) => self.started(index, pid, ordered.channel, ordered.sockets),
            None => Ok(()),
        }
    }

    /// The zygote could not fork the worker of this order; it is tried again.
    pub(in crate::master) fn not_forked(&mut self, order: u64, reason: &str) {
        if let Some((index, _)) = self.take_ordered(order) {
            self.cannot_start(&reason);
            self.slots[index].start_at = Some(Instant::now() + Duration::from_secs(1));
        }
    }

    /// Tells of a worker that there should be.
    pub(in crate::master) fn cannot_start(&self, reason: &impl fmt::Display) {
        let text = format!("A worker cannot be started: {reason}");
        crate::error!(self.config.log, "{text}");
        let remedy =
            "the others take the connections meanwhile; see `ulimit -u`, TasksMax= and memory";
        let diagnosis = Diagnosis::new(Cause::Process, text, remedy);
        self.config.scoreboard.note_own(&diagnosis);
    }

    fn take_ordered(&mut self, order: u64) -> Option<(usize, Ordered)> {
        let is_it = |slot: &Slot| slot.ordered.as_ref().is_some_and(|one| one.order == order);
        let index = self.slots.iter().position(is_it)?;
        Some((index, self.slots[index].ordered.take()?))
    }
}
