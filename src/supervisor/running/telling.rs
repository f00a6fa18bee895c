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
use crate::supervisor::decider::{Event, State};
use crate::supervisor::generation::{About, Generation};

/// What a teller knows already. Another one, in the place of one that died, knows nothing.
#[derive(Debug, Default)]
pub(super) struct Told {
    boards: BTreeSet<u64>,
    picture: Option<Picture>,
}

/// How often helpers died, by kind.
pub(super) type HelperDeaths = BTreeMap<Kind, u64>;

impl Supervisor {
    /// Tells the teller what is new, if there is one.
    pub(super) fn keep_teller_informed(&mut self) {
        let Some(channel) = self.helpers.channel(Kind::Teller) else {
            return;
        };
        let picture = self.picture();
        if self.told.picture.as_ref() == Some(&picture) {
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
        Picture {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reloads_succeeded,
            reloads_failed,
            services: self
                .config
                .services
                .iter()
                .map(|s| s.name.clone())
                .collect(),
            generations: generations
                .map(|generation| shown(generation, self.decider.state(generation.number)))
                .collect(),
            carried: self.common.carried.all().collect(),
            leads_to: self
                .config
                .services
                .iter()
                .map(|service| About::of(service).connect.join(", "))
                .collect(),
            allowed: self.config.global.metrics_allowed(),
            listening: self.listening(),
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

    /// Where the configuration in force listens.
    fn listening(&self) -> Vec<picture::Listening> {
        let all = self.listeners.all();
        let addresses: HashMap<_, _> = all.map(|(_, text, fd)| (fd.as_raw_fd(), text)).collect();
        let served = self.listeners.served().into_iter();
        let listening = served.filter_map(|(service, socket)| {
            Some(picture::Listening {
                service: self.config.services.get(service)?.name.clone(),
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
    Ok(())
}

/// A descriptor by which the board cannot be written to; where there is no /proc to open it by, a copy.
fn for_reading(board: &OwnedFd) -> io::Result<OwnedFd> {
    let again = File::open(format!("/proc/self/fd/{}", board.as_raw_fd()));
    again.map_or_else(|_| board.try_clone(), |file| Ok(file.into()))
}
