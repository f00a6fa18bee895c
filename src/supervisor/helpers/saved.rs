//! Helpers in the state that is handed to a new binary. Never in here: an exec.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::{Helpers, Place};
use crate::helper::{Helper, Kind};
use crate::ipc::inherit;
use crate::ipc::leash::Leash;

/// A helper in the state that is handed to a new binary.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    kind: String,
    /// 0: it has just died.
    pid: i32,
    channel: RawFd,
}

impl Helpers {
    /// What is handed over an exec: the resolver and the others; `keep` makes a descriptor outlive it.
    ///
    /// # Errors
    /// No descriptors left.
    pub(crate) fn save(
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
                Kind::Teller
                | Kind::Launcher
                | Kind::Fetcher
                | Kind::Gatekeeper
                | Kind::Binder
                | Kind::Keeper => {
                    others.push(Saved {
                        kind: kind.name().to_owned(),
                        pid,
                        channel,
                    });
                }
            }
        }
        for (kind, helper) in &self.left_alone {
            others.push(Saved {
                kind: kind.name().to_owned(),
                pid: helper.pid().map_or(0, Pid::as_raw),
                channel: keep(helper.channel().as_fd())?,
            });
        }
        let resolver = resolver.ok_or(io::ErrorKind::NotFound)?;
        Ok((resolver, others))
    }

    /// Takes over what the program before an exec had.
    ///
    /// # Errors
    /// A descriptor is not there.
    pub(crate) fn taken_over(
        (pid, channel): (i32, RawFd),
        others: Vec<Saved>,
        leash: &Leash,
    ) -> io::Result<Helpers> {
        let resolver = Saved {
            kind: Kind::Resolver.name().to_owned(),
            pid,
            channel,
        };
        let mut by_kind = BTreeMap::new();
        let mut left_alone = Vec::new();
        for Saved { kind, pid, channel } in others.into_iter().chain([resolver]) {
            // Closed, the channel of one that this program does not know ends it.
            let channel = inherit::take(channel)?.into();
            let pid = (pid > 0).then(|| Pid::from_raw(pid));
            let helper = Helper::taken_over(pid, channel);
            match Kind::named(&kind) {
                // It serves a generation of the program before, with what that configuration said.
                Some(kind) if kind.is_of_a_generation() => {
                    helper.leave_alone(leash);
                    left_alone.extend(Some((kind, helper)).filter(|_| pid.is_some()));
                }
                Some(kind) => drop(by_kind.insert(kind, Place::of(helper))),
                None => {}
            }
        }
        Ok(Helpers {
            by_kind,
            left_alone,
        })
    }
}
