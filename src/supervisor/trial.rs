//! Loading everything that a configuration names without serving it: for `adit check`, and for a
//! new binary that rehearses.

use std::io;

use super::resolver::Resolver;
use crate::config::{Config, Diagnostic};
use crate::ipc::leash::leash;
use crate::log::Log;
use crate::master::load;
use crate::resolver::{self, Client};
use crate::tls::{PassPhrases, Resumption};

/// Reads what the configuration names, as a master does; names are resolved by a resolver process,
/// since even this may be run by root. Returns everything found, errors among it.
///
/// # Errors
/// No process or descriptor to be had.
pub fn load(config: &Config, phrases: &PassPhrases, log: &Log) -> io::Result<Vec<Diagnostic>> {
    let (_holder, leash) = leash()?;
    let mut resolver = Resolver::start(&config.global, &leash, *log)?;
    let mut client = Client::new(resolver::introduce(&resolver.channel)?);
    let loaded = load::load(config, &mut client, phrases, &Resumption::new()?, log);
    resolver.kill();
    Ok(match loaded {
        Ok(loaded) => loaded.warnings,
        Err(found) => found,
    })
}
