//! `adit connections`, `adit cut` and `adit drain`: what the control socket takes from root and from the user who
//! started adit.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::running::Running;
use super::status::{Unanswered, read_until, understood};
use super::{complain, print};
use crate::ipc::inquiry::{self, Asked, Connection, Inquiry, Patience, Told};
use crate::ipc::request::{self, Reply, Request};
use crate::log::Reason;
use crate::status::Listed;
use crate::sys::terminal;

/// A supervisor that has not answered after this time is stuck.
const PATIENCE: Duration = Duration::from_secs(5);
/// A worker that says nothing for so long is stuck, and so is one that has not told all by then.
const OF_WORKERS: Patience = Patience {
    silence: Duration::from_secs(5),
    whole: Duration::from_secs(20),
};
/// The exit status where a worker has not answered.
const SILENT: u8 = 3;
/// How long what cannot be done now is asked for again, and the pause before it is.
const LATER: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
/// Messages of workers that are kept: a million connections. One in wrong hands may send them without end.
const MAX_PARTS: u32 = 1 << 14;

/// Why an order was not carried out.
#[derive(Debug)]
enum OrderError {
    /// No answer, or none in time.
    Unanswered(PathBuf, io::Error),
    /// The running adit answers with its status, as before there were orders; its version.
    Older(String),
    /// It is refused, and why.
    Refused(String),
    /// Another answer than the question has.
    Unexpected(PathBuf),
    /// There is no such connection; whether some could not be asked for.
    NoSuchConnection(String, u64),
    /// No worker that answered has this connection, and these have not.
    Silent(String, Box<Listed>),
}

impl OrderError {
    /// That of the program.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Silent(..) => ExitCode::from(SILENT),
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(path, error) => Unanswered(path, error).fmt(f),
            Self::Older(version) => write!(
                f,
                "the adit that runs ({version}) does not know this command yet (`adit reload`: then the new program \
                 takes over)"
            ),
            Self::Refused(why) => f.write_str(why),
            Self::Unexpected(path) => write!(
                f,
                "{}: not an answer from adit (another program listens there, or an adit of another version)",
                path.display()
            ),
            Self::NoSuchConnection(which, unreached) => {
                write!(
                    f,
                    "there is no open connection {which} (`adit connections` lists them)"
                )?;
                unreachable(f, *unreached)
            }
            Self::Silent(which, list) => {
                let who = list.who_is_silent();
                write!(
                    f,
                    "{who} not answered, and may have connection {which} (the log may say why; SIGKILL ends such a \
                     worker with all its connections, and another is started)"
                )?;
                unreachable(f, list.unreached)
            }
        }
    }
}

fn unreachable(f: &mut fmt::Formatter<'_>, connections: u64) -> fmt::Result {
    match connections {
        0 => Ok(()),
        more => write!(
            f,
            "; {more} connection(s) cannot be reached: their master is dead or of an older version"
        ),
    }
}

/// Lists open connections.
pub(super) fn connections(running: &Running, json: bool) -> ExitCode {
    let list = match inquire(&running.socket, Inquiry::List, |_| false) {
        Ok(list) => list,
        Err(error) => return failed("not listed", &error),
    };
    let printed = match json.then(|| serde_json::to_string(&list)) {
        Some(Ok(document)) => print(format_args!("{document}\n")),
        Some(Err(error)) => {
            complain(format_args!("{error}"));
            ExitCode::FAILURE
        }
        None => {
            let width = terminal::size(&io::stdout()).map(|size| size.columns);
            print(format_args!("{}", list.text(width)))
        }
    };
    match list.complete {
        true => printed,
        false => ExitCode::from(SILENT),
    }
}

/// Ends the connection that the log shows by that number, or `logId`.
pub(super) fn cut(running: &Running, which: &str) -> ExitCode {
    match cut_one(&running.socket, which) {
        Ok(cut) => {
            let one = |known: &Option<String>| known.clone().unwrap_or_else(|| "-".to_owned());
            for connection in &cut.connections {
                let (peer, upstream) = (one(&connection.peer), one(&connection.upstream));
                let text = format!(
                    "Cut connection {} of [{}], from {peer} to {upstream}",
                    connection.number, connection.service
                );
                print(format_args!("{}\n", text.escape_debug()));
            }
            ExitCode::SUCCESS
        }
        Err(error) => failed("not cut", &error),
    }
}

fn cut_one(socket: &Path, which: &str) -> Result<Listed, OrderError> {
    let number = match which.parse() {
        Ok(number) => number,
        Err(_) => {
            let is_it = |one: &Connection| one.log_id.as_deref() == Some(which);
            let list = inquire(socket, Inquiry::List, is_it)?;
            match list.connections.iter().find(|one| is_it(one)) {
                Some(named) => named.number,
                None => return Err(not_found(which, list)),
            }
        }
    };
    let is_it = |one: &Connection| one.number == number;
    let cut = inquire(socket, Inquiry::Cut(number), is_it)?;
    match cut.connections.is_empty() {
        false => Ok(cut),
        true => Err(not_found(which, cut)),
    }
}

fn not_found(which: &str, list: Listed) -> OrderError {
    match list.complete {
        true => OrderError::NoSuchConnection(which.to_owned(), list.unreached),
        false => OrderError::Silent(which.to_owned(), list.into()),
    }
}

/// Has nothing more accepted for a service, or again.
pub(super) fn drain(running: &Running, service: &str, undo: bool) -> ExitCode {
    let request = match undo {
        false => Request::Drain(service.to_owned()),
        true => Request::TakeBack(service.to_owned()),
    };
    let end = Instant::now() + LATER;
    loop {
        match order(&running.socket, &request, None) {
            Ok(Reply::Done(None)) => return ExitCode::SUCCESS,
            Ok(Reply::Done(Some(text))) => return print(format_args!("{}\n", text.escape_debug())),
            Ok(Reply::Later(_)) if Instant::now() < end => thread::sleep(PAUSE),
            Ok(Reply::Later(why) | Reply::Refused(why)) => {
                return failed("nothing is changed", &OrderError::Refused(why));
            }
            Ok(Reply::Asked { .. }) => {
                let error = OrderError::Unexpected(running.socket.clone());
                return failed("nothing is changed", &error);
            }
            Err(error) => return failed("nothing is changed", &error),
        }
    }
}

fn failed(what: &str, error: &OrderError) -> ExitCode {
    complain(format_args!("{what}: {error}"));
    error.exit_code()
}

/// Asks every worker, and hears them all, or until one tells of the connection that is wanted.
fn inquire(
    socket: &Path,
    inquiry: Inquiry,
    is_wanted: impl Fn(&Connection) -> bool,
) -> Result<Listed, OrderError> {
    let unanswered = |error| OrderError::Unanswered(socket.to_owned(), error);
    let (workers, theirs) = inquiry::sockets().map_err(unanswered)?;
    let (unreached, mut asked) = match order(socket, &Request::Inquire(inquiry), Some(theirs))? {
        Reply::Asked { unreached, workers } => (unreached, workers),
        Reply::Later(why) | Reply::Refused(why) => return Err(OrderError::Refused(why)),
        Reply::Done(_) => return Err(OrderError::Unexpected(socket.to_owned())),
    };
    let mut connections = Vec::new();
    let (mut parts, mut missed) = (0, false);
    let heard = inquiry::hear_all(&workers, OF_WORKERS, |told| {
        match told {
            Told::Connections(part) if parts < MAX_PARTS => {
                parts += 1;
                let is_found = part.iter().any(&is_wanted);
                connections.extend(part);
                if is_found {
                    return ControlFlow::Break(());
                }
            }
            Told::Connections(_) | Told::Missed => missed = true,
            Told::Over { generation, worker } => {
                asked.retain(|one| (one.generation, one.worker) != (generation, worker));
            }
        }
        ControlFlow::Continue(())
    });
    missed |= match heard {
        Ok(()) => false,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => true,
        Err(error) => {
            complain(format_args!("a worker's answer: {}", Reason(&error)));
            true
        }
    };
    connections.sort_by_key(|one| one.number);
    let unanswered = silent(asked, missed, |pid| kill(pid, None) != Err(Errno::ESRCH));
    Ok(Listed {
        connections,
        unreached,
        complete: !missed && unanswered.is_empty(),
        unanswered,
    })
}

/// Those of the workers without a last word that may have told too little. One that has died meanwhile has no
/// connection any more; one that lives gave up, since its words were not taken in time.
fn silent(asked: Vec<Asked>, missed: bool, lives: impl Fn(Pid) -> bool) -> Vec<Asked> {
    let pid = |one: &Asked| i32::try_from(one.pid).map(Pid::from_raw);
    let all = asked.into_iter();
    all.filter(|one| missed || pid(one).is_ok_and(&lives))
        .collect()
}

/// Sends a request to the supervisor; its answer.
fn order(socket: &Path, request: &Request, theirs: Option<OwnedFd>) -> Result<Reply, OrderError> {
    let unanswered = |error| OrderError::Unanswered(socket.to_owned(), error);
    let channel = request::send(socket, request, theirs, PATIENCE).map_err(unanswered)?;
    let mut stream = UnixStream::from(OwnedFd::from(channel));
    let mut document = Vec::new();
    match read_until(&mut stream, Instant::now() + PATIENCE, &mut document) {
        // An older adit closes without having read what was asked.
        Err(error) if document.is_empty() || error.kind() == io::ErrorKind::TimedOut => {
            return Err(unanswered(error));
        }
        _ => {}
    }
    match serde_json::from_slice(&document) {
        Ok(reply) => Ok(reply),
        Err(_) => Err(match understood(socket, &document) {
            Ok(status) => OrderError::Older(status.version),
            Err(_) => OrderError::Unexpected(socket.to_owned()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_lives_and_did_not_tell_the_end_is_named() {
        let asked = |pid| Asked {
            generation: 1,
            worker: 0,
            pid,
        };
        let lives = |pid: Pid| pid.as_raw() == 7;
        let all = || vec![asked(7), asked(8), asked(u64::MAX)];
        assert_eq!(silent(all(), false, lives), [asked(7)]);
        // Where it is known that something is missing, a dead one may have had it.
        assert_eq!(silent(all(), true, lives), all());
    }
}
