//! Signals as a descriptor to poll: the handler notes the number and writes a byte, nothing more.
//! A process makes its own pipe after a fork, with signals blocked until it has done so.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::SigId;

use crate::step::NameStep;

/// Signals that this process hears.
#[derive(Debug)]
pub struct Signals {
    pipe: UnixStream,
    heard: Vec<(i32, Arc<AtomicBool>)>,
}

/// What is registered in this process, so that a forked child can take it back.
static REGISTERED: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

/// A forked child unlearns its parent's pipes: a signal to it must not wake, or write into, what
/// belongs to the parent. Signals that the parent heard are ignored until they are heard anew.
pub fn forget_inherited() {
    for id in registered().drain(..) {
        signal_hook::low_level::unregister(id);
    }
}

fn registered() -> std::sync::MutexGuard<'static, Vec<SigId>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signals {
    /// Begins to hear `signals`.
    ///
    /// # Errors
    /// No descriptors left; a signal that cannot be caught.
    pub fn hear(signals: &[i32]) -> io::Result<Signals> {
        let (read, write) = UnixStream::pair().step("socketpair(2), for signals")?;
        read.set_nonblocking(true)?;
        let mut this = Signals {
            pipe: read,
            heard: Vec::new(),
        };
        for &signal in signals {
            let flag = Arc::new(AtomicBool::new(false));
            // In this order: who wakes up finds the flag set.
            let ids = [
                signal_hook::flag::register(signal, flag.clone()).step("sigaction(2)")?,
                signal_hook::low_level::pipe::register(signal, write.try_clone()?)
                    .step("sigaction(2)")?,
            ];
            registered().extend(ids);
            this.heard.push((signal, flag));
        }
        Ok(this)
    }

    /// The signals that came since the last call, each once.
    pub fn take(&mut self) -> Vec<i32> {
        let mut bytes = [0; 64];
        while matches!(self.pipe.read(&mut bytes), Ok(n) if n > 0) {}
        self.heard
            .iter()
            .filter(|(_, flag)| flag.swap(false, SeqCst))
            .map(|(signal, _)| *signal)
            .collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::SIGUSR1;

    #[test]
    fn a_signal_is_told_once_and_wakes_a_poll() {
        let mut signals = Signals::hear(&[SIGUSR1]).unwrap();
        signal_hook::low_level::raise(SIGUSR1).unwrap();
        signal_hook::low_level::raise(SIGUSR1).unwrap();
        let mut fds = [nix::poll::PollFd::new(
            signals.as_fd(),
            nix::poll::PollFlags::POLLIN,
        )];
        assert_eq!(nix::poll::poll(&mut fds, 5000u16), Ok(1));
        assert_eq!(signals.take(), [SIGUSR1]);
        assert_eq!(signals.take(), [0; 0]);
    }
}
