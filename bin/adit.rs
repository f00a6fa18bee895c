//! The program. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    adit::cli::main(std::env::args_os())
}
