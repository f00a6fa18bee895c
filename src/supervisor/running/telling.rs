//! What the teller is told: after each turn of the loop, whatever has changed since it was told last.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::UNIX_EPOCH;

use nix::sys::stat::fstat;

use super::Supervisor;
use super::status::ORPHANED;
use crate::helper::Kind;
use crate::helper::teller::picture::{self, BoardSize, Picture};
use crate::helper::teller::{introduce_board, tell};
use crate::ipc::channel::Channel;
use crate::ipc::words::FromMaster;
use crate::supervisor::decider::{Event, Order, State};
use crate::supervisor::generation::{About, Generation};

/// What a teller knows already. Another one, in the place of one that died, knows nothing.
#[derive(Debug, Default)]
pub(super) struct Told {
    boards: BTreeSet<u64>,
    picture: Option<Picture>,
    /// Nothing has happened since that would change it.
    is_true: bool,
}

impl Told {
    /// Something has happened that may change the picture.
    pub(super) fn is_outdated(&mut self) {
        self.is_true = false;
    }

    /// Whether this may change it.
    pub(super) fn follow(&mut self, event: &Event) {
        self.is_true &= matches!(
            event,
            Event::TurnOver
                | Event::Clock
                | Event::StatusWanted
                | Event::HelperAnswered(_)
                | Event::ClientCame
                | Event::ClientsWait
                | Event::ControlPaused
                | Event::Said(_, FromMaster::Alive)
        );
    }

    /// Whether this does.
    pub(super) fn follow_order(&mut self, order: &Order) {
        self.is_true &= matches!(
            order,
            Order::Ask(_)
                | Order::AskHelper(_)
                | Order::LookAtBacklog
                | Order::WatchBacklog
                | Order::LookUpNames
                | Order::ResumeControl
                | Order::FeedWatchdog
        );
    }
}

/// How often helpers died, by kind.
pub(super) type HelperDeaths = BTreeMap<Kind, u64>;

impl Supervisor {
    /// Tells the teller what is new, if there is one.
    pub(super) fn keep_teller_informed(&mut self) {
        let Some(channel) = self.helpers.channel(Kind::Teller) else {
            return;
        };
        if self.told.is_true {
            debug_assert_eq!(self.told.picture, Some(self.picture()));
            return;
        }
        let picture = self.picture();
        if self.told.picture.as_ref() == Some(&picture) {
            self.told.is_true = true;
            return;
        }
        let orphans = self.masters.orphans().iter().map(|o| &o.generation);
        let all: Vec<&Generation> = self.masters.all().iter().chain(orphans).collect();
        let said = say(channel, &mut self.told, &all, picture);
        if let Err(error) = said
            && Channel::is_busy(&error)
        {
            // Another turn of the loop tries again.
            self.happen(Event::Missed);
        }
    }

    fn picture(&self) -> Picture {
        let (reloads_succeeded, reloads_failed) = self.decider.reloads().counts();
        let orphans = self.masters.orphans().iter().map(|o| &o.generation);
        let generations = self.masters.all().iter().chain(orphans);
        let (services, leads_to) = self.services_in_force();
        Picture {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reloads_succeeded,
            reloads_failed,
            listening: self.listening(&services),
            services,
            generations: generations
                .map(|generation| shown(generation, self.decider.state(generation.number)))
                .collect(),
            carried: self.common.carried.all().collect(),
            leads_to,
            allowed: self.allowed.clone(),
            helpers: Kind::ALL
                .into_iter()
                .filter(|kind| self.helpers.channel(*kind).is_some())
                .map(|kind| {
                    let deaths = self.helper_deaths.get(&kind).copied();
                    (kind.name().to_owned(), deaths.unwrap_or(0))
                })
                .collect(),
            incidents: self.common.carried.incidents.all().collect(),
            own_incidents: self.common.carried.incidents.own().clone(),
        }
    }

    /// The names of the services of the configuration in force, and where each leads. Right after an exec that is the
    /// generation's that serves, whatever the file says: it may be refused.
    fn services_in_force(&self) -> (Vec<String>, Vec<String>) {
        let serving = self.decider.serving();
        let leads_to = |about: &About| about.connect.join(", ");
        match serving.and_then(|number| self.masters.get(number)) {
            Some(serving) => {
                let abouts = serving.about.iter().map(leads_to);
                (serving.names.clone(), abouts.collect())
            }
            None => {
                let services = self.config.services.iter();
                let services = services.map(|s| (s.name.clone(), leads_to(&About::of(s))));
                services.unzip()
            }
        }
    }

    /// Where the configuration in force listens, whose services have these names.
    fn listening(&self, names: &[String]) -> Vec<picture::Listening> {
        let all = self.listeners.all();
        let addresses: HashMap<_, _> = all.map(|(_, text, fd)| (fd.as_raw_fd(), text)).collect();
        let served = self.listeners.served().into_iter();
        let listening = served.filter_map(|(service, socket)| {
            Some(picture::Listening {
                service: names.get(service)?.clone(),
                address: (*addresses.get(&socket.as_raw_fd())?).to_owned(),
                inode: fstat(socket).ok()?.st_ino,
            })
        });
        listening.collect()
    }
}

/// Without a state it is orphaned.
fn shown(generation: &Generation, state: Option<State>) -> picture::Generation {
    let since = generation.since.duration_since(UNIX_EPOCH);
    picture::Generation {
        number: generation.number,
        state: state.map_or(ORPHANED, State::name).to_owned(),
        serves: state == Some(State::Serving),
        since: since.map_or(0, |since| since.as_secs()),
        services: generation.names.clone(),
    }
}

/// Boards first, so that the picture speaks of none that is not there.
fn say(
    channel: &Channel,
    told: &mut Told,
    generations: &[&Generation],
    picture: Picture,
) -> io::Result<()> {
    for generation in generations {
        if !told.boards.contains(&generation.number) {
            let size = BoardSize {
                generation: generation.number,
                workers: generation.scoreboard.workers(),
                services: generation.scoreboard.services(),
            };
            introduce_board(channel, size, for_reading(&generation.board)?.as_fd())?;
            told.boards.insert(generation.number);
        }
    }
    tell(channel, &picture)?;
    let is_there = |number: &u64| generations.iter().any(|g| g.number == *number);
    told.boards.retain(is_there);
    told.picture = Some(picture);
    told.is_true = true;
    Ok(())
}

/// A descriptor by which the board cannot be written to; where there is no /proc to open it by, a copy.
fn for_reading(board: &OwnedFd) -> io::Result<OwnedFd> {
    let again = File::open(format!("/proc/self/fd/{}", board.as_raw_fd()));
    again.map_or_else(|_| board.try_clone(), |file| Ok(file.into()))
}
