//! The keeper's sandbox: as the fetcher's, since it asks names and servers, and it may write into one folder.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use super::{
    Forks, NAME_SERVICE_FILES, SandboxError, Sandboxed, enter_storing, equal, lookup_rules, rule,
};

/// Reads and writes files in `folder`, by this descriptor of it alone; elsewhere it reads system files, the trusted
/// certificates among them, and writes none.
///
/// Call it before threads start. [`super::Strength`] reports what the kernel lacks.
///
/// # Errors
/// The kernel supports it and refuses it.
pub(crate) fn keeper(folder: BorrowedFd<'_>) -> Result<Sandboxed, SandboxError> {
    let number = u64::try_from(folder.as_raw_fd()).unwrap_or(u64::MAX);
    let here = |argument| equal(argument, number);
    let mut rules = lookup_rules()?;
    // Elsewhere for reading, as every role.
    rules
        .entry(libc::SYS_openat)
        .or_default()
        .push(rule([here(0)])?);
    rules.insert(libc::SYS_unlinkat, vec![rule([here(0)])?]);
    #[cfg(not(target_arch = "riscv64"))]
    rules.insert(libc::SYS_renameat, vec![rule([here(0), here(2)])?]);
    rules.insert(libc::SYS_renameat2, vec![rule([here(0), here(2)])?]);
    rules.insert(libc::SYS_fsync, Vec::new());
    rules.insert(libc::SYS_flock, Vec::new());
    let readable = NAME_SERVICE_FILES.map(Path::new);
    enter_storing(&readable, Some(folder), rules, Forks::No)
}
