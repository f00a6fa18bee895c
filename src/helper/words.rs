//! What is said on a helper's channel: clients that are introduced, outputs that are renewed, and what
//! is news to one kind alone. A byte each, since the descriptor that comes with it is the message; news
//! go on behind it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::MsgFlags;

use crate::ipc::channel::Channel;
use crate::log;

/// A client's socket comes with it, or several.
const CLIENT: &[u8] = b"c";
/// The log file.
const LOG_FILE: &[u8] = b"l";
/// A connection to syslogd.
const SYSLOG: &[u8] = b"s";
/// Whether the loop comes round: the end of a pipe comes with it, and to close that is the answer.
const ASK: &[u8] = b"a";
/// News of the kind's own.
const NEWS: &[u8] = b"n";

/// Longest word, in bytes.
const MAX_WORD: usize = 1024;

/// Makes a client's socket and sends its other end to the helper that listens on `channel`.
///
/// # Errors
/// No descriptors left; the helper is gone, or has too many introductions to read.
pub(crate) fn introduce(channel: &Channel) -> io::Result<OwnedFd> {
    let (ours, theirs) = Channel::pair()?;
    channel.send(CLIENT, &[theirs.as_fd()], MsgFlags::MSG_DONTWAIT)?;
    Ok(ours.into())
}

/// Tells a helper that the log file was opened anew.
///
/// # Errors
/// The helper is gone, or has too much to read.
pub(crate) fn replace_log_file(channel: &Channel, file: BorrowedFd<'_>) -> io::Result<()> {
    channel.send(LOG_FILE, &[file], MsgFlags::MSG_DONTWAIT)
}

/// Tells a helper that there is another syslogd.
///
/// # Errors
/// The helper is gone, or has too much to read.
pub(crate) fn replace_syslog(channel: &Channel, socket: BorrowedFd<'_>) -> io::Result<()> {
    channel.send(SYSLOG, &[socket], MsgFlags::MSG_DONTWAIT)
}

/// Asks a helper whether its loop comes round. What is given back is at its end once it does, or once the helper is
/// dead.
///
/// # Errors
/// No descriptors left; the helper is gone, or has too much to read.
pub(crate) fn ask(channel: &Channel) -> io::Result<io::PipeReader> {
    let (answer, asked) = io::pipe()?;
    channel.send(ASK, &[asked.as_fd()], MsgFlags::MSG_DONTWAIT)?;
    Ok(answer)
}

/// Tells a helper what its kind alone understands.
///
/// # Errors
/// The helper is gone, or has too much to read.
pub(crate) fn tell(channel: &Channel, news: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let word = [NEWS, news].concat();
    debug_assert!(word.len() <= MAX_WORD);
    channel.send(&word, &[descriptor], MsgFlags::MSG_DONTWAIT)
}

/// What a helper heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// These clients were introduced; none, when the word was about the log.
    Clients(Vec<OwnedFd>),
    /// News, as [`tell`] said them.
    News(Vec<u8>, Vec<OwnedFd>),
    /// Nothing, just now.
    Nothing,
    /// The last of those that could introduce a client is gone.
    End,
}

/// Hears one word, and renews the log where it is about that. Never waits.
///
/// # Errors
/// What recvmsg(2) gives.
pub(crate) fn hear(channel: &Channel) -> io::Result<Heard> {
    let mut word = [0; MAX_WORD];
    let received = match channel.receive(&mut word, MsgFlags::MSG_DONTWAIT) {
        Ok(Some(received)) => received,
        Ok(None) => return Ok(Heard::End),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::Nothing),
        // Descriptors found no room here, or it is no word: the other ends of clients read
        // end-of-file, and are introduced again.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Ok(Heard::Clients(Vec::new()));
        }
        Err(error) => return Err(error),
    };
    if &word[..1] == NEWS {
        let news = word[1..received.len].to_vec();
        return Ok(Heard::News(news, received.descriptors));
    }
    let replace: fn(OwnedFd) -> io::Result<()> = match &word[..1] {
        LOG_FILE => log::replace_file,
        SYSLOG => log::replace_syslog,
        // Its descriptor is closed here.
        ASK => return Ok(Heard::Clients(Vec::new())),
        _ => return Ok(Heard::Clients(received.descriptors)),
    };
    for output in received.descriptors {
        // Where it is not in use there is none to be replaced.
        let _ = replace(output);
    }
    Ok(Heard::Clients(Vec::new()))
}
