//! poll(2) in the loops of the long-lived processes: what passes is no reason to end.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout, poll};

/// Pause when the kernel has no memory for the call: its next turn may have.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits; how many descriptors are ready. None when a signal came, or after a pause when the kernel
/// had no memory: the loop goes round and waits again.
///
/// # Errors
/// EINVAL: more descriptors than the process may have (RLIMIT_NOFILE).
pub fn wait(fds: &mut [PollFd<'_>], timeout: PollTimeout) -> io::Result<usize> {
    match poll(fds, timeout) {
        Ok(ready) => Ok(usize::try_from(ready).unwrap_or(0)),
        Err(Errno::EINTR) => Ok(0),
        Err(Errno::ENOMEM | Errno::EAGAIN) => {
            sleep(PAUSE);
            Ok(0)
        }
        Err(errno) => Err(errno.into()),
    }
}
