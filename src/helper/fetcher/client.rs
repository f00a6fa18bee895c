//! The side that asks: relay threads, for their sessions. Never in here: a wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::message::{Request, may_ask};
use crate::helper::asker::Asker;

/// A request's number, and what became of it.
pub(crate) type Told = (u64, Result<Vec<u8>, String>);

/// One client's socket to the fetcher.
#[derive(Debug)]
pub(crate) struct Client(Asker<Result<Vec<u8>, String>>);

impl Client {
    /// As [`Asker::new`].
    pub(crate) fn new(socket: OwnedFd, first: u64) -> Self {
        Self(Asker::new(socket, first))
    }

    /// The number that the next request gets.
    pub(crate) fn next(&self) -> u64 {
        self.0.next()
    }

    /// Whether the fetcher is gone, so that nothing can be asked here any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_gone()
    }

    /// Asks for the answer to a POST; gives the request's number.
    ///
    /// # Errors
    /// `InvalidInput`: it is too long. Others: as [`Asker::ask`].
    pub(crate) fn ask(&mut self, url: &str, body: &[u8], patience: Duration) -> io::Result<u64> {
        if !may_ask(url, body) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let request = |id| Request {
            id,
            patience,
            url: url.to_owned(),
            body: body.to_vec(),
        };
        self.0.ask(|id| request(id).encode())
    }

    /// What was answered by now. When the fetcher is gone every open request is answered with an error.
    pub(crate) fn answers(&mut self) -> Vec<Told> {
        let gone = || Err("the fetcher process is gone".to_owned());
        let answers = self.0.answers().into_iter();
        answers
            .map(|(id, answer)| (id, answer.unwrap_or_else(gone)))
            .collect()
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
