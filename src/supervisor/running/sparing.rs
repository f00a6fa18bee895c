//! What is done about spares: asked for, ended, and told to fork another master.

use std::os::fd::AsFd;

use nix::unistd::Pid;

use super::Supervisor;
use super::reload::{Pending, Rehearsal};
use crate::ipc::channel::Channel;
use crate::ipc::words::{ToMaster, say_accept, say_listeners, say_now};
use crate::log::Reason;
use crate::step::NameStep;
use crate::supervisor::decider::{Event, Master};
use crate::supervisor::spares::{News, Spare, Unborn};

impl Supervisor {
    /// Has a master fork its spare.
    pub(super) fn spare(&mut self, number: u64) -> Vec<Event> {
        let Some(master) = self.masters.get(number) else {
            return vec![Event::NotSpared(number, "its master is dead".to_owned())];
        };
        let asked = Channel::pair()
            .step("socketpair(2)")
            .and_then(|(ours, theirs)| {
                say_now(&master.channel, &ToMaster::Spare, &[theirs.as_fd()])?;
                Ok(ours)
            });
        match asked {
            Ok(channel) => {
                let spare = Spare::behind(number, master.shape(), channel);
                self.masters.add_spare(spare);
                Vec::new()
            }
            Err(error) => vec![Event::NotSpared(number, Reason(&error).to_string())],
        }
    }

    /// Has the spare of a dead master fork another.
    pub(super) fn replace(&mut self, dead: u64, by: u64) -> Vec<Event> {
        let Some(spare) = self.masters.spare_goes_behind(dead, by) else {
            return vec![Event::NotForked(by, "it is dead".to_owned())];
        };
        let asked = Channel::pair()
            .step("socketpair(2)")
            .and_then(|(ours, theirs)| {
                let board = spare.shape.board()?;
                let descriptors = [theirs.as_fd(), board.1.as_fd()];
                say_now(&spare.channel, &ToMaster::Replace(by), &descriptors)?;
                Ok((ours, board))
            });
        match asked {
            Ok((channel, board)) => {
                let shape = spare.shape.clone();
                self.masters.expect(Unborn {
                    number: by,
                    shape,
                    channel,
                    board,
                });
                Vec::new()
            }
            Err(error) => vec![Event::NotForked(by, Reason(&error).to_string())],
        }
    }

    pub(super) fn hear_spare(&mut self, number: u64) {
        let others = self.of_no_generation();
        let event = match self.masters.hear_spare(number, &others) {
            Some(News::Stands) => Event::SpareStands(number),
            Some(News::NotForked(reason)) => Event::NotForked(number, reason),
            Some(News::Missed) => Event::Missed,
            Some(News::Lost(how)) => {
                self.masters.drop_spare(number);
                Event::SpareLost(number, how)
            }
            None => return,
        };
        self.happen(event);
    }

    /// The children that no process of a generation may name as its own.
    pub(super) fn of_no_generation(&self) -> Vec<Pid> {
        let rehearsal = self.rehearsal.iter().map(Rehearsal::pid);
        let pending = self.pending.iter().flat_map(Pending::helpers);
        let helpers = self.helpers.processes().chain(pending);
        helpers.map(|(_, pid)| pid).chain(rehearsal).collect()
    }

    /// The first word of a master that a spare has forked: it is given its listeners at once.
    pub(super) fn hear_unborn(&mut self, number: u64) {
        let others = self.of_no_generation();
        let event = match self.masters.hear_unborn(number, &others) {
            Some(Ok(generation)) => {
                let master = Master {
                    pid: generation.pid.as_raw(),
                    drain_timeout: generation.drain_timeout,
                };
                let channel = &generation.channel;
                let said = say_listeners(channel, &self.listeners.served())
                    .and_then(|()| say_accept(channel, &self.listeners.retired()));
                if let Err(error) = said {
                    crate::error!(
                        self.log,
                        "Generation {number} was not given its listeners: {}",
                        Reason(&error)
                    );
                    // Its death has another started.
                    generation.kill();
                }
                Event::Forked(number, master)
            }
            Some(Err(reason)) => Event::NotForked(number, reason),
            None => return,
        };
        self.happen(event);
    }
}
