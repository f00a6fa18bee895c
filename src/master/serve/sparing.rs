//! Forks the spare of the master that serves. It is a copy of this process, so it has read nothing, and asked
//! nothing, that was not read and asked when the configuration was loaded.

use std::io;

use super::Serving;
use crate::helper::binder::Seal;
use crate::ipc::channel::Channel;
use crate::ipc::words::{FromMaster, say};
use crate::jail::Jailed;
use crate::log;
use crate::master::post::{Own, Post};
use crate::master::spare;
use crate::master::workers::WorkerConfig;
use crate::process::{self, OneThread};

impl Serving {
    /// Forks a spare that talks to the supervisor on this channel. Where that cannot be, the supervisor hears
    /// it from here.
    ///
    /// # Errors
    /// The supervisor cannot be reached.
    pub(in crate::master) fn fork_spare(
        &mut self,
        channel: Channel,
        jailed: &Jailed,
    ) -> io::Result<()> {
        let workers = match self.workers_of_spare() {
            Ok(workers) => workers,
            // Said before the channel is closed: whichever the supervisor hears first is the reason.
            Err(error) => return self.not_forked(&error),
        };
        let post = Post {
            supervisor: channel,
            connections: self.connections.clone(),
            reminders: self.reminders.clone(),
            warrants: self.warrants.as_ref().map(Seal::copy),
            workers,
        };
        let forked = OneThread::prove()
            .and_then(|one| process::spawn_away(&one, |fresh| spare::run(post, fresh, jailed)));
        forked.or_else(|error| self.not_forked(&error))
    }

    fn not_forked(&self, error: &io::Error) -> io::Result<()> {
        let reason = log::Reason(error).to_string();
        say(&self.supervisor, &FromMaster::NotForked(reason), &[])
    }

    fn workers_of_spare(&mut self) -> io::Result<WorkerConfig> {
        let config = self.workers.config();
        let (generation, scoreboard) = (config.generation, config.scoreboard.clone());
        let zygote = self.workers.zygote();
        let own = Own {
            generation,
            scoreboard,
            zygote: zygote
                .map(|zygote| zygote.copy(generation, None))
                .transpose()?,
        };
        self.workers.config().for_another(own)
    }
}
