//! The helpers that this configuration needs: which, what each one does, and who takes the place of one
//! that died.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::children::{BackOff, Death};
use crate::config::Global;
use crate::helper::{Contacts, Helper, Kind, Role, resolver, words};
use crate::ipc::channel::Channel;
use crate::ipc::inherit;
use crate::ipc::leash::Leash;
use crate::ipc::words::Heard;
use crate::log::{Log, Reason};
use crate::step::NameStep;

/// Pause before a helper that could not be started is tried again.
const RETRY: Duration = Duration::from_secs(5);

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
    /// When to start another.
    start_at: Option<Instant>,
}

impl Place {
    fn of(helper: Helper) -> Place {
        Place {
            helper,
            back_off: BackOff::default(),
            start_at: None,
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

    /// When [`Helpers::start_due`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.by_kind.values().filter_map(|p| p.start_at).min()
    }

    /// A child died; whether it was a helper. Another is started in its place unless adit is at its
    /// end.
    pub fn died(&mut self, death: &Death, stopping: bool, log: &Log) -> bool {
        let died = |(_, place): &(&Kind, &mut Place)| place.helper.pid() == Some(death.pid);
        let Some((kind, place)) = self.by_kind.iter_mut().find(died) else {
            return false;
        };
        let lived = place.helper.died();
        if !stopping {
            let (pid, how) = (death.pid, &death.how);
            crate::warning!(log, "The {kind} (PID {pid}) {how}; starting another");
            place.start_at = Some(Instant::now() + place.back_off.died(lived));
        }
        true
    }

    /// Starts those whose time has come; the kinds that were, for masters to hear of.
    pub fn start_due(&mut self, now: Instant, start: Start<'_>) -> Vec<Kind> {
        self.replace(start, |place| place.start_at.is_some_and(|at| at <= now))
    }

    /// Starts those that have just died, without a pause: a master is about to need them.
    pub fn start_missing(&mut self, start: Start<'_>) -> Vec<Kind> {
        self.replace(start, Place::is_dead)
    }

    /// After a reload: ends those that do not fit the new configuration, and starts others.
    pub fn renew(&mut self, old: &Global, start: Start<'_>) -> Vec<Kind> {
        let new = start.global;
        for place in self.by_kind.values_mut() {
            if place.helper.is_outdated(old, new) {
                place.helper.kill();
            }
        }
        self.replace(start, Place::is_dead)
    }

    fn replace(&mut self, start: Start<'_>, which: impl Fn(&Place) -> bool) -> Vec<Kind> {
        let mut started = Vec::new();
        for (kind, place) in self.by_kind.iter_mut().filter(|(_, place)| which(place)) {
            match start.start(*kind) {
                Ok(helper) => {
                    place.helper = helper;
                    place.start_at = None;
                    started.push(*kind);
                }
                Err(error) => {
                    let reason = Reason(&error);
                    crate::error!(start.log, "The {kind} cannot be started: {reason}");
                    place.start_at = Some(Instant::now() + RETRY);
                }
            }
        }
        started
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
