//! The helpers that this configuration needs: which, what each one does, and who takes the place of one
//! that died.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::Duration;

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Told;
use crate::children::BackOff;
use crate::config::Global;
use crate::helper::{Contacts, Helper, Kind, Role, resolver, words};
use crate::ipc::channel::Channel;
use crate::ipc::inherit;
use crate::ipc::leash::Leash;
use crate::ipc::words::Heard;
use crate::log::{Log, Reason};
use crate::step::NameStep;

/// What a kind does: the only place that knows.
pub fn role(kind: Kind) -> Role {
    match kind {
        Kind::Resolver => resolver::ROLE,
    }
}

/// The kinds that a configuration needs.
fn needed(_: &Global) -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| match kind {
        Kind::Resolver => true,
    })
}

/// What a helper is started from.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The configuration that it is to serve.
    pub global: &'a Global,
    /// Its end of the leash.
    pub leash: &'a Leash,
    /// Where it logs, and where its start does.
    pub log: Log,
}

impl Start<'_> {
    fn start(self, kind: Kind) -> io::Result<Helper> {
        Helper::start(role(kind), self.global, self.leash, self.log)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Helpers {
    by_kind: BTreeMap<Kind, Place>,
}

/// A helper's place, in which one follows another.
#[derive(Debug)]
struct Place {
    /// The helper, alive or dead.
    helper: Helper,
    back_off: BackOff,
}

impl Place {
    fn of(helper: Helper) -> Place {
        Place {
            helper,
            back_off: BackOff::default(),
        }
    }

    fn is_dead(&self) -> bool {
        self.helper.pid().is_none()
    }
}

impl Helpers {
    /// Starts all that are needed.
    ///
    /// # Errors
    /// No process or descriptor to be had.
    pub fn start(start: Start<'_>) -> io::Result<Helpers> {
        Helpers::start_each(needed(start.global), start)
    }

    /// Starts those that are asked by what loads a configuration.
    ///
    /// # Errors
    /// As [`Helpers::start`].
    pub fn start_asked(start: Start<'_>) -> io::Result<Helpers> {
        let asked = needed(start.global).filter(|kind| kind.is_asked());
        Helpers::start_each(asked, start)
    }

    fn start_each(kinds: impl Iterator<Item = Kind>, start: Start<'_>) -> io::Result<Helpers> {
        let places = kinds.map(|kind| {
            let helper = start.start(kind);
            let helper = helper.step(format_args!("The {kind} cannot be started"))?;
            io::Result::Ok((kind, Place::of(helper)))
        });
        Ok(Helpers {
            by_kind: places.collect::<io::Result<_>>()?,
        })
    }

    /// Where masters and workers are introduced to those that they ask.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn contacts(&self) -> io::Result<Contacts> {
        let mut contacts = Contacts::default();
        for (kind, place) in self.by_kind.iter().filter(|(kind, _)| kind.is_asked()) {
            let channel = place.helper.channel().as_fd().try_clone_to_owned()?;
            contacts.replace(*kind, channel.into());
        }
        Ok(contacts)
    }

    /// The channel on which a kind is introduced to masters.
    pub fn channel(&self, kind: Kind) -> Option<&Channel> {
        self.by_kind.get(&kind).map(|place| place.helper.channel())
    }

    /// The kinds that masters know.
    pub fn asked(&self) -> Vec<Kind> {
        let kinds = self.by_kind.keys().copied();
        kinds.filter(|kind| kind.is_asked()).collect()
    }

    /// A child was reaped; if it was a helper, which, and how long to wait before another is started.
    pub fn died(&mut self, pid: Pid) -> Option<(Kind, Duration)> {
        let died = |(_, place): &(&Kind, &mut Place)| place.helper.pid() == Some(pid);
        let (kind, place) = self.by_kind.iter_mut().find(died)?;
        let lived = place.helper.died();
        Some((*kind, place.back_off.died(lived)))
    }

    /// The kinds whose helper is dead.
    pub fn dead(&self) -> Vec<Kind> {
        let dead = self.by_kind.iter().filter(|(_, place)| place.is_dead());
        dead.map(|(kind, _)| *kind).collect()
    }

    /// Starts another in place of one that is dead; a failure is logged.
    ///
    /// # Errors
    /// No process or descriptor to be had.
    pub fn start_again(&mut self, kind: Kind, start: Start<'_>) -> Result<(), Told> {
        let Some(place) = self.by_kind.get_mut(&kind).filter(|place| place.is_dead()) else {
            return Ok(());
        };
        match start.start(kind) {
            Ok(helper) => {
                place.helper = helper;
                Ok(())
            }
            Err(error) => {
                let reason = Reason(&error);
                crate::error!(start.log, "The {kind} cannot be started: {reason}");
                Err(Told)
            }
        }
    }

    /// After a reload: ends those that do not fit the new configuration. Each leaves a place to fill.
    pub fn end_outdated(&mut self, old: &Global, new: &Global) {
        for place in self.by_kind.values_mut() {
            if place.helper.is_outdated(old, new) {
                place.helper.kill();
            }
        }
    }

    /// Has every helper log to another file.
    pub fn replace_log_file(&self, file: BorrowedFd<'_>) -> Heard {
        self.tell(|channel| words::replace_log_file(channel, file))
    }

    /// Has every helper log to another syslogd.
    pub fn replace_syslog(&self, socket: BorrowedFd<'_>) -> Heard {
        self.tell(|channel| words::replace_syslog(channel, socket))
    }

    fn tell(&self, say: impl Fn(&Channel) -> io::Result<()>) -> Heard {
        let mut heard = Heard::default();
        for place in self.by_kind.values() {
            heard.count(say(place.helper.channel()));
        }
        heard
    }

    /// Ends them all, and waits for that.
    pub fn kill(&mut self) {
        for place in self.by_kind.values_mut() {
            place.helper.kill();
        }
    }

    /// What is handed over an exec: the resolver and the others; `keep` makes a descriptor outlive it.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn save(
        &self,
        mut keep: impl FnMut(BorrowedFd<'_>) -> io::Result<RawFd>,
    ) -> io::Result<((i32, RawFd), Vec<Saved>)> {
        let (mut resolver, others) = (None, Vec::new());
        for (kind, place) in &self.by_kind {
            let pid = place.helper.pid().map_or(0, Pid::as_raw);
            let channel = keep(place.helper.channel().as_fd())?;
            match kind {
                Kind::Resolver => resolver = Some((pid, channel)),
            }
        }
        let resolver = resolver.ok_or(io::ErrorKind::NotFound)?;
        Ok((resolver, others))
    }

    /// Takes over what the program before an exec had.
    ///
    /// # Errors
    /// A descriptor is not there.
    pub fn taken_over((pid, channel): (i32, RawFd), others: Vec<Saved>) -> io::Result<Helpers> {
        let resolver = Saved {
            kind: Kind::Resolver.name().to_owned(),
            pid,
            channel,
        };
        let mut by_kind = BTreeMap::new();
        for Saved { kind, pid, channel } in others.into_iter().chain([resolver]) {
            // Closed, the channel of one that this program does not know ends it.
            let channel = inherit::take(channel)?.into();
            let pid = (pid > 0).then(|| Pid::from_raw(pid));
            if let Some(kind) = Kind::ALL.into_iter().find(|known| known.name() == kind) {
                by_kind.insert(kind, Place::of(Helper::taken_over(pid, channel)));
            }
        }
        Ok(Helpers { by_kind })
    }
}

/// A helper in the state that is handed to a new binary.
#[derive(Debug, Serialize, Deserialize)]
pub struct Saved {
    kind: String,
    /// 0: it has just died.
    pid: i32,
    channel: RawFd,
}
