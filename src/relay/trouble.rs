//! Failures that end a session, or one end of it, while bytes are carried.

use std::fmt;

use nix::errno::Errno;

use super::Reason;
use super::buffer::{Pool, Scratch};
use super::end::{End, Reading, Writing};
use super::failing;
use super::record::{Fault, How};
use super::step::{Ending, broken};
use crate::incidents::Diagnosis;
use crate::log::Log;
use crate::protocol::Side;
use crate::tls::Failure;
use crate::{error, info};

/// A failure while carrying.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The socket that was read from.
    Read(Errno),
    /// The socket that was written to.
    Write(Errno),
    /// A record of the end that was read from; its alert, if there is one, is in `output`.
    Tls(Failure),
    /// TLS refuses to encrypt.
    Encrypt(Failure),
}

impl Trouble {
    /// What is wrong with the end that a dialogue spoke with.
    pub(super) fn diagnosis(&self) -> Diagnosis {
        match self {
            Trouble::Read(errno) => failing::lost("s_read", *errno),
            Trouble::Write(errno) => failing::lost("s_write", *errno),
            Trouble::Tls(failure) | Trouble::Encrypt(failure) => failure.diagnosis(),
        }
    }

    /// Whose fault it is, of one that was met while `side` was read from.
    pub(super) fn fault(&self, side: Side) -> Fault {
        match self {
            Trouble::Read(_) | Trouble::Tls(_) => Fault::of(side),
            Trouble::Write(_) => match side {
                Side::Front => Fault::Server,
                Side::Back => Fault::Client,
            },
            Trouble::Encrypt(_) => Fault::Adit,
        }
    }

    /// Says what is wrong with the end of `side`, while a dialogue spoke with it.
    pub(super) fn end_dialogue(self, side: Side, log: &Log) -> Ending {
        match self {
            Trouble::Read(errno) => broken(log, "s_read", errno),
            Trouble::Write(errno) => broken(log, "s_write", errno),
            Trouble::Tls(failure) => {
                error!(*log, "{failure}");
                Ending::of(&failure, side)
            }
            Trouble::Encrypt(failure) => {
                error!(*log, "{failure}");
                Ending::Reset
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Read(errno) => write!(f, "reading: {}", Reason(*errno)),
            Trouble::Write(errno) => write!(f, "writing: {}", Reason(*errno)),
            Trouble::Tls(failure) | Trouble::Encrypt(failure) => failure.fmt(f),
        }
    }
}

/// stunnel's name for the operation.
pub(super) fn reading(end: &End) -> &'static str {
    match end.tls {
        Some(_) => "transfer: SSL_read",
        None => "transfer: readsocket",
    }
}

pub(super) fn writing(end: &End) -> &'static str {
    match end.tls {
        Some(_) => "transfer: SSL_write",
        None => "transfer: writesocket",
    }
}

/// How a session ends whose end cannot be read from. A peer that had been told of the other side's end may close its
/// socket without reading so, as MySQL's servers do behind a client's last command: that is no failure.
pub(super) fn how_read(end: &End, errno: Errno) -> How {
    match errno == Errno::ECONNRESET && end.writing == Writing::Over {
        true => How::Parted,
        false => How::Failed,
    }
}

/// Says so. What the peer still had to say is lost, if anything, and so it is a reset for the other side.
pub(super) fn cannot_read(end: &End, log: &Log, doing: &str, errno: Errno) -> Ending {
    if how_read(end, errno) == How::Parted {
        info!(
            log,
            "{doing}: {}, after its end was announced",
            Reason(errno)
        );
        return Ending::Reset;
    }
    broken(log, doing, errno)
}

/// An end was closed by its peer both ways. Nothing can be sent to it any more, and nothing comes;
/// the other end is told so in order, unless bytes were lost on TLS.
pub(super) fn gone(
    end: &mut End,
    other: &mut End,
    doing: &str,
    log: &Log,
    scratch: &mut Scratch,
    pool: &mut Pool,
) -> Result<(), Ending> {
    let unsent = end.unsent();
    if end.tls.is_some() {
        if unsent > 0 {
            error!(
                log,
                "TLS socket closed (SSL_{doing}) with {unsent} unsent byte(s)"
            );
            return Err(Ending::Reset);
        }
        info!(log, "TLS socket closed (SSL_{doing})");
    } else {
        info!(log, "transfer: {doing}socket: Socket is closed");
    }
    end.output.clear(pool);
    end.reading = Reading::Over;
    end.writing = Writing::Over;
    other
        .finish(&mut scratch.tls, pool)
        .map_err(|errno| broken(log, "transfer", errno))
}
