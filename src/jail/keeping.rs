//! A life outside the jail as a user of its own, with one folder that is open already: the keeper's, and that of
//! `adit login`. Never in here: a folder that another user may read.

use std::fmt;
use std::fs::{DirBuilder, File, Permissions};
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

impl Keeping {
    /// Looks up the user, and opens the folder, which is made if it is missing. Without root it is the process's own.
    ///
    /// # Errors
    /// See [`NoKeeping`].
    pub(crate) fn look_up(options: &KeeperOptions) -> Result<Keeping, NoKeeping> {
        let privileged = Uid::effective().is_root();
        let user = match privileged {
            true => Some(user(&options.user)?),
            false => None,
        };
        let folder = open(&options.directory, user, &options.user)?;
        let plan = OutsidePlan(Plan {
            root: None,
            uid: user.map(|(uid, _)| uid),
            gid: user.map(|(_, gid)| gid),
            privileged,
        });
        Ok(Keeping { plan, folder })
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

fn open(path: &Path, user: Option<(Uid, Gid)>, name: &str) -> Result<OwnedFd, NoKeeping> {
    let failed = |error| NoKeeping::Folder(path.to_owned(), error);
    let made = DirBuilder::new().mode(0o700).create(path);
    let is_new = match made {
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
        if let Some((uid, gid)) = user {
            fchown(&folder, Some(uid.as_raw()), Some(gid.as_raw())).map_err(failed)?;
        }
        // Whatever umask says.
        folder
            .set_permissions(Permissions::from_mode(0o700))
            .map_err(failed)?;
    }
    let about = folder.metadata().map_err(failed)?;
    let owner = user.map_or_else(Uid::effective, |(uid, _)| uid);
    if about.uid() != owner.as_raw() || about.mode() & 0o077 != 0 {
        let name = user.map_or_else(|| owner.to_string(), |_| name.to_owned());
        return Err(NoKeeping::Open(path.to_owned(), name));
    }
    Ok(folder.into())
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
