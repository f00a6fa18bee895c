//! `older_kernel PROGRAM [ARGUMENT ...]`: runs a program as Linux 4.18 would, as far as a seccomp
//! filter can tell. The cargo runner of `tests/older-kernel`, under which every test runs.
#![allow(clippy::expect_used, unreachable_pub, reason = "as in tests")]

#[expect(dead_code, reason = "the tests make other kernels with it")]
mod kernel;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: older_kernel PROGRAM [ARGUMENT ...]");
        return ExitCode::FAILURE;
    };
    let error = match kernel::boot(&mut kernel::Kernel::linux_4_18().program()) {
        Ok(()) => Command::new(&program).args(arguments).exec(),
        Err(error) => error,
    };
    eprintln!("older_kernel: {}: {error}", program.display());
    ExitCode::FAILURE
}
