//! Forking, and what every child does first. Never in here: what a role does afterwards.
#![expect(
    unsafe_code,
    reason = "fork(2), close_range(2), poll(2), _exit(2) and the title"
)]

mod handle;

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::WaitStatus;
use nix::unistd::{ForkResult, Pid};

use crate::signals::{self, Signals};
use crate::step::NameStep;
pub(crate) use handle::Handle;

/// Proof that this process has one thread, so that no other can hold a lock across a fork. Not Send: it
/// says nothing about another thread.
#[derive(Debug)]
pub(crate) struct OneThread(PhantomData<*mut ()>);

impl OneThread {
    /// Asks the kernel: unshare(2) of CLONE_THREAD changes nothing, needs no privilege, and fails with
    /// EINVAL when there is a second thread. (It works without /proc, which a jail lacks.)
    ///
    /// # Errors
    /// There is more than one thread.
    pub(crate) fn prove() -> io::Result<OneThread> {
        match unshare(CloneFlags::CLONE_THREAD) {
            Err(Errno::EINVAL) => Err(io::Error::other("this process has more than one thread")),
            asked => asked.step("unshare(2), to count threads"),
        }?;
        Ok(OneThread(PhantomData))
    }
}

/// A child that has just been forked: signals are blocked, and its parent's handlers are gone.
#[derive(Debug)]
pub(crate) struct Fresh(SigSet);

impl Fresh {
    /// The same for a child that it forks before it hears signals itself: they are blocked in both.
    pub(crate) fn of_child(&self) -> Fresh {
        Fresh(self.0)
    }
}

impl Fresh {
    /// Makes the child's own signal pipe, and only then unblocks signals.
    ///
    /// # Errors
    /// As [`Signals::hear`].
    pub(crate) fn hear(self, signals: &[i32]) -> io::Result<Signals> {
        let pipe = Signals::hear(signals)?;
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None)?;
        Ok(pipe)
    }
}

/// Forks a child that runs `role` and ends in `_exit`, whatever happens in it.
///
/// # Errors
/// What fork(2) gives: too many processes, no memory.
pub(crate) fn spawn(_: &OneThread, role: impl FnOnce(Fresh) -> Infallible) -> io::Result<Pid> {
    let mut before = SigSet::empty();
    sigprocmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut before),
    )
    .step("sigprocmask(2)")?;
    // SAFETY: only asking the kernel makes a `OneThread`, so no other thread can hold a lock.
    let forked = unsafe { nix::unistd::fork() };
    match forked {
        Ok(ForkResult::Child) => {
            signals::forget_inherited();
            let _ = catch_unwind(AssertUnwindSafe(|| role(Fresh(before))));
            exit(101)
        }
        Ok(ForkResult::Parent { child }) => {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
            Ok(child)
        }
        Err(errno) => {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
            Err(errno).step("fork(2)")
        }
    }
}

/// Forks a process that is no child of this one: a process between them ends at once, so that the child goes to
/// the nearest process above that reaps for others (prctl(2), `PR_SET_CHILD_SUBREAPER`), the supervisor. `role`
/// begins when it is there.
///
/// # Errors
/// What fork(2) gives.
pub(crate) fn spawn_away(
    one: &OneThread,
    role: impl FnOnce(Fresh) -> Infallible,
) -> io::Result<()> {
    let between = spawn(one, |fresh| {
        let between = nix::unistd::getpid();
        let forked = OneThread::prove().and_then(|one| {
            spawn(&one, |_| {
                while nix::unistd::getppid() == between {
                    std::thread::sleep(REPARENTING);
                }
                role(fresh)
            })
        });
        exit(match forked.map_err(|error| error.kind()) {
            Ok(_) => 0,
            Err(io::ErrorKind::OutOfMemory) => libc::ENOMEM,
            Err(_) => libc::EAGAIN,
        })
    })?;
    loop {
        return match nix::sys::wait::waitpid(between, None) {
            Err(Errno::EINTR) => continue,
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            Ok(WaitStatus::Exited(_, errno)) => {
                Err(io::Error::from_raw_os_error(errno)).step("fork(2)")
            }
            Ok(_) => Err(io::Error::other("the process between was killed")).step("fork(2)"),
            Err(errno) => Err(errno).step("waitpid(2)"),
        };
    }
}

/// Between two looks whether a process has its new parent: the old one is about to exit.
const REPARENTING: Duration = Duration::from_micros(50);

/// Ends a child at once: runs no destructor, and flushes no buffer that its parent also flushes.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: _exit(2) has no precondition.
    unsafe { libc::_exit(status) }
}

/// Closes every descriptor of this process except 0, 1, 2 and `keep`: the start of a role that ends in
/// [`exit`].
///
/// # Errors
/// What close_range(2) gives; where it is missing (before Linux 5.9), what poll(2) gives.
///
/// # Safety
/// The owners of the closed descriptors are still in this process's memory. None of them may be used
/// or dropped afterwards, and nothing may be taken up by number ([`crate::ipc::inherit::take`]).
pub(crate) unsafe fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    // SAFETY: the contract of this function.
    match unsafe { close_ranges(keep) } {
        // EPERM comes from a system-call filter that does not know close_range(2).
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            // SAFETY: as above.
            unsafe { close_one_by_one(keep) }
        }
        closed => closed,
    }
    .step("close_range(2) of inherited descriptors")
}

/// # Safety
/// As [`close_all_but`].
unsafe fn close_ranges(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep
        .iter()
        .filter_map(|&fd| u32::try_from(fd).ok())
        .collect();
    keep.extend([0, 1, 2]);
    keep.sort_unstable();
    let mut first = 0;
    for fd in keep {
        if fd > first {
            // SAFETY: as above.
            unsafe { close_range(first, fd - 1) }?;
        }
        first = first.max(fd + 1);
    }
    // SAFETY: as above.
    unsafe { close_range(first, u32::MAX) }
}

/// # Safety
/// As [`close_all_but`].
unsafe fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the contract: the owners of these descriptors are never used again.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The most descriptors a process of adit may have, whatever the system allows: far more than one
/// ever needs, and few enough to poll each of them.
pub(crate) const MOST_DESCRIPTORS: u64 = 1 << 20;
/// Descriptors in one call of poll(2).
const POLL_BATCH: u64 = 4096;
/// How long to wait before the call is repeated when the kernel had no memory for it.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// As [`close_ranges`], for kernels without close_range(2).
///
/// # Safety
/// As [`close_all_but`].
unsafe fn close_one_by_one(keep: &[RawFd]) -> io::Result<()> {
    for fd in open_descriptors()? {
        if !keep.contains(&fd) {
            // SAFETY: the contract, as above. The descriptor is closed whatever close(2) returns.
            unsafe { libc::close(fd) };
        }
    }
    Ok(())
}

/// The open descriptors above 2, learnt from poll(2), which reports POLLNVAL for the rest: a jail has no
/// /proc/self/fd.
///
/// # Errors
/// What poll(2) gives.
pub(crate) fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // poll(2) takes no more than the soft limit at once.
    let step = soft.clamp(1, POLL_BATCH) as RawFd;
    let end = hard.min(MOST_DESCRIPTORS) as RawFd;
    let mut open = Vec::new();
    for first in (3..end).step_by(step as usize) {
        let entry = |fd| libc::pollfd {
            fd,
            events: 0,
            revents: 0,
        };
        let mut batch: Vec<libc::pollfd> = (first..end.min(first + step)).map(entry).collect();
        poll_once(&mut batch)?;
        let valid = batch.iter().filter(|e| e.revents & libc::POLLNVAL == 0);
        open.extend(valid.map(|e| e.fd));
    }
    Ok(open)
}

fn poll_once(batch: &mut [libc::pollfd]) -> io::Result<()> {
    loop {
        // SAFETY: the pointer and the number are those of a live slice.
        let polled = unsafe { libc::poll(batch.as_mut_ptr(), batch.len() as libc::nfds_t, 0) };
        match Errno::result(polled) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            // No memory for the call at the moment.
            Err(Errno::ENOMEM | Errno::EAGAIN) => std::thread::sleep(POLL_PAUSE),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sends the program that `command` starts SIGTERM when the thread that starts it ends.
pub(crate) fn end_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec the closure makes one system call, prctl(2), and neither
    // allocates nor locks.
    unsafe {
        command
            .pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from));
    }
}

/// The signals that there are, those included that glibc keeps for itself and sigaction(3) refuses.
const SIGNALS: libc::c_int = 64;
/// A sigaction of the kernel's.
const DEFAULT: [u64; 8] = [0; 8];
const NOTHING: *const libc::c_void = std::ptr::null();
/// Bytes of its mask.
const MASK: usize = 8;

/// Has the program that `command` starts begin as from a shell, and not as a part of adit: a session of its
/// own, every signal at its default and let in, and the limit of open files that adit was started with.
/// `terminal`: descriptor 0 is its terminal.
pub(crate) fn begin_anew(command: &mut Command, terminal: bool) {
    let files = crate::limits::at_the_start();
    let step = move || {
        nix::unistd::setsid()?;
        for signal in 1..=SIGNALS {
            // SAFETY: the kernel reads a sigaction, which is shorter than this on every architecture; all
            // zeroes is SIG_DFL. EINVAL for those that cannot be changed.
            unsafe {
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    signal,
                    DEFAULT.as_ptr(),
                    NOTHING,
                    MASK,
                )
            };
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        if let Some((soft, hard)) = files {
            // A unit's filter of system calls may forbid it; the higher limit does no harm then.
            let _ = nix::sys::resource::setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
        }
        if terminal {
            // SAFETY: TIOCSCTTY takes a number.
            Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls alone, and neither allocates nor locks.
    unsafe { command.pre_exec(step) };
}

/// Detaches from the starter's terminal: logs nothing there any more, and replaces it with /dev/null.
///
/// # Errors
/// /dev/null is missing.
pub(crate) fn let_go_of_the_terminal() -> io::Result<()> {
    crate::log::to_stderr(false);
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .step("open(2) of /dev/null")?;
    nix::unistd::dup2_stdin(&null)
        .and_then(|()| nix::unistd::dup2_stdout(&null))
        .and_then(|()| nix::unistd::dup2_stderr(&null))
        .step("dup2(2) of /dev/null")
}

/// Where the kernel reads this process's command line: address and length.
static COMMAND_LINE: OnceLock<(usize, usize)> = OnceLock::new();

/// Notes where the command line lies in memory; call it once at the start, while /proc can be read.
pub(crate) fn find_command_line() {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else {
        return;
    };
    // proc_pid_stat(5): arg_start and arg_end are fields 48 and 49. The name in field 2 may contain
    // blanks, so count from its closing bracket.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return;
    };
    let mut fields = rest.split_ascii_whitespace().skip(45);
    let mut address = || fields.next()?.parse::<usize>().ok();
    if let (Some(start), Some(end)) = (address(), address())
        && start != 0
        && end > start
    {
        let _ = COMMAND_LINE.set((start, end - start));
    }
}

/// Sets what `ps` shows of this process: `role` as its `comm` (15 bytes), `role` and `more` as its
/// command line, as far as there is room.
pub(crate) fn title(role: &str, more: &str) {
    if let Ok(name) = CString::new(role) {
        let _ = nix::sys::prctl::set_name(&name);
    }
    let text = format!("{role}{more}");
    let Some(&(start, len)) = COMMAND_LINE.get() else {
        return;
    };
    let taken = text.len().min(len - 1);
    // SAFETY: the kernel said that this process's argument strings fill these `len` bytes; they are
    // writable, live as long as the process, and `std::env::args` was read before.
    unsafe {
        let area = std::slice::from_raw_parts_mut(start as *mut u8, len);
        area.fill(0);
        area[..taken].copy_from_slice(&text.as_bytes()[..taken]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::waitpid;
    use std::os::fd::{AsRawFd, OwnedFd};

    #[test]
    fn without_close_range_all_is_closed_but_what_is_to_be_kept() {
        let open = || -> OwnedFd { std::fs::File::open("/dev/null").unwrap().into() };
        let (first, kept, last) = (open(), open(), open());
        let is_open = |fd: &OwnedFd| nix::fcntl::fcntl(fd, nix::fcntl::F_GETFD).is_ok();
        // A child of a process with threads: it only makes system calls and allocates.
        let one = OneThread(PhantomData);
        let child = spawn(&one, |_| {
            // SAFETY: what is closed is only asked for its flags, and never dropped: `exit` follows.
            let closed = unsafe { close_one_by_one(&[kept.as_raw_fd()]) };
            let as_wanted = !is_open(&first) && is_open(&kept) && !is_open(&last);
            exit(i32::from(closed.is_err() || !as_wanted))
        });
        let status = waitpid(child.unwrap(), None).unwrap();
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
    }

    #[test]
    fn a_second_thread_is_noticed() {
        // The test harness runs this in a second thread itself.
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        assert!(OneThread::prove().is_err());
        drop(stop);
        let _ = other.join();
    }

    #[test]
    fn a_role_that_panics_ends_its_process_only() {
        // A forked test process: the child only panics, which needs no lock but stderr's.
        let one = OneThread(PhantomData);
        std::panic::set_hook(Box::new(|_| {}));
        let child = spawn(&one, |_| panic!("on purpose")).unwrap();
        let _ = std::panic::take_hook();
        assert_eq!(
            waitpid(child, None).unwrap(),
            WaitStatus::Exited(child, 101)
        );
    }
}
