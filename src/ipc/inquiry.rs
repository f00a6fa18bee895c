//! What workers are asked for a client of the control socket, and what they tell it: straight, over a socket that came
//! with the question. Never in here: a message of theirs to the supervisor.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::MsgFlags;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::wait::wait;
use super::words::say_now;

/// The most that all workers may tell, in bytes: several hundred thousand connections. One in wrong hands would go on.
const MOST: usize = 256 << 20;

/// Connections in one message: it fits into what a socket buffers, whatever their services are called.
const PART: usize = 64;

/// What every worker is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Inquiry {
    /// Tell of every connection.
    List,
    /// End the connection of this number, and tell of it.
    Cut(u64),
}

/// A message to the client that asked; the end of all copies of the socket is the end of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    /// Connections that the inquiry concerns.
    Connections(Vec<Connection>),
    /// A worker could not be asked, or one of its threads has not answered.
    Missed,
    /// A worker has told all.
    Over {
        /// Its generation.
        generation: u64,
        /// Its number in that.
        worker: usize,
    },
}

/// A worker that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// Its generation.
    pub generation: u64,
    /// Its number in that, from 0.
    pub worker: usize,
    /// Its process.
    pub pid: u64,
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Without a word.
    pub silence: Duration,
    /// In all, whatever is told: a worker in wrong hands may tell a little now and then.
    pub whole: Duration,
}

/// An open connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connection {
    /// Counted over all workers and generations; what stands in the log's brackets unless `logId` says otherwise.
    pub number: u64,
    /// What stands there with another `logId`.
    pub log_id: Option<String>,
    /// The service that it belongs to.
    pub service: String,
    /// The client's address; `None` for a Unix socket or a program.
    pub peer: Option<String>,
    /// The server's address, the path of its socket or the program; `None` until it is there.
    pub upstream: Option<String>,
    /// What it is about: `handshake`, `connecting`, `open` and the like.
    pub state: String,
    /// How long it has been there, in seconds.
    pub age: u64,
    /// Bytes of payload carried to the server.
    pub bytes_to_back: u64,
    /// Bytes of payload carried to the client.
    pub bytes_to_front: u64,
}

/// Tells the client that asked of these connections; one that does not read is given up after `patience`.
///
/// # Errors
/// It is gone, or does not read.
pub(crate) fn tell(
    asker: &Channel,
    connections: Vec<Connection>,
    patience: Duration,
) -> io::Result<()> {
    let end = Instant::now() + patience;
    let mut left = connections.into_iter().peekable();
    while left.peek().is_some() {
        let part = left.by_ref().take(PART).collect();
        tell_one(asker, &Told::Connections(part), end)?;
    }
    Ok(())
}

/// Tells it that this worker has told all; as [`tell`].
///
/// # Errors
/// As [`tell`].
pub(crate) fn tell_end(
    asker: &Channel,
    generation: u64,
    worker: usize,
    patience: Duration,
) -> io::Result<()> {
    let over = Told::Over { generation, worker };
    tell_one(asker, &over, Instant::now() + patience)
}

fn tell_one(asker: &Channel, told: &Told, end: Instant) -> io::Result<()> {
    loop {
        match say_now(asker, told, &[]) {
            Err(error) if Channel::is_busy(&error) && Instant::now() < end => {
                let mut room = [PollFd::new(asker.as_fd(), PollFlags::POLLOUT)];
                let timeout = end.saturating_duration_since(Instant::now());
                wait(
                    &mut room,
                    PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO),
                )?;
            }
            said => return said,
        }
    }
}

/// Hears what workers tell, until all have said it. `hear` takes each message; it breaks off when it knows enough.
///
/// # Errors
/// `TimedOut`: they were heard for as long as there is patience, and not all have ended. What is heard is no message of
/// adit's, or has no end.
pub(crate) fn hear_all(
    workers: &Channel,
    patience: Patience,
    mut hear: impl FnMut(Told) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; super::words::MAX_WORD];
    let mut heard = 0;
    let end = Instant::now() + patience.whole;
    let mut silent_until = Instant::now() + patience.silence;
    loop {
        let left = end
            .min(silent_until)
            .saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut ready = [PollFd::new(workers.as_fd(), PollFlags::POLLIN)];
        // Rounded up, or the last millisecond would be a loop of empty waits.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1));
        if wait(&mut ready, timeout.unwrap_or(PollTimeout::MAX))? == 0 {
            continue;
        }
        match workers.receive(&mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(None) => return Ok(()),
            Ok(Some(message)) => {
                heard += message.len;
                if heard > MOST {
                    return Err(io::Error::other(
                        "a worker tells of connections without end",
                    ));
                }
                if hear(understood(&buffer[..message.len])?).is_break() {
                    return Ok(());
                }
                silent_until = Instant::now() + patience.silence;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a worker's message, which may come from one in wrong hands.
///
/// # Errors
/// It is none.
pub(crate) fn understood(message: &[u8]) -> io::Result<Told> {
    Ok(serde_json::from_slice(message)?)
}

/// The socket that goes with a question, and its other end.
///
/// # Errors
/// No descriptors left.
pub(crate) fn sockets() -> io::Result<(Channel, OwnedFd)> {
    let (ours, theirs) = Channel::pair()?;
    Ok((ours, theirs.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(number: u64) -> Connection {
        Connection {
            number,
            service: "smtp".repeat(60),
            ..Connection::default()
        }
    }

    fn within(time: Duration) -> Patience {
        Patience {
            silence: time,
            whole: time,
        }
    }

    /// Says it again until that is not taken any more; how often it was.
    fn trickles(theirs: OwnedFd) -> std::thread::JoinHandle<usize> {
        let theirs = Channel::from(theirs);
        std::thread::spawn(move || {
            let told = || tell(&theirs, vec![connection(1)], Duration::from_secs(30));
            std::iter::repeat_with(told)
                .take_while(Result::is_ok)
                .count()
        })
    }

    #[test]
    fn one_that_trickles_is_heard_no_longer_than_there_is_patience_and_what_is_wanted_ends_it() {
        let (ours, theirs) = sockets().unwrap();
        let worker = trickles(theirs);
        let patience = Patience {
            silence: Duration::from_secs(30),
            whole: Duration::from_millis(50),
        };
        let mut taken = 0;
        // Each word is taken slowly enough that what it may tell in all does not end it before.
        let error = hear_all(&ours, patience, |_| {
            taken += 1;
            std::thread::yield_now();
            ControlFlow::Continue(())
        });
        drop(ours);
        assert!(worker.join().unwrap() >= taken);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);

        let (ours, theirs) = sockets().unwrap();
        let worker = trickles(theirs);
        let mut taken = 0;
        let heard = hear_all(&ours, within(Duration::from_secs(30)), |_| {
            taken += 1;
            ControlFlow::Break(())
        });
        drop(ours);
        worker.join().unwrap();
        assert!(heard.is_ok() && taken == 1);
    }

    #[test]
    fn more_than_a_socket_buffers_arrives_in_order_and_ends_with_the_last_copy() {
        let (ours, theirs) = sockets().unwrap();
        let theirs = Channel::from(theirs);
        let all: Vec<Connection> = (0..5000).map(connection).collect();
        let sent = all.clone();
        let worker = std::thread::spawn(move || tell(&theirs, sent, Duration::from_secs(30)));
        let mut heard = Vec::new();
        hear_all(&ours, within(Duration::from_secs(30)), |told| {
            match told {
                Told::Connections(part) => heard.extend(part),
                other => panic!("{other:?}"),
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(heard, all);
        worker.join().unwrap().unwrap();
    }

    #[test]
    fn a_side_that_does_not_read_or_tell_is_given_up() {
        let (ours, theirs) = sockets().unwrap();
        let theirs = Channel::from(theirs);
        let briefly = Duration::from_millis(50);
        let error = hear_all(&ours, within(briefly), |_| ControlFlow::Continue(()));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let all: Vec<Connection> = (0..50_000).map(connection).collect();
        let error = tell(&theirs, all, briefly).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(ours);
        assert!(tell(&theirs, vec![connection(1)], briefly).is_err());
        assert!(understood(b"{\"Connections\":[{}]}").is_err());
    }
}
