//! Files inside the jail, opened by root from outside it. The jail belongs to an untrusted user: links
//! resolve as they will after chroot(2), and never lead out of the jail.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::Mode;

/// Opens `path`, which is relative to the jail's `root`.
///
/// # Errors
/// What openat2(2) gives.
pub(crate) fn open(root: &Path, path: &Path, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = openat(AT_FDCWD, root, folder, Mode::empty())?;
    open_in_root(root.as_fd(), path, flags, mode)
}

/// A path inside the jail, if there is one, as an administrator outside it must name it.
pub(crate) fn seen_from_outside(root: Option<&Path>, path: &Path) -> PathBuf {
    match root {
        Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        None => path.to_owned(),
    }
}

fn open_in_root(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlag,
    mode: Mode,
) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags)
        .mode(mode)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // EAGAIN: something was renamed during the lookup, see openat2(2).
    let mut tries = 0..8;
    loop {
        match openat2(root, path, how) {
            Err(Errno::EAGAIN) if tries.next().is_some() => (),
            // Linux before 5.6, or a seccomp filter that does not know the call. A real EPERM comes
            // again from the fallback.
            Err(Errno::ENOSYS | Errno::EPERM) => return open_step_by_step(root, path, flags, mode),
            other => return other,
        }
    }
}

/// The most links one path may lead through, as in the kernel: path_resolution(7).
const MOST_LINKS: u8 = 40;

/// As [`open_in_root`], where the kernel cannot resolve within a root: opens one name at a time and
/// reads each link itself. No step follows a link, so none can leave the root, however the jail changes
/// meanwhile.
fn open_step_by_step(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlag,
    mode: Mode,
) -> nix::Result<OwnedFd> {
    let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    // The folders from the root to the current one; `..` returns to the previous one.
    let mut walked = vec![openat(root, ".", folder, Mode::empty())?];
    let mut names: Vec<OsString> = reversed(path);
    let mut links = 0;
    while let Some(name) = names.pop() {
        let here = walked.last().ok_or(Errno::ENOENT)?;
        if name == ".." {
            walked.truncate(1.max(walked.len() - 1));
        } else if let Some(target) = link_target(here.as_fd(), &name)? {
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::ELOOP);
            }
            if target.is_absolute() {
                walked.truncate(1);
            }
            names.extend(reversed(&target));
        } else if names.is_empty() {
            return openat(here, name.as_os_str(), flags | OFlag::O_NOFOLLOW, mode);
        } else {
            let next = openat(here, name.as_os_str(), folder, Mode::empty())?;
            walked.push(next);
        }
    }
    let here = walked.last().ok_or(Errno::ENOENT)?;
    openat(here, ".", flags, mode)
}

/// The names of a path in reverse order.
fn reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

/// The target of the link `name`; `None` if it is no link, or missing.
fn link_target(here: BorrowedFd<'_>, name: &OsStr) -> nix::Result<Option<PathBuf>> {
    match readlinkat(here, name) {
        Ok(target) => Ok(Some(target.into())),
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    fn append(fd: OwnedFd, text: &str) {
        fs::File::from(fd).write_all(text.as_bytes()).unwrap();
    }

    type Open = fn(BorrowedFd<'_>, &Path, OFlag, Mode) -> nix::Result<OwnedFd>;

    /// A jail with links, and a file `target` beside it that no path may reach.
    fn jail() -> (tempfile::TempDir, tempfile::TempDir) {
        let jail = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("target"), "").unwrap();
        let link = |target: &Path, name: &str| symlink(target, jail.path().join(name)).unwrap();
        link(&outside.path().join("target"), "out");
        link(outside.path(), "outer");
        link(Path::new("/sub/../sub/file"), "absolute");
        link(Path::new("../../../../sub"), "up");
        link(Path::new("loop"), "loop");
        link(Path::new("new"), "dangling");
        fs::create_dir(jail.path().join("sub")).unwrap();
        fs::write(jail.path().join("sub/file"), "").unwrap();
        symlink("file", jail.path().join("sub/relative")).unwrap();
        (jail, outside)
    }

    #[test]
    fn with_and_without_openat2_links_lead_to_the_same_place_in_the_jail() {
        for open in [open_in_root as Open, open_step_by_step as Open] {
            let (jail, outside) = jail();
            let folder = OFlag::O_PATH | OFlag::O_DIRECTORY;
            let root = nix::fcntl::open(jail.path(), folder, Mode::empty()).unwrap();
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_CLOEXEC;
            let open = |path: &str| {
                let mode = Mode::from_bits_truncate(0o640);
                open(root.as_fd(), Path::new(path), flags, mode)
            };
            for path in [
                "/sub/file",
                "/absolute",
                "sub/relative",
                "/up/file",
                "/../../sub/./file",
                "/sub/../absolute",
            ] {
                append(open(path).unwrap(), "1");
            }
            let file = jail.path().join("sub/file");
            assert_eq!(fs::read_to_string(file).unwrap(), "1".repeat(6));
            for path in ["/b", "/sub/b", "/dangling"] {
                append(open(path).unwrap(), "in");
            }
            for made in ["b", "sub/b", "new"] {
                assert_eq!(fs::read_to_string(jail.path().join(made)).unwrap(), "in");
            }
            assert_eq!(open("/loop").unwrap_err(), Errno::ELOOP);
            for path in ["/out", "/outer/target", "/sub/file/x", "/none/x"] {
                assert!(open(path).is_err(), "{path}");
            }
            assert!(open("/sub").is_err(), "a folder is not written to");
            let target = outside.path().join("target");
            assert_eq!(fs::read_to_string(target).unwrap(), "");
        }
    }
}
