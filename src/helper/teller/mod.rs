//! The metrics process: what the scoreboards say, by HTTP on loopback or a Unix socket, for Prometheus,
//! for probes of the service's health, and for people. It reads shared memory, so no other process wakes up. Holds
//! no key and no listener of a service, and can write to nothing.
//!
//! The supervisor tells it of generations ([`picture`], [`known`]). [`health`], [`exposition`] and [`page`] write the
//! answers, [`http`] reads requests, and [`server`] serves the clients.

#![forbid(unsafe_code)]

mod exposition;
mod failures;
mod health;
mod http;
mod known;
mod news;
mod page;
pub(crate) mod picture;
mod server;

use super::{Kind, Life, Role};
use crate::sandbox;
pub(crate) use news::{introduce_board, tell};

/// The process's part of a helper's life.
pub(crate) const ROLE: Role = Role {
    kind: Kind::Teller,
    life: Life::Outside(sandbox::teller, server::serve),
};
