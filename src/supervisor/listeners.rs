//! Every listening socket, held by the supervisor for as long as its address is configured, so
//! that no death and no reload refuses a connection. A change is prepared, then committed or dropped.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt::ReusePort};

use serde::{Deserialize, Serialize};

use super::Logged;
use super::bind_error::BindError;
use super::clashes;
use super::foreign;
use crate::config::Config;
use crate::ipc::inherit;
use crate::ipc::words::Accept;
use crate::log::Log;

mod binding;
mod retired;
mod served;
#[cfg(test)]
mod tests;

pub(super) use binding::{bound, remove_stale};
use binding::{bound_to, open, set_options};
use retired::Retired;
use served::Drained;
pub(super) use served::Untouched;

/// SD_LISTEN_FDS_START
const FIRST_PASSED: i32 = 3;

/// What makes a listener the same one after a reload: its address, and for port 0 its service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Key {
    /// An address with its port.
    Tcp(SocketAddr),
    /// Port 0 of an address, the service, and the position among its addresses.
    Any(SocketAddr, String, usize),
    /// A Unix socket's path.
    Unix(PathBuf),
    /// A socket that was passed to the program; it is never closed.
    Passed(usize),
}

/// One listening socket.
#[derive(Debug)]
struct Listening {
    socket: OwnedFd,
    /// As it is written in the log: the address with the port that the kernel chose.
    address: String,
    /// Whether it takes connections. One of TCP's begins to when its configuration comes into force: a candidate
    /// that fails leaves no client behind.
    listens: Cell<bool>,
}

/// What the configuration in force has at an address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Served {
    /// The index of its service.
    service: usize,
    /// The name of its service.
    name: String,
    key: Key,
}

/// The listeners in force.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: HashMap<Key, Rc<Listening>>,
    /// Those of the configuration in force.
    served: Vec<Served>,
    retired: Vec<Retired>,
    drained: Drained,
}

/// The listeners that a new configuration wants: some kept, some new. Dropping it closes the new ones.
#[derive(Debug)]
pub(super) struct Prepared {
    wanted: Vec<(usize, Key, Rc<Listening>)>,
    /// The names of the services.
    names: Vec<String>,
    /// Where each service of it accepts.
    accept: Vec<Vec<Accept>>,
    /// Unix sockets made for it, to be unlinked if it is given up.
    made: Vec<PathBuf>,
}

impl Listeners {
    /// Binds what is new and keeps what is the same. Every failure is logged; a failed
    /// address is skipped if its service has another.
    ///
    /// # Errors
    /// A service has no address at all that could be bound; everything new is closed again.
    pub(super) fn prepare(
        &self,
        config: &Config,
        accept: &[Vec<Accept>],
        log: &Log,
    ) -> Result<Prepared, Logged> {
        let mut prepared = Prepared {
            wanted: Vec::new(),
            names: config.services.iter().map(|s| s.name.clone()).collect(),
            accept: accept.to_vec(),
            made: Vec::new(),
        };
        let mut failed = false;
        for (index, (service, addresses)) in config.services.iter().zip(accept).enumerate() {
            if self.drained.has(&service.name) && !addresses.is_empty() {
                crate::notice!(log, "Service [{}] stays drained", service.name);
                continue;
            }
            let before = prepared.wanted.len();
            let errors = self.prepare_all(&mut prepared, config, index, addresses, log);
            if addresses.is_empty() {
                // Its clients come through its primary, or it has a program in their place.
                if service.virtual_host.is_some() {
                    crate::debug!(log, "Skipped SNI secondary service [{}]", service.name);
                }
                continue;
            }
            let none = prepared.wanted.len() == before;
            for error in &errors {
                if none {
                    crate::error!(log, "Binding service [{}] to {error}", service.name);
                } else {
                    crate::notice!(log, "Binding service [{}] to {error}", service.name);
                }
            }
            if none {
                crate::error!(log, "Binding service [{}] failed", service.name);
                failed = true;
            }
        }
        if failed {
            prepared.give_up();
            return Err(Logged);
        }
        Ok(prepared)
    }

    /// Binds what is new of a service's addresses; those that cannot be bound.
    fn prepare_all(
        &self,
        prepared: &mut Prepared,
        config: &Config,
        index: usize,
        addresses: &[Accept],
        log: &Log,
    ) -> Vec<BindError> {
        let mut errors = Vec::new();
        for (nth, address) in addresses.iter().enumerate() {
            match self.prepare_one(prepared, config, index, nth, address) {
                Ok(()) => {
                    if let Some((_, key, listening)) = prepared.wanted.last() {
                        foreign::admit(config, index, key, &listening.socket, log);
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    fn prepare_one(
        &self,
        prepared: &mut Prepared,
        config: &Config,
        index: usize,
        nth: usize,
        address: &Accept,
    ) -> Result<(), BindError> {
        let service = &config.services[index];
        let key = match address {
            Accept::Tcp(address) if address.port() == 0 => {
                Key::Any(*address, service.name.clone(), nth)
            }
            Accept::Tcp(address) => Key::Tcp(*address),
            Accept::Unix(path) => Key::Unix(path.clone()),
            Accept::Passed(number) => Key::Passed(*number),
        };
        let others = &prepared.wanted;
        // Until one of them listens the kernel may give both the address.
        let clash = |(other, theirs, _): &&(usize, Key, Rc<Listening>)| match theirs {
            _ if *theirs == key => true,
            Key::Tcp(theirs) => {
                let other = (&config.services[*other], &Accept::Tcp(*theirs));
                clashes::clash((service, address), other)
            }
            _ => false,
        };
        if let Some((other, ..)) = others.iter().find(clash) {
            return Err(BindError::twice(address, service, &config.services[*other]));
        }
        let failed = |error: io::Error| {
            let in_use = error.kind() == io::ErrorKind::AddrInUse;
            let same_port = |(_, _, listening): &&(_, _, Rc<Listening>)| match address {
                Accept::Tcp(address) => listening.port() == Some(address.port()),
                Accept::Unix(_) | Accept::Passed(_) => false,
            };
            match others.iter().find(same_port).filter(|_| in_use) {
                Some((other, ..)) => BindError::twice(address, service, &config.services[*other]),
                None => BindError::of(address, &error),
            }
        };
        let listening = match self.open.get(&key) {
            Some(kept) => {
                set_options(&kept.socket, service).map_err(failed)?;
                Rc::clone(kept)
            }
            None => {
                let listening = open(service, address, self).map_err(failed)?;
                if let Accept::Unix(path) = address {
                    prepared.made.push(path.clone());
                }
                Rc::new(listening)
            }
        };
        prepared.wanted.push((index, key, listening));
        Ok(())
    }

    /// Everything that listens: what makes it the same, its address in text, and the socket.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &str, BorrowedFd<'_>)> {
        let listening = self.open.iter();
        listening.map(|(key, l)| (key, l.address.as_str(), l.socket.as_fd()))
    }

    /// The sockets that systemd passed: sd_listen_fds(3).
    ///
    /// # Errors
    /// One of them is not open, or is no socket.
    pub(super) fn passed() -> io::Result<Listeners> {
        let number = |name| std::env::var(name).ok()?.parse::<i32>().ok();
        let ours = number("LISTEN_PID").is_some_and(|pid| pid.unsigned_abs() == std::process::id());
        let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
        let mut listeners = Listeners::default();
        for nth in 0..count {
            let socket = inherit::take(FIRST_PASSED + nth)?;
            fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            let address = bound_to(&socket)?;
            listeners.take_over(Key::Passed(nth as usize), address, socket);
        }
        Ok(listeners)
    }

    /// How many sockets were passed.
    pub(super) fn count_passed(&self) -> usize {
        let passed = |key: &&Key| matches!(key, Key::Passed(_));
        self.open.keys().filter(passed).count()
    }

    /// Adds a socket that the program before an exec had.
    pub(super) fn take_over(&mut self, key: Key, address: String, socket: OwnedFd) {
        let listening = Listening {
            socket,
            address,
            listens: Cell::new(true),
        };
        self.open.insert(key, Rc::new(listening));
    }

    /// Whether a configuration is in force.
    pub(super) fn serve(&self) -> bool {
        !self.served.is_empty()
    }

    /// Has what is new in a prepared set take connections.
    ///
    /// # Errors
    /// Another program has taken the address meanwhile; it is named.
    pub(super) fn listen(&self, prepared: &Prepared) -> Result<(), String> {
        let all = prepared.wanted.iter().map(|(_, _, listening)| listening);
        for listening in all.filter(|listening| !listening.listens.get()) {
            let begin = || listen(&listening.socket, Backlog::MAXCONN);
            let listens = match begin() {
                Err(Errno::EADDRINUSE) => self.share(listening.port(), &listening.socket, begin),
                listens => listens,
            };
            listens.map_err(|errno| {
                let error = io::Error::from(errno);
                let (address, reason) = (&listening.address, crate::log::Reason(&error));
                format!(
                    "Listening at {address} failed: {reason} (another program took it just now)"
                )
            })?;
            listening.listens.set(true);
        }
        Ok(())
    }

    /// Does something with a socket that one of ours with the same port is in the way of: a reload from
    /// `0.0.0.0:P` to `127.0.0.1:P`, or back. Both stand until the old one is closed. socket(7): SO_REUSEPORT
    /// on both lets them, and no process of another user.
    fn share(
        &self,
        port: Option<u16>,
        socket: &OwnedFd,
        step: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let retired = self.retired.iter().map(|retired| &retired.listening);
        let ours = self.open.values().chain(retired);
        let ours = ours.filter(|l| port.is_some() && l.port() == port);
        let mut sockets: Vec<&OwnedFd> = ours.map(|listening| &listening.socket).collect();
        if sockets.is_empty() {
            return Err(Errno::EADDRINUSE);
        }
        sockets.push(socket);
        let share = |yes: bool| {
            let mut sockets = sockets.iter();
            sockets.try_for_each(|socket| setsockopt(socket, ReusePort, &yes))
        };
        let done = share(true).and_then(|()| step());
        // No other process is to bind beside them; of our own user one may, which the port remembers.
        share(false)?;
        done
    }

    /// Puts a prepared set into force; what it does not name is closed, by the master that accepts
    /// from it when that is told to drain, after this. Where others go on serving the port, it is
    /// retired before.
    pub(super) fn commit(&mut self, prepared: Prepared) {
        let name = |service: usize| prepared.names.get(service).cloned().unwrap_or_default();
        let served = prepared.wanted.iter();
        let served = served.map(|(service, key, _)| Served {
            service: *service,
            name: name(*service),
            key: key.clone(),
        });
        let before = std::mem::replace(&mut self.served, served.collect());
        let mut new: HashMap<_, _> = prepared
            .wanted
            .into_iter()
            .map(|(_, key, listening)| (key, listening))
            .collect();
        for (key, listening) in self.open.drain() {
            match key {
                _ if new.contains_key(&key) => {}
                // Another configuration may want it again.
                Key::Passed(_) => drop(new.insert(key, listening)),
                Key::Unix(path) => drop(fs::remove_file(path)),
                Key::Tcp(_) | Key::Any(..) => {
                    let port = listening.port();
                    if new.values().any(|l| l.port() == port) {
                        let was = before.iter().find(|served| served.key == key);
                        let name = was.map_or_else(String::new, |served| served.name.clone());
                        self.retired.extend(Retired::new(listening, name));
                    }
                }
            }
        }
        self.open = new;
        self.drained
            .came_into_force(prepared.names, prepared.accept);
        self.assign_the_retired();
    }

    /// What the configuration in force listens on, each with the index of its service.
    pub(super) fn served(&self) -> Vec<(usize, BorrowedFd<'_>)> {
        let served = self.served.iter();
        let socket = |one: &Served| Some((one.service, self.open.get(&one.key)?.socket.as_fd()));
        served.filter_map(socket).collect()
    }

    /// That, for a program that takes over.
    pub(super) fn to_go_on_serving(&self) -> Vec<Served> {
        self.served.clone()
    }

    /// What the program before an exec served.
    pub(super) fn go_on_serving(&mut self, served: Vec<Served>) {
        self.served = served;
    }

    /// Closes everything, and removes the Unix sockets.
    pub(super) fn close(&mut self) {
        self.retired.clear();
        for (key, _) in self.open.drain() {
            if let Key::Unix(path) = key {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Listening {
    /// The port, if it is one of TCP's.
    fn port(&self) -> Option<u16> {
        let address: SocketAddr = self.address.parse().ok()?;
        Some(address.port())
    }
}

impl Prepared {
    /// The sockets, each with the index of its service.
    pub(super) fn sockets(&self) -> Vec<(usize, BorrowedFd<'_>)> {
        self.wanted
            .iter()
            .map(|(service, _, listening)| (*service, listening.socket.as_fd()))
            .collect()
    }

    /// The line about each bound address, with the port that the kernel chose.
    pub(super) fn lines(&self, config: &Config) -> Vec<String> {
        let line = |(index, _, listening): &(usize, Key, Rc<Listening>)| {
            format!(
                "Service [{}] (FD={}) bound to {}",
                config.services[*index].name,
                listening.socket.as_raw_fd(),
                listening.address
            )
        };
        self.wanted.iter().map(line).collect()
    }

    /// Closes what was new, and removes the Unix sockets made for it.
    pub(super) fn give_up(self) {
        for path in &self.made {
            let _ = fs::remove_file(path);
        }
    }
}
