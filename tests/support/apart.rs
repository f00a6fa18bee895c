//! Programs whose packages conflict (each is a mail server). `tests/run` unpacks them into a folder,
//! and in its own mount namespace a program sees that folder as part of `/usr` and `/etc`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::installed;

/// Mounts the unpacked packages over the system's folders, then runs the command.
const SCRIPT: &str = "mount -t overlay adit -o \"lowerdir=$unpacked/usr:/usr\" /usr
mount -t overlay adit -o \"lowerdir=$own/etc:$unpacked/etc:/etc\" /etc
mount -t overlay adit -o \"lowerdir=$own/dev:/dev\" /dev
mount --bind \"$own/syslog\" /dev/log
mount --bind \"$own/spool\" /var/spool
exec \"$@\"";

/// Where `tests/run` unpacks them.
fn unpacked() -> PathBuf {
    std::env::var_os("MAIL_PROGRAMS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/mail-programs"),
        PathBuf::from,
    )
}

/// A program that runs where it was unpacked, or is installed.
pub fn program(name: &str) -> Option<PathBuf> {
    let folders = ["usr/bin", "usr/sbin"].map(|folder| unpacked().join(folder));
    let there = folders.iter().map(|folder| folder.join(name));
    let found = there.into_iter().find(|there| there.is_file());
    found.or_else(|| installed(name))
}

/// A file of an unpacked package.
pub fn file(name: &str) -> PathBuf {
    unpacked().join(name)
}

/// Why this program cannot be run, if it cannot.
pub fn missing(program: &str) -> Option<String> {
    let there = ["usr/sbin", "usr/bin"]
        .iter()
        .any(|folder| unpacked().join(folder).join(program).is_file());
    if !there {
        return Some(format!("{program} is not unpacked; tests/run does it"));
    }
    installed("unshare")
        .is_none()
        .then(|| "unshare is not installed".to_owned())
}

/// A program's own files in the namespace: over `/etc`, `/var/spool`, and a syslogd.
pub struct Own {
    folder: PathBuf,
}

impl Own {
    /// In an empty folder.
    pub fn new(folder: PathBuf) -> Own {
        for part in ["etc", "spool", "dev"] {
            fs::create_dir(folder.join(part)).expect("mkdir");
        }
        // The socket is mounted over this file: an overlay does not connect to a socket in a lower
        // layer.
        fs::write(folder.join("dev/log"), "").expect("writing");
        let socket = folder.join("syslog");
        let syslog = UnixDatagram::bind(&socket).expect("a socket");
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("chmod");
        let mut messages = fs::File::create(folder.join("messages")).expect("a file");
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            // Only dropping this value sends an empty datagram.
            while let Ok(n @ 1..) = syslog.recv(&mut buffer) {
                let _ = messages.write_all(&buffer[..n]);
                let _ = messages.write_all(b"\n");
            }
        });
        Own { folder }
    }

    /// The folder with its parts.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the program sent to syslog.
    pub fn messages(&self) -> PathBuf {
        self.folder.join("messages")
    }

    /// A file in `etc` that any user can read.
    pub fn etc(&self, name: &str, text: &str) {
        let file = self.folder.join("etc").join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("mkdir");
        fs::write(&file, text).expect("writing");
    }

    /// A folder in `/var/spool` that belongs to this user and group.
    pub fn spool(&self, name: &str, (uid, gid): (u32, u32)) -> PathBuf {
        let folder = self.folder.join("spool").join(name);
        fs::create_dir_all(&folder).expect("mkdir");
        std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).expect("chown");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o2775)).expect("chmod");
        folder
    }

    /// A command line in the namespace.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private"])
            .args(["sh", "-ec", SCRIPT, "sh"])
            .args(arguments)
            .env("unpacked", unpacked())
            .env("own", &self.folder);
        command
    }

    /// Whether root may mount such a namespace on this machine.
    pub fn works(&self) -> bool {
        let output = self.command(&["true"]).output();
        output.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let end = UnixDatagram::unbound().expect("a socket");
        let _ = end.send_to(&[], self.folder.join("syslog"));
    }
}
