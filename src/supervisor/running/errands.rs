//! What every process is passed: the log file, a connection to syslogd, the helpers' channels.

use std::io;
use std::os::fd::AsFd;

use super::Supervisor;
use super::refusals::{DIED, LACKS};
use super::telling::Told;
use crate::helper::Kind;
use crate::ipc::shared::SharedWords;
use crate::ipc::words::{Heard, ToMaster, say_now};
use crate::supervisor::backlog::{self, Backlog};
use crate::supervisor::decider::Event;
use crate::supervisor::helpers::Start;
use crate::supervisor::masters::Masters;
use crate::supervisor::syslog::SyslogWatch;
use crate::tls::Resumption;
use crate::{log, remedy};

impl Supervisor {
    /// Opens the log file anew and passes the descriptor down, so that every process changes over
    /// between two lines.
    pub(super) fn reopen_log(&mut self) -> Vec<Event> {
        if self.config.global.output.is_none() {
            return Vec::new();
        }
        match self.pass_log_file() {
            Ok(heard) => {
                crate::notice!(self.log, "Log file reopened");
                missed(&heard)
            }
            Err(error) => {
                let (reason, remedy) = (log::Reason(&error), remedy::making_a_file(&error));
                crate::error!(self.log, "Log file not reopened: {reason} ({remedy})");
                Vec::new()
            }
        }
    }

    fn pass_log_file(&self) -> io::Result<Heard> {
        let file = log::reopen(&self.config.global)?;
        let mut heard = self.masters.pass_down(&ToMaster::LogFile, file.as_fd());
        heard.add(self.helpers.replace_log_file(file.as_fd()));
        log::replace_file(file)?;
        Ok(heard)
    }

    /// Watches for a syslogd if messages go to one.
    pub(super) fn watch_syslog(&mut self) -> Vec<Event> {
        let global = &self.config.global;
        if global.syslog != self.syslog.is_some() {
            self.syslog = SyslogWatch::of(global);
        }
        match global.syslog && !log::has_met_syslog() {
            // It may have come before it was watched for.
            true => self.connect_syslog(),
            false => Vec::new(),
        }
    }

    /// Has every process log to whichever syslogd runs now.
    pub(super) fn connect_syslog(&mut self) -> Vec<Event> {
        if !self.config.global.syslog {
            return Vec::new();
        }
        let Ok(socket) = log::connect_syslog() else {
            return vec![Event::SyslogRefused];
        };
        let mut heard = self.masters.pass_down(&ToMaster::Syslog, socket.as_fd());
        heard.add(self.helpers.replace_syslog(socket.as_fd()));
        let again = if log::has_met_syslog() { " again" } else { "" };
        if log::replace_syslog(socket).is_ok() {
            crate::info!(self.log, "syslog: connected{again}");
        }
        [vec![Event::SyslogConnected], missed(&heard)].concat()
    }

    /// Ends a helper that does not answer.
    pub(super) fn kill_helper(&mut self, kind: Kind) {
        if let Some(pid) = self.helpers.end(kind) {
            let text = format!("The {kind} (PID {pid}) is not responding: killing it");
            crate::error!(self.log, "{text}");
            self.process_fails(text, DIED);
            self.stood_still.push(pid.as_raw());
        }
    }

    /// Has the next client that comes wake this process.
    pub(super) fn watch_backlog(&mut self) {
        let mut listeners = self.listeners.served();
        let metrics = self.metrics.as_ref();
        listeners.extend(metrics.map(|metrics| (usize::MAX, metrics.descriptor())));
        self.backlog = Backlog::of(&listeners)
            .inspect_err(|error| {
                let reason = log::Reason(error);
                crate::warning!(
                    self.log,
                    "A master that stands still will not be noticed: {reason}"
                );
            })
            .ok();
    }

    /// Which clients wait now.
    pub(super) fn look_at_the_backlog(&self) -> Vec<Event> {
        let masters = backlog::clients_wait(&self.listeners.served());
        let metrics = self.metrics.as_ref();
        let metrics = metrics.map(|metrics| (usize::MAX, metrics.descriptor()));
        let teller = backlog::clients_wait(metrics.as_slice());
        let masters = masters.then_some(Event::ClientsWait);
        let teller = teller.then_some(Event::ReadersWait);
        masters.into_iter().chain(teller).collect()
    }

    /// Starts a helper in place of one that died, and tells the masters.
    pub(super) fn start_helper(&mut self, kind: Kind) -> Vec<Event> {
        let (common, masters) = (&mut self.common, &mut self.masters);
        let config = &self.config;
        let mut forget = || {
            config.forget_secrets(|_| true);
            forget(masters, &mut common.resumption, &mut common.connections)
        };
        let start = Start {
            config: &self.config,
            leash: &common.leash,
            metrics: self.metrics.as_ref(),
            warrants: common.warrants.as_ref(),
            forget: &mut forget,
            log: self.log,
        };
        if self.helpers.fill(kind, start).is_err() {
            self.process_fails(format!("The {kind} cannot be started"), LACKS);
            return vec![Event::HelperNotStarted(kind)];
        }
        if kind == Kind::Teller {
            self.told = Told::default();
        }
        [vec![Event::HelperStarted(kind)], self.introduce(&[kind])].concat()
    }

    /// Tells the masters where these helpers are.
    fn introduce(&self, kinds: &[Kind]) -> Vec<Event> {
        let mut heard = Heard::default();
        for &kind in kinds.iter().filter(|kind| kind.is_asked()) {
            if let Some(channel) = self.helpers.channel(kind) {
                let word = ToMaster::Helper(kind);
                if !kind.is_of_a_generation() {
                    heard.add(self.masters.pass_down(&word, channel.as_fd()));
                    continue;
                }
                // Another generation's would start another's programs.
                let serving = self.decider.serving();
                let master = serving.and_then(|number| self.masters.get(number));
                let master = master.map(|master| &master.channel);
                // Until a dead master is replaced there is no other generation's spare.
                let its = |number| serving.is_none_or(|serving| serving == number);
                let spares = self.masters.channels_of_spares(its);
                for master in master.into_iter().chain(spares) {
                    heard.count(say_now(master, &word, &[channel.as_fd()]));
                }
            }
        }
        missed(&heard)
    }

    /// Sends the log file, the connection to syslogd, the helpers' channels and changed names once more.
    pub(super) fn resend(&mut self) -> Vec<Event> {
        // What cannot be opened now was told of when it was sent first.
        let log_file = self.pass_log_file().map(|heard| missed(&heard));
        let syslog = self.connect_syslog();
        let helpers = self.introduce(&self.helpers.asked());
        let names = missed(&self.pass_all_names());
        [log_file.unwrap_or_default(), syslog, helpers, names].concat()
    }
}

/// Counts, and what resumption needs, are nothing that a helper may write to or know.
pub(super) fn forget(
    masters: &mut Masters,
    resumption: &mut Resumption,
    connections: &mut SharedWords,
) -> io::Result<()> {
    *masters = Masters::default();
    resumption.forget()?;
    *connections = SharedWords::new(1)?;
    Ok(())
}

/// A process had no room for what it was sent.
fn missed(heard: &Heard) -> Vec<Event> {
    match heard.missed {
        true => vec![Event::Missed],
        false => Vec::new(),
    }
}
