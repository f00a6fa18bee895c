//! Listeners for connections to addresses of other machines, which TPROXY sends here (`transparent = destination`).

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::socket::{getsockopt, setsockopt};

use super::listeners::Key;
use crate::config::Config;
use crate::log::{Log, Reason};
use crate::sys::sockopt::{Transparent, TransparentV6};

/// Has the listener of a service take such connections, where that or a secondary service of it connects clients to
/// where they wanted to go. REDIRECT works without, so a failure is a warning. It holds until the listener is
/// closed: a reload that fails must change nothing.
pub(super) fn admit(config: &Config, index: usize, key: &Key, socket: &OwnedFd, log: &Log) {
    let service = &config.services[index];
    let each = [index]
        .into_iter()
        .chain(service.secondaries.iter().copied());
    let wanted = |nth: usize| {
        let service = config.services.get(nth);
        service.is_some_and(|service| service.transparent.destination)
    };
    if !each.into_iter().any(wanted) {
        return;
    }
    let done = match key {
        Key::Tcp(address) | Key::Any(address, ..) => set(socket, address.is_ipv4()),
        // Nothing tells there which port a client wanted, so only REDIRECT serves it.
        Key::Passed(_) | Key::Unix(_) => Ok(()),
    };
    if let Err(error) = done {
        crate::warning!(
            log,
            "Service [{}]: setsockopt IP_TRANSPARENT: {} (TPROXY needs CAP_NET_RAW, which adit must keep; REDIRECT \
             and DNAT do not)",
            service.name,
            Reason(&error)
        );
    }
}

fn set(socket: &OwnedFd, v4: bool) -> io::Result<()> {
    let is_set = match v4 {
        true => getsockopt(socket, Transparent),
        false => getsockopt(socket, TransparentV6),
    };
    match (is_set?, v4) {
        (true, _) => {}
        (false, true) => setsockopt(socket, Transparent, &true)?,
        (false, false) => setsockopt(socket, TransparentV6, &true)?,
    }
    Ok(())
}
