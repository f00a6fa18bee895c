//! A life outside the jail as a user of its own, with one folder that is open already: the keeper's, and that of
//! `adit login`. Never in here: a folder that another user may read.

use std::fmt;
use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User};

use super::{OutsidePlan, Plan};
use crate::config::KeeperOptions;
use crate::log::Reason;

/// The user and the folder, looked up before anything is given up.
#[derive(Debug)]
pub(crate) struct Keeping {
    pub plan: OutsidePlan,
    pub folder: OwnedFd,
}

/// Why the accounts cannot be kept.
#[derive(Debug)]
pub(crate) enum NoKeeping {
    /// `keeperUser` names no user.
    User(String),
    /// It names root.
    Root,
    /// The folder cannot be made or opened.
    Folder(PathBuf, io::Error),
    /// It belongs to another user, or others may open it.
    Open(PathBuf, String),
}

impl fmt::Display for NoKeeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoKeeping::User(name) => write!(
                f,
                "keeperUser: there is no user \"{name}\" on this system: make it (`systemd-sysusers adit.conf`, or `useradd --system --user-group \
                 --no-create-home --shell /usr/sbin/nologin {name}`)"
            ),
            NoKeeping::Root => {
                f.write_str("keeperUser: root keeps no tokens: name a user of its own")
            }
            NoKeeping::Folder(path, error) => write!(
                f,
                "keeperDirectory: {}: {} (an ordinary user names a folder of its own)",
                path.display(),
                Reason(error)
            ),
            NoKeeping::Open(path, owner) => write!(
                f,
                "keeperDirectory: {} is not for one user alone: `chown {owner}: {}`, `chmod 700 {}`",
                path.display(),
                path.display(),
                path.display()
            ),
        }
    }
}

impl std::error::Error for NoKeeping {}

impl From<NoKeeping> for io::Error {
    fn from(error: NoKeeping) -> Self {
        io::Error::other(error)
    }
}

impl NoKeeping {
    /// The option at fault.
    pub(crate) fn option(&self) -> &'static str {
        match self {
            NoKeeping::User(_) | NoKeeping::Root => "keeperUser",
            NoKeeping::Folder(..) | NoKeeping::Open(..) => "keeperDirectory",
        }
    }
}

impl Keeping {
    /// Looks up the user, and opens the folder, which is made if it is missing. Without root it is the process's own.
    ///
    /// # Errors
    /// See [`NoKeeping`].
    pub(crate) fn look_up(options: &KeeperOptions) -> Result<Keeping, NoKeeping> {
        let owner = Owner::of(options)?;
        let folder = owner.open(&options.directory)?;
        let plan = OutsidePlan(Plan {
            root: None,
            uid: owner.user.map(|(uid, _)| uid),
            gid: owner.user.map(|(_, gid)| gid),
            privileged: owner.user.is_some(),
        });
        Ok(Keeping { plan, folder })
    }

    /// What is in the way, as far as can be seen without making anything.
    pub(crate) fn obstacle(options: &KeeperOptions) -> Option<NoKeeping> {
        let path = &options.directory;
        let looked = Owner::of(options).and_then(|owner| {
            let failed = |error| NoKeeping::Folder(path.clone(), error);
            match path.symlink_metadata() {
                Ok(about) => owner.judge(path, &about),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let parent = path.parent().unwrap_or(path);
                    parent.metadata().map(drop).map_err(failed)
                }
                Err(error) => Err(failed(error)),
            }
        });
        looked.err()
    }
}

/// Whose folder it is to be.
struct Owner<'a> {
    name: &'a str,
    /// `None`: this process's, which is not root.
    user: Option<(Uid, Gid)>,
}

impl Owner<'_> {
    fn of(options: &KeeperOptions) -> Result<Owner<'_>, NoKeeping> {
        let name = options.user.as_str();
        let user = match Uid::effective().is_root() {
            true => Some(user(name)?),
            false => None,
        };
        Ok(Owner { name, user })
    }

    /// Opens the folder, which is made if it is missing.
    fn open(&self, path: &Path) -> Result<OwnedFd, NoKeeping> {
        let failed = |error| NoKeeping::Folder(path.to_owned(), error);
        let is_new = match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        let folder = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(path)
            .map_err(failed)?;
        if is_new {
            // Whatever umask says; and before it is another user's, for which root would need CAP_FOWNER.
            let mode = Permissions::from_mode(0o700);
            folder.set_permissions(mode).map_err(failed)?;
            if let Some((uid, gid)) = self.user {
                fchown(&folder, Some(uid.as_raw()), Some(gid.as_raw())).map_err(failed)?;
            }
        }
        self.judge(path, &folder.metadata().map_err(failed)?)?;
        Ok(folder.into())
    }

    /// Whether it is for this user alone.
    fn judge(&self, path: &Path, about: &Metadata) -> Result<(), NoKeeping> {
        let owner = self.user.map_or_else(Uid::effective, |(uid, _)| uid);
        let others = about.mode() & 0o077;
        let is_own = about.uid() == owner.as_raw() && others == 0;
        match about.is_dir() {
            false => Err(NoKeeping::Folder(
                path.to_owned(),
                io::ErrorKind::NotADirectory.into(),
            )),
            true if is_own => Ok(()),
            true => {
                let name = self
                    .user
                    .map_or_else(|| owner.to_string(), |_| self.name.to_owned());
                Err(NoKeeping::Open(path.to_owned(), name))
            }
        }
    }
}

fn user(name: &str) -> Result<(Uid, Gid), NoKeeping> {
    let found = User::from_name(name).ok().flatten();
    let found = found.ok_or_else(|| NoKeeping::User(name.to_owned()))?;
    match found.uid.is_root() {
        true => Err(NoKeeping::Root),
        false => Ok((found.uid, found.gid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(user: &str, directory: PathBuf) -> Result<Keeping, NoKeeping> {
        let user = user.to_owned();
        Keeping::look_up(&KeeperOptions { user, directory })
    }

    #[test]
    fn the_folder_is_made_for_one_user_and_one_that_is_open_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("keeper");
        for _ in 0..2 {
            look_up("daemon", folder.clone()).unwrap();
            let about = folder.metadata().unwrap();
            assert_eq!(about.mode() & 0o7777, 0o700);
            if Uid::effective().is_root() {
                assert_eq!(
                    about.uid(),
                    User::from_name("daemon").unwrap().unwrap().uid.as_raw()
                );
            }
        }
        std::fs::set_permissions(&folder, Permissions::from_mode(0o750)).unwrap();
        let why = look_up("daemon", folder.clone()).unwrap_err().to_string();
        assert!(why.contains("chmod 700"), "{why}");
        let seen = |directory: &Path| {
            let (user, directory) = ("daemon".to_owned(), directory.to_owned());
            Keeping::obstacle(&KeeperOptions { user, directory }).map(|why| why.option())
        };
        assert_eq!(seen(&folder), Some("keeperDirectory"));
        assert_eq!(seen(&outer.path().join("new")), None);
        assert_eq!(seen(&outer.path().join("no/new")), Some("keeperDirectory"));
        let link = outer.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(matches!(
            look_up("daemon", link),
            Err(NoKeeping::Folder(..))
        ));
    }

    #[test]
    fn a_user_that_is_root_or_unknown_is_refused() {
        if !Uid::effective().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap().path().join("keeper");
        assert!(matches!(
            look_up("root", folder.clone()),
            Err(NoKeeping::Root)
        ));
        let why = look_up("no-such-user", folder.clone())
            .unwrap_err()
            .to_string();
        assert!(why.contains("useradd"), "{why}");
        assert!(!folder.exists());
    }
}
