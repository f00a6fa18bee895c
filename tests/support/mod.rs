//! Shared by the tests: the program under test, its peers, certificates, and a look at `/proc`. Nothing
//! here sleeps for a result: every wait polls until one deadline, and then shows what was seen until
//! then.

pub mod adit;
pub mod apart;
pub mod authority;
pub mod certs;
pub mod daemon;
pub mod dialogue;
pub mod dns;
pub mod kernel;
pub mod lists;
pub mod mail;
pub mod network;
pub mod old_tls;
pub mod openssl;
pub mod peers;
pub mod postgres;
pub mod proc;
pub mod responder;
pub mod terminal;
pub mod tls;
pub mod worlds;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use adit::{Adit, Plan};
pub use certs::Certs;
pub use kernel::Kernel;
pub use worlds::Worlds;

/// How long a test waits for anything. Far more than it takes: it only ends what hangs.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Polls until `probe` returns a value; `None` if the deadline passed without one.
pub fn poll_for<T>(deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Polls until `probe` returns a value; fails with `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    match poll_for(DEADLINE, probe) {
        Some(value) => value,
        None => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// Whether this run is root's.
pub fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// The stand-in (Debian's stunnel, say) that runs in adit's place:
/// `PROGRAM_UNDER_TEST=/usr/bin/stunnel4`.
pub fn stand_in() -> Option<PathBuf> {
    std::env::var_os("PROGRAM_UNDER_TEST").map(PathBuf::from)
}

/// The path of an installed program; also looks in the system's folders, which a user's PATH may lack.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Reports that a test did not run, and why: in its output, and in the file that `tests/run` shows.
pub fn say_skipped(test: &str, why: &str) {
    eprintln!("SKIP {test}: {why}");
    if let Some(file) = std::env::var_os("TEST_SKIPS") {
        let line = format!("SKIP {test}: {why}\n");
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("TEST_SKIPS names a file that can be written");
    }
}

/// The name of the test in this thread.
pub fn test_name() -> String {
    let thread = std::thread::current();
    thread.name().unwrap_or("unnamed test").to_owned()
}

/// Leaves the test, visibly, unless this machine meets a condition.
#[macro_export]
macro_rules! require {
    (root) => {
        $crate::require!($crate::support::is_root(), "it must be root");
    };
    // What stunnel does not have, or does otherwise; see the test's comment.
    (adit) => {
        $crate::require!(
            $crate::support::stand_in().is_none(),
            "a promise of adit's own; another program is under test"
        );
    };
    (program $name:literal) => {
        $crate::require!(
            $crate::support::installed($name).is_some(),
            concat!($name, " is not installed")
        );
    };
    ($condition:expr, $why:expr) => {
        if !$condition {
            $crate::support::say_skipped(&$crate::support::test_name(), $why);
            return;
        }
    };
}

/// An IPv4 address of this machine that is no loopback: the one that a packet to anywhere would come from.
pub fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing.
    socket.connect("192.0.2.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(own) if !own.is_loopback() && !own.is_unspecified() => Some(own),
        _ => None,
    }
}

/// A loopback address that no other test of this machine uses at the moment, for servers that cannot
/// choose a free port: on it they can have the real ones, 25, 993 and so on.
pub fn own_loopback() -> Ipv4Addr {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    // 127.64-127.x.y: the process's number, then a count within the process.
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::new(127, 64 | (high & 0x3f), low, count)
}

/// A loopback address that refuses every connection: bound, without listening.
pub struct DeadAddress {
    /// The address.
    pub address: SocketAddr,
    _socket: std::os::fd::OwnedFd,
}

/// Makes one; it lasts as long as the value.
pub fn dead_address() -> DeadAddress {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket,
    };
    use std::os::fd::AsRawFd;
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("a socket");
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a free port");
    let bound: SockaddrIn = getsockname(socket.as_raw_fd()).expect("its address");
    DeadAddress {
        address: SocketAddr::from((bound.ip(), bound.port())),
        _socket: socket,
    }
}
