//! The descriptors that lines are written to. They may be full, stuck or gone, and that must never hold
//! up the service.
#![expect(
    unsafe_code,
    reason = "dup3(2) over a number that has an owner; pwritev2(2)"
)]

use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};

use super::clock::Moment;
use super::{format, json, lost};
use crate::config::LogFormat;

/// How long a line waits for a slow reader (a pipe, a terminal, syslogd), in milliseconds. After that,
/// the reader is not waited for again until it has taken a line.
const READER_TIMEOUT_MS: u16 = 100;

/// Lines that could not be written; reported once writing works again.
#[derive(Debug, Default)]
pub(super) struct Losses {
    lines: AtomicU64,
    /// That there are some was told elsewhere.
    is_told: AtomicBool,
}

impl Losses {
    /// Counts one more.
    pub(super) fn add(&self) {
        self.lines.fetch_add(1, Relaxed);
    }

    /// Has it told elsewhere why lines are lost, once until lines are written again.
    pub(super) fn tell(&self, what: &str, errno: Errno) {
        if !self.is_told.load(Relaxed) {
            let is_told = lost::tell(&loss(what, errno));
            self.is_told.store(is_told, Relaxed);
        }
    }

    /// How many have not been reported yet.
    pub(super) fn untold(&self) -> u64 {
        self.lines.load(Relaxed)
    }

    /// This many were reported.
    pub(super) fn told(&self, lines: u64) {
        self.lines.fetch_sub(lines, Relaxed);
        self.is_told.store(false, Relaxed);
    }
}

/// Waits for a slow reader, but only once for a stuck one.
#[derive(Debug, Default)]
pub(super) struct SlowReader {
    stuck: AtomicBool,
}

impl SlowReader {
    /// Whether `fd` became writable in time.
    pub(super) fn wait(&self, fd: BorrowedFd<'_>) -> bool {
        if self.stuck.load(Relaxed) {
            return false;
        }
        let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
        let ready = matches!(
            poll(&mut fds, PollTimeout::from(READER_TIMEOUT_MS)),
            Ok(1..)
        );
        self.stuck.store(!ready, Relaxed);
        ready
    }

    /// The reader took a line.
    pub(super) fn moved(&self) {
        self.stuck.store(false, Relaxed);
    }
}

/// The terminal or the log file.
#[derive(Debug)]
pub(super) struct Sink {
    target: Target,
    /// Losses are told of: without it there is another output.
    matters: bool,
    losses: Losses,
    reader: SlowReader,
    /// The last line was written only in part, so the next one begins with a newline.
    torn: AtomicBool,
    /// A [`Manner`]; another output may have another.
    manner: AtomicU8,
    /// The kernel supports [`write_no_wait`] on this [`Manner::Shared`] output.
    no_wait: AtomicBool,
}

/// How to write without waiting for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// write(2): to a file, or to a non-blocking descriptor of our own.
    Plain,
    /// send(2) with MSG_DONTWAIT: to a socket.
    Send,
    /// A pipe or terminal shared with other programs, which must not be made non-blocking.
    Shared,
}

const PLAIN: u8 = Manner::Plain as u8;
const SEND: u8 = Manner::Send as u8;

impl Manner {
    /// The manner that suits what this descriptor is.
    fn of(fd: BorrowedFd<'_>) -> Manner {
        let kind = fstat(fd).map(|stat| SFlag::from_bits_truncate(stat.st_mode));
        match kind.map(|kind| kind & SFlag::S_IFMT) {
            // Buffered writes to a file wait for no reader, and RWF_NOWAIT fails there at random.
            Ok(SFlag::S_IFREG) => Manner::Plain,
            Ok(SFlag::S_IFSOCK) => Manner::Send,
            _ if is_non_blocking(fd) => Manner::Plain,
            _ => Manner::Shared,
        }
    }
}

fn is_non_blocking(fd: BorrowedFd<'_>) -> bool {
    let flags = nix::fcntl::fcntl(fd, FcntlArg::F_GETFL).unwrap_or(0);
    OFlag::from_bits_truncate(flags).contains(OFlag::O_NONBLOCK)
}

#[derive(Debug)]
enum Target {
    Terminal(io::Stderr),
    File(OwnedFd),
}

impl Sink {
    /// Standard error, whatever it is connected to. `alone`: lines are written there and nowhere else.
    pub(super) fn terminal(alone: bool) -> Self {
        let stderr = io::stderr();
        let manner = Manner::of(stderr.as_fd());
        Self {
            matters: alone,
            ..Self::new(Target::Terminal(stderr), manner)
        }
    }

    /// A file, opened with O_APPEND and, in case it is a FIFO, O_NONBLOCK; or a standard stream.
    pub(super) fn file(fd: OwnedFd) -> Self {
        let manner = Manner::of(fd.as_fd());
        Self::new(Target::File(fd), manner)
    }

    fn new(target: Target, manner: Manner) -> Self {
        Self {
            target,
            matters: true,
            losses: Losses::default(),
            reader: SlowReader::default(),
            torn: AtomicBool::new(false),
            manner: AtomicU8::new(manner as u8),
            no_wait: AtomicBool::new(true),
        }
    }

    /// Puts `new` behind the number of the file in one step, dup3(2).
    ///
    /// # Errors
    /// This is no file; what dup3 gives.
    pub(super) fn replace(&self, new: BorrowedFd<'_>) -> io::Result<()> {
        let Target::File(old) = &self.target else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        put_behind(old, new)?;
        self.manner.store(Manner::of(new) as u8, Relaxed);
        self.torn.store(false, Relaxed);
        self.reader.moved();
        Ok(())
    }

    /// Writes a whole line, and before it a report of lines that were lost, in one write(2).
    /// PlainSyncDecorator's lock is held, so this process has one writer.
    pub(super) fn put(&self, line: &[u8]) {
        let lost = self.losses.untold();
        let torn = self.torn.load(Relaxed);
        let sent = if lost == 0 && !torn && line.ends_with(b"\n") {
            self.send(line)
        } else {
            let mut text = Vec::with_capacity(line.len() + 64);
            if torn {
                text.push(b'\n');
            }
            if lost > 0 {
                let _ = writeln!(text, "{}", lost_line(lost));
            }
            text.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            text.push(b'\n');
            self.send(&text)
        };
        match sent {
            Sent::Whole => {
                self.torn.store(false, Relaxed);
                self.reader.moved();
                if lost > 0 {
                    self.losses.told(lost);
                }
            }
            Sent::Part(errno) => {
                self.torn.store(true, Relaxed);
                self.lose(errno);
            }
            Sent::Nothing(errno) => self.lose(errno),
        }
    }

    fn lose(&self, errno: Errno) {
        self.losses.add();
        if self.matters {
            let what = match &self.target {
                Target::Terminal(_) => "standard error",
                Target::File(_) => "the log file",
            };
            self.losses.tell(what, errno);
        }
    }

    fn send(&self, mut bytes: &[u8]) -> Sent {
        let whole = bytes.len();
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(written @ 1..) => bytes = &bytes[written.min(bytes.len())..],
                Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN) if self.reader.wait(self.as_fd()) => (),
                // Ok(0): it takes nothing, and would not the next time either.
                taken @ (Ok(0) | Err(_)) => {
                    let errno = taken.err().unwrap_or(Errno::EIO);
                    return match bytes.len() < whole {
                        true => Sent::Part(errno),
                        false => Sent::Nothing(errno),
                    };
                }
            }
        }
        Sent::Whole
    }

    fn write(&self, bytes: &[u8]) -> nix::Result<usize> {
        match self.manner.load(Relaxed) {
            PLAIN => nix::unistd::write(self.as_fd(), bytes),
            SEND => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(self.as_fd().as_raw_fd(), bytes, flags)
            }
            _ => self.write_shared(bytes),
        }
    }

    fn write_shared(&self, bytes: &[u8]) -> nix::Result<usize> {
        if self.no_wait.load(Relaxed) {
            match write_no_wait(self.as_fd(), bytes) {
                // A terminal, a kernel that does not support it on pipes (before 6.4), or a seccomp
                // filter that does not know the call (EPERM).
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL | Errno::EPERM) => {
                    self.no_wait.store(false, Relaxed);
                }
                other => return other,
            }
        }
        write_if_room(self.as_fd(), bytes)
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.target {
            Target::Terminal(stderr) => stderr.as_fd(),
            Target::File(fd) => fd.as_fd(),
        }
    }
}

/// Puts `new` behind the number of `old` in one step, dup3(2).
///
/// # Errors
/// What dup3 gives.
pub(super) fn put_behind(old: &OwnedFd, new: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the number belongs to `old`, which stays its only owner: what dup3_raw returns is
    // released without being closed.
    let same = unsafe { nix::unistd::dup3_raw(new, old.as_raw_fd(), OFlag::O_CLOEXEC) }?;
    let _ = same.into_raw_fd();
    Ok(())
}

enum Sent {
    Whole,
    /// A part alone, and why.
    Part(Errno),
    /// Nothing, and why.
    Nothing(Errno),
}

/// Why lines are lost that go there.
fn loss(what: &str, errno: Errno) -> String {
    match errno {
        Errno::EAGAIN => format!("{what}: its reader takes nothing"),
        errno => format!("{what}: {} ({})", errno.desc(), errno as i32),
    }
}

/// pwritev2(2), which fails with EAGAIN instead of waiting.
fn write_no_wait(fd: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
    let slice = IoSlice::new(bytes);
    // SAFETY: IoSlice has iovec's layout, and one is passed; offset -1 means the current position, as
    // for write(2).
    let written = unsafe {
        libc::pwritev2(
            fd.as_raw_fd(),
            (&raw const slice).cast(),
            1,
            -1,
            libc::RWF_NOWAIT,
        )
    };
    // Not negative: errors have become an Err.
    Errno::result(written).map(|written| usize::try_from(written).unwrap_or(0))
}

/// write(2) of as much as a pipe takes at once, if it has room at all, pipe(7); otherwise EAGAIN.
///
/// It never waits where [`own_stderr`] could reopen the output. Elsewhere it promises less: another
/// process may take a pipe's last room between the two calls, and a terminal that poll(2) reports as
/// writable may stop in the middle of a line. write(2) then waits until the reader goes on.
fn write_if_room(fd: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::ZERO)? == 0 {
        return Err(Errno::EAGAIN);
    }
    nix::unistd::write(fd, &bytes[..bytes.len().min(libc::PIPE_BUF)])
}

/// Reopens the terminal or pipe behind standard error as non-blocking, which the one shared with other
/// programs must not be, and puts it in its place. A stuck output (a hanging SSH connection, a full
/// pipe that is not read) then blocks no process. Does nothing for files and sockets.
///
/// Only for a process that is about to serve: writing to stderr other than through the log may fail.
pub(crate) fn own_stderr() {
    let stderr = io::stderr();
    let kind = fstat(&stderr).map_or(0, |stat| stat.st_mode) & libc::S_IFMT;
    if kind != libc::S_IFIFO && !nix::unistd::isatty(&stderr).unwrap_or(false) {
        return;
    }
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    // Where that is forbidden, or /proc is missing, poll(2) has to do: see `write_if_room`.
    if let Ok(own) = nix::fcntl::open("/proc/self/fd/2", flags, nix::sys::stat::Mode::empty()) {
        let _ = nix::unistd::dup2_stderr(own);
    }
}

/// The report that precedes the first line that can be written again.
pub(super) fn lost_line(lines: u64) -> impl std::fmt::Display {
    match format() {
        LogFormat::Json => json::bare(4, &lost_text(lines)),
        _ => format!("{} LOG4[main]: {}", Moment::now(), lost_text(lines)),
    }
}

/// The report's text.
pub(super) fn lost_text(lines: u64) -> String {
    format!("{lines} log line(s) lost")
}

/// A sink as slog-term's decorators want it. It never fails, since they would write a failed line a
/// second time.
#[derive(Debug, Clone)]
pub(super) struct Writer(pub Arc<Sink>);

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    use std::time::Instant;

    use super::*;

    fn pipe() -> (io::PipeReader, Sink) {
        let (reader, writer) = io::pipe().unwrap();
        let sink = Sink::new(Target::File(writer.into()), Manner::Shared);
        (reader, sink)
    }

    #[test]
    fn a_full_disk_costs_lines_and_is_told_of_when_there_is_room() {
        let full = std::fs::OpenOptions::new()
            .append(true)
            .custom_flags(libc::O_CLOEXEC)
            .open("/dev/full")
            .unwrap();
        let sink = Sink::file(full.into());
        sink.put(b"one\n");
        sink.put(b"two\n");
        assert_eq!(sink.losses.untold(), 2);

        let (mut reader, writer) = io::pipe().unwrap();
        sink.replace(writer.as_fd()).unwrap();
        sink.put(b"three\n");
        sink.put(b"four\n");
        drop((sink, writer));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(
            first.ends_with(" LOG4[main]: 2 log line(s) lost"),
            "{first}"
        );
        assert_eq!(rest, "three\nfour\n");
    }

    #[test]
    fn a_reader_that_is_stuck_is_waited_for_once() {
        let (reader, sink) = pipe();
        is_waited_for_once(reader, sink);
        // As before Linux 6.4.
        let (reader, sink) = pipe();
        sink.no_wait.store(false, Relaxed);
        is_waited_for_once(reader, sink);
        let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let sink = Sink::new(Target::File(writer.into()), Manner::Send);
        is_waited_for_once(reader, sink);
    }

    fn is_waited_for_once(mut reader: impl Read, sink: Sink) {
        let line = [b"x".repeat(4000), b"\n".to_vec()].concat();
        let begun = Instant::now();
        let mut written = 0;
        while sink.losses.untold() < 1000 {
            sink.put(&line);
            written += 1;
        }
        assert!(written > 1000);
        // A thousand waits would take 100 s.
        assert!(begun.elapsed().as_secs() < 50);
        let mut some = vec![0; 60_000];
        reader.read_exact(&mut some).unwrap();
        sink.put(b"last\n");
        assert_eq!(sink.losses.untold(), 0);
        drop(sink);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.ends_with(" log line(s) lost\nlast\n"), "{text}");
    }

    #[test]
    fn a_reader_that_went_away_does_no_harm() {
        let (reader, sink) = pipe();
        drop(reader);
        sink.put(b"one\n");
        assert_eq!(sink.losses.untold(), 1);
    }

    #[test]
    fn a_line_written_in_part_is_ended_before_the_next() {
        let (mut reader, sink) = pipe();
        sink.torn.store(true, Relaxed);
        sink.put(b"whole\n");
        sink.put(b"without its end");
        drop(sink);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "\nwhole\nwithout its end\n");
    }
}
