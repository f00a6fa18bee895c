//! Opening what the configuration names: `output`, `syslog`, `foreground`.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::ftruncate;

use super::{Reason, syslog};
use crate::config::{Global, LogFormat, LogMode};
use crate::inside;
use crate::remedy;

/// The open outputs of a process.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// Lines also go to standard error.
    pub stderr: bool,
    /// The log file, opened for appending.
    pub file: Option<OwnedFd>,
    /// A socket connected to /dev/log, or to be replaced by one.
    pub syslog: Option<OwnedFd>,
    /// The syslog facility, not shifted.
    pub facility: u8,
    /// The program's name in syslog.
    pub program: String,
    /// The shape of lines.
    pub format: LogFormat,
    /// Why syslog is configured and unavailable; [`super::install`] reports it once.
    pub(super) syslog_missing: Option<String>,
}

/// A log file that cannot be opened.
#[derive(Debug)]
pub(crate) struct OpenError {
    /// The option that names it.
    pub option: &'static str,
    /// The file's path as seen from outside the jail.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {}: cannot open the log file: {} ({})",
            self.option,
            self.path.display(),
            Reason(&self.source),
            remedy::making_a_file(&self.source)
        )
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The log file has been opened before, so `log = overwrite` does not empty it again.
static OPENED: AtomicBool = AtomicBool::new(false);

impl Outputs {
    /// As [`Outputs::open`], after an exec: the previous program has already written to the log file.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn open_again(global: &Global, stderr: bool) -> Result<Self, OpenError> {
        OPENED.store(true, Relaxed);
        Self::open(global, stderr)
    }

    /// Opens what the configuration names. `log = overwrite` empties the file the first time a process
    /// does this.
    ///
    /// # Errors
    /// The log file cannot be opened. A missing syslogd is no error: a log line reports it.
    pub(crate) fn open(global: &Global, stderr: bool) -> Result<Self, OpenError> {
        let overwrite = global.log == LogMode::Overwrite && !OPENED.load(Relaxed);
        let file = match &global.output {
            Some(output) => {
                let file = open_file(output, global.chroot.as_deref(), overwrite)?;
                OPENED.store(true, Relaxed);
                Some(file)
            }
            None => None,
        };
        let (syslog, syslog_missing) = match global.syslog.then(|| syslog::open(syslog::PATH)) {
            None => (None, None),
            Some(Ok(socket)) => (Some(socket), None),
            Some(Err(error)) => {
                let reason = format!("{}: {}", syslog::PATH, Reason(&error));
                (syslog::unconnected().ok(), Some(reason))
            }
        };
        Ok(Self {
            stderr,
            file,
            syslog,
            facility: global.facility,
            program: global.service.clone(),
            format: global.log_format,
            syslog_missing,
        })
    }

    /// Whether there is a syslogd.
    pub(crate) fn reach_syslog(&self) -> bool {
        self.syslog.is_some() && self.syslog_missing.is_none()
    }

    /// The descriptors of these outputs, for a child that closes all others and installs them.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let fds = [&self.file, &self.syslog];
        fds.into_iter().flatten().map(AsRawFd::as_raw_fd).collect()
    }

    /// Only syslog, if it is there.
    pub(crate) fn syslog_only() -> Self {
        Self {
            stderr: false,
            syslog: syslog::open(syslog::PATH).ok(),
            ..Self::stderr_only()
        }
    }

    /// Only standard error.
    pub(crate) fn stderr_only() -> Self {
        Self {
            stderr: true,
            file: None,
            syslog: None,
            facility: 3,
            program: "adit".to_owned(),
            format: LogFormat::Stunnel,
            syslog_missing: None,
        }
    }
}

/// Reopens the log file after logrotate has moved the old one away. Never empties it.
///
/// # Errors
/// `output` is not given; it cannot be opened.
pub(crate) fn reopen(global: &Global) -> io::Result<OwnedFd> {
    match &global.output {
        Some(output) => open_file(output, global.chroot.as_deref(), false)
            .map_err(|error| io::Error::new(error.source.kind(), error.to_string())),
        None => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "output is not given",
        )),
    }
}

/// A socket connected to the current syslogd, for [`super::replace_syslog`].
///
/// # Errors
/// None is running.
pub(crate) fn connect_syslog() -> io::Result<OwnedFd> {
    syslog::open(syslog::PATH)
}

/// Whether a path means standard output or standard error, which end where a daemon begins.
pub(crate) fn is_standard_stream(output: &Path) -> bool {
    number_of_stream(output).is_some()
}

fn number_of_stream(output: &Path) -> Option<u8> {
    match output.to_str()? {
        "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => Some(1),
        "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" => Some(2),
        _ => None,
    }
}

/// The standard stream that a path names, as it is: to open a container's pipe anew is refused to users
/// other than root, and a socket cannot be opened at all.
fn standard_stream(output: &Path) -> Option<io::Result<OwnedFd>> {
    Some(match number_of_stream(output)? {
        1 => io::stdout().as_fd().try_clone_to_owned(),
        _ => io::stderr().as_fd().try_clone_to_owned(),
    })
}

fn open_file(output: &Path, jail: Option<&Path>, overwrite: bool) -> Result<OwnedFd, OpenError> {
    if let Some(stream) = standard_stream(output) {
        return stream.map_err(|source| OpenError {
            option: "output",
            path: output.to_owned(),
            source,
        });
    }
    let failed = |path: PathBuf| {
        move |errno: Errno| OpenError {
            option: "output",
            path,
            source: errno.into(),
        }
    };
    let inside = match jail {
        Some(jail) => {
            let path = inside::seen_from_outside(Some(jail), output);
            open_inside(jail, output).map_err(failed(path))?
        }
        None => None,
    };
    let file = match inside {
        Some(file) => Ok(file),
        None => open(output, flags(), mode()),
    }
    .map_err(failed(output.to_owned()))?;
    if overwrite {
        // EINVAL: a FIFO, a terminal or the like cannot be truncated.
        match ftruncate(&file, 0) {
            Ok(()) | Err(Errno::EINVAL) => (),
            Err(errno) => return Err(failed(output.to_owned())(errno)),
        }
    }
    Ok(file)
}

/// O_NONBLOCK is for a FIFO without a reader; it has no effect on a file.
fn flags() -> OFlag {
    OFlag::O_WRONLY
        | OFlag::O_APPEND
        | OFlag::O_CREAT
        | OFlag::O_CLOEXEC
        | OFlag::O_NOCTTY
        | OFlag::O_NONBLOCK
}

fn mode() -> Mode {
    Mode::from_bits_truncate(0o640)
}

/// Opens `path` as it will be seen from inside the jail. `None`: its folder does not exist inside.
fn open_inside(jail: &Path, path: &Path) -> nix::Result<Option<OwnedFd>> {
    let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let parent = path.parent().unwrap_or(Path::new("/"));
    match inside::open(jail, parent, folder, Mode::empty()) {
        Ok(_) => inside::open(jail, path, flags(), mode()).map(Some),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn append(fd: OwnedFd, text: &str) {
        fs::File::from(fd).write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_file_is_made_for_its_owner_and_group_and_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adit.log");
        append(open_file(&path, None, false).unwrap(), "one\n");
        append(open_file(&path, None, false).unwrap(), "two\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7027,
            0
        );
        append(open_file(&path, None, true).unwrap(), "three\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named_with_its_option() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/adit.log");
        let error = open_file(&path, None, false).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "output = {}: cannot open the log file: No such file or directory (2) (make its folder, \
                 `mkdir -p FOLDER`, or name another file)",
                path.display()
            )
        );
    }

    #[test]
    fn a_file_is_inside_the_jail_when_its_folder_is() {
        let jail = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(jail.path().join("log")).unwrap();
        append(
            open_file(Path::new("/log/a"), Some(jail.path()), false).unwrap(),
            "in\n",
        );
        assert_eq!(
            fs::read_to_string(jail.path().join("log/a")).unwrap(),
            "in\n"
        );
        let path = outside.path().join("a");
        append(open_file(&path, Some(jail.path()), false).unwrap(), "out\n");
        assert_eq!(fs::read_to_string(path).unwrap(), "out\n");
    }

    #[test]
    fn a_link_never_leads_out_of_the_jail() {
        let jail = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("target");
        fs::write(&target, "").unwrap();
        symlink(&target, jail.path().join("a")).unwrap();
        symlink(outside.path(), jail.path().join("log")).unwrap();
        symlink("../../../../../../..", jail.path().join("up")).unwrap();
        let beside = format!("/up{}", target.display());
        for path in ["/a", &beside] {
            let opened = open_file(Path::new(path), Some(jail.path()), false);
            if let Ok(fd) = opened {
                append(fd, "x");
            }
            assert_eq!(fs::read_to_string(&target).unwrap(), "", "{path}");
        }
        // Seen from inside, the folder does not exist, so the path is taken as one outside.
        assert!(open_file(Path::new("/log/target"), Some(jail.path()), false).is_err());
    }
}
