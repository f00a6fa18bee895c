//! The helpers that a relay thread asks: a new one takes the place of the last, and answers go to the sessions that
//! wait for them. The binder's are in `binding`. Never in here: what a session makes of an answer.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::{FETCHER, GATEKEEPER, KEEPER, LAUNCHER, NAMES, Reactor, queue};
use crate::helper::{
    FetchClient, GateClient, Kind, LaunchClient, NameClient, Refused, TokenClient,
};
use crate::relay::session::Session;
use crate::relay::step::Ending;
use crate::worker::panics;
use crate::worker::slab::Key;

impl Reactor {
    pub(super) fn set_helper(&mut self, kind: Kind, socket: OwnedFd) -> io::Result<()> {
        match kind {
            Kind::Resolver => self.set_names(socket),
            Kind::Launcher => self.set_launcher(LaunchClient::new(socket)),
            Kind::Fetcher => self.set_fetcher(socket),
            Kind::Gatekeeper => self.set_gatekeeper(socket),
            Kind::Binder => self.set_binder(socket),
            Kind::Keeper => self.set_keeper(socket),
            // No worker asks it.
            Kind::Teller => Ok(()),
        }
    }

    fn set_names(&mut self, socket: OwnedFd) -> io::Result<()> {
        let last = self.resources.names.as_ref();
        let client = NameClient::new(socket, last.map_or(1, NameClient::next));
        self.shared.poller.add(client.as_fd(), NAMES)?;
        // What the last one was asked is lost with it, or with what it has not said yet.
        self.take_answers();
        self.resources.names = Some(client);
        let lost: Vec<(u64, u64)> = self.resources.questions.drain().collect();
        for (question, bits) in lost {
            self.tell(bits, |session| session.answer(question, None));
        }
        self.step_those_that_wait();
        Ok(())
    }

    fn set_launcher(&mut self, client: LaunchClient) -> io::Result<()> {
        self.shared.poller.add(client.as_fd(), LAUNCHER)?;
        self.resources.launcher = Some(client);
        let lost: Vec<(u64, u64)> = self.resources.launches.drain().collect();
        for (question, bits) in lost {
            self.tell(bits, |session| {
                session.launched(question, Err(Refused::by_death()));
            });
        }
        Ok(())
    }

    fn set_fetcher(&mut self, socket: OwnedFd) -> io::Result<()> {
        let first = self.resources.fetcher.as_ref().map_or(1, FetchClient::next);
        let client = FetchClient::new(socket, first);
        self.shared.poller.add(client.as_fd(), FETCHER)?;
        // What the last one was asked is lost with it.
        self.take_fetched();
        self.resources.fetcher = Some(client);
        let lost: Vec<(u64, u64)> = self.resources.requests.drain().collect();
        for (request, bits) in lost {
            let gone = Err("the fetcher process is gone".to_owned());
            self.give_fetched(request, bits, gone);
        }
        self.step_those_that_wait();
        Ok(())
    }

    fn set_gatekeeper(&mut self, socket: OwnedFd) -> io::Result<()> {
        let last = self.resources.gatekeeper.as_ref();
        let client = GateClient::new(socket, last.map_or(1, GateClient::next));
        self.shared.poller.add(client.as_fd(), GATEKEEPER)?;
        // What the last one was asked is lost with it.
        self.take_judgements();
        self.resources.gatekeeper = Some(client);
        self.step_those_that_wait();
        Ok(())
    }

    fn set_keeper(&mut self, socket: OwnedFd) -> io::Result<()> {
        let last = self.resources.keeper.as_ref();
        let client = TokenClient::new(socket, last.map_or(1, TokenClient::next));
        self.shared.poller.add(client.as_fd(), KEEPER)?;
        // What the last one was asked is lost with it.
        self.take_tokens();
        self.resources.keeper = Some(client);
        self.step_those_that_wait();
        Ok(())
    }

    /// There is a helper now that was not.
    pub(super) fn step_those_that_wait(&mut self) {
        for bits in std::mem::take(&mut self.resources.awaiting) {
            self.tell(bits, |_| ());
        }
    }

    pub(super) fn take_judgements(&mut self) {
        let Some(gatekeeper) = &mut self.resources.gatekeeper else {
            return;
        };
        for (question, judgement) in gatekeeper.answers() {
            if let Some(bits) = self.resources.judgements.remove(&question) {
                self.tell(bits, |session| session.judged(question, judgement));
            }
        }
    }

    pub(super) fn take_tokens(&mut self) {
        let Some(keeper) = &mut self.resources.keeper else {
            return;
        };
        for (question, answer) in keeper.answers() {
            if let Some(bits) = self.resources.tokens.remove(&question) {
                self.tell(bits, |session| session.token(question, answer));
            }
        }
    }

    pub(super) fn take_launched(&mut self) {
        let Some(launcher) = &mut self.resources.launcher else {
            return;
        };
        for (question, answer) in launcher.answers() {
            // The program of a session that is over reads an end of file.
            if let Some(bits) = self.resources.launches.remove(&question) {
                self.tell(bits, |session| session.launched(question, answer));
            }
        }
    }

    pub(super) fn take_fetched(&mut self) {
        let Some(fetcher) = &mut self.resources.fetcher else {
            return;
        };
        for (request, answer) in fetcher.answers() {
            if let Some(bits) = self.resources.requests.remove(&request) {
                self.give_fetched(request, bits, answer);
            }
        }
    }

    fn give_fetched(&mut self, request: u64, bits: u64, answer: Result<Vec<u8>, String>) {
        let key = Key::from_bits(bits);
        if let Some(entry) = self.sessions.get_mut(key) {
            // It judges the answer, which is a stranger's.
            let given = panics::caught(|| entry.session.fetched(request, answer));
            if let Err(what) = given {
                entry.session.panicked(&what);
                self.finish(key, Ending::Reset);
                return;
            }
            queue(&mut self.due, key, entry);
        }
    }

    pub(super) fn take_answers(&mut self) {
        let Some(names) = &mut self.resources.names else {
            return;
        };
        for (question, answer) in names.answers() {
            if let Some(bits) = self.resources.questions.remove(&question) {
                self.tell(bits, |session| session.answer(question, answer));
            }
        }
    }

    /// Tells a session what a helper has answered, and has it stepped; one that is over hears nothing.
    pub(super) fn tell(&mut self, bits: u64, answer: impl FnOnce(&mut Session)) {
        let key = Key::from_bits(bits);
        if let Some(entry) = self.sessions.get_mut(key) {
            answer(&mut entry.session);
            queue(&mut self.due, key, entry);
        }
    }
}
