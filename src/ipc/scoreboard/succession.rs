//! What a board takes over from that of the generation before. Never in here: a count.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;

use super::Scoreboard;
use crate::ipc::shares::Shares;

impl Scoreboard {
    /// Maps a board of the same services that [`Scoreboard::transferable`] made, which goes on with what this one knows
    /// of addresses. Only while none works by it.
    ///
    /// # Errors
    /// As [`Scoreboard::taken_over`].
    pub(crate) fn successor(&self, descriptor: &OwnedFd) -> io::Result<Scoreboard> {
        let mut board = Scoreboard::taken_over(descriptor, self.workers, self.services)?;
        board.follow(&[self]);
        Ok(board)
    }

    /// Goes on with what older generations know of addresses, the newest first. Only while none works by this board.
    pub(crate) fn follow(&mut self, others: &[&Scoreboard]) {
        let others: Vec<_> = others.iter().filter_map(|other| other.shares()).collect();
        self.shares = self.shares.take().map(|own| own.follow(&others));
    }

    /// As it is without what it knows of older generations.
    pub(crate) fn alone(&self) -> Scoreboard {
        Scoreboard {
            shares: self.shares.as_ref().map(Shares::alone),
            ..self.clone()
        }
    }

    /// Takes over from the board of the same services what is known of their certificates.
    pub(crate) fn note_certificates_of(&self, other: &Scoreboard) {
        for service in 0..self.services.min(other.services) {
            let (ours, theirs) = (self.shared(service), other.shared(service));
            for (ours, theirs) in [
                (ours.staple(), theirs.staple()),
                (ours.ends_to_clients(), theirs.ends_to_clients()),
                (ours.ends_to_servers(), theirs.ends_to_servers()),
            ] {
                ours.store(theirs.load(Relaxed), Relaxed);
            }
        }
    }
}
