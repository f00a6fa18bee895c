//! Signals as a descriptor to poll: the handler only notes the number and writes a byte. A process
//! makes its own pipe after a fork, with signals blocked until it has.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::SigId;

use crate::step::NameStep;

/// The signals that this process receives.
#[derive(Debug)]
pub(crate) struct Signals {
    pipe: UnixStream,
    heard: Vec<(i32, Arc<AtomicBool>)>,
}

/// The handlers registered in this process, so that a forked child can remove them.
static REGISTERED: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

/// Removes a parent's handlers in a forked child: a signal to the child must not wake the parent, nor
/// write to the parent's pipe. Signals that the parent handled are ignored until the child handles
/// them.
pub(crate) fn forget_inherited() {
    for id in registered().drain(..) {
        signal_hook::low_level::unregister(id);
    }
}

fn registered() -> std::sync::MutexGuard<'static, Vec<SigId>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signals {
    /// Starts to receive `signals`.
    ///
    /// # Errors
    /// No descriptors left; a signal that cannot be caught.
    pub(crate) fn hear(signals: &[i32]) -> io::Result<Signals> {
        let (read, write) = UnixStream::pair().step("socketpair(2), for signals")?;
        read.set_nonblocking(true)?;
        let mut this = Signals {
            pipe: read,
            heard: Vec::new(),
        };
        for &signal in signals {
            let flag = Arc::new(AtomicBool::new(false));
            // In this order, so that a woken process finds the flag set.
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

    /// The signals that arrived since the last call, each once.
    pub(crate) fn take(&mut self) -> Vec<i32> {
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
