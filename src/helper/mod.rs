//! The processes that others ask, one for each kind of thing that neither root nor the jail should do.
//!
//! Here is what all kinds have in common: how one is started and jailed ([`Helper`]), introduced to the
//! processes that ask it ([`Contacts`]), told of a new log ([`words`]), and how it answers: one after another ([`desk`]),
//! or many at a time ([`pool`]). What a kind does is in a room below, which gives its part of the life as a
//! [`Role`]; the supervisor puts the two together.
//! Never in here: what a kind is asked, or a key.

mod asker;
pub(crate) mod binder;
mod contacts;
mod desk;
pub(crate) mod fetcher;
pub(crate) mod gatekeeper;
pub(crate) mod keeper;
pub(crate) mod launcher;
mod pool;
mod process;
pub(crate) mod resolver;
pub(crate) mod teller;
pub(crate) mod words;

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::ipc::channel::Channel;
use crate::ipc::leash::Leash;
use crate::jail::{Capable, Confined, Unprivileged};
use crate::log::Log;
use crate::process::Fresh;
use crate::sandbox::{SandboxError, Sandboxed};
pub(crate) use contacts::Contacts;
pub(crate) use process::Helper;
// What those that ask need to know of a kind.
pub(crate) use binder::{Bound, Client as BindClient, Refused as NotBound, Request as BindRequest};
pub(crate) use fetcher::Client as FetchClient;
pub(crate) use gatekeeper::{Client as GateClient, Judgement};
pub(crate) use keeper::{
    Client as TokenClient, Question as TokenQuestion, Token as AccessToken, TokenAnswer,
};
pub(crate) use launcher::{Client as LaunchClient, Launched, Refused, Request as LaunchRequest};
pub(crate) use resolver::{
    Client as NameClient, KnownNames, NO_ANSWER, ResolveError, Resolved, literal,
};

/// What a resolver says to the question of that number, for the tests of those that ask.
#[cfg(test)]
pub(crate) fn resolver_says(answer: &Resolved, id: u64) -> Vec<u8> {
    asker::Answer::encode(answer, id)
}

/// The kinds of helpers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Names to addresses: [`resolver`].
    Resolver,
    /// Metrics and health: [`teller`].
    Teller,
    /// Programs behind services: [`launcher`].
    Launcher,
    /// Requests to OCSP responders: [`fetcher`].
    Fetcher,
    /// Clients, by hosts.allow and hosts.deny: [`gatekeeper`].
    Gatekeeper,
    /// Sockets with a client's address: [`binder`].
    Binder,
    /// Access tokens of mail accounts: [`keeper`].
    Keeper,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Kind; 7] = [
        Kind::Resolver,
        Kind::Teller,
        Kind::Launcher,
        Kind::Fetcher,
        Kind::Gatekeeper,
        Kind::Binder,
        Kind::Keeper,
    ];

    /// What `ps` and the log call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Resolver => "resolver",
            Kind::Teller => "teller",
            Kind::Launcher => "launcher",
            Kind::Fetcher => "fetcher",
            Kind::Gatekeeper => "gatekeeper",
            Kind::Binder => "binder",
            Kind::Keeper => "keeper",
        }
    }

    /// The kind of this name.
    pub(crate) fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What it is for, as the manual says it.
    pub(crate) fn purpose(self) -> &'static str {
        match self {
            Kind::Resolver => "Asks DNS for all the others, as nobody.",
            Kind::Teller => {
                "Answers HTTP requests for metrics and health (`metrics`), as nobody; it reads what \
                 the others count, and wakes no master and no worker."
            }
            Kind::Launcher => {
                "Starts the programs of `exec`, in the jail and as the user of `setuid`; one for each \
                 generation, which goes when its programs have ended."
            }
            Kind::Fetcher => {
                "Asks OCSP responders (`OCSP`, `OCSPaia`, and those that servers' certificates name) for the \
                 workers, as nobody; what an answer is worth it does not judge."
            }
            Kind::Gatekeeper => {
                "Reads hosts.allow and hosts.deny for the workers (`libwrap`), and asks DNS for clients' names, as \
                 nobody."
            }
            Kind::Binder => {
                "Makes sockets with the address of a client (`transparent = source`), as nobody with CAP_NET_RAW \
                 and no other right; only for addresses that the master has accepted a client from. One for each \
                 generation."
            }
            Kind::Keeper => {
                "Keeps the tokens of mail accounts (`adit login`), as the user `keeperUser`, in `keeperDirectory`; asks \
                 token servers, and gives workers what lets them log in for the right local password."
            }
        }
    }

    /// Whether masters and workers ask it, and so must be introduced.
    pub(crate) fn is_asked(self) -> bool {
        match self {
            Kind::Resolver
            | Kind::Launcher
            | Kind::Fetcher
            | Kind::Gatekeeper
            | Kind::Binder
            | Kind::Keeper => true,
            Kind::Teller => false,
        }
    }

    /// Whether there is one for each generation, which it serves to the end: its jail, its user and what it
    /// may do are of one configuration.
    pub(crate) fn is_of_a_generation(self) -> bool {
        match self {
            Kind::Launcher | Kind::Binder => true,
            Kind::Resolver | Kind::Teller | Kind::Fetcher | Kind::Gatekeeper | Kind::Keeper => {
                false
            }
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
    /// Where and how it lives.
    pub life: Life,
}

/// The place of a kind's life, and what it does there until the channel or the leash is at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Life {
    /// Outside the jail, in a sandbox of its own; no thread may be started before that.
    Outside(
        fn() -> Result<Sandboxed, SandboxError>,
        fn(Post, &Unprivileged) -> io::Result<()>,
    ),
    /// As [`Life::Outside`], as a user of its own, with a folder for the first of its belongings.
    Keeping(
        fn(BorrowedFd<'_>) -> Result<Sandboxed, SandboxError>,
        fn(Post, &Unprivileged) -> io::Result<()>,
    ),
    /// As [`Life::Outside`], with CAP_NET_RAW.
    Capable(
        fn() -> Result<Sandboxed, SandboxError>,
        fn(Post, &Capable) -> io::Result<()>,
    ),
    /// In the jail, without a sandbox: its programs would inherit that.
    Inside(fn(Post, Fresh, &Confined) -> io::Result<()>),
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
    /// What the launcher starts.
    pub programs: Option<launcher::Programs>,
    /// What the binder verifies by.
    pub warrants: Option<binder::Key>,
    /// Where it logs.
    pub log: Log,
}
