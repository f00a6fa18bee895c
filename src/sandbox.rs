//! The sandbox: what a process that talks to the network may still ask of the kernel, once it has
//! dropped its privileges. seccomp(2) restricts system calls, landlock(7) the file system.
//!
//! Three filters, of which the strictest answer counts:
//!
//! * [`FATAL`]: what only an intruder calls. The process is killed, so that it shows.
//! * an allowlist by role: the rest fails with EPERM, since another version of glibc may try something
//!   new, and must be able to go on without it.
//! * clone3(2) fails with ENOSYS: its flags are in memory, where a filter cannot see them. glibc then
//!   falls back to clone(2), whose flags are checked.
//!
//! A child inherits its parent's sandbox and can only narrow it, so the master, which forks the
//! workers, may do everything that a worker may. Never in here: permission to write to a file, or to
//! execute one.

mod calls;
mod keeper;
mod proof;
mod rules;
mod strength;
mod supervisor;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use nix::errno::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp};

use self::calls::{
    ACCEPTING, CLOCKS, DESCRIPTORS, FATAL, IDENTITY, LOOKUPS, MEMORY, PROCESSES, SOCKETS, THREADS,
};
pub(crate) use self::keeper::keeper;
pub(crate) use self::proof::Sandboxed;
use self::proof::{Before, Forks, Parts};
use self::rules::{
    Rules, compile, condition, equal, masked, narrow, no_new_namespace, one_of, plain, rule,
    seccomp_error, thread_only,
};
pub(crate) use self::strength::Strength;
#[cfg(test)]
pub(crate) use self::supervisor::filter_of_supervisor;
pub(crate) use self::supervisor::supervisor;

/// The newest landlock version whose rights were tested here; an older kernel enforces those it knows.
const NEWEST: ABI = ABI::V6;

/// The sandbox cannot be entered, although the kernel supports it.
#[derive(Debug)]
pub struct SandboxError {
    /// `seccomp` or `landlock`.
    mechanism: &'static str,
    reason: String,
}

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Cannot enter the sandbox: {}: {}",
            self.mechanism, self.reason
        )
    }
}

impl std::error::Error for SandboxError {}

impl From<SandboxError> for std::io::Error {
    fn from(error: SandboxError) -> Self {
        std::io::Error::other(error)
    }
}

/// A worker's sandbox: threads, clocks, descriptors that it has or is given, outgoing stream sockets.
/// No other process can be created, signalled or inspected; no file can be opened.
///
/// Call it before threads start. [`Strength`] reports what the kernel lacks.
///
/// # Errors
/// The kernel supports it and refuses it.
pub(crate) fn worker(binds: Binds) -> Result<Sandboxed, SandboxError> {
    enter(&[], of_worker(binds)?, Forks::No)
}

/// Whether bind(2) is of use: `local` and `ident` need it.
///
/// A socket with `transparent` may be bound to any address, also by a process without a capability, once it was
/// disconnected. Without bind(2) it has the address that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binds {
    Yes,
    No,
}

/// An old worker's sandbox: a worker's, without the calls that neither the relay nor s2n-tls makes. What is
/// written in C gets no more than it uses.
///
/// Call it before threads start. [`Strength`] reports what the kernel lacks.
///
/// # Errors
/// The kernel supports it and refuses it.
pub(crate) fn old_worker(binds: Binds) -> Result<Sandboxed, SandboxError> {
    let mut rules = of_worker(binds)?;
    for unused in UNUSED_BY_OLD_WORKERS {
        rules.remove(&unused);
    }
    enter(&[], rules, Forks::No)
}

/// Files and pipes: an old worker has what it was given.
const UNUSED_BY_OLD_WORKERS: [i64; 12] = [
    libc::SYS_openat,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_splice,
    libc::SYS_pipe2,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_sched_setaffinity,
];

fn of_worker(binds: Binds) -> Result<Rules, SandboxError> {
    // abort(3) and raise(3) signal the calling thread.
    let own = u64::from(std::process::id());
    let mut rules = plain(&[THREADS, MEMORY, CLOCKS, DESCRIPTORS, SOCKETS, IDENTITY]);
    rules.extend(narrow()?);
    rules.insert(libc::SYS_tgkill, vec![rule([equal(0, own)])?]);
    rules.insert(libc::SYS_clone, vec![rule([thread_only()])?]);
    if binds == Binds::No {
        rules.remove(&libc::SYS_bind);
    }
    Ok(rules)
}

/// The master's sandbox: what a worker may do, and also accept connections, create processes in its own
/// namespaces, signal them and wait for them, and put them into their sandboxes.
///
/// Call it before threads start; the master starts none. [`Strength`] reports what the kernel lacks.
///
/// # Errors
/// The kernel supports it and refuses it.
pub(crate) fn master() -> Result<Sandboxed, SandboxError> {
    parent(ACCEPTING)
}

/// The sandbox of what forks workers, with these calls besides.
fn parent(more: &[i64]) -> Result<Sandboxed, SandboxError> {
    let mut rules = plain(&[
        THREADS,
        MEMORY,
        CLOCKS,
        DESCRIPTORS,
        SOCKETS,
        IDENTITY,
        PROCESSES,
        more,
    ]);
    rules.extend(narrow()?);
    rules.insert(libc::SYS_clone, vec![rule([no_new_namespace()])?]);
    // unshare(2) of threads changes nothing, and fails if there are any: the proof that a process may
    // fork.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_unshare, vec![rule([equal(0, thread)])?]);
    enter(&[], rules, Forks::Yes)
}

/// The zygote's sandbox: as the master's, but for accepting connections.
///
/// Call it before threads start; the zygote starts none. [`Strength`] reports what the kernel lacks.
///
/// # Errors
/// The kernel supports it and refuses it.
pub(crate) fn zygote() -> Result<Sandboxed, SandboxError> {
    parent(&[])
}

/// The resolver's sandbox: getaddrinfo(3) with the modules of nsswitch.conf(5), which read files, map
/// code, and talk to name servers and daemons. It can read system files only, and write none.
///
/// Call it before threads start. [`Strength`] reports what the kernel lacks.
///
/// # Errors
/// The kernel supports it and refuses it.
pub(crate) fn resolver() -> Result<Sandboxed, SandboxError> {
    lookups()
}

/// The fetcher's sandbox: as the resolver's, since it asks getaddrinfo too; that may also make outgoing stream
/// sockets, and these are all that it needs besides.
///
/// Call it before threads start. [`Strength`] reports what the kernel lacks.
///
/// # Errors
/// The kernel supports it and refuses it.
pub(crate) fn fetcher() -> Result<Sandboxed, SandboxError> {
    lookups()
}

/// The gatekeeper's sandbox: as the resolver's, since it asks for names; it may read system files, as hosts.allow.
///
/// Call it before threads start. [`Strength`] reports what the kernel lacks.
///
/// # Errors
/// The kernel supports it and refuses it.
pub(crate) fn gatekeeper() -> Result<Sandboxed, SandboxError> {
    lookups()
}

/// The sandbox of what asks getaddrinfo(3).
fn lookups() -> Result<Sandboxed, SandboxError> {
    let folders = NAME_SERVICE_FILES.map(Path::new);
    enter(&folders, lookup_rules()?, Forks::No)
}

fn lookup_rules() -> Result<Rules, SandboxError> {
    let own = u64::from(std::process::id());
    let mut rules = plain(&[
        THREADS,
        MEMORY,
        CLOCKS,
        DESCRIPTORS,
        SOCKETS,
        IDENTITY,
        LOOKUPS,
    ]);
    rules.extend(narrow()?);
    rules.insert(libc::SYS_tgkill, vec![rule([equal(0, own)])?]);
    rules.insert(libc::SYS_clone, vec![rule([thread_only()])?]);
    for any in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_ioctl] {
        rules.insert(any, Vec::new());
    }
    let families = [
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_UNIX,
        libc::AF_NETLINK,
    ];
    rules.insert(
        libc::SYS_socket,
        one_of(0, &families.map(|family| family as u64))?,
    );
    Ok(rules)
}

/// The teller's sandbox: sockets of clients that its listener accepts, and descriptors that it is given. It
/// creates no outgoing socket, no thread and no process, and opens no file.
///
/// [`Strength`] reports what the kernel lacks.
///
/// # Errors
/// The kernel supports it and refuses it.
pub(crate) fn teller() -> Result<Sandboxed, SandboxError> {
    let own = u64::from(std::process::id());
    let mut rules = plain(&[
        THREADS,
        MEMORY,
        CLOCKS,
        DESCRIPTORS,
        SOCKETS,
        IDENTITY,
        ACCEPTING,
    ]);
    rules.extend(narrow()?);
    rules.insert(libc::SYS_tgkill, vec![rule([equal(0, own)])?]);
    for outward in [
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_openat,
    ] {
        rules.remove(&outward);
    }
    enter(&[], rules, Forks::No)
}

/// The binder's sandbox: TCP sockets that it makes, binds and passes on. It connects, listens and accepts nowhere,
/// creates no thread and no process, and opens no file. So CAP_NET_RAW is good for IP_TRANSPARENT alone: a raw
/// socket, or one of a device's packets, is none of TCP's.
///
/// [`Strength`] reports what the kernel lacks.
///
/// # Errors
/// The kernel supports it and refuses it.
pub(crate) fn binder() -> Result<Sandboxed, SandboxError> {
    let own = u64::from(std::process::id());
    let mut rules = plain(&[THREADS, MEMORY, CLOCKS, DESCRIPTORS, SOCKETS, IDENTITY]);
    rules.extend(narrow()?);
    rules.insert(libc::SYS_tgkill, vec![rule([equal(0, own)])?]);
    let stream = || masked(1, 0xf, libc::SOCK_STREAM as u64);
    rules.insert(
        libc::SYS_socket,
        vec![
            rule([equal(0, libc::AF_INET as u64), stream()])?,
            rule([equal(0, libc::AF_INET6 as u64), stream()])?,
        ],
    );
    for unused in [libc::SYS_connect, libc::SYS_openat] {
        rules.remove(&unused);
    }
    enter(&[], rules, Forks::No)
}

/// The modules of nsswitch.conf(5), and the files that resolv.conf(5) may link to.
const NAME_SERVICE_FILES: [&str; 12] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/run",
    "/var/run",
    "/var/cache",
    "/proc",
    "/nix/store",
    "/gnu/store",
    "/mnt/wsl",
    "/dev/urandom",
];

/// The three filters, in the order in which they are put into force.
fn filters(allowed: Rules) -> Result<[BpfProgram; 3], SandboxError> {
    let errno = |errno: Errno| SeccompAction::Errno(errno as i32 as u32);
    let mut fatal = plain(&[FATAL]);
    let thread = libc::CLONE_THREAD as u64;
    let other = condition(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, thread);
    fatal.insert(libc::SYS_unshare, vec![rule([other])?]);
    Ok([
        compile(fatal, SeccompAction::KillProcess, SeccompAction::Allow)?,
        compile(
            plain(&[&[libc::SYS_clone3]]),
            errno(Errno::ENOSYS),
            SeccompAction::Allow,
        )?,
        // Last, since it forbids seccomp(2) itself, except to the master.
        compile(allowed, SeccompAction::Allow, errno(Errno::EPERM))?,
    ])
}

/// Enters a sandbox, and proves that it is in force.
fn enter(readable: &[&Path], allowed: Rules, forks: Forks) -> Result<Sandboxed, SandboxError> {
    enter_storing(readable, None, allowed, forks)
}

/// As [`enter`], and files can be written in this folder.
fn enter_storing(
    readable: &[&Path],
    folder: Option<BorrowedFd<'_>>,
    allowed: Rules,
    forks: Forks,
) -> Result<Sandboxed, SandboxError> {
    let before = Before::look();
    let parts = Parts {
        landlock: landlock(readable, folder)?,
        seccomp: seccomp(allowed)?,
    };
    before.prove(parts, forks)
}

/// Puts the three filters into force, for all threads of the process; false: the kernel has none.
fn seccomp(allowed: Rules) -> Result<bool, SandboxError> {
    for (number, filter) in filters(allowed)?.iter().enumerate() {
        match seccompiler::apply_filter_all_threads(filter) {
            Ok(()) => (),
            Err(seccompiler::Error::Seccomp(error))
                if number == 0
                    && matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(seccomp_error(error)),
        }
    }
    Ok(true)
}

/// Closes the file system except for reading beneath `readable`, and for files in `folder`; also forbids signals and abstract
/// sockets to processes outside. Open descriptors stay usable. False: the kernel has none.
fn landlock(readable: &[&Path], folder: Option<BorrowedFd<'_>>) -> Result<bool, SandboxError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let store = read | AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile;
    let folders = folder.map(|folder| Ok(PathBeneath::new(folder, store)));
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(readable, read)))
        .and_then(|rules| rules.add_rules(folders))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map(|status| status.ruleset != RulesetStatus::NotEnforced)
        .map_err(|error| SandboxError {
            mechanism: "landlock",
            reason: error.to_string(),
        })
}

/// A worker's filters, as the kernel hands them out.
#[cfg(test)]
pub(crate) fn filters_of_worker() -> Vec<Vec<libc::sock_filter>> {
    let filters = of_worker(Binds::No).and_then(filters).unwrap();
    let instruction = |one: &seccompiler::sock_filter| libc::sock_filter {
        code: one.code,
        jt: one.jt,
        jf: one.jf,
        k: one.k,
    };
    let program = |filter: &BpfProgram| filter.iter().map(instruction).collect();
    filters.iter().map(program).collect()
}

#[cfg(test)]
mod tests;
