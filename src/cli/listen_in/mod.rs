//! `adit listen-in`: takes one connection of a program and says what it speaks, and which configuration
//! suits it. Never in here: an answer that lets the program go on, or a word of its payload in the report.

mod fit;
mod hearing;
mod report;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::listener::{self, ListenError, canonical, is_passing, take_leave};
use crate::log::Reason;
use hearing::{Finding, Hearing};
use report::Report;

pub use hearing::Mail;

/// What a program gets that has sent its hello: a fatal handshake_failure (RFC 5246, section 7.2).
const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 40];
/// What to listen for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `[HOST:]PORT`, as `accept` takes it.
    pub accept: String,
    /// How a program is greeted that waits for it; by the port unless given.
    pub protocol: Option<Mail>,
    /// How long to wait for a program; without end unless given.
    pub timeout: Option<Duration>,
}

/// Takes one connection and reports on standard output.
pub fn run(asked: &Asked) -> ExitCode {
    match listen_in(asked, &mut io::stdout().lock(), &mut io::stderr()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            super::complain(format_args!("{failure}"));
            ExitCode::FAILURE
        }
    }
}

/// Why there is no report.
#[derive(Debug)]
enum Failure {
    /// There is no listener.
    Listen(ListenError),
    /// Waiting, or talking to the program, failed.
    Wait(io::Error),
    /// No program came within this time.
    NoProgram(Duration),
    /// The report cannot be written.
    Report(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("listen-in: ")?;
        match self {
            Failure::Listen(error) => error.fmt(f),
            Failure::Wait(error) => write!(f, "waiting for a program: {}", Reason(error)),
            Failure::NoProgram(time) => write!(
                f,
                "no program has connected within {} s (look at the program's server and port, and at firewalls)",
                time.as_secs()
            ),
            Failure::Report(error) => write!(f, "writing the report: {}", Reason(error)),
        }
    }
}

/// The report goes to `out`, what happens until then to `progress`.
fn listen_in(asked: &Asked, out: &mut dyn Write, progress: &mut dyn Write) -> Result<(), Failure> {
    let listener = listener::listen(&asked.accept).map_err(Failure::Listen)?;
    let address = listener.local_addr().map_err(Failure::Wait)?;
    // Standard error may be closed; the report is what counts.
    let _ = writeln!(
        progress,
        "Listening on {address}: start the program, with this machine as its server and {} as its port.",
        address.port()
    );
    let deadline = asked.timeout.map(|time| Instant::now() + time);
    loop {
        wait(&listener, deadline, asked.timeout.unwrap_or_default())?;
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            // It has gone again, or a signal came.
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(Failure::Wait(error)),
        };
        let peer = canonical(peer);
        let at = canonical(stream.local_addr().map_err(Failure::Wait)?);
        let _ = writeln!(progress, "{peer} has connected.");
        let mail = asked.protocol.or_else(|| Mail::of_port(at.port()));
        let finding = match hear(stream, mail) {
            Ok(finding) => finding,
            Err(error) => {
                let _ = writeln!(
                    progress,
                    "It broke off: {}. Waiting for another.",
                    Reason(&error)
                );
                continue;
            }
        };
        if finding == Finding::Nothing {
            let _ = writeln!(progress, "It closed without a word. Waiting for another.");
            continue;
        }
        let report = Report {
            finding: &finding,
            at,
            mail,
        };
        return write!(out, "{report}")
            .and_then(|()| out.flush())
            .map_err(Failure::Report);
    }
}

/// Waits for a connection, until `deadline`, which is `time` after the beginning.
fn wait(listener: &TcpListener, deadline: Option<Instant>, time: Duration) -> Result<(), Failure> {
    loop {
        let timeout = match deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // Rounded up, so that it does not turn in circles for the last millisecond.
                let left = left.as_millis().saturating_add(1).min(60_000);
                PollTimeout::try_from(left as i32).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut watched = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, timeout) {
            Ok(0) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                return Err(Failure::NoProgram(time));
            }
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(Failure::Wait(errno.into())),
        }
    }
}

/// Hears the program until there is something to report.
fn hear(mut stream: TcpStream, mail: Option<Mail>) -> io::Result<Finding> {
    let mut hearing = Hearing::new(mail);
    let mut scratch = [0; 4096];
    let finding = loop {
        stream.set_read_timeout(Some(hearing.patience()))?;
        let mut out = Vec::new();
        let found = match stream.read(&mut scratch) {
            Ok(0) => Some(hearing.ends()),
            Ok(length) => hearing.says(&scratch[..length], &mut out),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => hearing.is_silent(&mut out),
                io::ErrorKind::Interrupted => None,
                io::ErrorKind::ConnectionReset => Some(hearing.ends()),
                _ => return Err(error),
            },
        };
        if matches!(found, Some(Finding::Tls(..) | Finding::Unreadable(..))) {
            out.extend_from_slice(&ALERT);
        }
        match (stream.write_all(&out), found) {
            // What is found out stands, though the program has gone.
            (_, Some(finding)) => break finding,
            (Ok(()), None) => {}
            (Err(error), None) => return Err(error),
        }
    };
    take_leave(&stream);
    Ok(finding)
}

/// A target of `fuzz/`: the first byte tells the greeting; pieces of what a program says follow, between
/// bytes 0xff, an empty one for silence. Each finding has a report that a terminal can show.
#[cfg(fuzzing)]
pub(crate) fn fuzz(input: &[u8]) {
    let Some((&greeting, words)) = input.split_first() else {
        return;
    };
    let mail = match greeting {
        b's' => Some(Mail::Smtp),
        b'p' => Some(Mail::Pop3),
        b'i' => Some(Mail::Imap),
        _ => None,
    };
    let mut hearing = Hearing::new(mail);
    let mut out = Vec::new();
    let found = words
        .split(|byte| *byte == 0xff)
        .find_map(|piece| match piece {
            [] => hearing.is_silent(&mut out),
            piece => hearing.says(piece, &mut out),
        });
    let finding = found.unwrap_or_else(|| hearing.ends());
    let report = Report {
        finding: &finding,
        at: (std::net::Ipv4Addr::LOCALHOST, 1587).into(),
        mail,
    };
    let report = report.to_string();
    assert!(
        report
            .chars()
            .all(|letter| letter == '\n' || (' '..='~').contains(&letter))
    );
}
