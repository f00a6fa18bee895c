//! The pid file: locked while the instance lives, so that a second one with the same file refuses
//! to start, and a stale file stops no start.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;

use crate::inside::{self, seen_from_outside};
use crate::log::Reason;
use crate::remedy;

/// A pid file that is ours; removed by [`PidFile::remove`].
#[derive(Debug)]
pub(crate) struct PidFile {
    file: Flock<File>,
    root: Option<PathBuf>,
    path: PathBuf,
}

/// Why there is no pid file.
#[derive(Debug)]
pub(crate) enum PidFileError {
    /// Another instance holds it; its process number as the file has it.
    Living(PathBuf, String),
    /// It cannot be made or written.
    Io(PathBuf, io::Error),
}

impl fmt::Display for PidFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Living(path, pid) => write!(
                f,
                "pid file {}: an instance with PID {pid} is running already (stop it, or give this one \
                 another `pid`)",
                path.display()
            ),
            Self::Io(path, error) => {
                let (path, reason) = (path.display(), Reason(error));
                let remedy = remedy::making_a_file(error);
                write!(f, "Cannot create pid file {path}: {reason} ({remedy})")
            }
        }
    }
}

/// The process number in a pid file that a living instance holds; `None` when there is none.
pub(crate) fn holder(root: Option<&Path>, path: &Path) -> Option<u32> {
    let file = open_to_read(root, path).ok()?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            // A number is no longer; the file may be another user's.
            (&mut file).take(32).read_to_string(&mut pid).ok()?;
            pid.trim().parse().ok()
        }
        _ => None,
    }
}

impl PidFile {
    /// Opens and locks it, inside the jail where there is one.
    ///
    /// # Errors
    /// See [`PidFileError`].
    pub(crate) fn acquire(root: Option<&Path>, path: &Path) -> Result<PidFile, PidFileError> {
        let seen = seen_from_outside(root, path);
        let failed = |error: io::Error| PidFileError::Io(seen.clone(), error);
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o644);
        let file = open(root, path, flags, mode).map_err(|errno| failed(errno.into()))?;
        match Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(PidFile {
                file,
                root: root.map(Path::to_owned),
                path: path.to_owned(),
            }),
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(failed)?;
                Err(PidFileError::Living(seen, pid.trim().to_owned()))
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// The locked file, for the next program of this process.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The jail it stands in, and its path there.
    pub(crate) fn place(&self) -> (Option<&Path>, &Path) {
        (self.root.as_deref(), &self.path)
    }

    /// The file that the program before an exec held; its lock came along.
    ///
    /// # Errors
    /// It is not locked by this process.
    pub(crate) fn taken_over(
        file: OwnedFd,
        root: Option<PathBuf>,
        path: PathBuf,
    ) -> io::Result<PidFile> {
        let file = Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| io::Error::from(errno))?;
        Ok(PidFile { file, root, path })
    }

    /// Whether the file at this place is this one, by whatever way.
    pub(crate) fn is_at(&self, root: Option<&Path>, path: &Path) -> bool {
        let identity = |file: &File| {
            let about = file.metadata().ok()?;
            Some((about.dev(), about.ino()))
        };
        let there = open_to_read(root, path).ok();
        let there = there.and_then(|file| identity(&file));
        there.is_some() && there == identity(&self.file)
    }

    /// The way to it is another now: see [`PidFile::is_at`].
    pub(crate) fn move_to(&mut self, root: Option<&Path>, path: &Path) {
        self.root = root.map(Path::to_owned);
        self.path = path.to_owned();
    }

    /// Writes this process's number.
    ///
    /// # Errors
    /// As [`PidFile::acquire`].
    pub(crate) fn write(&mut self) -> Result<(), PidFileError> {
        let file: &mut File = &mut self.file;
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| {
            PidFileError::Io(seen_from_outside(self.root.as_deref(), &self.path), error)
        })
    }

    /// Removes the file, if it is still the one that was opened.
    pub(crate) fn remove(self) {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return;
        };
        let Ok(folder) = open(self.root.as_deref(), folder, flags, Mode::empty()) else {
            return;
        };
        let there =
            nix::sys::stat::fstatat(&folder, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW);
        let same = match (there, self.file.metadata()) {
            (Ok(there), Ok(ours)) => (there.st_dev, there.st_ino) == (ours.dev(), ours.ino()),
            _ => false,
        };
        if same {
            // Nothing is left to be done about a file that cannot be removed.
            let _ = nix::unistd::unlinkat(&folder, name, nix::unistd::UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn open_to_read(root: Option<&Path>, path: &Path) -> nix::Result<File> {
    // Nothing that waits for a reader, as a fifo does.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    open(root, path, flags, Mode::empty()).map(File::from)
}

/// In the jail, where there is one.
fn open(root: Option<&Path>, path: &Path, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    match root {
        Some(root) => inside::open(root, path, flags, mode),
        None => nix::fcntl::open(path, flags, mode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_instance_is_respected_a_stale_file_is_not_and_ours_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adit.pid");
        std::fs::write(&path, "1\n").unwrap();
        let mut ours = PidFile::acquire(None, &path).unwrap();
        ours.write().unwrap();
        let pid = std::process::id().to_string();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{pid}\n"));
        let second = PidFile::acquire(None, &path).unwrap_err();
        assert!(
            matches!(&second, PidFileError::Living(_, p) if *p == pid),
            "{second}"
        );
        ours.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_link_never_leads_out_of_the_jail() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        let jail = folder.path().join("jail");
        std::fs::create_dir_all(jail.join("run")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, jail.join("link")).unwrap();
        assert!(PidFile::acquire(Some(&jail), Path::new("/link/adit.pid")).is_err());
        assert!(!outside.join("adit.pid").exists());
        let inside = PidFile::acquire(Some(&jail), Path::new("/run/adit.pid")).unwrap();
        assert!(jail.join("run/adit.pid").exists());
        inside.remove();
        assert!(!jail.join("run/adit.pid").exists());
    }
}
