//! The leash: a pipe that only the supervisor could write to, and never does. However the supervisor
//! dies, every other process then reads an end of file, and exits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::step::NameStep;

/// The supervisor's end: held open, and closed by every child.
#[derive(Debug)]
pub(crate) struct Holder(OwnedFd);

/// A child's end: readable once the supervisor is gone.
#[derive(Debug)]
pub struct Leash(OwnedFd);

/// Makes both ends, close-on-exec.
///
/// # Errors
/// What pipe2(2) gives.
pub(crate) fn leash() -> io::Result<(Holder, Leash)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).step("pipe2(2)")?;
    Ok((Holder(write), Leash(read)))
}

impl Leash {
    /// A copy for another child.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn try_clone(&self) -> io::Result<Leash> {
        Ok(Leash(self.0.try_clone()?))
    }
}

impl AsFd for Leash {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Holder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Holder {
    fn from(fd: OwnedFd) -> Self {
        Holder(fd)
    }
}

impl From<OwnedFd> for Leash {
    fn from(fd: OwnedFd) -> Self {
        Leash(fd)
    }
}

impl From<Leash> for OwnedFd {
    fn from(leash: Leash) -> Self {
        leash.0
    }
}
