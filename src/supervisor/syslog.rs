//! A syslogd that was restarted listens on a socket of the old name, but a new one; from within the
//! jail it is out of reach. So the name is watched (inotify(7)), and every process is passed a
//! connection to whoever is there now.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::running::Supervisor;
use crate::config::Global;
use crate::ipc::words::ToMaster;
use crate::log;

/// Between two tries to connect: a socket has its name a moment before it can be connected to.
const PAUSE: Duration = Duration::from_millis(200);
/// Tries, before another event is waited for.
const TRIES: u32 = 25;

/// What is watched.
#[derive(Debug)]
pub struct SyslogWatch {
    inotify: Inotify,
    names: Vec<(WatchDescriptor, OsString)>,
    /// When to connect, and how often that may fail from here on.
    due: Option<(Instant, u32)>,
}

impl SyslogWatch {
    /// Watches for a new syslogd, where messages go to one. `None` where it cannot be watched for:
    /// then a reload finds it.
    pub fn of(global: &Global) -> Option<SyslogWatch> {
        let inotify = global
            .syslog
            .then(|| Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK))?
            .ok()?;
        let appears =
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
        let watch = |path: PathBuf| {
            let (folder, name) = (path.parent()?, path.file_name()?);
            Some((inotify.add_watch(folder, appears).ok()?, name.to_owned()))
        };
        let names = places(Path::new(log::SYSLOG_PATH))
            .into_iter()
            .filter_map(watch)
            .collect();
        Some(SyslogWatch {
            names,
            inotify,
            due: None,
        })
    }

    /// Takes note of what appeared.
    pub fn take_note(&mut self) {
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    let ours = |watch, name: &OsString| {
                        self.names.iter().any(|(w, n)| *w == watch && n == name)
                    };
                    let mut names = events.iter().map(|e| (e.wd, e.name.as_ref()));
                    if names.any(|(watch, name)| name.is_some_and(|name| ours(watch, name))) {
                        self.due = Some((Instant::now(), TRIES));
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// When [`Supervisor::connect_syslog_again`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.map(|(at, _)| at)
    }
}

impl AsFd for SyslogWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// The path, and what it is a link to, as with systemd.
fn places(path: &Path) -> Vec<PathBuf> {
    let mut places = vec![path.to_owned()];
    if let (Some(folder), Ok(target)) = (path.parent(), std::fs::read_link(path)) {
        places.push(folder.join(target));
    }
    places
}

impl Supervisor {
    /// Connects to the syslogd that has just appeared, if it is time to.
    pub(super) fn connect_syslog_again(&mut self, now: Instant) {
        let Some(watch) = &mut self.syslog else {
            return;
        };
        let Some((_, tries)) = watch.due.take_if(|(at, _)| *at <= now) else {
            return;
        };
        if self.pass_syslog().is_err()
            && let Some(watch) = &mut self.syslog
            && tries > 0
        {
            watch.due = Some((now + PAUSE, tries - 1));
        }
    }

    /// Has every process log to whichever syslogd runs now.
    pub(super) fn pass_syslog(&mut self) -> io::Result<()> {
        let socket = log::connect_syslog()?;
        let mut heard = self.pass_down(&ToMaster::Syslog, socket.as_fd());
        heard.add(self.helpers.replace_syslog(socket.as_fd()));
        self.send_again_unless(&heard);
        self.logs_changed |= self.transition.is_some();
        // Where none was there at the start, none is in use until a reload.
        if log::replace_syslog(socket).is_ok() {
            crate::info!(self.log, "syslog: connected again");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_watched_where_it_is_and_where_it_leads() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert_eq!(places(&log), std::slice::from_ref(&log));
        std::os::unix::fs::symlink("run/dev-log", &log).unwrap();
        assert_eq!(places(&log), [log, folder.path().join("run/dev-log")]);
    }
}
