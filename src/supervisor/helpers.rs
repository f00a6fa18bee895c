//! The helpers that this configuration needs: which, what each one does, and what replaces one that
//! died.

mod saved;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
pub(crate) use saved::Saved;

use super::Logged;
use super::metrics::Metrics;
use crate::children::BackOff;
use crate::config::{Config, Global, Service};
use crate::helper::binder::Warrants;
use crate::helper::{
    Contacts, Helper, Kind, Role, binder, fetcher, gatekeeper, keeper, launcher, resolver, teller,
    words,
};
use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::ipc::words::Heard;
use crate::log::{Log, Reason};
use crate::step::NameStep;

/// What a kind does: the only place that knows.
pub(crate) fn role(kind: Kind) -> Role {
    match kind {
        Kind::Resolver => resolver::ROLE,
        Kind::Teller => teller::ROLE,
        Kind::Launcher => launcher::ROLE,
        Kind::Fetcher => fetcher::ROLE,
        Kind::Gatekeeper => gatekeeper::ROLE,
        Kind::Binder => binder::ROLE,
        Kind::Keeper => keeper::ROLE,
    }
}

/// The kinds that a configuration needs. Whether something is stapled to its certificates shows when these are read:
/// see [`Helpers::need_fetcher`].
fn needed(config: &Config) -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| match kind {
        Kind::Resolver => true,
        Kind::Teller => config.global.metrics.is_some(),
        Kind::Launcher => config.services.iter().any(|s| s.program.is_some()),
        Kind::Fetcher => config
            .services
            .iter()
            .any(|service| service.tls.ocsp.asks()),
        Kind::Gatekeeper => config.services.iter().any(|s| s.admission.libwrap),
        Kind::Binder => config.services.iter().any(|s| s.transparent.source),
        Kind::Keeper => config.services.iter().any(Service::asks_for_tokens),
    })
}

/// Whether a kind works with something else under a new configuration.
fn works_otherwise(kind: Kind, old: &Global, new: &Global) -> bool {
    match kind {
        // A new generation brings its own launcher and binder.
        Kind::Resolver | Kind::Launcher | Kind::Fetcher | Kind::Gatekeeper | Kind::Binder => false,
        Kind::Teller => old.metrics != new.metrics,
        Kind::Keeper => old.keeper != new.keeper,
    }
}

/// What a helper is started from.
pub(crate) struct Start<'a> {
    /// The configuration that it is to serve.
    pub config: &'a Config,
    /// Its end of the leash.
    pub leash: &'a Leash,
    /// Where the teller listens.
    pub metrics: Option<&'a Metrics>,
    /// What the binder verifies by.
    pub warrants: Option<&'a Warrants>,
    /// Run in the child: gives up what the supervisor knows and a helper must not.
    pub forget: &'a mut dyn FnMut() -> io::Result<()>,
    /// Where it logs, and where its start does.
    pub log: Log,
}

impl Start<'_> {
    fn start(&mut self, kind: Kind) -> io::Result<Helper> {
        let belongings = match (kind, self.metrics) {
            (Kind::Teller, Some(metrics)) => metrics.of_a_teller()?,
            _ => Vec::new(),
        };
        // A copy for this kind alone.
        let warrants = self.warrants.filter(|_| kind == Kind::Binder);
        let warrants = warrants.map(Warrants::key);
        let forget = || (self.forget)();
        Helper::start(
            role(kind),
            self.config,
            self.leash,
            belongings,
            warrants,
            forget,
            self.log,
        )
    }
}

#[derive(Debug)]
pub(crate) struct Helpers {
    by_kind: BTreeMap<Kind, Place>,
    /// Those of generations that no longer serve: they end by themselves.
    left_alone: Vec<(Kind, Helper)>,
}

/// The helpers that are a generation's own, before it serves.
#[derive(Debug, Default)]
pub(crate) struct Own(Vec<(Kind, Helper)>);

impl Own {
    /// A child was reaped; if it was one of these, which.
    pub(crate) fn died(&mut self, pid: Pid) -> Option<Kind> {
        let mut all = self.0.iter_mut();
        let (kind, helper) = all.find(|(_, helper)| helper.pid() == Some(pid))?;
        helper.died();
        Some(*kind)
    }

    /// Their processes.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (Kind, Pid)> {
        let all = self.0.iter();
        all.filter_map(|(kind, helper)| Some((*kind, helper.pid()?)))
    }

    /// Ends them, and waits for that.
    pub(crate) fn kill(&mut self) {
        for (_, helper) in &mut self.0 {
            helper.kill();
        }
    }
}

/// A helper's place, in which one follows another.
#[derive(Debug, Default)]
struct Place {
    /// The helper, alive or dead; none where the first could not be started yet.
    helper: Option<Helper>,
    /// Its answer to [`Helpers::ask`] is awaited.
    asked: Option<io::PipeReader>,
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
    pub(crate) fn start(start: Start<'_>) -> io::Result<Helpers> {
        Helpers::start_each(needed(start.config), start)
    }

    /// Starts those that are asked by what loads a configuration.
    ///
    /// # Errors
    /// As [`Helpers::start`].
    pub(crate) fn start_asked(start: Start<'_>) -> io::Result<Helpers> {
        // The others are asked by sessions alone.
        let loading =
            |kind: &Kind| !matches!(kind, Kind::Fetcher | Kind::Gatekeeper | Kind::Keeper);
        let asked = needed(start.config).filter(|kind| kind.is_asked() && loading(kind));
        Helpers::start_each(asked, start)
    }

    /// Starts those that are asked, by what loads a configuration or by sessions.
    ///
    /// # Errors
    /// As [`Helpers::start`].
    pub(crate) fn start_all_asked(start: Start<'_>) -> io::Result<Helpers> {
        let asked = needed(start.config).filter(|kind| kind.is_asked());
        Helpers::start_each(asked, start)
    }

    fn start_each(kinds: impl Iterator<Item = Kind>, mut start: Start<'_>) -> io::Result<Helpers> {
        // A generation's own is started with it.
        let kinds = kinds.filter(|kind| !kind.is_of_a_generation());
        let places = kinds.map(|kind| {
            let helper = start.start(kind);
            let helper = helper.step(format_args!("The {kind} cannot be started"))?;
            io::Result::Ok((kind, Place::of(helper)))
        });
        Ok(Helpers {
            by_kind: places.collect::<io::Result<_>>()?,
            left_alone: Vec::new(),
        })
    }

    /// Starts what a new generation needs for itself.
    ///
    /// # Errors
    /// No process or descriptor to be had; there is no such user or directory.
    pub(crate) fn start_own(mut start: Start<'_>) -> io::Result<Own> {
        let own = needed(start.config).filter(|kind| kind.is_of_a_generation());
        let own = own.map(|kind| {
            let helper = start.start(kind);
            let helper = helper.step(format_args!("The {kind} cannot be started"))?;
            io::Result::Ok((kind, helper))
        });
        Ok(Own(own.collect::<io::Result<_>>()?))
    }

    /// A new generation serves, with helpers of its own; those of the last one end with it.
    pub(crate) fn adopt(&mut self, own: Own, leash: &Leash) {
        for kind in Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_of_a_generation())
        {
            let last = self.by_kind.remove(&kind).and_then(|place| place.helper);
            if let Some(last) = last.filter(|last| last.pid().is_some()) {
                last.leave_alone(leash);
                self.left_alone.push((kind, last));
            }
        }
        for (kind, helper) in own.0 {
            self.by_kind.insert(kind, Place::of(helper));
        }
    }

    /// Where masters and workers are introduced to those that they ask; `own` are the generation's, where
    /// it is a new one.
    ///
    /// # Errors
    /// No descriptors left.
    pub(crate) fn contacts(&self, own: Option<&Own>) -> io::Result<Contacts> {
        let mut contacts = Contacts::default();
        // A new generation's own take the place of the last one's, also where it has none.
        let shared = |kind: &Kind| own.is_none() || !kind.is_of_a_generation();
        let asked = self.asked().into_iter().filter(shared);
        let shared = asked.filter_map(|kind| Some((kind, self.channel(kind)?)));
        let own = own.map_or(&[][..], |own| &own.0).iter();
        for (kind, channel) in shared.chain(own.map(|(kind, own)| (*kind, own.channel()))) {
            let channel = channel.as_fd().try_clone_to_owned()?;
            contacts.replace(kind, channel.into());
        }
        Ok(contacts)
    }

    /// Where a kind is told of clients and of news.
    pub(crate) fn channel(&self, kind: Kind) -> Option<&Channel> {
        self.by_kind.get(&kind)?.channel()
    }

    /// Asks a helper that is alive whether its loop comes round. False: it cannot be asked, which is not its fault.
    pub(crate) fn ask(&mut self, kind: Kind) -> bool {
        let place = self.by_kind.get_mut(&kind).filter(|it| !it.is_dead());
        let Some(place) = place else {
            return false;
        };
        let asked = place.channel().map(words::ask).transpose();
        // One that has no room for the question does not answer it either.
        let is_full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let is_asked = asked.as_ref().map_or_else(is_full, Option::is_some);
        place.asked = asked.ok().flatten();
        is_asked
    }

    /// The answers that are awaited.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (Kind, BorrowedFd<'_>)> {
        let asked = self.by_kind.iter();
        asked.filter_map(|(kind, place)| Some((*kind, place.asked.as_ref()?.as_fd())))
    }

    /// A helper has answered.
    pub(crate) fn answered(&mut self, kind: Kind) {
        if let Some(place) = self.by_kind.get_mut(&kind) {
            place.asked = None;
        }
    }

    /// Has one end that does not answer: its death, which is told as any other, has another started.
    pub(crate) fn end(&self, kind: Kind) -> Option<Pid> {
        self.by_kind.get(&kind)?.helper.as_ref()?.end()
    }

    /// The kinds that masters know.
    pub(crate) fn asked(&self) -> Vec<Kind> {
        let kinds = self.by_kind.keys().copied();
        kinds.filter(|kind| kind.is_asked()).collect()
    }

    /// Their processes, those that were left alone included.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (Kind, Pid)> {
        let placed = self
            .by_kind
            .iter()
            .map(|(kind, place)| (*kind, place.pid()));
        let left_alone = self.left_alone.iter();
        let left_alone = left_alone.map(|(kind, helper)| (*kind, helper.pid()));
        let all = placed.chain(left_alone);
        all.filter_map(|(kind, pid)| Some((kind, pid?)))
    }

    /// A child was reaped; if it was a helper, which, and how long to wait before another is started.
    pub(crate) fn died(&mut self, pid: Pid) -> Option<(Kind, Duration)> {
        let died = |(_, place): &(&Kind, &mut Place)| place.pid() == Some(pid);
        let (kind, place) = self.by_kind.iter_mut().find(died)?;
        place.helper.as_mut()?.died();
        place.asked = None;
        Some((*kind, place.back_off.died(Instant::now())))
    }

    /// A child was reaped; if it was one that was left alone, which.
    pub(crate) fn has_left(&mut self, pid: Pid) -> Option<Kind> {
        let mut all = self.left_alone.iter();
        let nth = all.position(|(_, helper)| helper.pid() == Some(pid))?;
        Some(self.left_alone.remove(nth).0)
    }

    /// The kinds whose place is to be filled.
    pub(crate) fn missing(&self) -> Vec<Kind> {
        let dead = self.by_kind.iter().filter(|(_, place)| place.is_dead());
        dead.map(|(kind, _)| *kind).collect()
    }

    /// Fills a place, unless it is filled or no longer needed.
    ///
    /// # Errors
    /// No process or descriptor to be had.
    pub(crate) fn fill(&mut self, kind: Kind, mut start: Start<'_>) -> Result<(), Logged> {
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

    /// The fetcher has a place, filled or to be filled: the certificates that were read are to be asked about.
    pub(crate) fn need_fetcher(&mut self) {
        self.by_kind.entry(Kind::Fetcher).or_default();
    }

    /// After a reload: ends those that do not fit the new configuration, and whether something is stapled. Each that
    /// it needs has a place, filled or to be filled.
    pub(crate) fn fit(&mut self, old: &Global, config: &Config, staples: bool) {
        let new = &config.global;
        let mut needed: Vec<Kind> = needed(config).collect();
        if staples && !needed.contains(&Kind::Fetcher) {
            needed.push(Kind::Fetcher);
        }
        for (kind, place) in &mut self.by_kind {
            let helper = place.helper.as_ref();
            let outdated = helper.is_some_and(|helper| helper.is_outdated(old, new))
                && !kind.is_of_a_generation();
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
    pub(crate) fn replace_log_file(&self, file: BorrowedFd<'_>) -> Heard {
        self.tell(|channel| words::replace_log_file(channel, file))
    }

    /// Has every helper log to another syslogd.
    pub(crate) fn replace_syslog(&self, socket: BorrowedFd<'_>) -> Heard {
        self.tell(|channel| words::replace_syslog(channel, socket))
    }

    fn tell(&self, say: impl Fn(&Channel) -> io::Result<()>) -> Heard {
        let mut heard = Heard::default();
        for channel in self.by_kind.values().filter_map(Place::channel) {
            heard.count(say(channel));
        }
        for (_, helper) in &self.left_alone {
            // It may just have ended.
            let _ = say(helper.channel());
        }
        heard
    }

    /// Ends them all, and waits for that.
    pub(crate) fn kill(&mut self) {
        for place in self.by_kind.values_mut() {
            place.kill();
        }
        let left_alone = self.left_alone.iter_mut();
        left_alone.for_each(|(_, helper)| helper.kill());
    }
}
