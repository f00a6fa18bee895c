//! The program. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: nothing has been opened yet.
    unsafe { adit::note_given() };
    adit::cli::main(std::env::args_os())
}
