//! Revocation lists: CRLfile, CRLpath, and what lies beside the certificates of CAfile and CApath. As OpenSSL
//! looks one up, a folder's are in `HASH.r0`, `HASH.r1` and so on without a gap, by the hash of their issuer.
//! All are read at load: a jailed worker opens no file.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::{Folder, MAX_IN_A_ROW, hash_before};
use super::{read_limited, read_whole, text};
use crate::config::TlsOptions;
use crate::log::Reason;
use crate::remedy;
use crate::tls::revocation::List;
use crate::tls::{Problem, names};

/// The longest file of lists: large authorities' have 30 MB.
const MAX_LISTS: u64 = 256 << 20;

/// What was read, for the log.
#[derive(Debug, Default)]
pub(in crate::tls) struct RevocationFiles {
    pub(in crate::tls) lists: Vec<List>,
    /// The file of CRLfile, and the folder of CRLpath, which may be inside the jail.
    pub(in crate::tls) loaded: Vec<PathBuf>,
}

/// The lists that peers are to be looked up in; `None`: they are not to be.
///
/// # Errors
/// Every file that cannot be read, or has what is damaged.
pub(in crate::tls) fn revocation_lists(
    options: &TlsOptions,
    jail: Option<&Path>,
    notes: &mut Vec<Problem>,
) -> Result<Option<RevocationFiles>, Vec<Problem>> {
    if options.crl_file.is_none() && options.crl_path.is_none() {
        return Ok(None);
    }
    let mut found = RevocationFiles::default();
    let mut problems = Vec::new();
    let mut take = |result: Result<Vec<List>, Problem>| match result {
        Ok(lists) => found.lists.extend(lists),
        Err(problem) => problems.push(problem),
    };
    if let Some(path) = &options.crl_file {
        found.loaded.push(path.clone());
        take(
            of_file("CRLfile", path).and_then(|lists| match lists.is_empty() {
                false => Ok(lists),
                true => Err(no_list(path)),
            }),
        );
    }
    if let Some(path) = &options.crl_path {
        let folder = of_folder("CRLpath", jail, path, notes);
        take(folder.map(|(lists, path)| {
            if lists.is_empty() {
                notes.push(without_lists(&path));
            }
            found.loaded.push(path);
            lists
        }));
    }
    // A missing one is told as such.
    if let Some(path) = options.ca_file.as_ref().filter(|path| path.exists()) {
        take(of_file("CAfile", path));
    }
    if let Some(path) = &options.ca_path
        && options.crl_path.as_ref() != Some(path)
    {
        let lists = of_folder("CApath", jail, path, notes);
        take(Ok(lists.map(|(lists, _)| lists).unwrap_or_default()));
    }
    match problems.is_empty() {
        true => Ok(Some(found)),
        false => Err(problems),
    }
}

/// The lists of a PEM file.
fn of_file(option: &'static str, path: &Path) -> Result<Vec<List>, Problem> {
    let bytes = read_limited(option, "file of revocation lists", path, MAX_LISTS)?;
    let lists = text::lists(&bytes).into_iter().enumerate();
    let lists = lists.map(|(nth, list)| {
        list.ok_or_else(|| {
            let (nth, path) = (nth + 1, path.display());
            let text = format!(
                "revocation list {nth} in {path} is damaged: get it anew from its authority, or remove it"
            );
            Problem::error(option, text)
        })
    });
    let lists: Vec<List> = lists.collect::<Result<_, _>>()?;
    match bytes.first() {
        Some(0x30) if lists.is_empty() && option == "CRLfile" => {
            let path = path.display();
            let text = format!(
                "{path} is DER, not PEM: openssl crl -inform der -in {path} -out FILE.pem makes PEM of it"
            );
            Err(Problem::error(option, text))
        }
        _ => Ok(lists),
    }
}

fn no_list(path: &Path) -> Problem {
    let text = format!(
        "{} has no revocation list (-----BEGIN X509 CRL-----) in it",
        path.display()
    );
    Problem::error("CRLfile", text)
}

fn without_lists(path: &Path) -> Problem {
    let path = path.display();
    let text = format!(
        "no revocation list in {path}: as it is, no peer is accepted, as with stunnel; put lists there as \
         PEM, then openssl rehash {path}"
    );
    Problem::warning("CRLpath", text)
}

/// The lists of a folder, and where it is; remarks go to `notes`.
fn of_folder(
    option: &'static str,
    jail: Option<&Path>,
    path: &Path,
    notes: &mut Vec<Problem>,
) -> Result<(Vec<List>, PathBuf), Problem> {
    let failed = |path: &Path, error: io::Error| {
        let path = path.display();
        let (reason, remedy) = (Reason(&error), remedy::reading_a_file(&error));
        let text =
            format!("cannot read the folder of revocation lists {path}: {reason} ({remedy})");
        Problem::error(option, text)
    };
    let folder = Folder::find(jail, path).map_err(|error| failed(path, error))?;
    let path = folder.path();
    let files = folder.names().map_err(|error| failed(&path, error))?;
    let found = look_through(&folder, files);
    for (file, fault) in found.useless {
        notes.push(Problem::warning(option, fault.of(&path.join(file))));
    }
    if let Some((first, file)) = found.unlinked.first() {
        let (count, path) = (found.unlinked.len(), path.display());
        let (issuer, file) = (names::of_content(first.name()), file.display());
        let text = format!(
            "{count} revocation list(s) in {path} have no hash link and do not count (the first: of {issuer}, \
             in {file}); to have them count: openssl rehash {path}"
        );
        notes.push(Problem::note(option, text));
    }
    Ok((found.linked, path))
}

/// The content of a folder.
#[derive(Default)]
struct Found {
    /// The lists that count.
    linked: Vec<List>,
    /// Lists without a link, each with its file.
    unlinked: Vec<(List, OsString)>,
    /// Files that stand in a row of one hash, and of which something does not count.
    useless: Vec<(OsString, Fault)>,
}

/// Why a file gives no list, or not all.
#[derive(Debug)]
enum Fault {
    Unreadable(io::Error),
    TooLong,
    Der,
    Damaged,
    Empty,
}

impl Fault {
    /// What it means to a file in a folder.
    fn of(&self, file: &Path) -> String {
        let file = file.display();
        let (what, remedy) = match self {
            Fault::Unreadable(error) => (
                format!("cannot be read: {}", Reason(error)),
                remedy::reading_a_file(error).to_string(),
            ),
            Fault::TooLong => (
                format!("is longer than {} MiB", MAX_LISTS >> 20),
                "get a shorter one from its authority, or remove it".to_owned(),
            ),
            Fault::Der => (
                "is DER, not PEM".to_owned(),
                format!("openssl crl -inform der -in {file} -out FILE.pem makes PEM of it"),
            ),
            Fault::Damaged => (
                "has a damaged revocation list".to_owned(),
                "get it anew from its authority, or remove it".to_owned(),
            ),
            Fault::Empty => (
                "has no revocation list (-----BEGIN X509 CRL-----) in it".to_owned(),
                "put one there, or remove it".to_owned(),
            ),
        };
        format!("{file} {what}, so what it revokes may be accepted, as with stunnel: {remedy}")
    }
}

fn look_through(folder: &Folder<'_>, mut files: BTreeSet<OsString>) -> Found {
    let (mut linked, mut unlinked, mut useless) = (Vec::new(), Vec::new(), Vec::new());
    let hashes: Vec<u32> = files
        .iter()
        .filter_map(|name| hash_before(name, ".r0"))
        .collect();
    for hash in hashes {
        for nth in 0..MAX_IN_A_ROW {
            let name = OsString::from(format!("{hash:08x}.r{nth}"));
            if !files.remove(&name) || folder.is_missing(name.as_ref()) {
                break;
            }
            let (lists, fault) = lists_of(folder, name.as_ref());
            useless.extend(fault.map(|fault| (name.clone(), fault)));
            for list in lists {
                match list.hash() == hash {
                    true => linked.push(list),
                    false => unlinked.push((list, name.clone())),
                }
            }
        }
    }
    for name in files {
        // What else lies there may be anything.
        let (lists, _) = lists_of(folder, name.as_ref());
        unlinked.extend(lists.into_iter().map(|list| (list, name.clone())));
    }
    // A link and its file are the same list.
    let mut seen = HashSet::new();
    linked.retain(|list| seen.insert(list.der().to_vec()));
    unlinked.retain(|(list, _)| seen.insert(list.der().to_vec()));
    Found {
        linked,
        unlinked,
        useless,
    }
}

/// The lists of a file, up to the first damaged one, as OpenSSL reads them, and why there are no more.
fn lists_of(folder: &Folder<'_>, name: &Path) -> (Vec<List>, Option<Fault>) {
    let bytes = folder
        .open(name)
        .and_then(|mut file| read_whole(&mut file, MAX_LISTS));
    let bytes = match bytes {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return (Vec::new(), Some(Fault::TooLong)),
        Err(error) => return (Vec::new(), Some(Fault::Unreadable(error))),
    };
    let read = text::lists(&bytes);
    let fault = match bytes.first() {
        _ if read.iter().any(Option::is_none) => Some(Fault::Damaged),
        Some(0x30) if read.is_empty() => Some(Fault::Der),
        _ if read.is_empty() => Some(Fault::Empty),
        _ => None,
    };
    (read.into_iter().map_while(|list| list).collect(), fault)
}
