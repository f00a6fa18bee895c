//! Which program has an address that is taken: what /proc tells of other processes' sockets. Only
//! looked up when something has failed, since it reads the descriptors of every process.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket};
use nix::unistd::{Uid, User};

/// TCP_LISTEN as /proc/net/tcp writes it: proc_pid_net(5).
const LISTENS: &str = "0A";
/// Longest name of a program that is shown.
const NAME_SHOWN: usize = 32;

/// A program that has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// One of its processes, the first; its name. And all of those processes.
    Program(u32, String, Vec<u32>),
    /// Its processes cannot be seen from here; its user.
    Of(Uid),
}

impl Holder {
    /// Whether this process is among those that have the address.
    pub(crate) fn is(&self, process: u32) -> bool {
        matches!(self, Holder::Program(_, _, all) if all.contains(&process))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Program(pid, name, _) => write!(f, "{name} (PID {pid})"),
            Holder::Of(uid) => match User::from_uid(*uid) {
                Ok(Some(user)) => write!(f, "a program of user {}", user.name),
                _ => write!(f, "a program of user {uid}"),
            },
        }
    }
}

/// Who keeps `address` from being bound; `None` where /proc does not tell.
pub(crate) fn of_tcp(address: SocketAddr) -> Option<Holder> {
    let rows = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).ok());
    let rows: Vec<Row> = rows
        .iter()
        .flatten()
        .flat_map(|t| t.lines().filter_map(row))
        .collect();
    let in_the_way = |row: &&Row| row.inode != 0 && conflicts(row.address, address);
    let listens = rows.iter().filter(in_the_way).find(|row| row.listens);
    let row = listens.or_else(|| rows.iter().find(in_the_way))?;
    Some(program_with(row.inode).unwrap_or(Holder::Of(row.uid)))
}

/// Who listens at the Unix socket `path`; never waits for it.
pub(crate) fn of_unix(path: &Path) -> Option<Holder> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    connect(probe.as_raw_fd(), &UnixAddr::new(path).ok()?).ok()?;
    let listens = getsockopt(&probe, PeerCredentials).ok()?;
    // 0: it cannot be seen from this PID namespace.
    let pid = u32::try_from(listens.pid()).ok().filter(|pid| *pid != 0);
    Some(match pid {
        Some(pid) => Holder::Program(pid, name_of(pid), vec![pid]),
        None => Holder::Of(Uid::from_raw(listens.uid())),
    })
}

/// A line of /proc/net/tcp or tcp6.
struct Row {
    address: SocketAddr,
    listens: bool,
    uid: Uid,
    inode: u64,
}

/// proc_pid_net(5): number, local address, remote address, state, queues, timer, retransmissions,
/// user, timeout, inode.
fn row(line: &str) -> Option<Row> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Row {
        address: SocketAddr::new(ip(address)?, port),
        listens: *fields.get(3)? == LISTENS,
        uid: Uid::from_raw(fields.get(7)?.parse().ok()?),
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Words of 32 bits, each in the machine's byte order.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok();
    if hex.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?.to_ne_bytes()).into());
    }
    let mut bytes = [0; 16];
    for (nth, four) in bytes.chunks_exact_mut(4).enumerate() {
        four.copy_from_slice(&word(8 * nth)?.to_ne_bytes());
    }
    Some(Ipv6Addr::from(bytes).into())
}

/// Whether one address cannot be bound beside the other. Of `::` it depends on IPV6_V6ONLY, which
/// /proc does not tell; but something is in the way, or this would not be asked.
fn conflicts(taken: SocketAddr, wanted: SocketAddr) -> bool {
    let everything = |address: SocketAddr| address.ip().is_unspecified();
    let v6_any = |address: SocketAddr| everything(address) && address.is_ipv6();
    taken.port() == wanted.port()
        && (taken.ip() == wanted.ip()
            || (everything(taken) || everything(wanted)) && taken.is_ipv4() == wanted.is_ipv4()
            || v6_any(taken)
            || v6_any(wanted))
}

/// The program whose processes have this socket open. Where systemd has it too, for a service that it
/// starts, the service is meant.
fn program_with(inode: u64) -> Option<Holder> {
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?;
    let processes = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let has_it = |pid: &u32| {
        let links = fs::read_dir(format!("/proc/{pid}/fd"));
        links.is_ok_and(|mut links| {
            links.any(|link| {
                let target = link.and_then(|link| fs::read_link(link.path()));
                target.is_ok_and(|target| target == Path::new(&socket))
            })
        })
    };
    let mut all: Vec<u32> = processes.filter(has_it).collect();
    all.sort_unstable();
    let first = *all.iter().find(|pid| **pid != 1).or(all.first())?;
    Some(Holder::Program(first, name_of(first), all))
}

/// What `ps` calls it; not its arguments, which may hold a password.
fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let shown: String = name.trim_end().chars().take(NAME_SHOWN).collect();
    match shown.as_str() {
        "" => "a program".to_owned(),
        _ => shown.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_program_that_listens_is_found_by_every_address_that_its_own_is_in_the_way_of() {
        let own = std::process::id();
        for (bound, asked) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "0.0.0.0"),
            ("0.0.0.0", "127.0.0.1"),
            ("::1", "::1"),
            ("::1", "::"),
        ] {
            let (bound, asked): (IpAddr, IpAddr) = (bound.parse().unwrap(), asked.parse().unwrap());
            // A program of another test may have the same port at another address.
            let (listener, asked) = std::iter::repeat_with(|| {
                let listener = TcpListener::bind((bound, 0)).unwrap();
                let port = listener.local_addr().unwrap().port();
                (listener, SocketAddr::new(asked, port))
            })
            .take(20)
            .find(|(_, asked)| of_tcp(*asked).is_some_and(|holder| holder.is(own)))
            .expect("a port that this program alone has");
            let holder = of_tcp(asked).unwrap();
            assert!(
                holder.to_string().ends_with(&format!("(PID {own})")),
                "{holder}"
            );
            drop(listener);
            assert_eq!(of_tcp(asked), None);
        }
    }

    #[test]
    fn another_address_with_the_same_port_is_not_in_the_way() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(!conflicts(at("127.0.0.1:25"), at("127.0.0.2:25")));
        assert!(!conflicts(at("127.0.0.1:25"), at("[::1]:25")));
        assert!(!conflicts(at("0.0.0.0:25"), at("0.0.0.0:26")));
        assert!(!conflicts(at("0.0.0.0:25"), at("[::1]:25")));
        assert!(conflicts(at("[::]:25"), at("127.0.0.1:25")));
    }

    #[test]
    fn the_program_behind_a_unix_socket_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert_eq!(of_unix(&path), None);
        let listener = UnixListener::bind(&path).unwrap();
        assert!(of_unix(&path).unwrap().is(std::process::id()));
        drop(listener);
        assert_eq!(of_unix(&path), None);
    }
}
