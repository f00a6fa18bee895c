//! `foreground = no`: the starter waits until the workers serve, or something failed, and ends with
//! a true exit status.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;

use nix::unistd::{ForkResult, setsid};

use crate::process::OneThread;

/// The daemon's word to the process that started it; dropping it unsaid means failure.
#[derive(Debug)]
pub struct Starter(io::PipeWriter);

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Side {
    /// The starter: the daemon serves, or has failed.
    Starter(ExitCode),
    /// The daemon, in a session of its own.
    Daemon(Starter),
}

/// Forks the daemon; returns in both processes.
///
/// # Errors
/// No process or descriptor to be had.
pub fn detach(_: &OneThread) -> io::Result<Side> {
    let (mut read, write) = io::pipe()?;
    // SAFETY: only asking the kernel makes a `OneThread`, so no other thread can hold a lock.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => {
            drop(read);
            setsid()?;
            Ok(Side::Daemon(Starter(write)))
        }
        ForkResult::Parent { .. } => {
            drop(write);
            let mut word = [0];
            let served = matches!(read.read(&mut word), Ok(1));
            Ok(Side::Starter(if served {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }))
        }
    }
}

impl Starter {
    /// The workers serve: the starter may go.
    pub fn tell(mut self) {
        // A starter that was killed meanwhile is nobody to tell.
        let _ = self.0.write_all(b"1");
    }
}

impl AsFd for Starter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
