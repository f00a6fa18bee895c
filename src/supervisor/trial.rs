//! Loading everything that a configuration names without serving it: for `adit check`, and for a
//! new binary that rehearses.

use std::io;

use super::helpers::{Helpers, Start};
use crate::config::{Config, Diagnostic};
use crate::helper::{KnownNames, NameClient};
use crate::ipc::leash::{Holder, leash};
use crate::ipc::words::Accept;
use crate::log::Log;
use crate::master::load;
use crate::tls::{PassPhrases, Resumption};

/// A trial that has begun: names are resolved by a helper of its own, since even this may be run by
/// root. It is a copy of this process, and reads what strangers send: it is to be started before
/// there are any pass phrases.
pub(crate) struct Trial {
    helpers: Helpers,
    /// The helpers end when this is closed, if not before.
    _holder: Holder,
    log: Log,
}

impl Trial {
    /// Starts the helpers.
    ///
    /// # Errors
    /// No process or descriptor to be had.
    pub(crate) fn start(config: &Config, log: Log) -> io::Result<Trial> {
        let (holder, leash) = leash()?;
        Ok(Trial {
            helpers: Helpers::start_asked(Start {
                config,
                leash: &leash,
                metrics: None,
                warrants: None,
                forget: &mut || Ok(()),
                log,
            })?,
            _holder: holder,
            log,
        })
    }

    /// Reads what the configuration names, as a master does that knows these addresses. Returns everything found,
    /// errors among it, and where the services would accept; nowhere where there are errors.
    ///
    /// # Errors
    /// No descriptor to be had; the helper is gone.
    pub(crate) fn load(
        mut self,
        config: &Config,
        known: &KnownNames,
        phrases: &PassPhrases,
    ) -> io::Result<(Vec<Diagnostic>, Vec<Vec<Accept>>)> {
        let mut client = NameClient::introduced(&self.helpers.contacts(None)?)?;
        let resumption = Resumption::new()?;
        let loaded = load::load(config, &mut client, known, phrases, &resumption, &self.log);
        self.helpers.kill();
        Ok(match loaded {
            Ok(loaded) => (loaded.warnings, loaded.accept),
            Err(found) => (found, Vec::new()),
        })
    }
}
