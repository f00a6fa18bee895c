//! Descriptors that survive an exec of this process: the old program keeps them open, the new one takes
//! them up by number. Only a number that was open at the program's start can be taken up.
#![expect(unsafe_code, reason = "a descriptor that is known by its number alone")]

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::stat::Mode;

use crate::step::NameStep;

/// Sets whether this descriptor stays open across an exec.
///
/// # Errors
/// What fcntl(2) gives.
pub(crate) fn keep(descriptor: BorrowedFd<'_>, yes: bool) -> io::Result<RawFd> {
    let flags = if yes {
        FdFlag::empty()
    } else {
        FdFlag::FD_CLOEXEC
    };
    fcntl(descriptor, FcntlArg::F_SETFD(flags))?;
    Ok(descriptor.as_raw_fd())
}

/// Numbers that were open when this program began and have not been taken up yet.
static GIVEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Notes which descriptors this program was started with. What cannot be listed cannot be taken up
/// later.
///
/// # Safety
/// Call it once, before this process opens anything: nothing in this process may own a number that is
/// noted here, until [`take`] makes its owner.
pub unsafe fn note_given() {
    let listed = in_proc().or_else(|_| crate::process::open_descriptors());
    *GIVEN.lock().unwrap_or_else(PoisonError::into_inner) =
        listed.unwrap_or_default().into_iter().collect();
}

/// The open descriptors above 2, except the one that lists them.
fn in_proc() -> io::Result<Vec<RawFd>> {
    let mut folder = Dir::open(
        "/proc/self/fd",
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    let own = folder.as_fd().as_raw_fd();
    let mut open = Vec::new();
    for entry in folder.iter() {
        let number = entry?
            .file_name()
            .to_str()
            .ok()
            .and_then(|name| name.parse::<RawFd>().ok());
        open.extend(number.filter(|&number| number > 2 && number != own));
    }
    Ok(open)
}

/// Takes up a descriptor that this program was started with, and makes it close-on-exec again. Each
/// number can be taken once.
///
/// # Errors
/// It was not open when this program began, or was taken up before.
pub(crate) fn take(number: RawFd) -> io::Result<OwnedFd> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    if !given.remove(&number) {
        return Err(Errno::EBADF).step(format_args!("taking up descriptor {number}"));
    }
    // SAFETY: it was open before this process opened anything, nothing owns it, and it can be taken
    // only once, since the number leaves the set.
    let taken = unsafe { OwnedFd::from_raw_fd(number) };
    keep(taken.as_fd(), false)?;
    Ok(taken)
}

/// A close-on-exec copy of a descriptor that the user named by its number.
///
/// # Errors
/// Nothing is open under that number.
pub(crate) fn copy_of(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: borrowed for one fcntl(2), which fails with EBADF if nothing is open there, and only
    // duplicates the descriptor otherwise.
    let given = unsafe { BorrowedFd::borrow_raw(number) };
    given.try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_this_program_opened_itself_is_not_taken_up() {
        let own = std::fs::File::open("/dev/null").unwrap();
        let error = take(own.as_raw_fd()).unwrap_err();
        assert!(error.to_string().contains("descriptor"), "{error}");
        assert!(take(1).is_err(), "nor is a standard stream");
    }

    #[test]
    fn both_ways_to_list_what_is_open_find_it() {
        let own = std::fs::File::open("/dev/null").unwrap();
        for listed in [in_proc(), crate::process::open_descriptors()] {
            assert!(listed.unwrap().contains(&own.as_raw_fd()));
        }
    }

    #[test]
    fn the_copy_of_a_number_that_is_not_open_is_an_error() {
        assert!(copy_of(1_000_000).is_err());
        assert!(copy_of(-1).is_err());
    }
}
