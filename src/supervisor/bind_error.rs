//! Why an address cannot be bound, which program has it, and what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;

use super::clashes;
use super::holder::{self, Holder};
use crate::config::Service;
use crate::ipc::words::Accept;
use crate::log::Reason;

/// For what is no error of the system's.
const OWNER: &str = "see `setuid` and `setgid` of the service";

/// An address that cannot be bound.
#[derive(Debug)]
pub(super) struct BindError {
    address: String,
    /// With its number, where it is the system's.
    reason: String,
    taken: Option<Taken>,
    remedy: &'static str,
}

/// What has the address already.
#[derive(Debug)]
enum Taken {
    /// Another service of the same configuration, and where both say so.
    Service(String, String),
    /// A program.
    By(Holder),
}

impl BindError {
    /// A listener could not be made; looks which program has the address, if one has.
    pub(super) fn of(address: &Accept, error: &io::Error) -> BindError {
        let errno = error.raw_os_error().map(Errno::from_raw);
        let taken = match address {
            _ if errno != Some(Errno::EADDRINUSE) => None,
            Accept::Tcp(address) => holder::of_tcp(*address),
            Accept::Unix(path) => holder::of_unix(path),
            Accept::Passed(_) => None,
        };
        BindError {
            address: describe(address),
            reason: Reason(error).to_string(),
            taken: taken.map(Taken::By),
            remedy: errno.map_or(OWNER, |errno| remedy(address, errno)),
        }
    }

    /// Another service of the same configuration has it, or another line of the same service.
    pub(super) fn twice(address: &Accept, service: &Service, other: &Service) -> BindError {
        let places = [other, service].map(|service| clashes::place(service, address));
        let places = match places {
            [Some(other), Some(this)] => format!(", by {other}; this is {this}"),
            _ => String::new(),
        };
        BindError {
            address: describe(address),
            reason: Reason(&Errno::EADDRINUSE.into()).to_string(),
            taken: Some(Taken::Service(other.name.clone(), places)),
            remedy: clashes::REMEDY,
        }
    }

    /// Whether this process has the address.
    pub(super) fn is_held_by(&self, process: u32) -> bool {
        matches!(&self.taken, Some(Taken::By(holder)) if holder.is(process))
    }

    /// What is wrong, without the remedy.
    pub(super) fn text(&self) -> String {
        let (address, reason) = (&self.address, &self.reason);
        match &self.taken {
            Some(Taken::Service(name, places)) => {
                format!("{address}: {reason}: service [{name}] has it{places}")
            }
            Some(Taken::By(holder)) => format!("{address}: {reason}: {holder} has it"),
            None => format!("{address}: {reason}"),
        }
    }

    /// What to do.
    pub(super) fn remedy(&self) -> &'static str {
        self.remedy
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.remedy)
    }
}

/// An address as the log writes it.
pub(super) fn describe(address: &Accept) -> String {
    match address {
        Accept::Tcp(address) => address.to_string(),
        Accept::Unix(path) => path.display().to_string(),
        Accept::Passed(number) => format!("passed socket {number}"),
    }
}

fn remedy(address: &Accept, errno: Errno) -> &'static str {
    let v6 = matches!(address, Accept::Tcp(SocketAddr::V6(_)));
    match (address, errno) {
        (Accept::Tcp(_), Errno::EADDRINUSE) => {
            "stop the program that has it, or give `accept` another port; `ss -ltnp` as root lists them all"
        }
        (Accept::Tcp(_), Errno::EACCES) => {
            "a port below 1024 is for root alone: start adit as root, with `setuid` to give that up, \
             or give `accept` a port from 1024 on"
        }
        (Accept::Tcp(_), Errno::EADDRNOTAVAIL) => {
            "this machine does not have that address, see `ip address`; \
             `socket = a:IP_FREEBIND=yes` binds it all the same"
        }
        (Accept::Tcp(_), Errno::EAFNOSUPPORT) if v6 => {
            "IPv6 is switched off on this machine: give `accept` an IPv4 address"
        }
        (Accept::Tcp(_), Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => {
            "this listener has no such option: see `socket = a:...` of the service"
        }
        (Accept::Tcp(_), Errno::ENODEV) => {
            "there is no such network device: see `socket = a:SO_BINDTODEVICE=...` of the service"
        }
        (Accept::Unix(_), Errno::EADDRINUSE) => {
            "stop the program that has it, or remove the file if it is no socket, or give `accept` another path"
        }
        (Accept::Unix(_), Errno::ENOENT) => "make its folder, or give `accept` another path",
        (Accept::Unix(_), Errno::EACCES | Errno::EPERM | Errno::EROFS) => {
            "let the user who starts adit write to its folder, or give `accept` another path"
        }
        (Accept::Passed(_), _) => {
            "systemd passes fewer sockets than services need: see its socket unit"
        }
        (_, Errno::EMFILE | Errno::ENFILE) => {
            "raise the limit of open files: `LimitNOFILE=` in the unit, or `ulimit -n`"
        }
        _ => "see socket(7), and `accept` and `socket` of the service",
    }
}
