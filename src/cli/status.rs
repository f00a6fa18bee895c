//! `adit status`: asks the supervisor at its control socket, and prints its JSON document as it is or
//! as tables.

pub(super) mod watch;

use std::fmt;
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, socket};
use nix::unistd::Pid;
use serde::Serialize;

use super::args::Shown;
use super::running::Running;
use super::{complain, print};
use crate::log::Reason;
use crate::status::Status;
use crate::sys::terminal;

/// A supervisor that does not answer within this time is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest document, in bytes.
const MAX_DOCUMENT: usize = 64 << 20;

/// Prints a supervisor's answer.
pub(super) fn run(running: &Running, how: Shown) -> ExitCode {
    match running.status() {
        // Parsed only to make sure that it is complete, and adit's.
        Ok(_) if how == Shown::Json => print(format_args!(
            "{}\n",
            String::from_utf8_lossy(&running.document)
        )),
        Ok(status) => {
            let width = terminal::size(&io::stdout()).map(|size| size.columns);
            match how {
                Shown::Failures(true) => print_json(&status.by_cause()),
                Shown::Failures(false) => print(format_args!("{}", status.failures_text(width))),
                _ => print(format_args!("{}", status.text(width))),
            }
        }
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

fn print_json(value: &impl Serialize) -> ExitCode {
    match serde_json::to_string(value) {
        Ok(text) => print(format_args!("{text}\n")),
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

/// Why the control socket gave no answer, and what that means.
pub(super) struct Unanswered<'a>(pub(super) &'a Path, pub(super) &'a io::Error);

impl fmt::Display for Unanswered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.1.kind() {
            io::ErrorKind::NotFound => "adit is not running, or has another control socket: ",
            io::ErrorKind::ConnectionRefused => "adit is not running, and its socket is stale: ",
            io::ErrorKind::PermissionDenied => {
                "only users who may open the control socket get an answer, by default root: "
            }
            _ => "",
        })?;
        write!(f, "{}: {}", self.0.display(), Reason(self.1))?;
        f.write_str(match self.1.kind() {
            io::ErrorKind::NotFound => " (start it, or name its socket: `--control SOCKET`)",
            io::ErrorKind::ConnectionRefused => " (start it)",
            io::ErrorKind::PermissionDenied => {
                " (run this as root, or as the user who started adit)"
            }
            io::ErrorKind::TimedOut => {
                " (it is not responding: see its log, or kill it with SIGKILL)"
            }
            _ => "",
        })
    }
}

/// The message for a process that listens there but is not the one its answer names.
pub(super) fn impostor(
    f: &mut fmt::Formatter<'_>,
    socket: &Path,
    listens: Pid,
    said: u32,
) -> fmt::Result {
    let socket = socket.display();
    write!(
        f,
        "{socket}: process {listens} listens there, and says that it is {said} \
         (send the signal yourself, in the PID namespace where adit runs)"
    )
}

/// The status, and the process that listens there according to the kernel; 0 if it is not visible from
/// here.
///
/// # Errors
/// No answer, or not one of this version of adit.
pub(super) fn of_process(control: &Path) -> io::Result<(Status, Pid)> {
    let (document, pid) = ask(control)?;
    Ok((understood(control, &document)?, pid))
}

/// Parses the answer from `control`.
///
/// # Errors
/// It is no status of this version of adit.
pub(super) fn understood(control: &Path, document: &[u8]) -> io::Result<Status> {
    serde_json::from_slice(document).map_err(|error| {
        let control = control.display();
        io::Error::other(format!(
            "{control}: not an answer from adit: {error} (another program listens there, or an adit \
             of another version)"
        ))
    })
}

/// The answer at the socket, and the process that listens there.
///
/// # Errors
/// No answer, or not in time.
pub(super) fn ask(control: &Path) -> io::Result<(Vec<u8>, Pid)> {
    ask_within(control, ANSWER_TIMEOUT)
}

/// The answer at the socket, up to its end of file, and the process that listens there; all within
/// `timeout`, since that process may be no supervisor.
fn ask_within(control: &Path, timeout: Duration) -> io::Result<(Vec<u8>, Pid)> {
    let end = Instant::now() + timeout;
    let mut socket = connect(control, timeout)?;
    // The process that called listen(2): unix(7).
    let listens = getsockopt(&socket, PeerCredentials)?;
    let mut document = Vec::new();
    read_until(&mut socket, end, &mut document)?;
    Ok((document, Pid::from_raw(listens.pid())))
}

/// Adds what comes from a socket up to its end of file, which must be there by then.
///
/// # Errors
/// It is not; what read(2) gives. What came before is there.
pub(super) fn read_until(
    socket: &mut UnixStream,
    end: Instant,
    document: &mut Vec<u8>,
) -> io::Result<()> {
    let mut piece = [0; 8192];
    while document.len() < MAX_DOCUMENT {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Errno::ETIMEDOUT.into());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => document.extend_from_slice(&piece[..count]),
            // Timed out: checked above.
            Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// If the queue is full, waits for room, up to the timeout.
fn connect(control: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let socket = UnixStream::from(socket);
    socket.set_write_timeout(Some(timeout))?;
    match socket::connect(socket.as_raw_fd(), &UnixAddr::new(control)?) {
        Ok(()) => Ok(socket),
        Err(Errno::EAGAIN) => Err(Errno::ETIMEDOUT.into()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_asked_until_its_end_of_file() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let asking = std::thread::spawn(move || ask(&path));
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(b"{\"pid\":").unwrap();
        socket.write_all(b"1}").unwrap();
        drop(socket);
        let (document, pid) = asking.join().unwrap().unwrap();
        assert_eq!(document, b"{\"pid\":1}");
        assert_eq!(pid, Pid::this());
    }

    #[test]
    fn who_talks_without_end_or_does_not_take_the_call_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let briefly = Duration::from_millis(200);
        let given_up = || ask_within(&path, briefly).unwrap_err().kind() == io::ErrorKind::TimedOut;
        let talking = listener.try_clone().unwrap();
        let talking = std::thread::spawn(move || {
            let (mut socket, _) = talking.accept().unwrap();
            // A byte at a time: the longest document would take far longer.
            while io::Write::write_all(&mut socket, b" ").is_ok() {}
        });
        assert!(given_up());
        talking.join().unwrap();
        // A queue of one, which a first client fills.
        socket::listen(&listener, socket::Backlog::new(0).unwrap()).unwrap();
        let _first = UnixStream::connect(&path).unwrap();
        assert!(given_up());
    }
}
