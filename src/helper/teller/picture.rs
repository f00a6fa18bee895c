//! What the supervisor knows and no scoreboard says. The supervisor sends it again whenever it has
//! changed; names that a reader does not know are left out, so that a teller can be told by the
//! supervisor of another version.

use serde::{Deserialize, Serialize};

use crate::config::Networks;
use crate::incidents::Ledger;
use crate::ipc::scoreboard::Counts;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Picture {
    /// adit's version.
    pub version: String,
    /// Reloads that put a new configuration into force.
    pub reloads_succeeded: u64,
    /// Reloads that changed nothing.
    pub reloads_failed: u64,
    /// The names of the services of the configuration in force.
    pub services: Vec<String>,
    /// Every generation that has a process, orphaned ones too.
    pub generations: Vec<Generation>,
    /// Counts that are on no scoreboard any more: a service's name and its totals. Names may recur.
    pub carried: Vec<(String, Counts)>,
    /// Where each of `services` leads, as the configuration has it; empty where that is nowhere in particular.
    pub leads_to: Vec<String>,
    /// Networks that may ask; `None`: all, but for the page.
    pub allowed: Option<Networks>,
    /// Where services are reached now.
    pub listening: Vec<Listening>,
    /// The kinds of helpers that there are, each with how often one died and was replaced.
    pub helpers: Vec<(String, u64)>,
    /// As `carried`, of what went wrong.
    pub incidents: Vec<(String, Ledger)>,
    /// What went wrong with adit itself.
    pub own_incidents: Ledger,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listening {
    /// The name of its service.
    pub service: String,
    /// Its address, as the log has it.
    pub address: String,
    /// The inode of its socket.
    pub inode: u64,
}

/// One generation; its board comes beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generation {
    /// Its number.
    pub number: u64,
    /// How far it has come, in a word: `loading`, `serving`.
    pub state: String,
    /// Whether it accepts.
    pub serves: bool,
    /// When its master was started, in seconds since 1970.
    pub since: u64,
    /// The names of its services, in the board's order. Names may recur.
    pub services: Vec<String>,
}

/// What must be known to map a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BoardSize {
    /// Of which generation.
    pub generation: u64,
    /// Rows for workers.
    pub workers: usize,
    /// Rows for services.
    pub services: usize,
}
