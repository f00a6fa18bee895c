//! Which worker gets the next connection, and what is sent to each.

use std::sync::atomic::Ordering::Relaxed;

use super::Workers;
use crate::master::balance::least_loaded;
use crate::master::handoff::Accepted;
use crate::master::slot::Running;
use crate::worker::group::Group;

impl Workers {
    /// Gives a connection to the least busy worker; [`Workers::flush`] sends it.
    pub(crate) fn assign(&mut self, accepted: Accepted) {
        // In client mode each worker has sessions of its own with the server; adit's own tickets work
        // in all workers.
        let service = self.config.services.get(accepted.connection.service);
        let returns = service.is_some_and(|service| service.config.client);
        match self.least_busy(self.group(accepted.connection.service), returns) {
            Some(index) => {
                if let (Some(key), Some(all)) = (accepted.key, self.config.scoreboard.shares()) {
                    // From now on: what is claimed is the worker's to take back.
                    all.enter(index, key);
                }
                self.slots[index].queue.push(accepted);
            }
            None => self.unassigned.push(accepted),
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
                running.poll_for_room(slot.queue.waits_for_room(), index, &self.poll);
            }
            unclaimed |= slot.queue.unclaimed() > 0 || slot.stall.revoked;
        }
        unclaimed
    }

    /// Releases what was claimed, which until then counts twice, as waiting and as active.
    pub(crate) fn let_go(&mut self) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let row = self.config.scoreboard.worker(index);
            slot.queue.claim(row.last_claimed());
        }
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
        let loads = (0..self.slots.len()).map(|index| self.load(index) as u64);
        loads.sum::<u64>() + self.unassigned.len() as u64
    }

    /// The same of these services.
    pub(crate) fn of_services(&self, services: &[usize]) -> u64 {
        let board = &self.config.scoreboard;
        let active: u64 = services.iter().map(|index| board.active(*index)).sum();
        let queues = self.slots.iter().map(|slot| &slot.queue);
        let waiting: usize = queues.map(|queue| queue.unclaimed_of(services)).sum();
        let of_these = |accepted: &&Accepted| services.contains(&accepted.connection.service);
        let unassigned = self.unassigned.iter().filter(of_these).count();
        active + (waiting + unassigned) as u64
    }

    /// The most connections of one worker.
    pub(crate) fn capacity(&self) -> usize {
        self.config.capacity
    }

    /// Whether connections without a worker can only be served by one of this group that has yet to start.
    pub(super) fn unservable(&self, group: Group) -> bool {
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

    pub(super) fn takes(&self, index: usize) -> bool {
        let slot = &self.slots[index];
        !slot.stall.revoked && slot.process.as_ref().is_some_and(Running::takes)
    }

    /// A worker's load: what it has claimed and not finished, and what it has yet to claim.
    fn load(&self, index: usize) -> usize {
        let active = self.config.scoreboard.worker(index).active().load(Relaxed);
        // The worker itself writes this count.
        (active as usize).saturating_add(self.slots[index].queue.unclaimed())
    }
}
