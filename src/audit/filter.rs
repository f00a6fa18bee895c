//! What seccomp filters answer to a system call: their programs, as the kernel hands them out, are run here. Never in
//! here: a process.
#![forbid(unsafe_code)]

use libc::sock_filter;

/// One filter's program, in classic BPF.
pub(super) type Filter = Vec<sock_filter>;

/// A system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub number: i64,
    pub arguments: [u64; 6],
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    /// It fails with this number.
    Errno(i32),
    /// The process is killed.
    Kill,
    /// A tracer or a supervisor of filters decides.
    AskedElsewhere,
}

/// The answer of all of them: of the strictest. `None`: a program is none.
pub(super) fn answer(filters: &[Filter], call: &Call) -> Option<Action> {
    answer_on(filters, call, ARCHITECTURE)
}

fn answer_on(filters: &[Filter], call: &Call, architecture: u32) -> Option<Action> {
    let mut strictest = libc::SECCOMP_RET_ALLOW;
    for filter in filters {
        let answer = run(filter, call, architecture)?;
        // seccomp(2): they are ordered as signed numbers.
        if action(answer) < action(strictest) {
            strictest = answer;
        }
    }
    Some(match strictest & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG => Action::Allow,
        libc::SECCOMP_RET_ERRNO => Action::Errno((strictest & libc::SECCOMP_RET_DATA) as i32),
        libc::SECCOMP_RET_TRACE | libc::SECCOMP_RET_USER_NOTIF => Action::AskedElsewhere,
        // An action that is not known kills.
        _ => Action::Kill,
    })
}

fn action(answer: u32) -> i32 {
    (answer & libc::SECCOMP_RET_ACTION_FULL).cast_signed()
}

/// This machine's, as AUDIT_ARCH_* has it.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// A word of `struct seccomp_data`, by its offset. The instruction pointer counts as 0.
fn word(call: &Call, offset: u32, architecture: u32) -> Option<u32> {
    let half = |value: u64, high: bool| (if high { value >> 32 } else { value }) as u32;
    match offset {
        0 => Some(call.number as u32),
        4 => Some(architecture),
        8 | 12 => Some(0),
        16..64 if offset.is_multiple_of(4) => {
            let argument = call.arguments.get((offset as usize - 16) / 8)?;
            Some(half(*argument, !offset.is_multiple_of(8)))
        }
        _ => None,
    }
}

/// Bytes of `struct seccomp_data`.
const LENGTH: u32 = 64;

fn run(filter: &Filter, call: &Call, architecture: u32) -> Option<u32> {
    let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0_u32; 16]);
    let mut at = 0_usize;
    loop {
        let sock_filter { code, jt, jf, k } = *filter.get(at)?;
        at += 1;
        let code = u32::from(code);
        let operand = if code & libc::BPF_X == 0 { k } else { x };
        let slot = k as usize;
        match code & 7 {
            libc::BPF_LD => {
                a = match code & 0xe0 {
                    libc::BPF_ABS => word(call, k, architecture)?,
                    libc::BPF_IMM => k,
                    libc::BPF_MEM => *memory.get(slot)?,
                    libc::BPF_LEN => LENGTH,
                    _ => return None,
                }
            }
            libc::BPF_LDX => {
                x = match code & 0xe0 {
                    libc::BPF_IMM => k,
                    libc::BPF_MEM => *memory.get(slot)?,
                    libc::BPF_LEN => LENGTH,
                    _ => return None,
                }
            }
            libc::BPF_ST => *memory.get_mut(slot)? = a,
            libc::BPF_STX => *memory.get_mut(slot)? = x,
            libc::BPF_ALU => a = compute(code & 0xf0, a, operand)?,
            libc::BPF_JMP => {
                let taken = match code & 0xf0 {
                    libc::BPF_JA => {
                        at = at.checked_add(slot)?;
                        continue;
                    }
                    libc::BPF_JEQ => a == operand,
                    libc::BPF_JGT => a > operand,
                    libc::BPF_JGE => a >= operand,
                    libc::BPF_JSET => a & operand != 0,
                    _ => return None,
                };
                at += usize::from(if taken { jt } else { jf });
            }
            libc::BPF_RET => return Some(if code & 0x18 == libc::BPF_A { a } else { k }),
            _ if code & 0xf8 == libc::BPF_TXA => a = x,
            _ => x = a,
        }
    }
}

fn compute(operation: u32, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        libc::BPF_ADD => a.wrapping_add(operand),
        libc::BPF_SUB => a.wrapping_sub(operand),
        libc::BPF_MUL => a.wrapping_mul(operand),
        libc::BPF_DIV => a.checked_div(operand)?,
        libc::BPF_OR => a | operand,
        libc::BPF_AND => a & operand,
        libc::BPF_XOR => a ^ operand,
        libc::BPF_LSH => a.checked_shl(operand).unwrap_or(0),
        libc::BPF_RSH => a.checked_shr(operand).unwrap_or(0),
        libc::BPF_NEG => a.wrapping_neg(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(code: u32, k: u32) -> sock_filter {
        sock_filter {
            code: code as u16,
            jt: 0,
            jf: 0,
            k,
        }
    }

    fn returning(answer: u32) -> Filter {
        vec![statement(libc::BPF_RET, answer)]
    }

    const CALL: Call = Call {
        number: libc::SYS_openat,
        arguments: [1, 2, 0xffff_ffff_0000_0003, 4, 5, 6],
    };

    #[test]
    fn the_strictest_filter_counts() {
        const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
        const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
        const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
        for (answers, wanted) in [
            (&[][..], Action::Allow),
            (&[ALLOW], Action::Allow),
            (&[ALLOW, EPERM, ALLOW], Action::Errno(1)),
            (&[EPERM, KILL, ALLOW], Action::Kill),
            (&[libc::SECCOMP_RET_KILL_THREAD, EPERM], Action::Kill),
            (&[libc::SECCOMP_RET_TRACE], Action::AskedElsewhere),
            (&[libc::SECCOMP_RET_LOG], Action::Allow),
        ] {
            let filters: Vec<Filter> = answers.iter().map(|&answer| returning(answer)).collect();
            assert_eq!(answer(&filters, &CALL), Some(wanted), "{answers:x?}");
        }
    }

    /// Real programs: what the sandbox itself compiles.
    #[test]
    fn the_sandboxs_filters_are_understood() {
        let call = |number, arguments| Call { number, arguments };
        let filters = crate::sandbox::filters_of_worker();
        let not = [0; 6];
        for (number, arguments, wanted) in [
            (libc::SYS_read, not, Action::Allow),
            (libc::SYS_execve, not, Action::Kill),
            (libc::SYS_ptrace, not, Action::Kill),
            (libc::SYS_kill, not, Action::Errno(libc::EPERM)),
            (libc::SYS_clone3, not, Action::Errno(libc::ENOSYS)),
            (
                libc::SYS_clone,
                [libc::SIGCHLD as u64, 0, 0, 0, 0, 0],
                Action::Errno(libc::EPERM),
            ),
            (
                libc::SYS_clone,
                [libc::CLONE_THREAD as u64, 0, 0, 0, 0, 0],
                Action::Allow,
            ),
            (libc::SYS_prlimit64, [0, 7, 0, 0, 0, 0], Action::Allow),
            (
                libc::SYS_prlimit64,
                [0, 7, 1 << 40, 0, 0, 0],
                Action::Errno(libc::EPERM),
            ),
        ] {
            let answer = answer(&filters, &call(number, arguments));
            assert_eq!(answer, Some(wanted), "{number} {arguments:?}");
        }
    }

    /// Root in a shell may do these; the supervisor may not, nor what it starts.
    #[test]
    fn the_supervisors_filter_forbids_what_it_says_and_nothing_else() {
        let filters = [crate::sandbox::filter_of_supervisor()];
        let mark = [0x6164_0001, 0, 0, 0, 0, 0];
        for (number, arguments, wanted) in [
            (libc::SYS_init_module, [0; 6], Action::Errno(libc::EPERM)),
            (libc::SYS_userfaultfd, [0; 6], Action::Errno(libc::EPERM)),
            (libc::SYS_ptrace, [0; 6], Action::Errno(libc::EPERM)),
            (libc::SYS_reboot, [0; 6], Action::Errno(libc::EPERM)),
            (libc::SYS_prctl, mark, Action::Errno(libc::EALREADY)),
            (libc::SYS_prctl, [0; 6], Action::Allow),
            (libc::SYS_execve, mark, Action::Allow),
            (libc::SYS_chroot, [0; 6], Action::Allow),
            (libc::SYS_mount, [0; 6], Action::Allow),
            // init_module of 32-bit programs, see below.
            (128, [0; 6], Action::Allow),
            // x32.
            (0x4000_0000, [0; 6], Action::Errno(libc::ENOSYS)),
        ] {
            let call = Call { number, arguments };
            assert_eq!(answer(&filters, &call), Some(wanted), "{number}");
        }
        let module = Call {
            number: 128,
            arguments: [0; 6],
        };
        let there = answer_on(&filters, &module, OTHER);
        assert_eq!(there, Some(Action::Errno(libc::EPERM)));
    }

    #[cfg(target_arch = "x86_64")]
    const OTHER: u32 = 0x4000_0003;
    #[cfg(target_arch = "aarch64")]
    const OTHER: u32 = 0x4000_0028;

    #[test]
    fn what_is_no_program_has_no_answer() {
        let broken: [Filter; 6] = [
            vec![],
            vec![statement(libc::BPF_JMP | libc::BPF_JA, u32::MAX)],
            vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 64)],
            vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 17)],
            vec![statement(libc::BPF_ST, 16)],
            vec![statement(libc::BPF_ALU | libc::BPF_DIV, 0)],
        ];
        for program in broken {
            assert_eq!(answer(std::slice::from_ref(&program), &CALL), None);
        }
    }
}
