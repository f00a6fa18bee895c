//! Files inside the jail, opened by root from outside it. The jail belongs to a user who is not
//! trusted: links are followed as they will be after chroot(2), and never out of the jail.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;

/// Opens `path`, as it will be seen from within, in the jail that is `root`.
///
/// # Errors
/// What openat2(2) gives.
pub fn open(root: &Path, path: &Path, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = openat(AT_FDCWD, root, folder, Mode::empty())?;
    open_in_root(root.as_fd(), path, flags, mode)
}

/// Where a path inside the jail, if there is one, is for whoever reads a message about it.
pub fn seen_from_outside(root: Option<&Path>, path: &Path) -> PathBuf {
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
    // EAGAIN: something was renamed meanwhile, openat2(2).
    let mut tries = 0..8;
    loop {
        match openat2(root, path, how) {
            Err(Errno::EAGAIN) if tries.next().is_some() => (),
            // Linux before 5.6.
            Err(Errno::ENOSYS) => return open_without_links(root, path, flags, mode),
            other => return other,
        }
    }
}

/// As [`open_in_root`], where the kernel cannot resolve in a root: follows no link at all.
fn open_without_links(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlag,
    mode: Mode,
) -> nix::Result<OwnedFd> {
    let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mut here = openat(root, ".", folder, Mode::empty())?;
    let mut names = path.components().peekable();
    while let Some(component) = names.next() {
        let name = match component {
            Component::Normal(name) => name,
            Component::ParentDir => return Err(Errno::ELOOP),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        if names.peek().is_none() {
            return openat(here, name, flags | OFlag::O_NOFOLLOW, mode);
        }
        here = openat(here, name, folder, Mode::empty())?;
    }
    openat(here, ".", flags, mode)
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

    #[test]
    fn without_openat2_no_link_is_followed_at_all() {
        let jail = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("target");
        fs::write(&target, "").unwrap();
        symlink(&target, jail.path().join("a")).unwrap();
        symlink(outside.path(), jail.path().join("log")).unwrap();
        let flags = || OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        let mode = || Mode::from_bits_truncate(0o640);
        let root = nix::fcntl::open(
            jail.path(),
            OFlag::O_PATH | OFlag::O_DIRECTORY,
            Mode::empty(),
        )
        .unwrap();
        for path in ["/a", "/log/target", "/../target"] {
            let opened = open_without_links(root.as_fd(), Path::new(path), flags(), mode());
            assert!(opened.is_err(), "{path}");
        }
        append(
            open_without_links(root.as_fd(), Path::new("/b"), flags(), mode()).unwrap(),
            "in",
        );
        assert_eq!(fs::read_to_string(jail.path().join("b")).unwrap(), "in");
    }
}
