//! `certWatch = yes`: the folders of certificates, keys and authorities are watched (inotify(7)), and
//! a change that has settled makes a reload. Folders, since files are renewed by renaming.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::config::Config;
use crate::log::Log;

/// How long nothing must change before a change counts: certificate and key come one after the other.
const SETTLED: Duration = Duration::from_secs(1);

/// What is watched.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
    /// The names in each folder that matter; none given, all of them.
    folders: HashMap<WatchDescriptor, Option<BTreeSet<OsString>>>,
    settles: Option<Instant>,
}

impl Watch {
    /// Watches what a configuration names, if it wants that. A folder that cannot be watched is told.
    ///
    /// # Errors
    /// inotify is not to be had.
    pub fn of(config: &Config, log: &Log) -> io::Result<Option<Watch>> {
        if !config.global.cert_watch {
            return Ok(None);
        }
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut folders = HashMap::new();
        for (folder, names) in folders_of(config) {
            let changes = AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_ATTRIB
                | AddWatchFlags::IN_ONLYDIR;
            match inotify.add_watch(&folder, changes) {
                Ok(watch) => drop(folders.insert(watch, names)),
                Err(errno) => crate::warning!(
                    log,
                    "certWatch: {} cannot be watched: {} ({})",
                    folder.display(),
                    errno.desc(),
                    errno as i32
                ),
            }
        }
        Ok(Some(Watch {
            inotify,
            folders,
            settles: None,
        }))
    }

    /// Takes note of what changed.
    pub fn take_note(&mut self) {
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    let matters = events.iter().any(|event| {
                        let Some(names) = self.folders.get(&event.wd) else {
                            return event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                        };
                        let name = event.name.as_ref();
                        names
                            .as_ref()
                            .is_none_or(|names| name.is_some_and(|n| names.contains(n)))
                    });
                    if matters {
                        self.settles = Some(Instant::now() + SETTLED);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// When a change will have settled.
    pub fn settles(&self) -> Option<Instant> {
        self.settles
    }

    /// Whether a change has settled; each once.
    pub fn has_settled(&mut self, now: Instant) -> bool {
        self.settles.take_if(|at| *at <= now).is_some()
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Each folder with the names in it that matter. A name that is a link, as certbot's, is watched
/// where it leads to as well.
fn folders_of(config: &Config) -> HashMap<PathBuf, Option<BTreeSet<OsString>>> {
    let mut folders: HashMap<PathBuf, Option<BTreeSet<OsString>>> = HashMap::new();
    let mut add = |file: &Path| {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
            return;
        };
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        let names = folders
            .entry(folder.to_owned())
            .or_insert_with(|| Some(BTreeSet::new()));
        if let Some(names) = names {
            names.insert(name.to_owned());
        }
    };
    for tls in config.services.iter().map(|service| &service.tls) {
        let files = [&tls.cert, &tls.key, &tls.key_password_file, &tls.ca_file];
        for file in files.into_iter().flatten() {
            add(file);
            if let Ok(target) = std::fs::canonicalize(file) {
                add(&target);
            }
        }
    }
    for tls in config.services.iter().map(|service| &service.tls) {
        if let Some(folder) = &tls.ca_path {
            folders.insert(folder.clone(), None);
        }
    }
    folders
}
