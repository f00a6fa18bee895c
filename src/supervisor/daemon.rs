//! `foreground = no`: the starter waits until the workers serve, or something failed, and ends with
//! a true exit status.
#![expect(unsafe_code, reason = "fork(2)")]

use nix::unistd::{ForkResult, setsid};
use std::io::{self, Read, Write};

use crate::process::OneThread;
use crate::step::NameStep;

/// The daemon's word to the process that started it; dropping it unsaid means failure.
#[derive(Debug)]
pub(super) struct Starter(io::PipeWriter);

/// Forks the daemon, in a session of its own, and returns there. The starter ends here, with a true
/// status, and runs no destructor: the lock on the pid file is the daemon's now.
///
/// # Errors
/// No process or descriptor to be had.
pub(super) fn detach(_: &OneThread) -> io::Result<Starter> {
    let (mut read, write) = io::pipe().step("pipe2(2), to the starter")?;
    // SAFETY: only asking the kernel makes a `OneThread`, so no other thread can hold a lock.
    match unsafe { nix::unistd::fork() }.step("fork(2) into the background")? {
        ForkResult::Child => {
            drop(read);
            setsid().step("setsid(2)")?;
            Ok(Starter(write))
        }
        ForkResult::Parent { .. } => {
            drop(write);
            let mut word = [0];
            let served = matches!(read.read(&mut word), Ok(1));
            std::process::exit(i32::from(!served))
        }
    }
}

impl Starter {
    /// The workers serve: the starter may go.
    pub(super) fn tell(mut self) {
        // A starter that was killed meanwhile cannot be told.
        let _ = self.0.write_all(b"1");
    }
}
