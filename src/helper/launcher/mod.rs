//! The process that starts programs (`exec`): in the jail, as the jail's user, for one generation. Workers
//! must execute nothing. Holds no key, no listener, and no byte of a session; it starts no program but those
//! that its configuration names.
//!
//! Every client has a SOCK_SEQPACKET socket of its own; it asks by [`message::Request`] and is told by
//! [`message::Answer`], which brings the program's socket. A terminal (`pty`) stands behind a socket too, and
//! a process of its own carries its bytes: sessions know sockets alone.

mod client;
mod environment;
mod line;
mod message;
mod server;
mod start;

use super::{Kind, Life, Role};
pub(crate) use client::{Client, Launched, Refused};
pub(crate) use message::Request;
#[cfg(fuzzing)]
pub(crate) use message::fuzz;
pub(crate) use server::Programs;

/// The process's part of a helper's life.
pub(crate) const ROLE: Role = Role {
    kind: Kind::Launcher,
    life: Life::Inside(server::serve),
};
