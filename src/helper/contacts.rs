//! Where helpers are met by the processes that ask them.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use super::{Kind, words};
use crate::ipc::channel::Channel;

/// The channels on which clients are introduced to helpers, by kind. A kind that the configuration
/// does not need is missing.
#[derive(Debug, Default)]
pub(crate) struct Contacts(BTreeMap<Kind, Channel>);

impl Contacts {
    /// Adds a kind, or replaces a helper of that kind by another.
    pub(crate) fn replace(&mut self, kind: Kind, channel: Channel) {
        self.0.insert(kind, channel);
    }

    /// The kinds that there are.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.0.keys().copied()
    }

    /// The descriptors behind it, to be kept open over a fork.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.0.values().map(|channel| channel.as_fd().as_raw_fd())
    }

    /// A copy for another process.
    ///
    /// # Errors
    /// No descriptors left.
    pub(crate) fn try_clone(&self) -> io::Result<Contacts> {
        let copies = self.0.iter().map(|(kind, channel)| {
            let copy = channel.as_fd().try_clone_to_owned()?;
            io::Result::Ok((*kind, copy.into()))
        });
        copies.collect::<io::Result<_>>().map(Contacts)
    }

    /// Makes a client's socket, whose other end is on its way to the helper of that kind.
    ///
    /// # Errors
    /// `NotFound`: there is no such helper. Others: see [`words::introduce`].
    pub(crate) fn introduce(&self, kind: Kind) -> io::Result<OwnedFd> {
        let channel = self.0.get(&kind).ok_or(io::ErrorKind::NotFound)?;
        words::introduce(channel)
    }
}
