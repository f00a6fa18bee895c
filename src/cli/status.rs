//! `adit status`: asks the supervisor's control socket, and shows its one JSON document as it is
//! or as tables for people.

use std::fmt::{self, Write as _};
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, socket};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::running::Running;
use super::{complain, print};
use crate::log::Reason;
use crate::sandbox::Strength;
use crate::tls::CipherOrder;

/// A supervisor that does not answer within this is stuck.
const PATIENCE: Duration = Duration::from_secs(5);
/// A document is never longer, in bytes.
const MAX_DOCUMENT: usize = 64 << 20;

/// What a supervisor says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// adit's version.
    pub version: String,
    /// The configuration file that it was started with; none if the configuration came otherwise.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Sockets that systemd passed to it (`LISTEN_FDS`).
    #[serde(default)]
    pub passed: usize,
    /// What holds its processes; an older supervisor does not say.
    #[serde(default)]
    pub sandbox: Option<Strength>,
    /// What comes first where a service names no cipher; as `sandbox`.
    #[serde(default)]
    pub ciphers: Option<CipherOrder>,
    /// How reloads went.
    pub reloads: ReloadStatus,
    /// The running generation and those that drain, oldest first.
    pub generations: Vec<GenerationStatus>,
}

/// Reloads since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// After these another configuration was in force.
    pub succeeded: u64,
    /// After these the running one went on.
    pub failed: u64,
    /// A generation is being started right now, for a reload or for another reason.
    pub under_way: bool,
}

/// A master and its workers, with the configuration they were started with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatus {
    /// Counted from 1 over reloads.
    pub number: u64,
    /// What it is about: `serving`, `draining` and the like.
    pub state: String,
    /// The master's process.
    pub pid: u32,
    /// When it was started, in seconds since 1970 began in UTC.
    pub since: u64,
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
    /// Its services, in the order of the file.
    pub services: Vec<ServiceStatus>,
}

/// A worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its number in the generation, from 0.
    pub index: usize,
    /// Its process; 0 while there is none.
    pub pid: u32,
    /// Connections it has.
    pub active: u64,
    /// Number of the last socket it claimed.
    pub claimed: u64,
    /// Times it was started.
    pub starts: u64,
}

/// A service's counts over all workers of the generation. The serving generation also shows the totals
/// of the generations before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The section's name.
    pub name: String,
    /// Connections taken on.
    pub accepted: u64,
    /// Connections open now.
    pub active: u64,
    /// Full TLS handshakes.
    pub handshakes_new: u64,
    /// Resumed TLS handshakes.
    pub handshakes_resumed: u64,
    /// Failures over the peer's certificate, or the lack of one. These four count failed handshakes,
    /// and fatal alerts after the handshake.
    pub failed_certificate: u64,
    /// Handshakes without a common version, suite or group.
    pub failed_negotiation: u64,
    /// Handshakes that were garbage, or violated the protocol.
    pub failed_protocol: u64,
    /// Handshakes whose peer went away or was silent for too long.
    pub failed_vanished: u64,
    /// Dialogues before TLS (`protocol`) that failed.
    #[serde(default)]
    pub failed_before_tls: u64,
    /// Connections that found no upstream.
    pub connect_failed: u64,
    /// Bytes of payload carried from the front to the back.
    pub bytes_to_back: u64,
    /// Bytes of payload carried from the back to the front.
    pub bytes_to_front: u64,
}

/// Shows what a supervisor said at its control socket.
pub(super) fn run(running: &Running, json: bool) -> ExitCode {
    match running.status() {
        // Parsed all the same: it is whole, and adit's.
        Ok(_) if json => print(format_args!(
            "{}\n",
            String::from_utf8_lossy(&running.document)
        )),
        Ok(status) => print(format_args!("{status}")),
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
            io::ErrorKind::ConnectionRefused => "adit is not running, its socket is left over: ",
            io::ErrorKind::PermissionDenied => {
                "only who may open the control socket is answered, by default root: "
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
            io::ErrorKind::TimedOut => " (it stands still: see its log, or end it by SIGKILL)",
            _ => "",
        })
    }
}

/// That the process which listens is not the one that the answer names.
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

/// The status, and the process that listens there as the kernel says; 0 if it cannot be seen from here.
///
/// # Errors
/// Nobody answers there, or not as a supervisor of this version does.
pub(super) fn of_process(control: &Path) -> io::Result<(Status, Pid)> {
    let (document, pid) = ask(control)?;
    Ok((understood(control, &document)?, pid))
}

/// What was said at `control`.
///
/// # Errors
/// It is no status of a supervisor of this version.
pub(super) fn understood(control: &Path, document: &[u8]) -> io::Result<Status> {
    serde_json::from_slice(document).map_err(|error| {
        let control = control.display();
        io::Error::other(format!(
            "{control}: not an answer of adit's: {error} (another program listens there, or an adit \
             of another version)"
        ))
    })
}

/// What is said at the socket, and by which process.
///
/// # Errors
/// None answers there, or not in time.
pub(super) fn ask(control: &Path) -> io::Result<(Vec<u8>, Pid)> {
    ask_within(control, PATIENCE)
}

/// What is said at the socket until its end of file, and by which process; all of it within
/// `patience`, since what listens there may be no supervisor.
fn ask_within(control: &Path, patience: Duration) -> io::Result<(Vec<u8>, Pid)> {
    let end = Instant::now() + patience;
    let mut socket = connect(control, patience)?;
    // Of who called listen(2): unix(7).
    let listens = getsockopt(&socket, PeerCredentials)?;
    let (mut document, mut piece) = (Vec::new(), [0; 8192]);
    while document.len() < MAX_DOCUMENT {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Errno::ETIMEDOUT.into());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => document.extend_from_slice(&piece[..count]),
            // Its time is over: looked at above.
            Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((document, Pid::from_raw(listens.pid())))
}

/// Where nobody accepts, it is waited for room in the queue; no longer than that.
fn connect(control: &Path, patience: Duration) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let socket = UnixStream::from(socket);
    socket.set_write_timeout(Some(patience))?;
    match socket::connect(socket.as_raw_fd(), &UnixAddr::new(control)?) {
        Ok(()) => Ok(socket),
        Err(Errno::EAGAIN) => Err(Errno::ETIMEDOUT.into()),
        Err(errno) => Err(errno.into()),
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "adit {}, supervisor {}", self.version, self.pid)?;
        if let Some(file) = &self.file {
            writeln!(f, "Configuration: {}", file.display())?;
        }
        if let Some(strength) = &self.sandbox {
            writeln!(f, "Sandbox: {strength}")?;
        }
        if let Some(order) = &self.ciphers {
            writeln!(f, "Ciphers: {order}")?;
        }
        for generation in &self.generations {
            writeln!(
                f,
                "\nGeneration {}: {}, {}, since {}",
                generation.number,
                generation.state,
                match generation.pid {
                    0 => "without a master".to_owned(),
                    pid => format!("master {pid}"),
                },
                Utc(generation.since)
            )?;
            f.write_char('\n')?;
            f.write_str(&workers(&generation.workers))?;
            f.write_char('\n')?;
            f.write_str(&services(&generation.services))?;
        }
        Ok(())
    }
}

fn workers(workers: &[WorkerStatus]) -> String {
    let head = ["worker", "pid", "active", "claimed", "starts"];
    let rows = workers.iter().map(|worker| {
        let pid = match worker.pid {
            0 => "-".to_owned(),
            pid => pid.to_string(),
        };
        [
            worker.index.to_string(),
            pid,
            worker.active.to_string(),
            worker.claimed.to_string(),
            worker.starts.to_string(),
        ]
    });
    table(head, rows)
}

fn services(services: &[ServiceStatus]) -> String {
    let head = [
        "service",
        "accepted",
        "active",
        "new",
        "resumed",
        "failed",
        "no upstream",
        "to back",
        "to front",
    ];
    let rows = services.iter().map(|service| {
        let failed = service
            .failed_certificate
            .saturating_add(service.failed_negotiation)
            .saturating_add(service.failed_protocol)
            .saturating_add(service.failed_vanished)
            .saturating_add(service.failed_before_tls);
        [
            service.name.escape_debug().to_string(),
            service.accepted.to_string(),
            service.active.to_string(),
            service.handshakes_new.to_string(),
            service.handshakes_resumed.to_string(),
            failed.to_string(),
            service.connect_failed.to_string(),
            bytes(service.bytes_to_back),
            bytes(service.bytes_to_front),
        ]
    });
    table(head, rows)
}

/// Lines with the first column to the left and the others to the right, as wide as they need.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned))
        .chain(rows)
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = match column {
                0 => write!(text, "  {cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// An amount of bytes as people read it, in powers of 1024.
fn bytes(amount: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if amount < 1024 {
        return format!("{amount} B");
    }
    let (mut unit, mut scaled) = (0, amount as f64 / 1024.0);
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// Seconds since 1970 as a date and time in UTC.
pub(super) struct Utc(pub(super) u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        // Days to a date in the Gregorian calendar, in years that begin in March, so that the
        // leap day is the last: 146097 days are 400 years.
        let shifted = days + 719_468;
        let (era, day) = (shifted / 146_097, shifted % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, turn) = match month {
            0..=9 => (month + 3, 0),
            _ => (month - 9, 1),
        };
        write!(
            f,
            "{:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
            era * 400 + year + turn,
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            pid: 100,
            version: "0.1.0".into(),
            file: Some("/etc/adit/adit.conf".into()),
            passed: 0,
            sandbox: Some(Strength {
                seccomp: true,
                landlock: 2,
            }),
            ciphers: Some(CipherOrder {
                aes_instructions: false,
                chacha20_first: true,
            }),
            reloads: ReloadStatus {
                succeeded: 3,
                failed: 1,
                under_way: false,
            },
            generations: vec![GenerationStatus {
                number: 2,
                state: "serving".into(),
                pid: 102,
                since: 1_795_513_570,
                workers: vec![
                    WorkerStatus {
                        index: 0,
                        pid: 103,
                        active: 12,
                        claimed: 4711,
                        starts: 1,
                    },
                    WorkerStatus {
                        index: 1,
                        starts: 3,
                        ..WorkerStatus::default()
                    },
                ],
                services: vec![ServiceStatus {
                    name: "smtp".into(),
                    accepted: 4711,
                    active: 12,
                    handshakes_new: 1000,
                    handshakes_resumed: 3700,
                    failed_certificate: 1,
                    failed_negotiation: 2,
                    failed_protocol: 3,
                    failed_vanished: 4,
                    failed_before_tls: 5,
                    connect_failed: 1,
                    bytes_to_back: 1023,
                    bytes_to_front: 3 << 30,
                }],
            }],
        }
    }

    #[test]
    fn people_get_tables() {
        let expected = "\
adit 0.1.0, supervisor 100
Configuration: /etc/adit/adit.conf
Sandbox: seccomp, landlock (version 2 of 6)
Ciphers: ChaCha20 first: this processor has no AES instructions

Generation 2: serving, master 102, since 2026-11-24 09:46:10 UTC

  worker  pid  active  claimed  starts
  0       103      12     4711       1
  1         -       0        0       3

  service  accepted  active   new  resumed  failed  no upstream  to back  to front
  smtp         4711      12  1000     3700      15            1   1023 B   3.0 GiB
";
        assert_eq!(status().to_string(), expected);
    }

    #[test]
    fn programs_get_a_document_with_these_names() {
        let value = serde_json::to_value(status()).unwrap();
        assert_eq!(value["pid"], 100);
        assert_eq!(value["reloads"]["succeeded"], 3);
        assert_eq!(value["sandbox"]["seccomp"], true);
        assert_eq!(value["sandbox"]["landlock"], 2);
        assert_eq!(value["ciphers"]["chacha20_first"], true);
        let generation = &value["generations"][0];
        assert_eq!(generation["pid"], 102);
        assert_eq!(generation["state"], "serving");
        assert_eq!(generation["workers"][0]["claimed"], 4711);
        assert_eq!(generation["services"][0]["handshakes_resumed"], 3700);
        let back: Status = serde_json::from_value(value).unwrap();
        assert_eq!(back, status());
    }

    #[test]
    fn days_are_told_as_in_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_799, "2000-02-29 23:59:59 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(Utc(seconds).to_string(), text);
        }
    }

    #[test]
    fn bytes_never_round_up_to_a_thousand_of_a_unit() {
        for (amount, text) in [
            (0, "0 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
    }

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
            // A byte at a time: all that may be said would take far longer.
            while io::Write::write_all(&mut socket, b" ").is_ok() {}
        });
        assert!(given_up());
        talking.join().unwrap();
        // A queue of one, which a first caller fills.
        socket::listen(&listener, socket::Backlog::new(0).unwrap()).unwrap();
        let _first = UnixStream::connect(&path).unwrap();
        assert!(given_up());
    }
}
