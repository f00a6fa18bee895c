//! A terminal on which a secret is typed. Never in here: the question, or what is typed.

use std::fs::File;
use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

/// A terminal that shows nothing of what is typed, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl Quiet<'_> {
    /// Has it show nothing.
    ///
    /// # Errors
    /// It is no terminal.
    pub(crate) fn new(terminal: &File) -> io::Result<Quiet<'_>> {
        let before = termios::tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        // What was typed ahead, and shown, is no secret.
        termios::tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // The shell may have the terminal by now, if the parent was killed: it is given back all the
        // same. If it is gone, there is nothing to tell.
        let from_behind = SigSet::from(Signal::SIGTTOU);
        let _ = from_behind.thread_block();
        let _ = termios::tcsetattr(self.terminal, SetArg::TCSADRAIN, &self.before);
        let _ = from_behind.thread_unblock();
    }
}
