//! The side that asks. Never in here: a wait.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::judge::{Judgement, Question};
use super::message;
use crate::helper::asker::Asker;

/// One client's socket to the gatekeeper.
#[derive(Debug)]
pub(crate) struct Client(Asker<Judgement>);

impl Client {
    /// As [`Asker::new`].
    pub(crate) fn new(socket: OwnedFd, first: u64) -> Self {
        Self(Asker::new(socket, first))
    }

    /// The number that the next question gets.
    pub(crate) fn next(&self) -> u64 {
        self.0.next()
    }

    /// Asks whether a client may connect to a service; gives the question's number.
    ///
    /// # Errors
    /// As [`Asker::ask`].
    pub(crate) fn ask(
        &mut self,
        service: &str,
        client: IpAddr,
        server: SocketAddr,
    ) -> io::Result<u64> {
        let question = Question {
            daemon: service.to_owned(),
            client,
            server,
        };
        self.0.ask(|id| message::encode(id, &question))
    }

    /// What was answered by now; `None`: the gatekeeper is gone, with every open question.
    pub(crate) fn answers(&mut self) -> Vec<(u64, Option<Judgement>)> {
        self.0.answers()
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
