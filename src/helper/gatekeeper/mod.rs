//! The gatekeeper process: says by hosts.allow and hosts.deny whether a client may connect (`libwrap`), with the name
//! that its address has. Workers could read neither the files nor names from their jail. Holds no key, no listener,
//! and can write to nothing.
//!
//! The language is that of hosts_access(5) and hosts_options(5), read as libwrap reads it ([`text`], [`pattern`],
//! [`options`], [`judge`]); what is not served of it refuses, with a line that says so.

mod client;
mod judge;
mod lint;
mod message;
mod names;
mod options;
mod pattern;
mod server;
#[cfg(test)]
mod tests;
mod text;

use super::{Kind, Life, Role, pool};
use crate::sandbox;
pub(crate) use client::Client;
pub(crate) use judge::Judgement;
#[cfg(fuzzing)]
pub(crate) use lint::fuzz;
pub(crate) use lint::{Remark, remarks};

/// The process's part of a helper's life.
pub(crate) const ROLE: Role = Role {
    kind: Kind::Gatekeeper,
    life: Life::Outside(sandbox::gatekeeper, pool::serve::<server::Judgements>),
};
