//! One listening socket for a command that serves no configuration, and what such a command gives up
//! once it has it. Never in here: what is said on its connections.

use std::fmt;
use std::io::{self, Read};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs,
};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Uid;

use crate::config::{self, Endpoint};
use crate::jail::OutsidePlan;
use crate::log::Reason;
use crate::process::OneThread;
use crate::remedy;
use crate::supervisor::holder;

/// How long a peer may take to close, so that the last words reach it before a reset does.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why there is no listener.
#[derive(Debug)]
pub(super) enum ListenError {
    /// The text is no address; what is wrong, and what would be right.
    Address(String),
    /// The host does not resolve.
    Resolve(String, io::Error),
    /// The address cannot be listened on.
    Bind(SocketAddr, io::Error),
    /// Root's rights cannot be given up; why, with the remedy.
    Rights(String),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::Address(text) | ListenError::Rights(text) => f.write_str(text),
            ListenError::Resolve(host, error) => {
                write!(f, "{host}: {} ({})", Reason(error), remedy::RESOLVING)
            }
            ListenError::Bind(address, error) => {
                write!(f, "{address}: {}", Reason(error))?;
                let errno = error.raw_os_error().map(Errno::from_raw);
                if errno == Some(Errno::EADDRINUSE)
                    && let Some(holder) = holder::of_tcp(*address)
                {
                    write!(f, ": {holder} has it")?;
                }
                f.write_str(match errno {
                    Some(Errno::EADDRINUSE) => " (stop that program, or give another port)",
                    Some(Errno::EACCES) => {
                        " (a port below 1024 is for root alone: start it as root, or take one from 1024 on)"
                    }
                    Some(Errno::EADDRNOTAVAIL) => {
                        " (this machine does not have that address: `ip address` lists its own)"
                    }
                    _ => "",
                })
            }
        }
    }
}

/// Listens on `[HOST:]PORT`; without a host on every address, of both families by one socket where the
/// system has IPv6. Then gives up root's rights, if there are any: what comes from the network is not
/// for root to read.
///
/// # Errors
/// See [`ListenError`].
pub(super) fn listen(accept: &str) -> Result<TcpListener, ListenError> {
    let listener = bind(accept)?;
    if Uid::effective().is_root() {
        give_up_root()?;
    }
    Ok(listener)
}

fn bind(accept: &str) -> Result<TcpListener, ListenError> {
    let (host, port) = match config::accept_address(accept).map_err(ListenError::Address)? {
        Endpoint::Tcp { host, port } => (host, port),
        Endpoint::Unix(_) => {
            let text = format!("'{accept}' is a path: give a port, or an address and a port");
            return Err(ListenError::Address(text));
        }
    };
    let addresses: Vec<SocketAddr> = match &host {
        Some(host) => (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|error| ListenError::Resolve(host.clone(), error))?
            .collect(),
        None => {
            let all = [
                IpAddr::from(Ipv6Addr::UNSPECIFIED),
                Ipv4Addr::UNSPECIFIED.into(),
            ];
            all.map(|ip| SocketAddr::new(ip, port)).to_vec()
        }
    };
    let mut failure = ListenError::Address(format!("'{accept}' has no address"));
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                let taken = error.kind() == io::ErrorKind::AddrInUse;
                failure = ListenError::Bind(address, error);
                if taken {
                    break;
                }
            }
        }
    }
    Err(failure)
}

/// Gives root up for good: the process runs as the user `nobody` from here on.
///
/// # Errors
/// It cannot be done; why, with the remedy.
pub(super) fn give_up_root() -> Result<(), ListenError> {
    let one = OneThread::prove().map_err(|error| ListenError::Rights(error.to_string()))?;
    let entered = OutsidePlan::nobody().enter(&one);
    let told = entered.map_err(|error| format!("{error} ({})", error.remedy()));
    // It serves one connection, has read no key, and what it listens for shall work everywhere.
    told.map(|bare| {
        bare.outside_any();
    })
    .map_err(ListenError::Rights)
}

/// IPv4 addresses as such, also those of a socket of both families.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether accept(2) failed for a connection that has gone again, or for a signal.
pub(super) fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | Interrupted | WouldBlock)
}

/// Closes so that the last words arrive.
pub(super) fn take_leave(mut stream: &TcpStream) {
    let end = Instant::now() + FAREWELL;
    // Whatever fails here: the peer has gone.
    let _ = stream.shutdown(Shutdown::Write);
    let mut scratch = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut scratch) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
