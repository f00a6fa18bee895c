//! The processes that others ask, one for each kind of thing that neither root nor the jail should do.
//!
//! Here is what all kinds have in common: how one is started and jailed ([`Helper`]), introduced to the
//! processes that ask it ([`Contacts`]), and told of a new log ([`words`]). What a kind does is in a
//! room below, which gives its part of the life as a [`Role`]; the supervisor puts the two together.
//! Never in here: what a kind is asked, or a key.

mod contacts;
mod process;
pub(crate) mod resolver;
pub(crate) mod teller;
pub(crate) mod words;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::jail::Unprivileged;
use crate::sandbox::SandboxError;
pub(crate) use contacts::Contacts;
pub(crate) use process::Helper;
// What those that ask need to know of a kind.
pub(crate) use resolver::{Client as NameClient, NO_ANSWER, ResolveError, literal};

/// The kinds of helpers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Names to addresses: [`resolver`].
    Resolver,
    /// Metrics and health: [`teller`].
    Teller,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Kind; 2] = [Kind::Resolver, Kind::Teller];

    /// What `ps` and the log call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Resolver => "resolver",
            Kind::Teller => "teller",
        }
    }

    /// What it is for, as the manual says it.
    pub(crate) fn purpose(self) -> &'static str {
        match self {
            Kind::Resolver => "Asks DNS for all the others, as nobody.",
            Kind::Teller => {
                "Answers HTTP requests for metrics and health (`metrics`), as nobody; it reads what \
                 the others count, and wakes none of them."
            }
        }
    }

    /// Whether masters and workers ask it, and so must be introduced.
    pub(crate) fn is_asked(self) -> bool {
        match self {
            Kind::Resolver => true,
            Kind::Teller => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a kind adds to the life that all helpers live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Role {
    /// Which kind.
    pub kind: Kind,
    /// Enters the kind's sandbox. No thread runs yet, and none may be started.
    pub sandbox: fn() -> Result<(), SandboxError>,
    /// Serves until the channel or the leash is at its end.
    pub serve: fn(Post, &Unprivileged) -> io::Result<()>,
}

/// What a helper serves with.
#[derive(Debug)]
pub(crate) struct Post {
    /// Clients and news come in here: [`words::hear`].
    pub channel: Channel,
    /// To the supervisor's life.
    pub leash: Leash,
    /// What this kind alone works with, in an order of its own.
    pub belongings: Vec<OwnedFd>,
}
