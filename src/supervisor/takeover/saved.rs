//! Generations and their spares in the state that is handed to a new binary. Never in here: an exec.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::ipc::inherit;
use crate::ipc::scoreboard::Scoreboard;
use crate::supervisor::decider::{self, Decider, State};
use crate::supervisor::generation::{About, Generation, Shape};
use crate::supervisor::spares::Spare;

/// A spare that stands.
#[derive(Serialize, Deserialize)]
pub(super) struct SavedSpare {
    behind: u64,
    pid: i32,
    zygote: Option<i32>,
    shape: Shape,
    channel: RawFd,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SavedGeneration {
    pub(super) number: u64,
    pid: i32,
    channel: RawFd,
    board: RawFd,
    workers: usize,
    names: Vec<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    about: Vec<About>,
    /// Whether its master understands what an administrator asks.
    #[serde(default)]
    can_be_asked: bool,
    /// Whether its master understands that it is to have a spare.
    #[serde(default)]
    pub(super) can_be_spared: bool,
    /// Whether it serves; otherwise it drains, for so many milliseconds more.
    pub(super) serves: bool,
    drains: Option<u64>,
    drain_timeout: Option<Duration>,
    /// Seconds since 1970.
    since: u64,
}

impl SavedSpare {
    /// One that can take over.
    pub(super) fn save(
        spare: &Spare,
        decider: &Decider,
        kept: &mut Kept,
    ) -> io::Result<Option<SavedSpare>> {
        let stands = decider.spare(spare.behind) == Some(decider::Spare::Standing);
        let Some(pid) = spare.pid.filter(|_| stands) else {
            return Ok(None);
        };
        Ok(Some(SavedSpare {
            behind: spare.behind,
            pid: pid.as_raw(),
            zygote: spare.zygote.map(Pid::as_raw),
            shape: spare.shape.clone(),
            channel: kept.keep(spare.channel.as_fd())?,
        }))
    }

    pub(super) fn take_over(self) -> io::Result<Spare> {
        Ok(Spare {
            pid: Some(Pid::from_raw(self.pid)),
            zygote: self.zygote.map(Pid::from_raw),
            ..Spare::behind(self.behind, self.shape, inherit::take(self.channel)?.into())
        })
    }
}

impl SavedGeneration {
    pub(super) fn save(
        generation: &Generation,
        decider: &Decider,
        kept: &mut Kept,
    ) -> io::Result<SavedGeneration> {
        let now = Instant::now();
        // One that was to end is told once more, and killed if that does not help.
        let drains = decider.drains_until(generation.number);
        let drains = drains.map(|at| at.saturating_duration_since(now));
        let since = generation.since.duration_since(UNIX_EPOCH);
        Ok(SavedGeneration {
            number: generation.number,
            pid: generation.pid.as_raw(),
            channel: kept.keep(generation.channel.as_fd())?,
            board: kept.keep(generation.board.as_fd())?,
            workers: generation.scoreboard.workers(),
            names: generation.names.clone(),
            warnings: generation.warnings.clone(),
            about: generation.about.clone(),
            can_be_asked: generation.can_be_asked,
            can_be_spared: decider.spare(generation.number).is_some(),
            serves: decider.state(generation.number) == Some(State::Serving),
            drains: drains.and_then(|left| left.as_millis().try_into().ok()),
            drain_timeout: generation.drain_timeout,
            since: since.map_or(0, |since| since.as_secs()),
        })
    }

    /// How far it had come, and how much longer it may drain.
    pub(super) fn progress(&self) -> (State, Option<Duration>) {
        match self.serves {
            true => (State::Serving, None),
            false => (State::Draining, self.drains.map(Duration::from_millis)),
        }
    }

    pub(super) fn take_over(self) -> io::Result<Generation> {
        let board = inherit::take(self.board)?;
        Ok(Generation {
            number: self.number,
            pid: Pid::from_raw(self.pid),
            channel: inherit::take(self.channel)?.into(),
            hears: true,
            scoreboard: Scoreboard::taken_over(&board, self.workers, self.names.len())?,
            board,
            names: self.names,
            warnings: self.warnings,
            about: self.about,
            can_be_asked: self.can_be_asked,
            drain_timeout: self.drain_timeout,
            since: UNIX_EPOCH + Duration::from_secs(self.since),
        })
    }
}

/// Descriptors made to outlive an exec, made as before when that does not come about.
#[derive(Default)]
pub(super) struct Kept(pub(super) Vec<OwnedFd>);

impl Kept {
    /// A copy of a descriptor that stays open over an exec; its number.
    pub(super) fn keep(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<RawFd> {
        let copy = descriptor.try_clone_to_owned()?;
        let number = inherit::keep(copy.as_fd(), true)?;
        self.0.push(copy);
        Ok(number)
    }
}
