//! Accepts in batches, and pauses where there is no room or no descriptor.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::{CLAIM_TICK, GROUPS, Serving};
use crate::incidents::{Cause, Diagnosis};
use crate::ipc::accept::accept;
use crate::ipc::handoff::{Connection, Warrant};
use crate::limits;
use crate::log;
use crate::master::handoff::Accepted;
use crate::master::listener::{ACCEPT_BATCH, Listener};
use crate::master::poll::Source;
use crate::worker::group::Group;

/// Batches accepted from one listener before it is closed: as many as the longest backlog holds.
const LAST_BATCHES: usize = 64;
/// How long accepting pauses when descriptors run out; as in stunnel.
const PAUSE: Duration = Duration::from_secs(1);

impl Serving {
    /// Whether connections to the services of this group are accepted now.
    pub(super) fn accepting(&mut self, group: Group) -> bool {
        let paused = &mut self.paused_until[group.index()];
        paused.take_if(|until| *until <= Instant::now());
        let none = self.listeners.is_empty() || !(self.announced && self.accepts);
        if none || paused.is_some() {
            return false;
        }
        if self.workers.at_capacity(group) {
            self.tell_of_capacity();
            self.paused_until[group.index()] = Some(Instant::now() + PAUSE);
            return false;
        }
        self.workers.have_room(group)
    }

    /// Polls the listeners of a group, or stops polling them: the kernel's backlog is the queue.
    pub(super) fn listen(&mut self, group: Group, accepting: bool) {
        if accepting == self.listening[group.index()] {
            return;
        }
        self.listening[group.index()] = accepting;
        for index in 0..self.listeners.len() {
            let Listener {
                socket,
                service,
                held,
                ..
            } = &self.listeners[index];
            if self.workers.group(*service) != group {
                continue;
            }
            if !accepting {
                self.poll.remove(socket);
            } else if !held && let Err(error) = self.poll.add(socket, Source::Listener(index)) {
                self.cannot_poll(&error);
                return self.listen(group, false);
            }
        }
    }

    /// Accepts from one listener, up to a limit; returns how many there were. The limit starts at one,
    /// since a call that finds the queue empty costs as much as one that does not, and grows while the
    /// queue is longer.
    pub(super) fn accept_batch(&mut self, index: usize) -> usize {
        // Another listener of this turn may have run out of descriptors.
        if self.paused_until.iter().any(Option::is_some) && !self.may_accept(index) {
            return 0;
        }
        // An earlier message of this turn may have ordered a drain, which removes listeners.
        let Some(listener) = self.listeners.get_mut(index) else {
            return 0;
        };
        let most = listener.most();
        self.workers.let_go();
        let taken = self.accept_some(index, most, true);
        if let Some(listener) = self.listeners.get_mut(index) {
            listener.took(taken == most);
        }
        taken
    }

    /// Accepts what is in the backlogs: an address that is no longer configured is about to be closed
    /// for good, and with it every connection already made there.
    pub(super) fn accept_the_rest(&mut self) {
        if !(self.announced && self.accepts) {
            return;
        }
        for index in 0..self.listeners.len() {
            self.accept_the_rest_of(index);
        }
    }

    /// The same of one listener.
    pub(super) fn accept_the_rest_of(&mut self, index: usize) {
        for _ in 0..LAST_BATCHES {
            if self.accept_some(index, ACCEPT_BATCH, false) < ACCEPT_BATCH {
                break;
            }
            self.workers.flush();
        }
    }

    /// `told`: poll has told of a client; otherwise it is the last that is accepted there.
    fn accept_some(&mut self, index: usize, most: usize, told: bool) -> usize {
        for taken in 0..most {
            let listener = &self.listeners[index];
            if !self.workers.have_room(self.workers.group(listener.service)) {
                return taken;
            }
            if !self
                .quotas
                .have_room(listener.service, &self.workers, told && taken == 0, !told)
            {
                self.hold(index);
                return taken;
            }
            match accept(listener.socket.as_fd()) {
                Ok((socket, peer)) => {
                    let service = listener.service;
                    let Ok(key) = self.quotas.judge(service, peer) else {
                        refuse(socket);
                        continue;
                    };
                    let connection = Connection {
                        number: self.connections[0].fetch_add(1, Relaxed),
                        service,
                        peer,
                        warrant: self.warrant(service, peer),
                    };
                    self.workers.assign(Accepted {
                        socket,
                        connection,
                        key,
                    });
                    self.claim_tick = CLAIM_TICK;
                }
                Err(error) => {
                    self.accept_failed(&error);
                    return taken;
                }
            }
        }
        most
    }

    /// Does not read a listener for a while: its service has as many connections as it may.
    fn hold(&mut self, index: usize) {
        if let Some(listener) = self.listeners.get_mut(index) {
            listener.held = true;
            self.poll.remove(&listener.socket);
        }
    }

    /// Reads such listeners again, once that is due. Nothing else tells that there is room; but only while clients wait
    /// it is looked for. Tells what there is to tell.
    pub(super) fn read_held(&mut self) {
        if self.quotas.deadline().is_none() {
            return;
        }
        let now = Instant::now();
        self.quotas.tell(now, false);
        if !self.quotas.look_again(now) {
            return;
        }
        for index in 0..self.listeners.len() {
            let listener = &mut self.listeners[index];
            let was_held = std::mem::take(&mut listener.held);
            let group = self.workers.group(listener.service);
            if was_held
                && self.listening[group.index()]
                && let Err(error) = self.poll.add(&listener.socket, Source::Listener(index))
            {
                // All of them are polled again after the pause.
                self.listeners
                    .iter_mut()
                    .for_each(|listener| listener.held = false);
                return self.cannot_poll(&error);
            }
        }
    }

    /// For the binder; any service may be handed the client by its primary. A balancer's clients are known to the
    /// worker alone, once it has heard the balancer.
    fn warrant(&self, service: usize, peer: Option<SocketAddr>) -> Option<Warrant> {
        let warrants = self.warrants.as_ref()?;
        let service = self.workers.config().services.get(service);
        match service.is_some_and(|service| service.config.balancers.have(peer)) {
            true => Some(warrants.issue_for_any()),
            false => peer.map(|peer| warrants.issue(peer)),
        }
    }

    fn accept_failed(&mut self, error: &io::Error) {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => {}
            // accept(2): network errors of the new connection; others wait behind it.
            Some(Errno::EPROTO | Errno::EPERM | Errno::ENETDOWN | Errno::EHOSTUNREACH) => {
                crate::info!(self.log, "accept: {}", log::Reason(error));
            }
            errno => {
                let advice = errno.map(|errno| limits::Advice {
                    errno,
                    connections: self.workers.connections(),
                });
                let reason = log::Reason(error);
                let exhausted = matches!(errno, Some(Errno::EMFILE | Errno::ENFILE));
                if exhausted && !self.exhaustion_told.recurs(Instant::now()) {
                    return self.pause();
                }
                match advice {
                    Some(advice) => crate::error!(self.log, "accept: {reason}{advice}"),
                    None => crate::error!(self.log, "accept: {reason}"),
                }
                self.keep_pause(format!("accept: {reason}"), errno);
            }
        }
    }

    /// epoll(7) takes no more.
    fn cannot_poll(&mut self, error: &io::Error) {
        let text = format!("epoll_ctl: {}", log::Reason(error));
        crate::error!(self.log, "{text}");
        self.keep_pause(text, error.raw_os_error().map(Errno::from_raw));
    }

    /// Accepts nothing for a moment, and keeps why.
    fn keep_pause(&mut self, reason: String, errno: Option<Errno>) {
        let diagnosis = Diagnosis::new(Cause::Memory, reason, limits::remedy(errno));
        self.workers.config().scoreboard.note_own(&diagnosis);
        self.tell_of_pause();
        self.pause();
    }

    /// Whether accepting does not pause for this listener.
    fn may_accept(&self, index: usize) -> bool {
        let listener = self.listeners.get(index);
        listener.is_some_and(|listener| {
            let group = self.workers.group(listener.service);
            self.paused_until[group.index()].is_none()
        })
    }

    /// Reports why accepting pauses, once a minute for as long as all workers are full.
    fn tell_of_capacity(&mut self) {
        if !self.capacity_told.recurs(Instant::now()) {
            return;
        }
        let text = format!(
            "All workers are full: {} connections, {} in each, as a process may open {} files and needs \
             two for each connection",
            self.workers.connections(),
            self.workers.capacity(),
            limits::open_files(),
        );
        let remedy = format!("{}; or give more `workers`", limits::RAISE);
        crate::warning!(self.log, "{text} ({remedy})");
        let diagnosis = Diagnosis::new(Cause::Memory, text, remedy);
        self.workers.config().scoreboard.note_own(&diagnosis);
        self.tell_of_pause();
    }

    /// Accepts nothing for a moment.
    fn pause(&mut self) {
        self.paused_until = [Some(Instant::now() + PAUSE); GROUPS.len()];
    }

    fn tell_of_pause(&self) {
        crate::warning!(self.log, "Accepting new connections suspended for 1 second");
    }
}

/// Closes a client's connection by an RST: it learns at once that it is refused, and nothing is left of it here.
fn refuse(socket: OwnedFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // Without it the connection ends by a FIN.
    let _ = setsockopt(&socket, sockopt::Linger, &linger);
}
