//! What the decider orders, done: one line for each order, and the short deeds among them.

use std::process::ExitCode;

use super::Supervisor;
use super::reload::{Pending, log_of};
use crate::ipc::words::{ToMaster, say_now};
use crate::log::{Log, Reason};
use crate::memory;
use crate::process;
use crate::supervisor::control::Control;
use crate::supervisor::decider::note::Note;
use crate::supervisor::decider::{Event, Order, Orphaned, Why};
use crate::supervisor::generation::Generation;
use crate::supervisor::pid_file::PidFile;

impl Supervisor {
    /// Does it; what the decider is to know of that.
    pub(super) fn obey(&mut self, order: Order) -> Vec<Event> {
        match order {
            // The walk of a reload.
            Order::Compare => return vec![self.compare()],
            Order::Rehearse => return vec![self.rehearse()],
            Order::KillRehearsal => self.kill_rehearsal(),
            Order::EndRehearsal => self.end_rehearsal(),
            Order::TakeOver => return vec![self.take_over()],
            Order::Query(why) => return vec![self.query(why)],
            Order::Start(number) => return vec![self.start(number)],
            Order::Listen(number, accept) => return vec![self.listen(number, &accept)],
            Order::RollBack => self.roll_back(),
            Order::Commit(number) => return vec![self.commit(number)],
            Order::PutIntoForce(why) => return self.put_into_force(why),
            // Spares.
            Order::Spare(number) => return self.spare(number),
            Order::DropSpare(number) => self.masters.drop_spare(number),
            Order::Replace { dead, by } => return self.replace(dead, by),
            Order::GiveUp(number) => self.masters.give_up(number),
            // Masters.
            Order::Drain(number) => self
                .masters
                .get(number)
                .into_iter()
                .for_each(Generation::drain),
            Order::Cut(number) => self
                .masters
                .get(number)
                .into_iter()
                .for_each(Generation::cut),
            Order::Kill(number) => self
                .masters
                .get(number)
                .into_iter()
                .for_each(Generation::kill),
            // One that is not there, or whose queue is full, does not answer either.
            Order::Ask(number) => drop(self.say(number, &ToMaster::Ask)),
            Order::List(number) => {
                if !self.say(number, &ToMaster::List) {
                    return vec![Event::Unasked(number)];
                }
            }
            Order::ListOrphans => self.list_orphans(),
            Order::Bury(number) => return vec![self.bury(number)],
            // Errands.
            Order::AskHelper(kind) => {
                if !self.helpers.ask(kind) {
                    return vec![Event::HelperAnswered(kind)];
                }
            }
            Order::KillHelper(kind) => self.kill_helper(kind),
            Order::LookAtBacklog => return self.look_at_the_backlog(),
            Order::WatchBacklog => self.watch_backlog(),
            Order::LookUpNames => self.look_up_names(),
            Order::StartHelper(kind) => return self.start_helper(kind),
            Order::ReopenLog => return self.reopen_log(),
            Order::ConnectSyslog => return self.connect_syslog(),
            Order::Resend => return self.resend(),
            Order::ResumeControl => self.control.iter_mut().for_each(Control::resume),
            Order::WritePidFile => self.write_pid_file(),
            // Words.
            Order::Log(note) => {
                self.write(&note);
                self.follow(&note);
            }
            Order::Reloading => self.notifier.reloading(),
            Order::Ready(text) => {
                self.notifier.ready(&text);
                memory::let_go();
            }
            Order::TellStopping(timeout) => self.notifier.stopping(timeout),
            Order::FeedWatchdog => self.notifier.feed_watchdog(),
            Order::ReleaseStarter => self.release_starter(),
            // The end.
            Order::CloseListeners => {
                self.backlog = None;
                self.listeners.close();
            }
            Order::CloseTheRetired(masters) => return self.close_the_retired(&masters),
            Order::End(status) => self.end(status),
        }
        Vec::new()
    }

    /// Masters hold these listeners too, and their addresses are free when all have closed them.
    fn close_the_retired(&mut self, masters: &[u64]) -> Vec<Event> {
        let left = self.listeners.close_the_retired();
        if left.settled {
            for number in masters {
                // One that has no room for the word closes them when their last handshakes have had their time.
                self.say(*number, &ToMaster::RetiredOver);
            }
        }
        left.any.then_some(Event::RetiredLeft).into_iter().collect()
    }

    fn write(&self, note: &Note) {
        let log = match note {
            Note::Loaded(_) => self.pending.as_ref().map_or(self.log, Pending::log),
            Note::Refused(Why::Start) | Note::Bound(Why::Start, _) => {
                log_of(Why::Start, &self.config)
            }
            _ => self.log,
        };
        write(log, note);
    }

    /// Whether the master was told.
    fn say(&self, number: u64, word: &ToMaster) -> bool {
        let master = self.masters.get(number);
        master.is_some_and(|master| say_now(&master.channel, word, &[]).is_ok())
    }

    fn list_orphans(&self) {
        for orphans in self.masters.orphans() {
            crate::log_at!(
                self.log,
                0,
                "Generation {} has lost its master, and {} more active connection(s)",
                orphans.generation.number,
                orphans.active()
            );
        }
    }

    fn bury(&mut self, number: u64) -> Event {
        let others = self.of_no_generation();
        let left = self.masters.bury(number, &mut self.common.carried, &others);
        let orphaned = if left {
            Orphaned::Workers
        } else {
            Orphaned::None
        };
        Event::Buried(number, orphaned)
    }

    pub(super) fn write_pid_file(&mut self) {
        if let Some(Err(error)) = self.pid_file.as_mut().map(PidFile::write) {
            crate::error!(self.log, "{error}");
        }
    }

    fn release_starter(&mut self) {
        if let Some(starter) = self.starter.take() {
            starter.tell();
            if let Err(error) = process::let_go_of_the_terminal() {
                crate::warning!(self.log, "The terminal stays open: {}", Reason(&error));
            }
        }
    }

    fn end(&mut self, status: u8) {
        self.helpers.kill();
        for orphans in self.masters.orphans() {
            orphans.wake();
        }
        if let Some(metrics) = self.metrics.take() {
            metrics.remove();
        }
        if let Some(control) = self.control.take() {
            control.remove();
        }
        if let Some(pid_file) = self.pid_file.take() {
            pid_file.remove();
        }
        if status == 0 {
            crate::notice!(self.log, "Terminated");
        }
        self.status = Some(ExitCode::from(status));
    }
}

fn write(log: Log, note: &Note) {
    crate::log_at!(log, note.level(), "{note}");
}
