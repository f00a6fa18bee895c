//! A server program of Debian's that runs in the foreground; ended on drop, with every process it started.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{DEADLINE, mail, poll_for};

/// See the module.
pub struct Daemon {
    name: &'static str,
    said: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// Starts it, its output in `folder`, and waits until it listens at `address`.
    #[track_caller]
    pub fn start(
        name: &'static str,
        command: &mut Command,
        folder: &Path,
        address: SocketAddr,
    ) -> Daemon {
        let said = folder.join(format!("{name}.said"));
        let output = fs::File::create(&said).expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("dup"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut daemon = Daemon {
            name,
            said,
            child: Some(child),
        };
        let listens = poll_for(DEADLINE, || {
            let gone = daemon.child.as_mut().is_some_and(ended);
            TcpStream::connect(address)
                .ok()
                .map(|_| true)
                .or(gone.then_some(false))
        });
        assert_eq!(
            listens,
            Some(true),
            "{name} does not listen at {address}:\n{}",
            daemon.said()
        );
        daemon
    }

    /// Its output so far.
    pub fn said(&self) -> String {
        let bytes = fs::read(&self.said).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn ended(child: &mut Child) -> bool {
    child.try_wait().is_ok_and(|status| status.is_some())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.name, self.said());
        }
        if let Some(child) = self.child.take() {
            mail::stop(self.name, child);
        }
    }
}
