//! Carries the bytes of one program's terminal to and from its socket, in a process of its own. Never in
//! here: what the bytes mean.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::termios::{LocalFlags, SpecialCharacterIndices, tcgetattr};

use crate::carry::Way;
use crate::ipc::leash::Leash;
use crate::ipc::wait::wait;
use crate::log;
use crate::process::{self, OneThread};

/// Starts the process.
///
/// # Errors
/// No process is to be had.
pub(super) fn start(terminal: OwnedFd, socket: OwnedFd, leash: &Leash) -> io::Result<()> {
    process::spawn(&OneThread::prove()?, |fresh| {
        let carried = live(terminal, socket, leash, fresh);
        process::exit(carried.is_err().into())
    })?;
    Ok(())
}

#[expect(unsafe_code, reason = "closes what the parent's owners still name")]
fn live(
    terminal: OwnedFd,
    socket: OwnedFd,
    leash: &Leash,
    fresh: process::Fresh,
) -> io::Result<()> {
    let mut kept = log::descriptors();
    kept.extend([
        terminal.as_raw_fd(),
        socket.as_raw_fd(),
        leash.as_fd().as_raw_fd(),
    ]);
    // SAFETY: this role ends in `exit`, and owns and uses only what it keeps.
    unsafe { process::close_all_but(&kept) }?;
    process::title("adit: terminal", "");
    let _signals = fresh.hear(&[])?;
    for end in [&terminal, &socket] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
    }
    carry(terminal.into(), socket.into(), leash)
}

/// Carries until the program, the session or the supervisor has ended.
fn carry(mut terminal: File, mut socket: UnixStream, leash: &Leash) -> io::Result<()> {
    let (mut typed, mut shown) = (Way::default(), Way::default());
    loop {
        // The program closed its terminal, and everything that it showed is sent.
        if shown.is_over() {
            return Ok(());
        }
        // A terminal has no half-close: its end is a character where lines are edited. Where they are not,
        // the connection is lost, and a hangup says that.
        if typed.ended && typed.is_empty() && !typed.told {
            match end_of_file(&terminal) {
                Some(character) => typed.push(character),
                None => return Ok(()),
            }
            typed.told = true;
        }
        let ways = [(&typed, &shown), (&shown, &typed)].map(|(from, to)| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLOUT, !to.is_empty());
            flags.set(PollFlags::POLLIN, !from.ended && from.is_empty());
            flags
        });
        // The socket stays even when nothing is asked of it, to tell a session that is over from one that
        // has ended its half: poll(2) tells a hangup only when the peer is closed both ways.
        let mut fds = [
            PollFd::new(leash.as_fd(), PollFlags::POLLIN),
            PollFd::new(socket.as_fd(), ways[0]),
            PollFd::new(terminal.as_fd(), ways[1]),
        ];
        wait(&mut fds, PollTimeout::NONE)?;
        let [supervisor, session, _] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if !supervisor.is_empty() {
            return Ok(());
        }
        typed.carry(&mut socket, &mut terminal)?;
        // EIO: the program, and all that had its terminal, have closed it.
        shown.carry(&mut terminal, &mut socket)?;
        // What the session had sent is read first, as far as the program takes it. Then the terminal is
        // closed, which hangs up.
        let is_over = session.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
        if is_over && (typed.ended || !typed.is_empty()) {
            return Ok(());
        }
    }
}

/// What ends the input of a program that reads lines; none where it reads bytes.
fn end_of_file(terminal: &File) -> Option<u8> {
    let settings = tcgetattr(terminal).ok()?;
    let edits = settings.local_flags.contains(LocalFlags::ICANON);
    let character = settings.control_chars[SpecialCharacterIndices::VEOF as usize];
    edits.then_some(character)
}
