//! Other kernels: a seccomp(2) filter answers system calls as an older kernel would. Every process
//! started under it inherits it, and can only add to it.

use std::io;
use std::net::UdpSocket;

use nix::libc::sock_filter;
use nix::{getsockopt_impl, sockopt_impl};

/// System calls added after Linux 4.18 have this number or a higher one, on every architecture
/// (pidfd_send_signal, 5.1).
const FIRST_AFTER_4_18: i64 = 424;
/// Linux 5.1.
const SO_BINDTOIFINDEX: u32 = 62;

sockopt_impl!(
    /// SO_BINDTODEVICE of socket(7), by index.
    BindToIndex,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_BINDTOIFINDEX,
    i32
);

/// Whether a listener can be closed without a reset of what arrives at that moment: since Linux 5.1, as the
/// manual says. Asked of this kernel, or of the filter that plays an older one.
pub fn retires_listeners() -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    nix::sys::socket::getsockopt(&socket, BindToIndex).is_ok()
}

/// A filter being made, and then the program for seccomp(2).
#[derive(Clone, Default)]
pub struct Kernel(Vec<sock_filter>);

impl Kernel {
    /// Linux 4.18, without landlock and anything newer. It refuses pwritev2(2) on a pipe, as kernels
    /// before 6.4 do.
    pub fn linux_4_18() -> Kernel {
        Kernel::default().ends_at_4_18(libc::ENOSYS, libc::EOPNOTSUPP)
    }

    /// The same behind an allow-list that refuses unknown calls with EPERM, like those of systemd
    /// before 247 and of old containers. Except clone3(2): no C library since 2021 starts a thread if
    /// that answers so.
    pub fn behind_an_allow_list() -> Kernel {
        Kernel::lacks(&[libc::SYS_clone3]).ends_at_4_18(libc::EPERM, libc::EPERM)
    }

    fn ends_at_4_18(mut self, newer: i32, pwritev2: i32) -> Kernel {
        self.load(0);
        self.jump(libc::BPF_JGE, FIRST_AFTER_4_18 as u32, 1);
        self.give(newer);
        let device = [(1, libc::SOL_SOCKET as u32), (2, SO_BINDTOIFINDEX)];
        self.answering(libc::SYS_pwritev2, &[], pwritev2)
            .answering(libc::SYS_setsockopt, &device, libc::ENOPROTOOPT)
            .answering(libc::SYS_getsockopt, &device, libc::ENOPROTOOPT)
            .answering(
                libc::SYS_prctl,
                &[(0, libc::PR_SET_VMA as u32)],
                libc::EINVAL,
            )
    }

    /// This kernel without these system calls.
    pub fn lacks(calls: &[i64]) -> Kernel {
        let without = |kernel: Kernel, &call| kernel.answering(call, &[], libc::ENOSYS);
        calls.iter().fold(Kernel::default(), without)
    }

    /// Answers `call` with an error if these arguments (by number, lower halves) match.
    pub fn answering(mut self, call: i64, arguments: &[(u32, u32)], errno: i32) -> Kernel {
        let behind = |conditions: usize| u8::try_from(2 * conditions + 1).expect("few conditions");
        self.load(0);
        self.jump(libc::BPF_JEQ, call as u32, behind(arguments.len()));
        for (nth, (index, value)) in arguments.iter().enumerate() {
            self.load(16 + 8 * index);
            self.jump(libc::BPF_JEQ, *value, behind(arguments.len() - 1 - nth));
        }
        self.give(errno);
        self
    }

    /// From `struct seccomp_data`: the call's number is at 0, its arguments start at 16.
    fn load(&mut self, offset: u32) {
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    }

    /// Continues if the condition holds, otherwise skips this many instructions.
    fn jump(&mut self, condition: u32, value: u32, otherwise: u8) {
        let code = libc::BPF_JMP | condition | libc::BPF_K;
        self.push(code, 0, otherwise, value);
    }

    fn give(&mut self, errno: i32) {
        let answer = libc::SECCOMP_RET_ERRNO | errno as u32;
        self.push(libc::BPF_RET | libc::BPF_K, 0, 0, answer);
    }

    fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) {
        let code = code as u16;
        self.0.push(sock_filter { code, jt, jf, k });
    }

    /// The program, for [`boot`].
    pub fn program(mut self) -> Vec<sock_filter> {
        let allow = libc::SECCOMP_RET_ALLOW;
        self.push(libc::BPF_RET | libc::BPF_K, 0, 0, allow);
        self.0
    }
}

/// Puts this process, and all that it starts, under the kernel that `program` makes. Only two system
/// calls: for a child between fork(2) and execve(2).
pub fn boot(program: &mut [sock_filter]) -> io::Result<()> {
    // Without root a filter needs no_new_privs (seccomp(2)).
    if !nix::unistd::geteuid().is_root() {
        nix::sys::prctl::set_no_new_privs()?;
    }
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, whose length and address are those of a live slice.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
