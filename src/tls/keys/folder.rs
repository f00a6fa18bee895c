//! CApath: a folder of certificates, read as OpenSSL looks one up (X509_LOOKUP_hash_dir): by the hash
//! of its subject, in `HASH.0`, `HASH.1` and so on without a gap. So removing an authority's link
//! removes the trust in it. All are read at load, since a jailed worker cannot look one up later.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{MAX_FILE, read_whole, text};
use crate::inside;
use crate::log::Reason;
use crate::remedy;
use crate::tls::trust::Authority;
use crate::tls::{Problem, canonical, names};

/// The most files with one hash.
pub(super) const MAX_IN_A_ROW: u32 = 1000;

/// Where the folder is.
pub(super) enum Folder<'a> {
    Inside { jail: &'a Path, path: &'a Path },
    Outside(&'a Path),
}

impl<'a> Folder<'a> {
    /// Inside the jail if the folder is there, resolved as a jailed process would.
    pub(super) fn find(jail: Option<&'a Path>, path: &'a Path) -> io::Result<Self> {
        let Some(jail) = jail else {
            return Ok(Folder::Outside(path));
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match inside::open(jail, path, flags, Mode::empty()) {
            Ok(_) => Ok(Folder::Inside { jail, path }),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(Folder::Outside(path)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The path, for messages.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Folder::Inside { jail, path } => inside::seen_from_outside(Some(jail), path),
            Folder::Outside(path) => path.to_path_buf(),
        }
    }

    pub(super) fn names(&self) -> io::Result<BTreeSet<OsString>> {
        match self {
            Folder::Inside { jail, path } => {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let mut folder = Dir::from_fd(inside::open(jail, path, flags, Mode::empty())?)?;
                let names = folder.iter().map(|entry| {
                    let name = entry?.file_name().to_bytes().to_vec();
                    Ok(OsString::from_vec(name))
                });
                names.collect()
            }
            Folder::Outside(path) => fs::read_dir(path)?
                .map(|entry| Ok(entry?.file_name()))
                .collect(),
        }
    }

    /// Opens one of its files, through the links that `openssl rehash` makes; never blocks.
    pub(super) fn open(&self, name: &Path) -> io::Result<File> {
        let file = match self {
            Folder::Inside { jail, path } => {
                let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
                inside::open(jail, &path.join(name), flags, Mode::empty())?.into()
            }
            Folder::Outside(path) => File::options()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(path.join(name))?,
        };
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Whether the file is missing, or a link to nothing. That ends a run of one hash.
    pub(super) fn is_missing(&self, name: &Path) -> bool {
        let opened = self.open(name);
        opened.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// The certificates of a file, as far as it can be read; none if it is no PEM.
    fn certificates(&self, name: &Path) -> Vec<Authority> {
        let bytes = self
            .open(name)
            .and_then(|mut file| read_whole(&mut file, MAX_FILE));
        let Ok(Some(bytes)) = bytes else {
            return Vec::new();
        };
        // OpenSSL reads up to the first damaged one.
        let found = text::certificates(&bytes).into_iter();
        found
            .map_while(Result::ok)
            .take_while(|one| hash_of(one).is_some())
            .collect()
    }
}

/// The content of a folder.
#[derive(Default)]
struct Found {
    trusted: Vec<Authority>,
    /// Certificates without a link, each with its file.
    unlinked: Vec<(Authority, OsString)>,
}

/// The certificates of CApath, and remarks about them.
///
/// # Errors
/// It is unreadable, or has no certificate.
pub(crate) fn ca_path(
    jail: Option<&Path>,
    path: &Path,
    notes: &mut Vec<Problem>,
) -> Result<Vec<Authority>, Problem> {
    let failed = |path: &Path, error: io::Error| {
        let path = path.display();
        let (reason, remedy) = (Reason(&error), remedy::reading_a_file(&error));
        let text =
            format!("cannot read the folder of trusted certificates {path}: {reason} ({remedy})");
        Problem::error("CApath", text)
    };
    let folder = Folder::find(jail, path).map_err(|error| failed(path, error))?;
    let files = folder
        .names()
        .map_err(|error| failed(&folder.path(), error))?;
    let found = look_through(&folder, files);
    let path = folder.path();
    let path = path.display();
    let all = found
        .unlinked
        .iter()
        .map(|(one, _)| one)
        .chain(&found.trusted);
    if !all.into_iter().any(Authority::is_plain) {
        let text = format!(
            "no trusted certificates found in {path}: put them there as PEM, then openssl rehash {path}"
        );
        return Err(Problem::error("CApath", text));
    }
    let Some((first, file)) = found.unlinked.first() else {
        return Ok(found.trusted);
    };
    let count = found.unlinked.len();
    let (subject, file) = (names::subject_of(&first.der), file.display());
    let text = format!(
        "{count} certificate(s) in {path} have no hash link and are not trusted \
         (the first: {subject}, in {file}); to trust them: openssl rehash {path}"
    );
    notes.push(match found.trusted.is_empty() {
        true => Problem::warning("CApath", text + "; as it is, no peer is accepted"),
        false => Problem::note("CApath", text),
    });
    Ok(found.trusted)
}

fn look_through(folder: &Folder<'_>, mut files: BTreeSet<OsString>) -> Found {
    let mut found = Found::default();
    let hashes: Vec<u32> = files.iter().filter_map(first_of_a_row).collect();
    for hash in hashes {
        for nth in 0..MAX_IN_A_ROW {
            let name = OsString::from(format!("{hash:08x}.{nth}"));
            if !files.remove(&name) || folder.is_missing(name.as_ref()) {
                break;
            }
            for one in folder.certificates(name.as_ref()) {
                match hash_of(&one) == Some(hash) {
                    true => found.trusted.push(one),
                    false => found.unlinked.push((one, name.clone())),
                }
            }
        }
    }
    for name in files {
        let certificates = folder.certificates(name.as_ref()).into_iter();
        let certificates = certificates.map(|one| (one, name.clone()));
        found.unlinked.extend(certificates);
    }
    // A link and its file are the same certificate.
    let mut seen = HashSet::new();
    found.trusted.retain(|one| seen.insert(one.der.clone()));
    found
        .unlinked
        .retain(|(one, _)| seen.insert(one.der.clone()));
    found
}

/// The hash in the name `HASH.0`.
fn first_of_a_row(name: &OsString) -> Option<u32> {
    hash_before(name, ".0")
}

/// The hash in a name that ends with that.
pub(super) fn hash_before(name: &OsString, end: &str) -> Option<u32> {
    let hash = name.to_str()?.strip_suffix(end)?;
    let written = |hash: &u32| format!("{hash:08x}");
    // As OpenSSL writes it: eight digits, lower case.
    u32::from_str_radix(hash, 16)
        .ok()
        .filter(|number| written(number) == hash)
}

fn hash_of(certificate: &Authority) -> Option<u32> {
    let (_, certificate) = X509Certificate::from_der(&certificate.der).ok()?;
    let name = canonical::name(certificate.subject().as_raw())?;
    Some(canonical::hash(&name))
}
