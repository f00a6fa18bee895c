//! The helpers that this configuration needs: which, what each one does, and what replaces one that
//! died.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::Duration;

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Logged;
use super::metrics::Metrics;
use crate::children::BackOff;
use crate::config::Global;
use crate::helper::{Contacts, Helper, Kind, Role, resolver, teller, words};
use crate::ipc::channel::Channel;
use crate::ipc::inherit;
use crate::ipc::leash::Leash;
use crate::ipc::words::Heard;
use crate::log::{Log, Reason};
use crate::step::NameStep;

/// What a kind does: the only place that knows.
pub(super) fn role(kind: Kind) -> Role {
    match kind {
        Kind::Resolver => resolver::ROLE,
        Kind::Teller => teller::ROLE,
    }
}

/// The kinds that a configuration needs.
fn needed(global: &Global) -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| match kind {
        Kind::Resolver => true,
        Kind::Teller => global.metrics.is_some(),
    })
}

/// Whether a kind works with something else under a new configuration.
fn works_otherwise(kind: Kind, old: &Global, new: &Global) -> bool {
    match kind {
        Kind::Resolver => false,
        Kind::Teller => old.metrics != new.metrics,
    }
}

/// What a helper is started from.
pub(super) struct Start<'a> {
    /// The configuration that it is to serve.
    pub global: &'a Global,
    /// Its end of the leash.
    pub leash: &'a Leash,
    /// The teller's listener.
    pub metrics: Option<&'a Metrics>,
    /// Run in the child: gives up what the supervisor knows and a helper must not.
    pub forget: &'a mut dyn FnMut() -> io::Result<()>,
    /// Where it logs, and where its start does.
    pub log: Log,
}

impl Start<'_> {
    fn start(&mut self, kind: Kind) -> io::Result<Helper> {
        let belongings = match (kind, self.metrics) {
            (Kind::Teller, Some(metrics)) => vec![metrics.descriptor().try_clone_to_owned()?],
            _ => Vec::new(),
        };
        let forget = || (self.forget)();
        Helper::start(
            role(kind),
            self.global,
            self.leash,
            belongings,
            forget,
            self.log,
        )
    }
}

#[derive(Debug)]
pub(super) struct Helpers {
    by_kind: BTreeMap<Kind, Place>,
}

/// A helper's place, in which one follows another.
#[derive(Debug, Default)]
struct Place {
    /// The helper, alive or dead; none where the first could not be started yet.
    helper: Option<Helper>,
    back_off: BackOff,
}

impl Place {
    fn of(helper: Helper) -> Place {
        Place {
            helper: Some(helper),
            ..Place::default()
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.helper.as_ref().and_then(Helper::pid)
    }

    fn is_dead(&self) -> bool {
        self.pid().is_none()
    }

    fn channel(&self) -> Option<&Channel> {
        self.helper.as_ref().map(Helper::channel)
    }

    fn kill(&mut self) {
        if let Some(helper) = &mut self.helper {
            helper.kill();
        }
    }
}

impl Helpers {
    /// Starts all that are needed.
    ///
    /// # Errors
    /// No process or descriptor to be had.
    pub(super) fn start(start: Start<'_>) -> io::Result<Helpers> {
        Helpers::start_each(needed(start.global), start)
    }

    /// Starts those that are asked by what loads a configuration.
    ///
    /// # Errors
    /// As [`Helpers::start`].
    pub(super) fn start_asked(start: Start<'_>) -> io::Result<Helpers> {
        let asked = needed(start.global).filter(|kind| kind.is_asked());
        Helpers::start_each(asked, start)
    }

    fn start_each(kinds: impl Iterator<Item = Kind>, mut start: Start<'_>) -> io::Result<Helpers> {
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
    pub(super) fn contacts(&self) -> io::Result<Contacts> {
        let mut contacts = Contacts::default();
        for kind in self.asked() {
            if let Some(channel) = self.channel(kind) {
                let channel = channel.as_fd().try_clone_to_owned()?;
                contacts.replace(kind, channel.into());
            }
        }
        Ok(contacts)
    }

    /// Where a kind is told of clients and of news.
    pub(super) fn channel(&self, kind: Kind) -> Option<&Channel> {
        self.by_kind.get(&kind)?.channel()
    }

    /// The kinds that masters know.
    pub(super) fn asked(&self) -> Vec<Kind> {
        let kinds = self.by_kind.keys().copied();
        kinds.filter(|kind| kind.is_asked()).collect()
    }

    /// A child was reaped; if it was a helper, which, and how long to wait before another is started.
    pub(super) fn died(&mut self, pid: Pid) -> Option<(Kind, Duration)> {
        let died = |(_, place): &(&Kind, &mut Place)| place.pid() == Some(pid);
        let (kind, place) = self.by_kind.iter_mut().find(died)?;
        let lived = place.helper.as_mut().map(Helper::died)?;
        Some((*kind, place.back_off.died(lived)))
    }

    /// The kinds whose place is to be filled.
    pub(super) fn missing(&self) -> Vec<Kind> {
        let dead = self.by_kind.iter().filter(|(_, place)| place.is_dead());
        dead.map(|(kind, _)| *kind).collect()
    }

    /// Fills a place, unless it is filled or no longer needed.
    ///
    /// # Errors
    /// No process or descriptor to be had.
    pub(super) fn fill(&mut self, kind: Kind, mut start: Start<'_>) -> Result<(), Logged> {
        let Some(place) = self.by_kind.get_mut(&kind).filter(|place| place.is_dead()) else {
            return Ok(());
        };
        match start.start(kind) {
            Ok(helper) => {
                place.helper = Some(helper);
                Ok(())
            }
            Err(error) => {
                let reason = Reason(&error);
                crate::error!(start.log, "The {kind} cannot be started: {reason}");
                Err(Logged)
            }
        }
    }

    /// After a reload: ends those that do not fit the new configuration. Each that it needs has a place,
    /// filled or to be filled.
    pub(super) fn fit(&mut self, old: &Global, new: &Global) {
        let needed: Vec<Kind> = needed(new).collect();
        for (kind, place) in &mut self.by_kind {
            let helper = place.helper.as_ref();
            let outdated = helper.is_some_and(|helper| helper.is_outdated(old, new));
            if outdated || works_otherwise(*kind, old, new) || !needed.contains(kind) {
                place.kill();
            }
        }
        self.by_kind.retain(|kind, _| needed.contains(kind));
        for kind in needed {
            self.by_kind.entry(kind).or_default();
        }
    }

    /// Has every helper log to another file.
    pub(super) fn replace_log_file(&self, file: BorrowedFd<'_>) -> Heard {
        self.tell(|channel| words::replace_log_file(channel, file))
    }

    /// Has every helper log to another syslogd.
    pub(super) fn replace_syslog(&self, socket: BorrowedFd<'_>) -> Heard {
        self.tell(|channel| words::replace_syslog(channel, socket))
    }

    fn tell(&self, say: impl Fn(&Channel) -> io::Result<()>) -> Heard {
        let mut heard = Heard::default();
        for channel in self.by_kind.values().filter_map(Place::channel) {
            heard.count(say(channel));
        }
        heard
    }

    /// Ends them all, and waits for that.
    pub(super) fn kill(&mut self) {
        for place in self.by_kind.values_mut() {
            place.kill();
        }
    }

    /// What is handed over an exec: the resolver and the others; `keep` makes a descriptor outlive it.
    ///
    /// # Errors
    /// No descriptors left.
    pub(super) fn save(
        &self,
        mut keep: impl FnMut(BorrowedFd<'_>) -> io::Result<RawFd>,
    ) -> io::Result<((i32, RawFd), Vec<Saved>)> {
        let (mut resolver, mut others) = (None, Vec::new());
        for (kind, place) in &self.by_kind {
            let Some(channel) = place.channel() else {
                continue;
            };
            let pid = place.pid().map_or(0, Pid::as_raw);
            let channel = keep(channel.as_fd())?;
            match kind {
                Kind::Resolver => resolver = Some((pid, channel)),
                Kind::Teller => others.push(Saved {
                    kind: kind.name().to_owned(),
                    pid,
                    channel,
                }),
            }
        }
        let resolver = resolver.ok_or(io::ErrorKind::NotFound)?;
        Ok((resolver, others))
    }

    /// Takes over what the program before an exec had.
    ///
    /// # Errors
    /// A descriptor is not there.
    pub(super) fn taken_over(
        (pid, channel): (i32, RawFd),
        others: Vec<Saved>,
    ) -> io::Result<Helpers> {
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
pub(super) struct Saved {
    kind: String,
    /// 0: it has just died.
    pid: i32,
    channel: RawFd,
}
