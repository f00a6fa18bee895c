//! Bounds a run: at its deadline, or on a signal, everything that was started is killed, by pid.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::tree::{self, Process};

/// The proxies that run now; a root is taken off before it is waited for, so that its number
/// still is its own here.
static STARTED: Mutex<Vec<i32>> = Mutex::new(Vec::new());

fn started() -> MutexGuard<'static, Vec<i32>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers a process tree by its root.
pub fn add(root: i32) {
    started().push(root);
}

/// Forgets it.
pub fn remove(root: i32) {
    started().retain(|known| *known != root);
}

/// Sends SIGKILL to those that still are what they were when they were listed.
pub fn kill_all(processes: &[Process]) {
    for process in processes.iter().filter(|process| process.lives()) {
        // It may have ended since: that is what was wanted.
        let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
    }
}

/// Starts the watch; `scratch` is removed when it strikes.
///
/// # Errors
/// No signal handler, no thread.
pub fn start(limit: Duration, scratch: PathBuf) -> io::Result<()> {
    let (mut reader, writer) = UnixStream::pair()?;
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    reader.set_read_timeout(Some(limit))?;
    thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || {
            let _writer = writer;
            let signalled = reader.read_exact(&mut [0]).is_ok();
            // Kept locked: nothing may be started any more.
            let roots = started();
            for root in roots.iter() {
                kill_all(&tree::processes(*root).unwrap_or_default());
            }
            let _ = std::fs::remove_dir_all(&scratch);
            if signalled {
                eprintln!("stopped by a signal");
            } else {
                eprintln!("gave up after {} s (--limit)", limit.as_secs());
            }
            std::process::exit(1)
        })?;
    Ok(())
}
