//! The folder of the accounts, one file each, which a process knows by its descriptor alone. A file is replaced as a whole
//! and is on the disk before anything else goes on. Never in here: what is in a file, or a path that is followed out of the
//! folder.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use super::seal::{MAX_FILE, Sealed};

/// What the name of an account's file ends with.
const SUFFIX: &str = ".account";
/// Longest name of a file before that; the system's bound is 255.
const MAX_NAME: usize = 200;
/// The file that is locked by what changes another.
const LOCK: &str = "lock";

/// See the module.
#[derive(Debug)]
pub(crate) struct Store(OwnedFd);

/// Which file it is: another one at the next change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    changed: (i64, i64),
    size: i64,
}

/// Why a file cannot be had.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// The system's reason, and what was being done.
    Io(&'static str, io::Error),
    /// It is no file that adit wrote.
    Broken,
    /// It was changed or removed meanwhile.
    Changed,
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Io(doing, error) => write!(f, "{doing}: {}", crate::log::Reason(error)),
            StoreError::Broken => f.write_str("its file is damaged"),
            StoreError::Changed => f.write_str("its file was changed meanwhile"),
        }
    }
}

fn doing(what: &'static str) -> impl Fn(Errno) -> StoreError {
    move |errno| StoreError::Io(what, errno.into())
}

/// The steps of a replacement, for tests that stop at one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Begun,
    Written,
    Synced,
    Renamed,
    Done,
}

impl Store {
    /// The folder that `folder` is.
    pub(crate) fn new(folder: OwnedFd) -> Store {
        Store(folder)
    }

    /// Which file an account has; `None`: there is no such account.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub(crate) fn stamp(&self, account: &str) -> Result<Option<Stamp>, StoreError> {
        let Some(name) = file_name(account) else {
            return Ok(None);
        };
        match fstatat(&self.0, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(about) => Ok(Some(Stamp::of(&about))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(doing("looking for an account")(errno)),
        }
    }

    /// Reads an account; `None`: there is none.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub(crate) fn read(&self, account: &str) -> Result<Option<(Stamp, Sealed)>, StoreError> {
        match file_name(account) {
            Some(name) => self.read_file(&name),
            None => Ok(None),
        }
    }

    fn read_file(&self, name: &str) -> Result<Option<(Stamp, Sealed)>, StoreError> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file = match openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(doing("opening an account")(errno)),
        };
        let reading = |error| StoreError::Io("reading an account", error);
        let about = file.metadata().map_err(reading)?;
        let mut text = Vec::new();
        let length = (&file)
            .take(MAX_FILE as u64 + 1)
            .read_to_end(&mut text)
            .map_err(reading)?;
        if !about.is_file() || length > MAX_FILE {
            return Err(StoreError::Broken);
        }
        let stamp = Stamp {
            inode: about.ino(),
            changed: (about.ctime(), about.ctime_nsec()),
            size: about.size() as i64,
        };
        let sealed = Sealed::read(&text).ok_or(StoreError::Broken)?;
        Ok(Some((stamp, sealed)))
    }

    /// The accounts, by name, and how many files are none.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn list(&self) -> Result<(Vec<Sealed>, usize), StoreError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let listing = doing("reading the folder");
        let folder = openat(&self.0, ".", flags, Mode::empty()).map_err(&listing)?;
        let mut folder = Dir::from_fd(folder).map_err(&listing)?;
        let (mut all, mut broken) = (Vec::new(), 0);
        for entry in folder.iter() {
            let entry = entry.map_err(&listing)?;
            let Some(name) = entry
                .file_name()
                .to_str()
                .ok()
                .filter(|name| name.ends_with(SUFFIX))
            else {
                continue;
            };
            match self.read_file(name) {
                Ok(found) => all.extend(found.map(|(_, sealed)| sealed)),
                Err(StoreError::Broken) => broken += 1,
                Err(error) => return Err(error),
            }
        }
        all.sort_by(|one, other| one.account.name.cmp(&other.account.name));
        Ok((all, broken))
    }

    /// Puts an account in the place of the one that `expected` names; of any that is there, if that is `None`. It is on
    /// the disk then.
    ///
    /// # Errors
    /// What could not be done; the last account is whole then. It was changed meanwhile.
    pub(crate) fn replace(
        &self,
        sealed: &Sealed,
        expected: Option<Stamp>,
    ) -> Result<Stamp, StoreError> {
        self.replace_by_steps(sealed, expected, |_| ())
    }

    fn replace_by_steps(
        &self,
        sealed: &Sealed,
        expected: Option<Stamp>,
        at: impl Fn(Step),
    ) -> Result<Stamp, StoreError> {
        let account = &sealed.account.name;
        let name = file_name(account).ok_or(StoreError::Broken)?;
        let text = sealed
            .write()
            .filter(|text| text.len() <= MAX_FILE)
            .ok_or(StoreError::Broken)?;
        let _lock = self.lock()?;
        if expected.is_some() && self.stamp(account)? != expected {
            return Err(StoreError::Changed);
        }
        // Under the lock there is no other writer: what has this name was left behind by one that died.
        let fresh = format!("{name}.new");
        self.remove(&fresh)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(
            &self.0,
            fresh.as_str(),
            flags,
            Mode::S_IRUSR | Mode::S_IWUSR,
        )
        .map_err(doing("making a file"))?;
        at(Step::Begun);
        let writing = |error| StoreError::Io("writing an account", error);
        let mut file = File::from(file);
        file.write_all(&text).map_err(writing)?;
        at(Step::Written);
        file.sync_all().map_err(writing)?;
        at(Step::Synced);
        renameat(&self.0, fresh.as_str(), &self.0, name.as_str())
            .map_err(doing("renaming an account"))?;
        at(Step::Renamed);
        self.sync()?;
        at(Step::Done);
        self.stamp(account)?.ok_or(StoreError::Changed)
    }

    /// Removes an account; false: there is none.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(crate) fn forget(&self, account: &str) -> Result<bool, StoreError> {
        let Some(name) = file_name(account) else {
            return Ok(false);
        };
        let _lock = self.lock()?;
        let removed = self.remove(&name)?;
        self.remove(&format!("{name}.new"))?;
        self.sync()?;
        Ok(removed)
    }

    fn remove(&self, name: &str) -> Result<bool, StoreError> {
        match unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(doing("removing a file")(errno)),
        }
    }

    /// Waits for another writer, which is quick; goes with the value.
    fn lock(&self) -> Result<Flock<OwnedFd>, StoreError> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.0, LOCK, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let file = file.map_err(doing("opening the lock"))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| doing("flock(2)")(errno))
    }

    /// What the folder names is on the disk.
    fn sync(&self) -> Result<(), StoreError> {
        fsync(self.0.as_fd()).map_err(doing("fsync(2) of the folder"))
    }
}

impl Stamp {
    fn of(about: &FileStat) -> Stamp {
        Stamp {
            inode: about.st_ino,
            changed: (about.st_ctime, about.st_ctime_nsec),
            size: about.st_size,
        }
    }
}

/// What an account is known by: old programs do not care for upper case.
pub(crate) fn key(account: &str) -> String {
    account.to_ascii_lowercase()
}

/// The name of an account's file; `None`: it is too long, or empty.
pub(crate) fn file_name(account: &str) -> Option<String> {
    let mut name = String::new();
    for byte in key(account).bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'@' | b'_' | b'-' | b'+' => name.push(byte.into()),
            // Not as the first: such files are not shown.
            b'.' if !name.is_empty() => name.push('.'),
            _ => name += &format!("%{byte:02x}"),
        }
    }
    (1..=MAX_NAME).contains(&name.len()).then(|| name + SUFFIX)
}

#[cfg(test)]
mod tests;
