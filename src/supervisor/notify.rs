//! What systemd is told of the supervisor: ready, reloading, stopping, a status text, and that its
//! loop still turns (sd_notify(3)). Where no manager asked to be told, nothing is done.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Who is told, and how often the watchdog wants to hear.
#[derive(Debug)]
pub(super) struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    /// Half of what the manager gives the watchdog.
    every: Option<Duration>,
}

impl Notifier {
    /// As the environment says: `NOTIFY_SOCKET` with a path or an abstract name behind an `@`,
    /// `WATCHDOG_USEC` and `WATCHDOG_PID` (sd_watchdog_enabled(3)). `pid` is the process that the
    /// watchdog must be meant for.
    pub(super) fn from_environment(pid: u32) -> Notifier {
        let address = env::var_os("NOTIFY_SOCKET").and_then(|name| address(name.as_bytes()));
        let manager = address.and_then(|address| {
            let socket = UnixDatagram::unbound().ok()?;
            // A manager that reads nothing must not hold up the loop that it watches.
            socket.set_nonblocking(true).ok()?;
            Some((socket, address))
        });
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        let meant = number("WATCHDOG_PID").is_none_or(|meant| meant == u64::from(pid));
        let every = number("WATCHDOG_USEC")
            .filter(|&limit| limit > 0 && meant && manager.is_some())
            .map(|limit| Duration::from_micros(limit / 2));
        Notifier { manager, every }
    }

    /// A start or a reload is over, with this result.
    pub(super) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// A reload has begun. The time lets the manager tell it from an earlier one.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
        let now = now.unwrap_or_default().as_micros();
        self.say(&format!(
            "RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=Reloading"
        ));
    }

    /// The end has begun, and takes this long at most.
    pub(super) fn stopping(&self, timeout: Duration) {
        let timeout = timeout.as_micros();
        self.say(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={timeout}\nSTATUS=Waiting for connections to end"
        ));
    }

    /// How often the watchdog wants to hear; `None`: there is none.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.every
    }

    /// Tells the watchdog that the loop has come round.
    pub(super) fn feed_watchdog(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, words: &str) {
        if let Some((socket, address)) = &self.manager {
            // A manager that is gone or full cannot be told.
            let _ = socket.send_to_addr(words.as_bytes(), address);
        }
    }
}

/// The address in `NOTIFY_SOCKET`; other families than Unix are for virtual machines.
fn address(name: &[u8]) -> Option<SocketAddr> {
    match name {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)).ok(),
        _ => None,
    }
}

/// A line break would end the word, and begin another.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A notifier, and the end that the manager reads.
    fn pair() -> (Notifier, UnixDatagram, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let address = address(path.as_os_str().as_bytes()).unwrap();
        let notifier = Notifier {
            manager: Some((UnixDatagram::unbound().unwrap(), address)),
            every: None,
        };
        (notifier, manager, folder)
    }

    fn heard(manager: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    #[test]
    fn what_happens_is_told_in_one_datagram_each() {
        let (notifier, manager, _folder) = pair();
        notifier.ready("Serving\nREADY=0");
        assert_eq!(heard(&manager).unwrap(), "READY=1\nSTATUS=Serving READY=0");
        notifier.reloading();
        let text = heard(&manager).unwrap();
        let time = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let (time, status) = time.split_once('\n').unwrap();
        assert!(time.parse::<u64>().unwrap() > 0);
        assert_eq!(status, "STATUS=Reloading");
        notifier.stopping(Duration::from_secs(7));
        let text = heard(&manager).unwrap();
        assert!(
            text.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=7000000\n"),
            "{text}"
        );
        notifier.feed_watchdog();
        assert_eq!(heard(&manager).as_deref(), Some("WATCHDOG=1"));
    }

    #[test]
    fn addresses_are_paths_or_abstract_names() {
        let path = address(b"/run/systemd/notify").unwrap();
        assert_eq!(
            path.as_pathname().unwrap().to_str(),
            Some("/run/systemd/notify")
        );
        let name = address(b"@adit/notify").unwrap();
        assert_eq!(name.as_abstract_name(), Some(&b"adit/notify"[..]));
        assert!(address(b"vsock:2:1234").is_none() && address(b"").is_none());
        assert!(address(format!("/{}", "x".repeat(200)).as_bytes()).is_none());
    }
}
