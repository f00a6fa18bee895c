//! The process that makes sockets with a client's address (`transparent = source`): it runs as the user
//! `nobody` with CAP_NET_RAW and no other right, for one generation. It makes and binds; sessions connect.
//!
//! A worker may be an intruder's, so nothing that it says is believed: a request names an address and brings the
//! master's warrant for it ([`Warrants`]). Never in here: an address without a warrant, a listener, a byte of a session.

mod client;
mod message;
mod server;
mod warrants;

use super::{Kind, Life, Role};
pub(crate) use client::{Bound, Client, Refused};
pub(crate) use message::Request;
#[cfg(fuzzing)]
pub(crate) use message::fuzz;
pub(crate) use warrants::{Key, Seal, Warrants};

/// The process's part of a helper's life.
pub(crate) const ROLE: Role = Role {
    kind: Kind::Binder,
    life: Life::Capable(crate::sandbox::binder, server::serve),
};
