//! What the configuration in force is served at, and services that an administrator has drained: their addresses are
//! not bound until they are taken back. Never in here: a word to a master.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use super::{Key, Listeners, Prepared, Served};
use crate::config::Config;
use crate::ipc::retire;
use crate::ipc::words::Accept;
use crate::log::Log;

/// Services that nothing is accepted for.
#[derive(Debug, Default)]
pub(super) struct Drained {
    /// Their names; a later configuration may have them again.
    names: BTreeSet<String>,
    /// Where each service of the configuration in force accepts, drained or not.
    accept: Vec<(String, Vec<Accept>)>,
}

impl Drained {
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Another configuration is in force.
    pub(super) fn came_into_force(&mut self, names: Vec<String>, accept: Vec<Vec<Accept>>) {
        self.accept = names.into_iter().zip(accept).collect();
    }
}

/// Why a service stays as it is, with the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supervisor) enum Untouched {
    /// There is nothing to do.
    Never(String),
    /// It may be done later.
    NotNow(String),
}

impl Listeners {
    /// The addresses in text, by the index of the service, with the ports that the kernel chose.
    pub(in crate::supervisor) fn addresses(&self) -> HashMap<usize, Vec<String>> {
        let mut addresses: HashMap<usize, Vec<String>> = HashMap::new();
        for one in &self.served {
            if let Some(listening) = self.open.get(&one.key) {
                let of_one = addresses.entry(one.service).or_default();
                of_one.push(listening.address.clone());
            }
        }
        addresses
    }

    /// Whether this program has put a configuration into force; right after an exec it has not.
    pub(in crate::supervisor) fn know_services(&self) -> bool {
        !self.drained.accept.is_empty()
    }

    /// Whether a service was drained.
    pub(in crate::supervisor) fn is_drained(&self, name: &str) -> bool {
        self.drained.has(name)
    }

    /// The names of those that were, for a program that takes over.
    pub(in crate::supervisor) fn drained(&self) -> Vec<String> {
        self.drained.names.iter().cloned().collect()
    }

    /// What the program before an exec had drained.
    pub(in crate::supervisor) fn go_on_drained(&mut self, names: Vec<String>) {
        self.drained.names = names.into_iter().collect();
    }

    /// Gives up the listeners of a service; its index. The master still has them, and is to be told.
    ///
    /// # Errors
    /// It has none.
    pub(in crate::supervisor) fn drain(
        &mut self,
        config: &Config,
        name: &str,
    ) -> Result<usize, Untouched> {
        let never = |text: String| Err(Untouched::Never(text));
        let Some(index) = config.services.iter().position(|s| s.name == name) else {
            let names = config.services.iter().map(|s| format!("[{}]", s.name));
            let names: Vec<String> = names.collect();
            return never(format!(
                "the configuration in force has no service [{name}] (it has {})",
                names.join(", ")
            ));
        };
        if self.drained.has(name) {
            return never(format!(
                "[{name}] is drained already (`adit drain --undo {name}` takes that back)"
            ));
        }
        if !self.served.iter().any(|served| served.service == index) {
            let host = config.services[index].virtual_host.as_ref();
            let primary = host.and_then(|host| config.services.get(host.primary));
            return never(match primary {
                Some(primary) => format!(
                    "[{name}] accepts nothing itself: its clients come by [{0}] (drain that: `adit drain {0}`)",
                    primary.name
                ),
                None => format!("[{name}] has no listener: a program of its own is its client"),
            });
        }
        let (its, others) = std::mem::take(&mut self.served)
            .into_iter()
            .partition::<Vec<Served>, _>(|served| served.service == index);
        self.served = others;
        for served in its {
            match &served.key {
                // systemd has it too.
                Key::Passed(_) => {}
                Key::Unix(path) => drop(fs::remove_file(path)),
                Key::Tcp(_) | Key::Any(..) => {
                    if let Some(listening) = self.open.get(&served.key) {
                        // Where it cannot be, the master closes it at once.
                        let _ = retire::retire(listening.socket.as_fd());
                    }
                }
            }
            if !matches!(served.key, Key::Passed(_)) {
                self.open.remove(&served.key);
            }
        }
        self.drained.names.insert(name.to_owned());
        // What was moved to its port goes too.
        self.assign_the_retired();
        Ok(index)
    }

    /// Binds the addresses of a drained service again; its index, and what the master is to be given. As in
    /// [`Listeners::prepare`] an address that cannot be bound is logged, and skipped if there is another.
    ///
    /// # Errors
    /// It was not drained; no address can be bound.
    pub(in crate::supervisor) fn take_back(
        &mut self,
        config: &Config,
        name: &str,
        log: &Log,
    ) -> Result<(usize, Vec<BorrowedFd<'_>>), Untouched> {
        if !self.drained.names.remove(name) {
            let text = format!("[{name}] is not drained (`adit status` says which are)");
            return Err(Untouched::Never(text));
        }
        let position = self.drained.accept.iter().position(|(own, _)| own == name);
        let Some(index) = position.filter(|&at| config.services.get(at).is_some()) else {
            // The configuration in force has it no more, and the next one may have it.
            let text = format!("the configuration in force has no service [{name}]");
            return Err(Untouched::Never(text));
        };
        let accept = self.drained.accept[index].1.clone();
        let mut prepared = Prepared {
            wanted: Vec::new(),
            names: Vec::new(),
            accept: Vec::new(),
            made: Vec::new(),
        };
        let errors = self.prepare_all(&mut prepared, config, index, &accept, log);
        let mut errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        if !prepared.wanted.is_empty()
            && let Err(text) = self.listen(&prepared)
        {
            errors.push(text);
            prepared.wanted.clear();
        }
        if prepared.wanted.is_empty() {
            prepared.give_up();
            self.drained.names.insert(name.to_owned());
            let text = format!(
                "[{name}] stays drained: binding it to {}",
                errors.join("; ")
            );
            return Err(Untouched::NotNow(text));
        }
        for error in &errors {
            crate::notice!(log, "Binding service [{name}] to {error}");
        }
        let mut keys = Vec::new();
        for (service, key, listening) in prepared.wanted {
            self.served.push(Served {
                service,
                name: name.to_owned(),
                key: key.clone(),
            });
            self.open.insert(key.clone(), Rc::clone(&listening));
            keys.push(key);
        }
        let open = &self.open;
        let sockets = keys
            .iter()
            .filter_map(|key| Some(open.get(key)?.socket.as_fd()));
        Ok((index, sockets.collect()))
    }
}
