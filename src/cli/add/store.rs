//! The files that `adit add` writes. Never in here: a file that is half written, or one of another hand that is
//! overwritten; what was done can be undone.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

/// A file or folder that could not be used.
#[derive(Debug)]
pub(super) struct StoreError {
    pub(super) path: PathBuf,
    pub(super) why: Why,
}

/// What is wrong with it.
#[derive(Debug)]
pub(super) enum Why {
    /// Making, changing or removing it failed, for the system's reason.
    Changing(io::Error),
    /// Reading it failed, for the system's reason.
    Reading(io::Error),
    /// It is no regular file, or no text.
    Strange,
    /// Every user may write to the folder.
    Open,
}

/// What was done to a file, so that it can be undone.
#[derive(Debug)]
enum Step {
    Made(PathBuf),
    MadeFolder(PathBuf),
    Changed(PathBuf, String),
}

/// Changes of files that are in force together or not at all.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<Step>);

impl Changes {
    /// Makes a folder that all may read, unless it is there.
    ///
    /// # Errors
    /// It cannot be made, or every user may write to it.
    pub(super) fn folder(&mut self, path: &Path) -> Result<(), StoreError> {
        match DirBuilder::new().mode(0o755).create(path) {
            Ok(()) => {
                self.0.push(Step::MadeFolder(path.to_owned()));
                // Whatever umask says: adit's processes and other users may read it.
                let all = fs::set_permissions(path, Permissions::from_mode(0o755));
                all.map_err(|error| changing(path, error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(changing(path, error)),
        }
        let about = fs::metadata(path).map_err(|error| changing(path, error))?;
        match about.mode() & 0o002 {
            0 => Ok(()),
            _ => Err(StoreError {
                path: path.to_owned(),
                why: Why::Open,
            }),
        }
    }

    /// Makes a file.
    ///
    /// # Errors
    /// There is one already, or it cannot be written.
    pub(super) fn make(&mut self, path: &Path, text: &str) -> Result<(), StoreError> {
        let new = aside(path, text)?;
        // Unlike a rename it does not replace what has come meanwhile.
        let made = fs::hard_link(&new, path).map_err(|error| changing(path, error));
        // It may stay where it is: no configuration includes it.
        let _ = fs::remove_file(&new);
        made?;
        self.0.push(Step::Made(path.to_owned()));
        Ok(())
    }

    /// Puts a text in the place of another, in one step.
    ///
    /// # Errors
    /// It cannot be written; what was there stays.
    pub(super) fn replace(
        &mut self,
        path: &Path,
        before: &str,
        text: &str,
    ) -> Result<(), StoreError> {
        let new = aside(path, text)?;
        if let Err(error) = fs::rename(&new, path) {
            // The first failure is the one to tell.
            let _ = fs::remove_file(&new);
            return Err(changing(path, error));
        }
        self.0
            .push(Step::Changed(path.to_owned(), before.to_owned()));
        Ok(())
    }

    /// Removes a file with this text.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) fn remove(&mut self, path: &Path, before: &str) -> Result<(), StoreError> {
        fs::remove_file(path).map_err(|error| changing(path, error))?;
        self.0
            .push(Step::Changed(path.to_owned(), before.to_owned()));
        Ok(())
    }

    /// Puts everything back.
    ///
    /// # Errors
    /// The first thing that could not be put back; the others are.
    pub(super) fn undo(self) -> Result<(), StoreError> {
        let mut result = Ok(());
        for step in self.0.into_iter().rev() {
            let undone = match step {
                Step::Made(path) => fs::remove_file(&path).map_err(|error| changing(&path, error)),
                // Another may have put something there.
                Step::MadeFolder(path) => {
                    let _ = fs::remove_dir(&path);
                    Ok(())
                }
                Step::Changed(path, before) => aside(&path, &before).and_then(|old| {
                    fs::rename(&old, &path).map_err(|error| changing(&path, error))
                }),
            };
            result = result.and(undone);
        }
        result
    }
}

/// The text of a file; `None` if there is none.
///
/// # Errors
/// It cannot be read, or is something else than a file with text.
pub(super) fn read(path: &Path) -> Result<Option<String>, StoreError> {
    let strange = || StoreError {
        path: path.to_owned(),
        why: Why::Strange,
    };
    let reading = |error| StoreError {
        path: path.to_owned(),
        why: Why::Reading(error),
    };
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_file() => {}
        Ok(_) => return Err(strange()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(reading(error)),
    }
    let bytes = fs::read(path).map_err(reading)?;
    String::from_utf8(bytes).map(Some).map_err(|_| strange())
}

/// Writes a text beside its place, where `*.conf` does not find it; it is on the disk then. All may read it: it
/// holds no secret.
fn aside(path: &Path, text: &str) -> Result<PathBuf, StoreError> {
    let name = path.file_name().unwrap_or_default().display();
    let new = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // Left over by a process of this number that was killed.
    let _ = fs::remove_file(&new);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&new);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()
    });
    match written {
        Ok(()) => Ok(new),
        Err(error) => {
            // It may not be there; the first failure is the one to tell.
            let _ = fs::remove_file(&new);
            Err(changing(path, error))
        }
    }
}

fn changing(path: &Path, error: io::Error) -> StoreError {
    StoreError {
        path: path.to_owned(),
        why: Why::Changing(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn changes_are_whole_and_can_be_undone() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().join("conf.d");
        let kept = folder.path().join("kept.conf");
        fs::write(&kept, "1\n").unwrap();
        let gone = folder.path().join("gone.conf");
        fs::write(&gone, "2\n").unwrap();
        let mut changes = Changes::default();
        changes.folder(&parts).unwrap();
        changes.make(&parts.join("a.conf"), "3\n").unwrap();
        changes.replace(&kept, "1\n", "4\n").unwrap();
        changes.remove(&gone, "2\n").unwrap();
        assert_eq!(names(folder.path()), ["conf.d", "kept.conf"]);
        assert_eq!(names(&parts), ["a.conf"]);
        assert_eq!(fs::read_to_string(&kept).unwrap(), "4\n");
        for path in [&kept, &parts.join("a.conf")] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o644);
        }
        assert_eq!(fs::metadata(&parts).unwrap().mode() & 0o7777, 0o755);
        changes.undo().unwrap();
        assert_eq!(names(folder.path()), ["gone.conf", "kept.conf"]);
        assert_eq!(fs::read_to_string(&kept).unwrap(), "1\n");
        assert_eq!(fs::read_to_string(&gone).unwrap(), "2\n");
    }

    #[test]
    fn a_file_in_the_way_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.conf");
        fs::write(&path, "mine\n").unwrap();
        let refused = Changes::default().make(&path, "3\n").unwrap_err();
        let exists = io::ErrorKind::AlreadyExists;
        assert!(matches!(refused.why, Why::Changing(error) if error.kind() == exists));
        assert_eq!(read(&path).unwrap().as_deref(), Some("mine\n"));
        assert_eq!(names(folder.path()), ["a.conf"]);
        let link = folder.path().join("b.conf");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(read(&link).unwrap_err().why, Why::Strange));
        assert!(read(&folder.path().join("c.conf")).unwrap().is_none());
    }

    #[test]
    fn a_folder_of_every_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let refused = Changes::default().folder(folder.path()).unwrap_err();
        assert!(matches!(refused.why, Why::Open));
    }
}
