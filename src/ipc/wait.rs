//! poll(2) for the loops of long-lived processes, which a passing failure must not end.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout, poll};

/// The pause when the kernel has no memory for the call; the next one may succeed.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits; returns how many descriptors are ready. That is 0 after a signal, and after a pause when the
/// kernel had no memory: the loop simply waits again.
///
/// # Errors
/// EINVAL: more descriptors than the process may have (RLIMIT_NOFILE).
pub(crate) fn wait(fds: &mut [PollFd<'_>], timeout: PollTimeout) -> io::Result<usize> {
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
