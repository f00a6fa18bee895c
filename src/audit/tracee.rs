//! Makes system calls inside another process: its first thread is stopped by ptrace(2), is given the registers of a
//! call, and goes on as if nothing had been when the [`Tracee`] is dropped. Never in here: a call that ends the
//! process or leaves something behind; a change to its code.
#![expect(unsafe_code, reason = "ptrace(2)")]

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;

use super::filter::{Call, Filter};
use super::tree;
use registers::Registers;

/// A thread stops within microseconds; one that does not is in the kernel for good. Only the first stop has a limit:
/// once a thread has the registers of a call, it must not go on with them.
const STOPPING: Duration = Duration::from_secs(2);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_micros(50);
/// Far below the stack's end there is nothing that a thread still needs, nor what it keeps in the red zone.
const BELOW_THE_STACK: u64 = 4096;
/// A process has fewer filters.
const MAX_FILTERS: usize = 64;
/// Instructions of a filter at most: BPF_MAXINSNS.
const MAX_LENGTH: usize = 4096;
/// Bytes that are searched for an instruction.
const MAX_CODE: u64 = 4 << 20;

/// A process whose first thread stands still.
pub(super) struct Tracee {
    pid: Pid,
    memory: File,
    /// What goes back when it goes on.
    before: Registers,
    /// Where its code has the instruction of a system call.
    entry: u64,
    /// What arrived meanwhile, to be sent again.
    signals: Vec<Signal>,
    has_called: bool,
    /// No signal ends this process while another has its registers.
    _undisturbed: Undisturbed,
}

/// Signals of this process wait for as long as this lives.
struct Undisturbed(SigSet);

impl Undisturbed {
    fn begin() -> io::Result<Undisturbed> {
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Undisturbed(before))
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        let _ = self.0.thread_set_mask();
    }
}

/// Why a thread has stopped.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// As ordered.
    Ordered,
    /// By SIGSTOP and its like: a debugger's or a user's.
    Group,
    /// It begins or ends a system call.
    Call,
}

impl Tracee {
    /// Stops it; `started` tells it from another that has its number by now.
    ///
    /// # Errors
    /// This user may not, another process traces it, it has ended or stands still.
    pub(super) fn stop(pid: i32, started: u64) -> io::Result<Tracee> {
        let undisturbed = Undisturbed::begin()?;
        let number = pid;
        let pid = Pid::from_raw(number);
        let options = libc::PTRACE_O_TRACESYSGOOD as u64;
        request(libc::PTRACE_SEIZE, pid, 0, options)?;
        // From here on the number stays its own.
        let stopped = match tree::is_still(number, started) {
            true => Tracee::of_seized(number, undisturbed),
            false => Err(Errno::ESRCH.into()),
        };
        if stopped.is_err() {
            // It goes on at the end of this process too.
            let _ = request(libc::PTRACE_DETACH, pid, 0, 0);
        }
        stopped
    }

    fn of_seized(number: i32, undisturbed: Undisturbed) -> io::Result<Tracee> {
        let pid = Pid::from_raw(number);
        request(libc::PTRACE_INTERRUPT, pid, 0, 0)?;
        let mut signals = Vec::new();
        let end = Some(Instant::now() + STOPPING);
        if wait(pid, libc::PTRACE_CONT, &mut signals, end)? == Stop::Group {
            return Err(io::Error::other(
                "it was stopped, as by SIGSTOP (continue it: `kill -CONT`)",
            ));
        }
        let memory = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"))?;
        let before = registers::read(pid)?;
        let entry = find_entry(pid, &memory)?;
        Ok(Tracee {
            pid,
            memory,
            before,
            entry,
            signals,
            has_called: false,
            _undisturbed: undisturbed,
        })
    }

    /// Its seccomp filters.
    ///
    /// # Errors
    /// This user may not, or this process has filters itself; the kernel keeps none for this
    /// (`CONFIG_CHECKPOINT_RESTORE`).
    pub(super) fn filters(&self) -> io::Result<Vec<Filter>> {
        let mut filters = Vec::new();
        for number in 0..MAX_FILTERS {
            let nothing = libc::sock_filter {
                code: 0,
                jt: 0,
                jf: 0,
                k: 0,
            };
            // Room for any: what another thread of it does meanwhile changes no length here.
            let mut filter = vec![nothing; MAX_LENGTH];
            let address = filter.as_mut_ptr() as u64;
            let length = match request(GET_FILTER, self.pid, number as u64, address) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
                // There is no filter at all.
                Err(error) if number == 0 && error.raw_os_error() == Some(libc::EINVAL) => break,
                length => usize::try_from(length?).map_err(io::Error::other)?,
            };
            filter.truncate(length);
            filters.push(filter);
        }
        Ok(filters)
    }

    /// Writes what a call is to read below its stack; gives the address.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<u64> {
        // What it has there is its own choice.
        let stack = registers::stack(&self.before);
        let address = stack.checked_sub(BELOW_THE_STACK).ok_or(Errno::EFAULT)? & !0xf;
        self.memory.write_all_at(bytes, address)?;
        Ok(address)
    }

    /// Makes a call; the result is the kernel's, an error as its negative number.
    ///
    /// # Errors
    /// The process has ended.
    pub(super) fn call(&mut self, call: &Call) -> io::Result<i64> {
        self.has_called = true;
        registers::write(self.pid, &registers::of(&self.before, self.entry, call))?;
        for _ in ["begins", "ends"] {
            request(libc::PTRACE_SYSCALL, self.pid, 0, 0)?;
            while wait(self.pid, libc::PTRACE_SYSCALL, &mut self.signals, None)? != Stop::Call {
                request(libc::PTRACE_SYSCALL, self.pid, 0, 0)?;
            }
        }
        Ok(registers::result(&registers::read(self.pid)?))
    }

    /// Back to the stop at which it was found: there the kernel repeats a call that was interrupted.
    fn go_back(&mut self) -> io::Result<()> {
        registers::write(self.pid, &self.before)?;
        request(libc::PTRACE_INTERRUPT, self.pid, 0, 0)?;
        request(libc::PTRACE_CONT, self.pid, 0, 0)?;
        wait(self.pid, libc::PTRACE_CONT, &mut self.signals, None).map(drop)
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if self.has_called {
            // Only a process that has ended cannot go on.
            let _ = self.go_back();
        }
        let _ = request(libc::PTRACE_DETACH, self.pid, 0, 0);
        for signal in self.signals.drain(..) {
            let _ = kill(self.pid, signal);
        }
    }
}

/// PTRACE_SECCOMP_GET_FILTER.
const GET_FILTER: libc::c_uint = 0x420c;

fn request(what: libc::c_uint, pid: Pid, address: u64, data: u64) -> io::Result<i64> {
    // SAFETY: an address here is 0, a number, or that of memory which is as long as the request wants.
    let done = unsafe { libc::ptrace(what, pid.as_raw(), address, data) };
    Ok(Errno::result(done)?)
}

/// Waits for a stop, until then at the latest. A signal that arrives is kept, and the thread goes on by `how`.
fn wait(
    pid: Pid,
    how: libc::c_uint,
    signals: &mut Vec<Signal>,
    end: Option<Instant>,
) -> io::Result<Stop> {
    while end.is_none_or(|end| Instant::now() < end) {
        let mut status = 0;
        // SAFETY: the kernel writes a number to where it lives.
        let waited = unsafe {
            let flags = libc::__WALL | libc::WNOHANG;
            libc::waitpid(pid.as_raw(), &raw mut status, flags)
        };
        if Errno::result(waited)? == 0 {
            std::thread::sleep(LOOK);
            continue;
        }
        if !libc::WIFSTOPPED(status) {
            return Err(Errno::ESRCH.into());
        }
        let signal = libc::WSTOPSIG(status);
        match (signal, status >> 16) {
            (libc::SIGTRAP, libc::PTRACE_EVENT_STOP) => return Ok(Stop::Ordered),
            (_, libc::PTRACE_EVENT_STOP) => return Ok(Stop::Group),
            (CALL, _) => return Ok(Stop::Call),
            _ => {
                signals.extend(Signal::try_from(signal));
                request(how, pid, 0, 0)?;
            }
        }
    }
    Err(Errno::ETIMEDOUT.into())
}

/// By PTRACE_O_TRACESYSGOOD.
const CALL: libc::c_int = libc::SIGTRAP | 0x80;

/// Finds the instruction of a system call, in the kernel's own page first.
fn find_entry(pid: Pid, memory: &File) -> io::Result<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let is_code = |line: &&str| line.split_whitespace().nth(1) == Some("r-xp");
    let mut areas: Vec<&str> = maps.lines().filter(is_code).collect();
    areas.sort_by_key(|line| !line.ends_with("[vdso]"));
    for area in areas {
        let range = area.split_whitespace().next().unwrap_or_default();
        let mut ends = range.split('-').map(|end| u64::from_str_radix(end, 16));
        let (Some(Ok(start)), Some(Ok(end))) = (ends.next(), ends.next()) else {
            continue;
        };
        let mut code = vec![0; end.saturating_sub(start).min(MAX_CODE) as usize];
        // The kernel has pages that cannot be read.
        if memory.read_exact_at(&mut code, start).is_err() {
            continue;
        }
        let mut places = code.windows(registers::ENTER.len()).enumerate();
        let is_it = |(at, bytes): &(usize, &[u8])| {
            *bytes == registers::ENTER && at.is_multiple_of(registers::ALIGNMENT)
        };
        if let Some((at, _)) = places.find(is_it) {
            return Ok(start + at as u64);
        }
    }
    Err(io::Error::other("its code makes no system call"))
}

/// Reads or writes the general registers.
fn registers_by(what: libc::c_uint, pid: Pid, at: *mut Registers) -> io::Result<()> {
    const NT_PRSTATUS: u64 = 1;
    let mut area = libc::iovec {
        iov_base: at.cast(),
        iov_len: size_of::<Registers>(),
    };
    request(what, pid, NT_PRSTATUS, &raw mut area as u64).map(drop)
}

/// What differs between processors.
mod registers {
    use super::{Call, MaybeUninit, Pid, io, registers_by};

    pub(super) type Registers = libc::user_regs_struct;

    pub(super) fn read(pid: Pid) -> io::Result<Registers> {
        let mut registers = MaybeUninit::<Registers>::zeroed();
        registers_by(libc::PTRACE_GETREGSET, pid, registers.as_mut_ptr())?;
        // SAFETY: numbers, of which all zeroes are valid, and which the kernel has overwritten.
        Ok(unsafe { registers.assume_init() })
    }

    pub(super) fn write(pid: Pid, registers: &Registers) -> io::Result<()> {
        let mut copy = *registers;
        registers_by(libc::PTRACE_SETREGSET, pid, &raw mut copy)
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) use self::x86_64::*;

    #[cfg(target_arch = "x86_64")]
    mod x86_64 {
        use super::{Call, Registers};

        /// `syscall`
        pub(in super::super) const ENTER: &[u8] = &[0x0f, 0x05];
        pub(in super::super) const ALIGNMENT: usize = 1;

        pub(in super::super) fn of(before: &Registers, entry: u64, call: &Call) -> Registers {
            let mut registers = *before;
            registers.rip = entry;
            registers.rax = call.number as u64;
            // The kernel shall not repeat the call that was interrupted.
            registers.orig_rax = u64::MAX;
            [
                registers.rdi,
                registers.rsi,
                registers.rdx,
                registers.r10,
                registers.r8,
                registers.r9,
            ] = call.arguments;
            registers
        }

        pub(in super::super) fn result(registers: &Registers) -> i64 {
            registers.rax.cast_signed()
        }

        pub(in super::super) fn stack(registers: &Registers) -> u64 {
            registers.rsp
        }
    }

    #[cfg(target_arch = "aarch64")]
    pub(super) use self::aarch64::*;

    #[cfg(target_arch = "aarch64")]
    mod aarch64 {
        use super::{Call, Registers};

        /// `svc #0`
        pub(in super::super) const ENTER: &[u8] = &[0x01, 0x00, 0x00, 0xd4];
        pub(in super::super) const ALIGNMENT: usize = 4;

        pub(in super::super) fn of(before: &Registers, entry: u64, call: &Call) -> Registers {
            let mut registers = *before;
            registers.pc = entry;
            registers.regs[8] = call.number as u64;
            registers.regs[..6].copy_from_slice(&call.arguments);
            registers
        }

        pub(in super::super) fn result(registers: &Registers) -> i64 {
            registers.regs[0].cast_signed()
        }

        pub(in super::super) fn stack(registers: &Registers) -> u64 {
            registers.sp
        }
    }
}
