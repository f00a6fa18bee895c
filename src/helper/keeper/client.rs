//! The side that asks: relay threads, for their sessions. Never in here: a wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::message;
use super::question::{Question, TokenAnswer};
use crate::helper::asker::Asker;

/// One client's socket to the keeper.
#[derive(Debug)]
pub(crate) struct Client(Asker<TokenAnswer>);

impl Client {
    /// As [`Asker::new`].
    pub(crate) fn new(socket: OwnedFd, first: u64) -> Self {
        Self(Asker::new(socket, first))
    }

    /// The number that the next question gets.
    pub(crate) fn next(&self) -> u64 {
        self.0.next()
    }

    /// Asks for a token; gives the question's number.
    ///
    /// # Errors
    /// `InvalidInput`: no account has such a name, or such a password. Others: as [`Asker::ask`].
    pub(crate) fn ask(&mut self, question: &Question) -> io::Result<u64> {
        if !message::may_ask(&question.account, question.password.reveal()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.0.ask(|id| message::encode(id, question))
    }

    /// What was answered by now; `None`: the keeper is gone, with every open question.
    pub(crate) fn answers(&mut self) -> Vec<(u64, Option<TokenAnswer>)> {
        self.0.answers()
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
