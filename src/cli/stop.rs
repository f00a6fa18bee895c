//! `adit stop`: SIGTERM, and the wait for the end.

use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::Signal;

use super::complain;
use super::held::{Held, HoldError};

/// Stops the adit that answers at `socket`, and waits until it has exited, which takes as long as its
/// connections last, or `drainTimeout`. If `file` is given, it must be running with this configuration.
pub(super) fn run(socket: &Path, file: Option<&Path>) -> ExitCode {
    match stop(socket, file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("not stopped: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn stop(socket: &Path, file: Option<&Path>) -> Result<(), HoldError> {
    let adit = Held::at(socket, file, Signal::SIGTERM)?;
    adit.signal(Signal::SIGTERM)?;
    adit.wait_for_end(Signal::SIGTERM)
}
