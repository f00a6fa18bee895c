//! The supervisor's sandbox: what root can do to the machine's kernel and to other processes, and adit never does.
//! What is left stays, since its children need it before they narrow it: the master and the helpers to enter the jail,
//! programs of `exec` for whatever they do. Never in here: a call that such a program may need in a container, or
//! no_new_privs, which would take their set-user-ID bits.
#![expect(unsafe_code, reason = "seccomp(2) and prctl(2)")]

use libc::sock_filter;
use nix::errno::Errno;

use super::SandboxError;

/// Kernel modules and kernels, swap, ports, accounting; other processes' memory; kernel programs and counters; files
/// by their number. What containers forbid too.
const FORBIDDEN: &[i64] = &[
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_open_by_handle_at,
    libc::SYS_userfaultfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// The same calls of 32-bit programs, which a program of `exec` may be.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_32: &[i64] = &[
    128, 350, 129, 283, 88, 87, 115, 51, 357, 336, 26, 347, 348, 342, 374, 110, 101,
];
#[cfg(target_arch = "aarch64")]
const FORBIDDEN_32: &[i64] = &[
    128, 379, 129, 347, 401, 88, 87, 115, 51, 386, 364, 26, 376, 377, 371, 388,
];

/// AUDIT_ARCH_* of this machine's programs, and of its 32-bit ones.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [u32; 2] = [0xc000_003e, 0x4000_0003];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [u32; 2] = [0xc000_00b7, 0x4000_0028];

/// Above are the calls of x32, which have other numbers: no kernel of a distribution has them.
const X32: u32 = 0x4000_0000;

/// What prctl(2) is asked, to learn whether this very filter is in force: to the kernel it means nothing, and a filter
/// of the unit's or a container's kills for no prctl(2). Another list has another number.
const MARK: u32 = 0x6164_0001;
const MARKED: Errno = Errno::EALREADY;

/// Puts the filter into force, unless the program before an exec did. False: this process may not (it has neither
/// CAP_SYS_ADMIN nor no_new_privs), or the kernel has none.
///
/// # Errors
/// The kernel supports it and refuses it.
pub(crate) fn supervisor() -> Result<bool, SandboxError> {
    if is_in_force() {
        return Ok(true);
    }
    let mut program = program();
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(super::seccomp_error)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, whose length and address are those of a live vector.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const filter,
        )
    };
    match Errno::result(done) {
        Ok(_) => Ok(is_in_force()),
        Err(Errno::EACCES | Errno::EPERM | Errno::ENOSYS | Errno::EINVAL) => Ok(false),
        Err(errno) => Err(super::seccomp_error(errno)),
    }
}

fn is_in_force() -> bool {
    // SAFETY: no kernel knows this option, so none reads or writes memory for it.
    let asked = unsafe { libc::prctl(MARK as i32, 0, 0, 0, 0) };
    Errno::result(asked) == Err(MARKED)
}

fn program() -> Vec<sock_filter> {
    const NUMBER: u32 = 0;
    const ARCHITECTURE: u32 = 4;
    const FIRST_ARGUMENT: u32 = 16;
    let errno = |errno: Errno| libc::SECCOMP_RET_ERRNO | errno as u32;
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    let give = |answer| statement(libc::BPF_RET | libc::BPF_K, answer);
    let equal = |value: u32, otherwise: u8| sock_filter {
        jf: otherwise,
        ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value)
    };
    // The mark of this list.
    let mut program = vec![
        load(ARCHITECTURE),
        equal(ARCHITECTURES[0], 5),
        load(NUMBER),
        equal(libc::SYS_prctl as u32, 3),
        load(FIRST_ARGUMENT),
        equal(MARK, 1),
        give(errno(MARKED)),
    ];
    for (architecture, calls) in ARCHITECTURES.into_iter().zip([FORBIDDEN, FORBIDDEN_32]) {
        // Two for each call, three here: far below the 255 that a jump spans.
        let length = u8::try_from(2 * calls.len() + 4).unwrap_or(u8::MAX);
        program.extend([
            load(ARCHITECTURE),
            equal(architecture, length),
            load(NUMBER),
        ]);
        program.extend([
            sock_filter {
                jf: 1,
                ..statement(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, X32)
            },
            give(errno(Errno::ENOSYS)),
        ]);
        for &call in calls {
            program.extend([equal(call as u32, 1), give(errno(Errno::EPERM))]);
        }
        program.push(give(libc::SECCOMP_RET_ALLOW));
    }
    program.push(give(libc::SECCOMP_RET_ALLOW));
    program
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

/// The program, for the room that can run it.
#[cfg(test)]
pub(crate) fn filter_of_supervisor() -> Vec<sock_filter> {
    program()
}
