//! The real adit as a child process: a folder for its files, its configuration, its log, its exit.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process;

/// adit must serve within this time, and exit within it when told to.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often its log and its process are checked.
const GLANCE: Duration = Duration::from_millis(20);
/// Lines of the log shown after a failure.
const TAIL: usize = 20;

/// A folder that only this user can enter, removed on drop.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn make() -> io::Result<Folder> {
        // mkdtemp(3) makes it with mode 0700.
        let template = std::env::temp_dir().join("adit-demo-XXXXXX");
        Ok(Folder(nix::unistd::mkdtemp(&template)?))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // There is no remedy for a failure, and nothing in the folder is secret.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running adit, stopped on drop.
pub(super) struct Instance<'a> {
    child: Child,
    folder: &'a Folder,
    interrupted: &'a AtomicBool,
}

impl<'a> Instance<'a> {
    /// Writes `configuration` into `folder` and starts `binary` with it. The configuration logs
    /// to `adit.log` there.
    pub(super) fn start(
        binary: &Path,
        configuration: &str,
        folder: &'a Folder,
        interrupted: &'a AtomicBool,
    ) -> io::Result<Instance<'a>> {
        let file = folder.path("adit.conf");
        fs::write(&file, configuration)?;
        let mut command = Command::new(binary);
        command
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path("stderr"))?);
        // It must not outlive this program, however this one ends.
        process::end_with_parent(&mut command);
        Ok(Instance {
            child: command.spawn()?,
            folder,
            interrupted,
        })
    }

    /// Waits until the log reports that it accepts connections.
    pub(super) fn wait_until_serving(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while !self.log()?.contains("Accepting new connections") {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it ended at once: {status}")));
            }
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("it is not serving after {} s", DEADLINE.as_secs()),
                ));
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// The port on which a service accepts, from its `bound to` line.
    pub(super) fn port(&self, service: &str) -> io::Result<u16> {
        port_in(&self.log()?, service).ok_or_else(|| {
            io::Error::other(format!("its log names no port of service [{service}]"))
        })
    }

    fn log(&self) -> io::Result<String> {
        match fs::read(self.folder.path("adit.log")) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    /// The last lines of its log; if that is empty, of its stderr.
    pub(super) fn tail(folder: &Folder) -> Vec<String> {
        let lines = |name| {
            let bytes = fs::read(folder.path(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines[lines.len().saturating_sub(TAIL)..].to_vec()
        };
        match lines("adit.log") {
            log if log.is_empty() => lines("stderr"),
            log => log,
        }
    }

    /// Stops it (SIGTERM) and waits for its exit.
    pub(super) fn stop(mut self) -> io::Result<ExitStatus> {
        self.end()
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        // Not reaped yet, so the number is still its own.
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("it did not end within {} s of SIGTERM", DEADLINE.as_secs()),
                ));
            }
            thread::sleep(GLANCE);
        }
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        // After `stop` it has been reaped; after a failure there is already an error to report.
        let _ = self.end();
    }
}

/// `Service [x] (FD=n) bound to A:P`
fn port_in(log: &str, service: &str) -> Option<u16> {
    let prefix = format!("Service [{service}] (FD=");
    log.lines()
        .filter_map(|line| line.split_once(&prefix)?.1.split_once(") bound to "))
        .find_map(|(_, address)| address.rsplit_once(':')?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_bound_to_line() {
        let log = "2026.11.24 09:46:10 LOG6[ui]: Service [submission] (FD=8) bound to 127.0.0.1:41233\n\
                   2026.11.24 09:46:10 LOG6[ui]: Service [pop3] (FD=9) bound to 127.0.0.1:995\n";
        assert_eq!(port_in(log, "submission"), Some(41233));
        assert_eq!(port_in(log, "pop3"), Some(995));
        assert_eq!(port_in(log, "pop"), None);
    }

    #[test]
    fn the_folder_is_private_and_goes() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::make().unwrap();
        let path = folder.path("");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(folder.path("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
