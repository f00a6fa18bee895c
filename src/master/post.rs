//! What a process serves a generation with, once it is in the jail; its spare has the same, so that it can be a
//! master's without a look at a file. Never in here: a listener, a connection.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use super::reminders::Reminders;
use super::workers::WorkerConfig;
use super::zygote::Zygote;
use crate::helper::binder::Seal;
use crate::ipc::channel::Channel;
use crate::ipc::scoreboard::Scoreboard;
use crate::ipc::shared::SharedWords;
use crate::log;

/// What a process serves with, or will.
#[derive(Debug)]
pub(super) struct Post {
    /// The channel to the supervisor.
    pub supervisor: Channel,
    /// The first word is the number of the last connection, over all generations.
    pub connections: SharedWords,
    /// Certificates that come to their end.
    pub reminders: Reminders,
    /// For the clients of services that need them.
    pub warrants: Option<Seal>,
    /// What its workers are started with.
    pub workers: WorkerConfig,
}

/// What differs between two processes that serve the same.
#[derive(Debug)]
pub(super) struct Own {
    /// The number of its generation.
    pub generation: u64,
    /// That generation's counts.
    pub scoreboard: Scoreboard,
    /// Where a service has old TLS.
    pub zygote: Option<Zygote>,
}

impl Post {
    /// The same for another process.
    ///
    /// # Errors
    /// No descriptors left.
    pub(super) fn for_another(&self, supervisor: Channel, own: Own) -> io::Result<Post> {
        Ok(Post {
            supervisor,
            connections: self.connections.clone(),
            reminders: self.reminders.clone(),
            warrants: self.warrants.as_ref().map(Seal::copy),
            workers: self.workers.for_another(own)?,
        })
    }

    /// Its descriptors and the log's, to be kept open over a fork.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let mut kept = log::descriptors();
        kept.push(self.supervisor.as_fd().as_raw_fd());
        kept.push(self.workers.leash.as_fd().as_raw_fd());
        let zygote = self.workers.zygote.iter();
        kept.extend(zygote.map(|zygote| zygote.as_fd().as_raw_fd()));
        kept.extend(self.workers.helpers.descriptors());
        kept
    }
}
