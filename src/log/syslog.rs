//! syslog: RFC 3164 datagrams to /dev/log.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket,
};
use slog::{Drain, Never, OwnedKVList, Record};

use super::clock::{Moment, Rfc3164};
use super::line::{level_of, text};
use super::sink::{Losses, SlowReader, lost_text, put_behind};
use super::{format, json};
use crate::config::LogFormat;

/// Where syslogd listens.
pub(crate) const PATH: &str = "/dev/log";

/// A socket connected to `path`.
///
/// # Errors
/// No syslogd listens there.
pub(super) fn open(path: &str) -> io::Result<OwnedFd> {
    let fd = unconnected()?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd)
}

/// A socket that holds the place of one for a syslogd that comes later.
///
/// # Errors
/// No descriptor to be had.
pub(super) fn unconnected() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(
        AddressFamily::Unix,
        SockType::Datagram,
        flags,
        None,
    )?)
}

/// The slog drain.
#[derive(Debug)]
pub(super) struct Syslog {
    socket: OwnedFd,
    /// There was a syslogd. Until then lines cost nothing but their count.
    met: AtomicBool,
    facility: u8,
    program: String,
    losses: Losses,
    reader: SlowReader,
}

impl Syslog {
    /// Sends to `socket`, as `program`, under `facility` (not shifted); `met`: it is connected.
    pub(super) fn new(socket: OwnedFd, met: bool, facility: u8, program: String) -> Self {
        Self {
            socket,
            met: AtomicBool::new(met),
            facility,
            program,
            losses: Losses::default(),
            reader: SlowReader::default(),
        }
    }

    /// Replaces the socket by `new`, which is connected to a syslogd.
    ///
    /// # Errors
    /// What dup3(2) gives.
    pub(super) fn replace(&self, new: BorrowedFd<'_>) -> io::Result<()> {
        put_behind(&self.socket, new)?;
        self.met.store(true, Relaxed);
        self.reader.moved();
        Ok(())
    }

    /// Whether there was a syslogd.
    pub(super) fn has_met_one(&self) -> bool {
        self.met.load(Relaxed)
    }

    fn begin(&self, level: u8) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(256);
        let _ = write!(
            datagram,
            "<{}>{} {}[{}]: ",
            self.facility << 3 | level,
            Rfc3164(Moment::now()),
            self.program,
            std::process::id()
        );
        datagram
    }

    fn put(&self, datagram: &[u8]) -> Result<(), Errno> {
        let mut again = true;
        loop {
            match send(self.socket.as_raw_fd(), datagram, MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => {
                    self.reader.moved();
                    return Ok(());
                }
                Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN) if self.reader.wait(self.socket.as_fd()) => (),
                // syslogd was restarted and its old socket is gone. The new one cannot be reached from
                // inside a jail, unless the jail has a /dev/log of its own; the supervisor passes one
                // in, see supervisor/syslog.rs.
                Err(Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET)
                    if again && self.reconnect() =>
                {
                    again = false;
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    fn reconnect(&self) -> bool {
        UnixAddr::new(PATH)
            .and_then(|address| connect(self.socket.as_raw_fd(), &address))
            .is_ok()
    }
}

impl AsFd for Syslog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drain for Syslog {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        if !self.has_met_one() {
            self.losses.add();
            return Ok(());
        }
        let mut datagram = self.begin(level_of(record));
        let is_json = format() == LogFormat::Json;
        let _ = match is_json {
            true => write!(datagram, "{}", json::object(record, values)),
            false => write!(datagram, "{}: ", record.tag())
                .and_then(|()| text(&mut datagram, record.msg())),
        };
        let lost = self.losses.untold();
        if lost > 0 {
            let mut note = self.begin(4);
            let _ = match is_json {
                true => write!(note, "{}", json::bare(4, &lost_text(lost))),
                false => write!(note, "LOG4[main]: {}", lost_text(lost)),
            };
            if self.put(&note).is_ok() {
                self.losses.told(lost);
            }
        }
        if let Err(errno) = self.put(&datagram) {
            self.losses.add();
            self.losses.tell("syslog", errno);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use slog::{Logger, o};

    use super::*;

    fn received(from: &UnixDatagram) -> String {
        let mut buffer = [0; 8192];
        let length = from.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn say(logger: &Logger, id: crate::log::Id, text: &str) {
        let fields = crate::log::fields::Fields {
            id,
            about: None,
            more: &[],
        };
        crate::log::installed::log_to(logger, 5, fields, format_args!("{text}"));
    }

    #[test]
    fn a_line_is_a_datagram_with_priority_time_program_and_pid() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let syslogd = UnixDatagram::bind(&path).unwrap();
        let socket = open(path.to_str().unwrap()).unwrap();
        let logger = Logger::root(Syslog::new(socket, true, 3, "adit".into()).fuse(), o!());
        say(&logger, crate::log::Id::Connection(17), "a\nb");
        let line = received(&syslogd);
        let (head, rest) = line.split_at("<29>".len());
        assert_eq!(head, "<29>");
        let pid = std::process::id();
        // `Nov  4 09:46:10 ` is 16 bytes long.
        assert_eq!(&rest[16..], format!("adit[{pid}]: LOG5[17]: a\\x0ab"));
    }

    #[test]
    fn a_syslogd_that_is_gone_is_told_what_it_missed() {
        let (here, there) = UnixDatagram::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let syslog = Syslog::new(here.into(), true, 3, "adit".into());
        let mut lines = 0;
        while syslog.losses.untold() < 2 {
            lines += 1;
            let datagram = vec![b'x'; 3000];
            if syslog.put(&datagram).is_err() {
                syslog.losses.add();
            }
        }
        for _ in 0..lines - 2 {
            received(&there);
        }
        let logger = Logger::root(syslog.fuse(), o!());
        say(&logger, crate::log::Id::Main, "again");
        assert!(received(&there).ends_with("LOG4[main]: 2 log line(s) lost"));
        assert!(received(&there).ends_with("LOG5[main]: again"));
    }

    #[test]
    fn another_syslogd_in_its_place_is_told_what_was_missed() {
        let (here, there) = UnixDatagram::pair().unwrap();
        let syslog = Syslog::new(here.into(), true, 3, "adit".into());
        drop(there);
        // No syslogd is running; or this machine has one, and it was found.
        if syslog.put(b"missed").is_err() {
            syslog.losses.add();
        }
        let lost = syslog.losses.untold();
        let (new, restarted) = UnixDatagram::pair().unwrap();
        syslog.replace(new.as_fd()).unwrap();
        drop(new);
        let logger = Logger::root(syslog.fuse(), o!());
        say(&logger, crate::log::Id::Main, "again");
        if lost > 0 {
            assert!(received(&restarted).ends_with("LOG4[main]: 1 log line(s) lost"));
        }
        assert!(received(&restarted).ends_with("LOG5[main]: again"));
    }

    #[test]
    fn one_that_comes_late_is_told_what_it_missed() {
        let syslog = Syslog::new(unconnected().unwrap(), false, 3, "adit".into());
        let syslog = std::sync::Arc::new(syslog);
        let (new, late) = UnixDatagram::pair().unwrap();
        let logger = Logger::root(std::sync::Arc::clone(&syslog).fuse(), o!());
        let log = |text: &str| {
            say(&logger, crate::log::Id::Main, text);
        };
        (0..3).for_each(|_| log("too soon"));
        syslog.replace(new.as_fd()).unwrap();
        log("in time");
        assert!(received(&late).ends_with("LOG4[main]: 3 log line(s) lost"));
        assert!(received(&late).ends_with("LOG5[main]: in time"));
    }

    #[test]
    fn nobody_at_dev_log_is_an_error_at_the_opening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(open(path.to_str().unwrap()).is_err());
    }
}
