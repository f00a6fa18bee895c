//! The folder with the authority's files and the service's. Never in here: a key that others can read, or
//! a file that is half written.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use zeroize::Zeroizing;

/// The authority's certificate, which programs are to trust.
const AUTHORITY: &str = "authority.pem";
/// The authority's key.
const AUTHORITY_KEY: &str = "authority.key";
/// How the files for `acceptCert` end: each has a key, its certificate, and the authority's certificate. One
/// file, so that a renewal replaces certificate and key in one step.
const ENDING: &str = ".pem";

/// Whether a file for `acceptCert` may have this name.
pub(super) fn is_name(name: &str) -> bool {
    name.len() > ENDING.len()
        && name.ends_with(ENDING)
        && name != AUTHORITY
        && !name.starts_with(['.', '-'])
        && !name.contains(['/', '\0', '\n'])
}

/// Certificates and keys in a folder.
#[derive(Debug)]
pub(super) struct Store(PathBuf);

/// A file or folder that could not be used.
#[derive(Debug)]
pub(super) struct StoreError {
    pub(super) path: PathBuf,
    pub(super) why: Why,
}

/// What is wrong with it.
#[derive(Debug)]
pub(super) enum Why {
    /// Making or changing it failed, for the system's reason.
    Making(io::Error),
    /// Reading it failed, for the system's reason.
    Reading(io::Error),
    /// Others may write to the folder.
    Open,
    /// It holds no such PEM.
    NoPem(&'static str),
}

impl StoreError {
    pub(super) fn reading(path: &Path, error: io::Error) -> StoreError {
        StoreError {
            path: path.to_owned(),
            why: Why::Reading(error),
        }
    }
}

impl Store {
    pub(super) fn at(folder: &Path) -> Store {
        Store(folder.to_owned())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    pub(super) fn authority_path(&self) -> PathBuf {
        self.0.join(AUTHORITY)
    }

    pub(super) fn authority_key_path(&self) -> PathBuf {
        self.0.join(AUTHORITY_KEY)
    }

    /// The path of a file for `acceptCert`.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names of the files for `acceptCert`, sorted; those of a folder that is not there are none.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) fn names(&self) -> Result<Vec<String>, StoreError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::reading(&self.0, error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| StoreError::reading(&self.0, error))?;
            let name = entry.file_name();
            names.extend(name.into_string().ok().filter(|name| is_name(name)));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Makes the folder, for its owner alone, unless it is there.
    ///
    /// # Errors
    /// It cannot be made, or others may write to it.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0);
        made.map_err(|error| at(&self.0, error))?;
        let about = fs::metadata(&self.0).map_err(|error| at(&self.0, error))?;
        if about.mode() & 0o022 != 0 || about.uid() != Uid::effective().as_raw() {
            return Err(StoreError {
                path: self.0.clone(),
                why: Why::Open,
            });
        }
        Ok(())
    }

    /// The authority's certificate in DER; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn authority(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.authority_path();
        let text = read(&path)?;
        text.map(|text| first(&path, &text, "CERTIFICATE"))
            .transpose()
    }

    /// The authority's key in PEM; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn authority_key(&self) -> Result<Option<Zeroizing<String>>, StoreError> {
        let path = self.authority_key_path();
        let Some(text) = read(&path)? else {
            return Ok(None);
        };
        match std::str::from_utf8(&text) {
            Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
            Err(_) => Err(StoreError {
                path,
                why: Why::NoPem("PRIVATE KEY"),
            }),
        }
    }

    /// The certificate of this file in DER; `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn server(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(name);
        let text = read(&path)?;
        text.map(|text| first(&path, &text, "CERTIFICATE"))
            .transpose()
    }

    /// Keeps a new authority; the key first, so that there is no certificate without one.
    ///
    /// # Errors
    /// There is one already, or the files cannot be written.
    pub(super) fn add_authority(&self, certificate: &[u8], key: &str) -> Result<(), StoreError> {
        write_new(&self.authority_key_path(), 0o600, key.as_bytes())?;
        let certificate = pem::encode(&pem::Pem::new("CERTIFICATE", certificate));
        write_new(&self.authority_path(), 0o644, certificate.as_bytes())
    }

    /// Puts a certificate and its key in the place of what was there, in one step.
    ///
    /// # Errors
    /// The file cannot be written; what was there stays.
    pub(super) fn replace_server(
        &self,
        name: &str,
        key: &str,
        certificate: &[u8],
        authority: &[u8],
    ) -> Result<(), StoreError> {
        let mut text = Zeroizing::new(key.to_owned());
        for certificate in [certificate, authority] {
            text.push_str(&pem::encode(&pem::Pem::new("CERTIFICATE", certificate)));
        }
        let path = self.path(name);
        let new = self.0.join(format!(".{name}.{}", std::process::id()));
        let written = write_new(&new, 0o600, text.as_bytes())
            .and_then(|()| fs::rename(&new, &path).map_err(|error| at(&path, error)));
        if written.is_err() {
            // It may not be there; the first failure is the one to tell.
            let _ = fs::remove_file(&new);
        }
        written
    }
}

fn at(path: &Path, error: io::Error) -> StoreError {
    StoreError {
        path: path.to_owned(),
        why: Why::Making(error),
    }
}

fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::reading(path, error)),
    }
}

fn first(path: &Path, text: &[u8], tag: &'static str) -> Result<Vec<u8>, StoreError> {
    let found = pem::parse_many(text).unwrap_or_default();
    let found = found.into_iter().find(|block| block.tag() == tag);
    found
        .map(pem::Pem::into_contents)
        .ok_or_else(|| StoreError {
            path: path.to_owned(),
            why: Why::NoPem(tag),
        })
}

/// Never overwrites, never follows a link, and is on the disk when it returns.
fn write_new(path: &Path, mode: u32, content: &[u8]) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    })
    .map_err(|error| at(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_never_overwritten_and_a_server_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("a/ca"));
        store.prepare().unwrap();
        assert!(store.authority().unwrap().is_none());
        store.add_authority(b"one", "key\n").unwrap();
        let again = store.add_authority(b"two", "key\n").unwrap_err();
        let exists = io::ErrorKind::AlreadyExists;
        assert!(matches!(&again.why, Why::Making(error) if error.kind() == exists));
        assert_eq!(store.authority().unwrap().unwrap(), b"one");
        for content in [b"1", b"2"] {
            let replaced = store.replace_server("a.pem", "key\n", content, b"one");
            replaced.unwrap();
            assert_eq!(store.server("a.pem").unwrap().unwrap(), content);
        }
        for (path, mode) in [
            (&store.0, 0o700),
            (&store.authority_path(), 0o644),
            (&store.authority_key_path(), 0o600),
            (&store.path("a.pem"), 0o600),
        ] {
            let about = fs::metadata(path).unwrap();
            assert_eq!(about.mode() & 0o777, mode, "{}", path.display());
        }
        assert_eq!(fs::read_dir(&store.0).unwrap().count(), 3);
        assert_eq!(store.names().unwrap(), ["a.pem"]);
        let nowhere = Store::at(&folder.path().join("b"));
        assert!(nowhere.names().unwrap().is_empty());
    }

    #[test]
    fn a_certificates_file_is_in_the_folder_and_not_the_authoritys() {
        for name in ["server.pem", "old printer.pem", "\u{e4}.pem"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "authority.pem",
            "authority.key",
            ".pem",
            ".a.pem",
            "-.pem",
            "../a.pem",
            "a",
            "",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = Store::at(folder.path()).prepare().unwrap_err();
        assert!(matches!(refused.why, Why::Open));
    }
}
