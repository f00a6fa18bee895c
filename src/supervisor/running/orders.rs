//! What comes at the control socket: questions for the status, and what root or the user of this process asks for
//! beyond it. Never in here: an answer of a worker; those go to the one who asks.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use super::Supervisor;
use crate::ipc::inquiry::{Asked, Inquiry};
use crate::ipc::request::{Reply, Request};
use crate::ipc::words::{ToMaster, say_now};
use crate::log::Reason;
use crate::supervisor::decider::{Event, State};
use crate::supervisor::generation::Generation;
use crate::supervisor::listeners::Untouched;
use crate::supervisor::orphans::Orphans;

impl Supervisor {
    /// Answers every client that has come or has asked, without ever waiting for one.
    pub(super) fn serve_control(&mut self) {
        let Some(control) = &mut self.control else {
            return;
        };
        control.go_on();
        let (plain, is_paused) = control.accept();
        let asked = control.hear();
        if is_paused {
            self.happen(Event::ControlPaused);
        }
        if !plain.is_empty() {
            self.happen(Event::StatusWanted);
            if let Ok(document) = serde_json::to_vec(&self.status()) {
                for client in plain {
                    self.answer(client, document.clone());
                }
            }
        }
        for one in asked {
            let reply = match one.request {
                Ok((request, socket)) => self.do_as_asked(request, socket),
                Err(error) => Reply::Refused(Reason(&error).to_string()),
            };
            if let Ok(document) = serde_json::to_vec(&reply) {
                self.answer(one.client, document);
            }
        }
    }

    fn answer(&mut self, client: UnixStream, document: Vec<u8>) {
        if let Some(control) = &mut self.control {
            control.answer(client, document);
        }
    }

    fn do_as_asked(&mut self, request: Request, socket: Option<OwnedFd>) -> Reply {
        match (request, socket) {
            (Request::Inquire(inquiry), Some(socket)) => self.inquire(inquiry, &socket),
            (Request::Inquire(_), None) => {
                Reply::Refused("no socket for the answers came with it".to_owned())
            }
            (Request::Drain(name), _) => self.drain_service(&name),
            (Request::TakeBack(name), _) => self.take_service_back(&name),
        }
    }

    /// Has every worker answer over that socket.
    fn inquire(&self, inquiry: Inquiry, socket: &OwnedFd) -> Reply {
        let serves = |generation: &&Generation| {
            let state = self.decider.state(generation.number);
            matches!(state, Some(State::Serving | State::Draining))
        };
        let orphans = self.masters.orphans().iter().map(Orphans::active);
        let mut unreached = orphans.fold(0, u64::saturating_add);
        let mut workers = Vec::new();
        for generation in self.masters.all().iter().filter(serves) {
            let word = ToMaster::Inquire(inquiry);
            let said = generation.can_be_asked
                && say_now(&generation.channel, &word, &[socket.as_fd()]).is_ok();
            let board = &generation.scoreboard;
            if said {
                let asked = (0..board.workers()).map(|worker| Asked {
                    generation: generation.number,
                    worker,
                    pid: board.worker(worker).pid().load(Relaxed),
                });
                // One that is being started anew has no connection.
                workers.extend(asked.filter(|asked| asked.pid != 0));
            } else {
                let active = (0..board.services()).map(|service| board.active(service));
                unreached = active.fold(unreached, u64::saturating_add);
            }
        }
        Reply::Asked { unreached, workers }
    }

    /// Accepts nothing more for a service.
    fn drain_service(&mut self, name: &str) -> Reply {
        let master = match self.master_to_change() {
            Ok(master) => master,
            Err(reply) => return reply,
        };
        let index = match self.listeners.drain(&self.config, name) {
            Ok(index) => index,
            Err(untouched) => return reply_of(untouched),
        };
        self.told.is_outdated();
        // The end of a listener that this still watched would never come.
        if self.backlog.take().is_some() {
            self.watch_backlog();
        }
        self.tell(master, &ToMaster::Withdraw(index), &[]);
        crate::notice!(
            self.log,
            "Service [{name}] is drained: it accepts nothing more until `adit drain --undo {name}`"
        );
        let left = self.connections_of(name);
        Reply::Done(Some(format!("{left} connection(s) of [{name}] are left")))
    }

    /// The open connections of a service, those of generations that drain or have lost their master too.
    fn connections_of(&self, name: &str) -> u64 {
        let orphans = self.masters.orphans().iter().map(|o| &o.generation);
        let generations = self.masters.all().iter().chain(orphans);
        let of_one = |generation: &Generation| {
            let names = generation.names.iter().enumerate();
            let its = names.filter(|(_, own)| *own == name);
            let active = its.map(|(index, _)| generation.scoreboard.active(index));
            active.fold(0, u64::saturating_add)
        };
        generations.map(of_one).fold(0, u64::saturating_add)
    }

    /// Accepts for a drained service again.
    fn take_service_back(&mut self, name: &str) -> Reply {
        let master = match self.master_to_change() {
            Ok(master) => master,
            Err(reply) => return reply,
        };
        let (config, log) = (Rc::clone(&self.config), self.log);
        self.told.is_outdated();
        match self.listeners.take_back(&config, name, &log) {
            Err(untouched) => return reply_of(untouched),
            Ok((index, sockets)) => {
                let word = ToMaster::Listeners(vec![index; sockets.len()]);
                if let Some(generation) = self.masters.get(master)
                    && say_now(&generation.channel, &word, &sockets).is_err()
                {
                    // Another master is given all that is served.
                    generation.kill();
                }
            }
        }
        self.watch_backlog();
        crate::notice!(self.log, "Service [{name}] accepts again");
        Reply::Done(None)
    }

    /// The master that serves, while no other is about to take its place with listeners that it was given already.
    ///
    /// # Errors
    /// What is to be answered where there is none.
    fn master_to_change(&self) -> Result<u64, Reply> {
        let is_settled = !self.decider.is_reloading()
            && self.pending.is_none()
            && self.masters.unborn().is_empty();
        if is_settled && !self.listeners.know_services() {
            // The master that serves may have others, or the same ones in another order.
            return Err(Reply::Refused(
                "since the upgrade no configuration has come into force: the log says why (mend it, and `adit reload`)"
                    .to_owned(),
            ));
        }
        let hears = |master: &&Generation| master.hears && master.can_be_asked;
        let serving = self.decider.serving().filter(|_| is_settled);
        let master = serving.and_then(|number| self.masters.get(number));
        let master = master.filter(hears).map(|master| master.number);
        master.ok_or_else(|| Reply::Later("a generation is being started".to_owned()))
    }

    /// A word that a master must not miss: another would begin with what is in force.
    fn tell(&self, number: u64, word: &ToMaster, sockets: &[BorrowedFd<'_>]) {
        if let Some(master) = self.masters.get(number)
            && say_now(&master.channel, word, sockets).is_err()
        {
            master.kill();
        }
    }
}

fn reply_of(untouched: Untouched) -> Reply {
    match untouched {
        Untouched::Never(text) => Reply::Refused(text),
        Untouched::NotNow(text) => Reply::Later(text),
    }
}
