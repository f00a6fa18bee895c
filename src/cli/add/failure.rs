//! Why `adit add` did not do it, with the remedy. Never in here: a failure without one.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use super::offer::NoPassword;
use super::store::{StoreError, Why};
use crate::log::Reason;
use crate::remedy;

/// Why nothing was added or removed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The configuration's path is none.
    Path(PathBuf, io::Error),
    /// A file or a folder.
    Store(StoreError),
    /// The provider takes no password.
    NoPassword(NoPassword),
    /// The table has no provider for the domain, and DNS names no server, or could not be asked.
    Unknown(String, Option<String>),
    /// There is no terminal to ask at.
    Unasked,
    /// The answer could not be read.
    Answer(io::Error),
    /// The answer was no.
    Refused,
    /// The program is on another machine; this machine's addresses.
    Elsewhere(Vec<IpAddr>),
    /// The address may be reached from the internet; this machine's other ones.
    Public(IpAddr, Vec<IpAddr>),
    /// The address cannot be listened on.
    Listen(IpAddr, io::Error),
    /// No port is free.
    NoPort(IpAddr),
    /// The file of the services is left alone.
    Left(PathBuf, Left),
    /// It could not be put into force.
    Force(NoForce),
    /// After a failure, this could not be put back.
    NotUndone(Box<Failure>, StoreError),
    /// The report cannot be written.
    Report(io::Error),
}

/// Why a file of services is left alone.
#[derive(Debug)]
pub(super) enum Left {
    /// It is of another hand.
    Foreign,
    /// It was changed by hand.
    Changed,
    /// It is for this other address.
    OtherAddress(String),
    /// There is none, and it was to be removed.
    Missing,
}

/// Why a changed configuration is not in force.
#[derive(Debug)]
pub(super) enum NoForce {
    /// The configuration does not include the folder.
    NotIncluded(PathBuf, PathBuf),
    /// The check found errors, and has told them.
    Wrong(PathBuf),
    /// The running adit refuses the services, and it was told why.
    NotReloaded,
    /// The running adit refuses to do without them, and it was told why.
    NotRemoved,
}

impl From<NoForce> for Failure {
    fn from(error: NoForce) -> Failure {
        Failure::Force(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Path(path, error) => {
                write!(f, "{}: {} (name another configuration)", path.display(), Reason(error))
            }
            Failure::Store(error) => error.fmt(f),
            Failure::NoPassword(error) => error.fmt(f),
            Failure::Unknown(domain, reason) => unknown(f, domain, reason.as_deref()),
            Failure::Unasked => f.write_str(
                "there is no terminal to ask at: nothing was written (look whether these servers are your \
                 provider's, then add --yes)",
            ),
            Failure::Answer(error) => write!(f, "reading the answer: {} (or add --yes)", Reason(error)),
            Failure::Refused => f.write_str(
                "nothing was written (name the right servers by --smtp, --pop3 and --imap, as --smtp \
                 mail.example.com:465)",
            ),
            Failure::Elsewhere(own) => write!(
                f,
                "a printer is another machine, which does not reach 127.0.0.1: add --listen with this machine's \
                 address on the LAN{}",
                Own(own)
            ),
            Failure::Public(host, own) => write!(
                f,
                "{host} may be reached from the internet, and passwords come in plain there: give --listen an address \
                 of this machine on the LAN{}",
                Own(own)
            ),
            Failure::Listen(host, error) => write!(
                f,
                "{host}: {} (is it an address of this machine? `ip address` lists them)",
                Reason(error)
            ),
            Failure::NoPort(host) => write!(
                f,
                "no port that `adit add` uses is free on {host} (`ss -ltnp` shows the programs that have them; write \
                 the services by hand: add --print shows them)"
            ),
            Failure::Left(path, left) => write!(f, "{}: {left}", path.display()),
            Failure::Force(error) => error.fmt(f),
            Failure::NotUndone(failure, error) => {
                write!(f, "{failure}; and what was written could not be put back: {error}")
            }
            Failure::Report(error) => write!(f, "writing the report: {}", Reason(error)),
        }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Left::Foreign => f.write_str(
                "`adit add` did not write this file, and leaves it alone (give the services another name by --name, \
                 or move the file away)",
            ),
            Left::Changed => f.write_str(
                "it was changed by hand, and stays as it is (edit it further, or remove it and add the address again; \
                 `adit reload` puts it into force)",
            ),
            Left::OtherAddress(address) => {
                write!(f, "it is for {address} (give the services another name by --name)")
            }
            Left::Missing => f.write_str(
                "there is no such file (look into its folder; services that were added with --name are removed with it)",
            ),
        }
    }
}

impl fmt::Display for NoForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoForce::NotIncluded(main, folder) => write!(
                f,
                "{} does not include {}: nothing was written (add the line `include = {}/*.conf` at its end)",
                main.display(),
                folder.display(),
                folder.display()
            ),
            NoForce::Wrong(main) => write!(
                f,
                "the whole configuration, with {}, has the errors above: nothing was written (mend that, then add the \
                 address again)",
                main.display()
            ),
            NoForce::NotReloaded => f.write_str(
                "the running adit goes on as before, and nothing was written (mend what is told above, then add the \
                 address again)",
            ),
            NoForce::NotRemoved => f.write_str(
                "the running adit goes on as before, and nothing was removed (mend what is told above; if these are \
                 its last services, `adit stop` it first)",
            ),
        }
    }
}

fn unknown(f: &mut fmt::Formatter<'_>, domain: &str, reason: Option<&str>) -> fmt::Result {
    write!(f, "adit does not know {domain}, and ")?;
    match reason {
        None => f.write_str("its DNS names no servers for mail programs")?,
        Some(reason) => write!(f, "could not ask for its servers: {reason}")?,
    }
    f.write_str(
        " (if it is hosted by one of `adit providers`, name that: --provider ionos; else the provider's help page \
         has the servers: --smtp mail.example.com:465 --pop3 mail.example.com:995 --imap mail.example.com:993)",
    )
}

/// Addresses to choose from, as the end of a sentence.
struct Own<'a>(&'a [IpAddr]);

impl fmt::Display for Own<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str(" (`ip address` lists them)"),
            own => {
                let own: Vec<String> = own.iter().map(ToString::to_string).collect();
                write!(f, ": {}", own.join(" or "))
            }
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.why {
            Why::Changing(error) if error.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "{} (run this as root, or name a configuration of yours behind the address; --print only shows)",
                Reason(error)
            ),
            Why::Changing(error) => {
                write!(f, "{} ({})", Reason(error), remedy::making_a_file(error))
            }
            Why::Reading(error) => {
                write!(f, "{} ({})", Reason(error), remedy::reading_a_file(error))
            }
            Why::Strange => f.write_str(
                "it is no file with text, and stays as it is (give another name by --name)",
            ),
            Why::Open => f.write_str(
                "every user may write to this folder, and so to the services (`chmod o-w` it)",
            ),
        }
    }
}
