//! Descriptors that outlive an exec of this process: kept open by the program before, taken up by
//! number by the program after.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Whether this descriptor stays open over an exec.
///
/// # Errors
/// What fcntl(2) gives.
pub fn keep(descriptor: BorrowedFd<'_>, yes: bool) -> io::Result<RawFd> {
    let flags = if yes {
        FdFlag::empty()
    } else {
        FdFlag::FD_CLOEXEC
    };
    fcntl(descriptor, FcntlArg::F_SETFD(flags))?;
    Ok(descriptor.as_raw_fd())
}

/// Takes up a descriptor that the program before kept; each number once. It is close-on-exec again.
///
/// # Errors
/// Nothing is open under that number.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::other("a standard stream is nobody's to inherit"));
    }
    // SAFETY: borrowed for one fcntl(2), which gives EBADF if nothing is open there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    keep(borrowed, false)?;
    // SAFETY: it is open; the program before this one listed it as its own and each number once,
    // and this program has not opened anything since that could have been given this number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
