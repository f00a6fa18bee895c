//! What a person is asked at the terminal, and the signal that ends a wait. Never in here: a password that is shown.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use zeroize::Zeroizing;

use crate::config::Secret;
use crate::sys::quiet::Quiet;

/// Longest line, in bytes.
const MAX_LINE: usize = 8 << 10;

/// A signal to end, as what can be waited for.
#[derive(Debug)]
pub(super) struct Interrupts(UnixStream);

/// It came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interrupted;

impl Interrupts {
    /// Catches them from now on.
    ///
    /// # Errors
    /// No descriptor.
    pub(super) fn catch() -> io::Result<Interrupts> {
        let (heard, told) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, told.try_clone()?)?;
        }
        Ok(Interrupts(heard))
    }

    /// Waits so long.
    ///
    /// # Errors
    /// See [`Interrupted`].
    pub(super) fn sleep(&self, time: Duration) -> Result<(), Interrupted> {
        self.wait(&[], Some(time)).map(drop)
    }

    /// Waits until one of these can be read; gives which can.
    ///
    /// # Errors
    /// See [`Interrupted`].
    pub(super) fn wait(
        &self,
        others: &[BorrowedFd<'_>],
        time: Option<Duration>,
    ) -> Result<Vec<bool>, Interrupted> {
        let all = std::iter::once(self.0.as_fd()).chain(others.iter().copied());
        let mut fds: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let time = time.map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time.as_millis()).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, time) {
            Ok(_) => {}
            // The signal's byte is there by then.
            Err(Errno::EINTR) => return self.wait(others, Some(Duration::ZERO)),
            Err(_) => return Err(Interrupted),
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
        match ready.next() {
            Some(false) => Ok(ready.collect()),
            _ => Err(Interrupted),
        }
    }
}

/// The terminal that the command was typed at.
pub(super) struct Terminal(File);

impl Terminal {
    /// # Errors
    /// There is none.
    pub(super) fn open() -> io::Result<Terminal> {
        let file = File::options().read(true).write(true).open("/dev/tty")?;
        Ok(Terminal(file))
    }

    /// Asks for a password, of which nothing is shown; `None`: the terminal was closed, or a signal came.
    ///
    /// # Errors
    /// The terminal's.
    pub(super) fn ask(
        &self,
        question: &str,
        interrupts: &Interrupts,
    ) -> io::Result<Option<Secret>> {
        let quiet = Quiet::new(&self.0)?;
        write!(&self.0, "{question}: ")?;
        let answer = self.line(interrupts);
        drop(quiet);
        // The one that ended the answer was not shown.
        writeln!(&self.0)?;
        answer
    }

    fn line(&self, interrupts: &Interrupts) -> io::Result<Option<Secret>> {
        let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
        loop {
            if interrupts.wait(&[self.0.as_fd()], None).is_err() {
                return Ok(None);
            }
            let mut byte = Zeroizing::new([0]);
            if (&self.0).read(byte.as_mut_slice())? == 0 {
                return Ok(None);
            }
            match byte[0] {
                b'\n' => break,
                _ if line.len() == MAX_LINE => {
                    return Err(io::Error::other("the line is too long"));
                }
                byte => line.push(byte),
            }
        }
        let text =
            std::str::from_utf8(&line).map_err(|_| io::Error::other("it is not in UTF-8"))?;
        Ok(Some(Secret::new(text)))
    }
}
