//! Where the control socket is when the configuration does not say. The starter and the commands
//! that ask it work it out alike, from the configuration's path.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

/// sun_path of unix(7), its NUL not counted.
const LONGEST_PATH: usize = 107;
/// Where root's sockets are.
const ROOTS_FOLDER: &str = "/run/adit";

/// What the environment says of folders for sockets.
#[derive(Debug, Clone, Default)]
pub(super) struct Folders {
    /// `RUNTIME_DIRECTORY`, which systemd sets (systemd.exec(5)): folders with a `:` between them.
    pub of_unit: Option<OsString>,
    /// `XDG_RUNTIME_DIR`, which a user has.
    pub of_user: Option<OsString>,
    pub is_root: bool,
}

impl Folders {
    /// The best one first.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        let of_unit = self.of_unit.as_deref().map(OsStr::as_bytes);
        let first = of_unit.and_then(|all| all.split(|byte| *byte == b':').next());
        let of_unit = first.map(|folder| PathBuf::from(OsStr::from_bytes(folder)));
        let other = match self.is_root {
            true => Some(PathBuf::from(ROOTS_FOLDER)),
            false => self
                .of_user
                .as_ref()
                .map(|folder| Path::new(folder).join("adit")),
        };
        let absolute = |folder: &PathBuf| folder.is_absolute();
        of_unit.into_iter().chain(other).filter(absolute).collect()
    }
}

/// The sockets that an adit with this configuration file may have, the one that it would make first.
/// None without a file, and for a user without a folder for sockets.
pub(super) fn defaults(file: Option<&Path>, folders: &Folders) -> Vec<PathBuf> {
    let Some(file) = file.filter(|file| file.is_absolute()) else {
        return Vec::new();
    };
    let in_folder = |folder: PathBuf| {
        let room = LONGEST_PATH.checked_sub(folder.as_os_str().len() + 1)?;
        Some(folder.join(name(file, room)?))
    };
    folders.all().into_iter().filter_map(in_folder).collect()
}

/// `etc-adit-adit.sock` for `/etc/adit/adit.conf`. Two paths never share a name: a `/` becomes `-`,
/// and every byte that could be mistaken becomes `%` and two hexadecimal digits. A file without
/// `.conf` has a `%` at the end, which no escape has there. A name that is too long is cut to its end,
/// and begins with `%-` and a digest of the whole path.
fn name(file: &Path, room: usize) -> Option<OsString> {
    let path = file.as_os_str().as_bytes();
    let (stem, suffix) = match path.strip_suffix(b".conf") {
        Some(stem) => (stem, ".sock"),
        None => (path, "%.sock"),
    };
    let mut name = escaped(stem.strip_prefix(b"/").unwrap_or(stem));
    name.extend_from_slice(suffix.as_bytes());
    if name.len() > room {
        let digest = digest::digest(&digest::SHA256, path);
        let half = digest.as_ref().iter().take(16);
        let mut short = b"%-".to_vec();
        half.for_each(|byte| short.extend_from_slice(format!("{byte:02x}").as_bytes()));
        short.push(b'-');
        let left = room.checked_sub(short.len() + suffix.len())?;
        let cut = name.len().checked_sub(left + suffix.len())?;
        short.extend_from_slice(&name[cut..]);
        name = short;
    }
    Some(OsString::from_vec(name))
}

/// Blanks and control characters too: in /proc/net/unix a blank ends the path.
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'/' => name.push(b'-'),
            b'-' | b'%' | ..=b' ' | 0x7f => {
                name.extend_from_slice(format!("%{byte:02x}").as_bytes());
            }
            other => name.push(*other),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(of_unit: &str, of_user: &str, is_root: bool) -> Folders {
        let given = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
        Folders {
            of_unit: given(of_unit),
            of_user: given(of_user),
            is_root,
        }
    }

    fn found(file: &str, folders: &Folders) -> Vec<String> {
        let found = defaults(Some(Path::new(file)), folders);
        found
            .iter()
            .map(|path| path.display().to_string())
            .collect()
    }

    #[test]
    fn the_socket_is_named_after_the_file_in_the_folder_that_is_there_for_it() {
        let root = folders("", "/run/user/0", true);
        assert_eq!(
            found("/etc/adit/adit.conf", &root),
            ["/run/adit/etc-adit-adit.sock"]
        );
        assert_eq!(
            found("/etc/stunnel/adit", &root),
            ["/run/adit/etc-stunnel-adit%.sock"]
        );
        assert_eq!(
            found("/a.conf", &folders("/run/x:/run/y", "", true)),
            ["/run/x/a.sock", "/run/adit/a.sock"]
        );
        assert_eq!(
            found("/a.conf", &folders("", "/run/user/7", false)),
            ["/run/user/7/adit/a.sock"]
        );
        assert!(found("/a.conf", &folders("", "", false)).is_empty());
        assert!(found("/a.conf", &folders("", "here", false)).is_empty());
        assert!(defaults(None, &root).is_empty());
        assert!(found("a.conf", &root).is_empty());
    }

    #[test]
    fn no_two_files_share_a_socket() {
        let root = folders("", "", true);
        let files = [
            "/e/a-b.conf",
            "/e/a/b.conf",
            "/e/a-b",
            "/e/a/b",
            "/e-a-b.conf",
            "/e/a--b.conf",
            "/e/a-/b.conf",
            "/e/a/-b.conf",
            "/e/a%2db.conf",
            "/e/a%.conf",
            "/e/a%",
            "/e/a.conf",
            "/e/a",
            "/e/a/.conf",
            "/e/a.conf.conf",
            "/e/a.sock",
            "/e/a b.conf",
            "/e/a%20b.conf",
            "/%-x.conf",
        ];
        let long = ["/x/", "/y/", "/x-"].map(|start| format!("{start}{}.conf", "z".repeat(200)));
        let long = long.iter().map(String::as_str);
        let long_without = format!("/x/{}", "z".repeat(200));
        let all = files.into_iter().chain(long).chain([&long_without[..]]);
        let sockets: Vec<String> = all.flat_map(|file| found(file, &root)).collect();
        let distinct: std::collections::HashSet<&String> = sockets.iter().collect();
        assert_eq!(sockets.len(), files.len() + 4);
        assert_eq!(distinct.len(), sockets.len(), "{sockets:#?}");
        assert!(sockets.iter().all(|path| !path.contains(' ')));
        assert_eq!(sockets[0], "/run/adit/e-a%2db.sock");
    }

    #[test]
    fn a_path_is_never_longer_than_a_socket_may_have() {
        let root = folders("", "", true);
        let long = format!("/{}/mail.conf", "x".repeat(200));
        let [path] = &found(&long, &root)[..] else {
            panic!("one path");
        };
        assert_eq!(path.len(), LONGEST_PATH);
        assert!(
            path.starts_with("/run/adit/%-") && path.ends_with("x-mail.sock"),
            "{path}"
        );
        let exact = format!(
            "/{}.conf",
            "x".repeat(LONGEST_PATH - "/run/adit/.sock".len())
        );
        assert!(!found(&exact, &root)[0].contains('%'));
        let no_room = folders(&format!("/{}", "x".repeat(200)), "", false);
        assert!(found("/a.conf", &no_room).is_empty());
    }
}
