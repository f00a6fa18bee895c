//! A syslogd that comes late, or was restarted, listens on a socket that is new; from within the
//! jail it is out of reach. So the name is watched (inotify(7)), and every process is passed a
//! connection to the one that is there now.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::config::Global;
use crate::log;

/// What is watched.
#[derive(Debug)]
pub(super) struct SyslogWatch {
    inotify: Inotify,
    names: Vec<(WatchDescriptor, OsString)>,
}

impl SyslogWatch {
    /// Watches for a new syslogd, where messages go to one. `None` where it cannot be watched for:
    /// then a reload finds it.
    pub(super) fn of(global: &Global) -> Option<SyslogWatch> {
        let inotify = global
            .syslog
            .then(|| Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK))?
            .ok()?;
        let mut watch = SyslogWatch {
            inotify,
            names: Vec::new(),
        };
        watch.watch_places();
        Some(watch)
    }

    /// Watches wherever it may appear by now: a link may have come, or lead elsewhere.
    fn watch_places(&mut self) {
        let appears =
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
        for path in places(Path::new(log::SYSLOG_PATH)) {
            if let (Some(folder), Some(name)) = (path.parent(), path.file_name())
                && let Ok(watch) = self.inotify.add_watch(folder, appears)
            {
                let place = (watch, name.to_owned());
                if !self.names.contains(&place) {
                    self.names.push(place);
                }
            }
        }
    }

    /// Takes note of what appeared; whether a syslogd has.
    pub(super) fn take_note(&mut self) -> bool {
        let mut appeared = false;
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    let ours = |watch, name: &OsString| {
                        self.names.iter().any(|(w, n)| *w == watch && n == name)
                    };
                    let mut names = events.iter().map(|e| (e.wd, e.name.as_ref()));
                    appeared |=
                        names.any(|(watch, name)| name.is_some_and(|name| ours(watch, name)));
                }
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        if appeared {
            self.watch_places();
        }
        appeared
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
