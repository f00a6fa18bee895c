//! `certWatch = yes`: the folders of certificates, keys (also pre-shared ones), authorities and revocation lists are watched (inotify(7)), and
//! a change that has settled makes a reload. Folders, since files are renewed by renaming, and links
//! by being made anew.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use crate::config::{Config, Service};
use crate::inside::seen_from_outside;
use crate::log::Log;

/// Links on the way to one file, at most; as the kernel.
const MAX_LINKS: usize = 40;

/// What is gone from a folder of authorities is trusted no more; a certificate or a key that is gone
/// is about to be written anew.
const GONE: AddWatchFlags = AddWatchFlags::IN_DELETE.union(AddWatchFlags::IN_MOVED_FROM);

/// What is watched.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Inotify,
    /// Each folder, and the names in it that matter; none given, all of them.
    folders: HashMap<WatchDescriptor, (PathBuf, Option<BTreeSet<OsString>>)>,
}

impl Watch {
    /// Watches what a configuration names, if it wants that. A folder that cannot be watched is told.
    ///
    /// # Errors
    /// inotify is not to be had.
    pub(super) fn of(config: &Config, log: &Log) -> io::Result<Option<Watch>> {
        if !config.global.cert_watch {
            return Ok(None);
        }
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut folders = HashMap::new();
        for (folder, names) in folders_of(config) {
            let changes = AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_MOVED_TO
                | GONE
                | AddWatchFlags::IN_ATTRIB
                | AddWatchFlags::IN_ONLYDIR;
            match inotify.add_watch(&folder, changes) {
                Ok(watch) => match folders.entry(watch) {
                    Entry::Vacant(entry) => drop(entry.insert((folder, names))),
                    // The same folder by another path.
                    Entry::Occupied(mut entry) => {
                        let all = entry.get_mut().1.take().zip(names);
                        entry.get_mut().1 = all.map(|(a, b)| a.into_iter().chain(b).collect());
                    }
                },
                Err(errno) => crate::warning!(
                    log,
                    "certWatch: {} cannot be watched: {} ({}) ({})",
                    folder.display(),
                    errno.desc(),
                    errno as i32,
                    match errno {
                        Errno::ENOSPC => "raise the sysctl fs.inotify.max_user_watches",
                        _ => "after a change there, `adit reload`",
                    }
                ),
            }
        }
        Ok(Some(Watch { inotify, folders }))
    }

    /// Takes note of what changed; whether any of it matters.
    pub(super) fn take_note(&mut self) -> bool {
        let mut matters = false;
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    matters |= events.iter().any(|event| self.matters(event));
                }
                Err(Errno::EINTR) => {}
                Err(_) => return matters,
            }
        }
    }

    fn matters(&self, event: &InotifyEvent) -> bool {
        let Some((folder, names)) = self.folders.get(&event.wd) else {
            return event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
        };
        let name = event.name.as_ref();
        let ours = |names: &BTreeSet<_>| name.is_some_and(|name| names.contains(name));
        if !names.as_ref().is_none_or(ours) {
            return false;
        }
        if event.mask.intersects(GONE) {
            return names.is_none();
        }
        // A file that was only just made has yet to be written, which is told when it is closed.
        let made = event.mask.contains(AddWatchFlags::IN_CREATE);
        !made || name.is_none_or(|name| is_link(&folder.join(name)))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// A link, symbolic or one more name of a file: it is whole when it is made.
fn is_link(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|about| about.is_symlink() || about.nlink() > 1)
}

/// Each folder with the names in it that matter.
fn folders_of(config: &Config) -> HashMap<PathBuf, Option<BTreeSet<OsString>>> {
    let mut folders: HashMap<PathBuf, Option<BTreeSet<OsString>>> = HashMap::new();
    for tls in config.services.iter().flat_map(Service::each_tls) {
        let files = [
            &tls.cert,
            &tls.key,
            &tls.key_password_file,
            &tls.ca_file,
            &tls.crl_file,
            &tls.psk_secrets,
        ];
        for file in files.into_iter().flatten() {
            for (folder, name) in names_on_the_way(file) {
                let names = folders
                    .entry(folder)
                    .or_insert_with(|| Some(BTreeSet::new()));
                if let Some(names) = names {
                    names.insert(name);
                }
            }
        }
    }
    for tls in config.services.iter().flat_map(Service::each_tls) {
        for folder in [&tls.ca_path, &tls.crl_path].into_iter().flatten() {
            // As it is loaded: in the jail, or outside where it is not there.
            let inside = seen_from_outside(config.global.chroot.as_deref(), folder);
            let there = inside.is_dir();
            folders.insert(if there { inside } else { folder.clone() }, None);
        }
    }
    folders
}

/// Every name that decides which file a path means, with its folder: the file's own, and each link's
/// on the way there, as that of certbot's live/NAME/ or of a container's secrets.
fn names_on_the_way(file: &Path) -> Vec<(PathBuf, OsString)> {
    let mut found = Vec::new();
    let mut links = 0;
    let mut here = PathBuf::from(".");
    // The next component is the last.
    let mut left: Vec<PathBuf> = reversed(file);
    while let Some(next) = left.pop() {
        let place = here.join(&next);
        let Some(name) = next.file_name() else {
            // The root, or one up: there are no links in `here`, so that is its parent.
            here = match (next == Path::new(".."), here.components().next_back()) {
                (true, Some(Component::Normal(_))) => here.parent().unwrap_or(&here).to_owned(),
                (true, Some(Component::RootDir)) => here,
                _ => place,
            };
            continue;
        };
        let target = std::fs::read_link(&place).ok();
        if target.is_some() || left.is_empty() {
            found.push((here.clone(), name.to_owned()));
        }
        match target {
            Some(_) if links >= MAX_LINKS => break,
            Some(target) => {
                links += 1;
                left.extend(reversed(&target));
            }
            None => here = place,
        }
    }
    found
}

fn reversed(path: &Path) -> Vec<PathBuf> {
    let components = path.components().rev();
    components
        .filter(|component| *component != Component::CurDir)
        .map(|component| PathBuf::from(component.as_os_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_names_of_links_and_of_what_they_lead_to_are_watched() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("live/mail")).unwrap();
        fs::create_dir_all(at("archive/mail")).unwrap();
        fs::write(at("archive/mail/cert1.pem"), "").unwrap();
        symlink("../../archive/mail/cert1.pem", at("live/mail/cert.pem")).unwrap();
        symlink(at("live/mail"), at("current")).unwrap();
        let found = names_on_the_way(&at("current/cert.pem"));
        let name = |folder: &str, name: &str| (at(folder), OsString::from(name));
        // Whatever is above the folder is not the test's.
        let expected = [
            (folder.path().to_owned(), "current".into()),
            name("live/mail", "cert.pem"),
            name("archive/mail", "cert1.pem"),
        ];
        assert!(found.ends_with(&expected), "{found:?}");
    }

    #[test]
    fn a_relative_path_and_one_that_is_not_there_are_watched_where_they_are() {
        let found = names_on_the_way(Path::new("./no-such-folder/cert.pem"));
        assert_eq!(found, [("./no-such-folder".into(), "cert.pem".into())]);
        let found = names_on_the_way(Path::new("cert.pem"));
        assert_eq!(found, [(".".into(), "cert.pem".into())]);
        let found = names_on_the_way(Path::new("../../cert.pem"));
        assert_eq!(found, [("./../..".into(), "cert.pem".into())]);
    }

    #[test]
    fn links_that_lead_to_themselves_come_to_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loop");
        symlink("loop", &path).unwrap();
        assert!(names_on_the_way(&path).len() <= MAX_LINKS + 1);
    }
}
