//! Which workers serve a service. A service with old TLS is served by workers of its own, whose memory holds the
//! keys of such services alone: what speaks TLS 1.0 with a stranger is written in C, and RSA key exchange gives
//! away every connection of a key that leaks.

use crate::config::{Config, Service};
use crate::tls::{Backend, Wanted};

/// A group of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// TLS by rustls, or none.
    Modern,
    /// Old TLS on an end.
    Old,
}

impl Group {
    /// The workers of this service.
    pub(crate) fn of(service: &Service) -> Group {
        let ends = [Wanted::accepted(service), Wanted::connected(service)];
        match ends
            .into_iter()
            .flatten()
            .any(|end| end.backend().backend == Backend::S2n)
        {
            true => Group::Old,
            false => Group::Modern,
        }
    }

    /// A number of its own.
    pub(crate) fn index(self) -> usize {
        match self {
            Group::Modern => 0,
            Group::Old => 1,
        }
    }

    /// What the log calls its workers.
    pub(crate) fn worker(self) -> &'static str {
        match self {
            Group::Modern => "Worker",
            Group::Old => "Old worker",
        }
    }
}

/// The group of each worker of a configuration, by its row on the scoreboard: `workers` for each group that serves
/// something.
pub(crate) fn crew(config: &Config) -> Vec<Group> {
    let serves = |group| config.services.iter().any(|s| Group::of(s) == group);
    let old = serves(Group::Old);
    // Without any service, as in tests, they are modern.
    let modern = !old || serves(Group::Modern);
    [(modern, Group::Modern), (old, Group::Old)]
        .into_iter()
        .filter(|(there, _)| *there)
        .flat_map(|(_, group)| std::iter::repeat_n(group, config.global.workers))
        .collect()
}
