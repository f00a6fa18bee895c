//! A terminal with a user: a pty, what is shown on it, and what is typed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::{DEADLINE, poll_for};

/// A pty, with everything shown on it.
pub struct Terminal {
    keys: File,
    /// Held open, so that the terminal outlives its programs.
    line: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// A new one.
    pub fn new() -> Terminal {
        Terminal::sized(120, 24)
    }

    /// A new one with so many columns and lines.
    pub fn sized(columns: u16, lines: u16) -> Terminal {
        let size = winsize(columns, lines);
        let pty = nix::pty::openpty(Some(&size), None).expect("a pty");
        // A started program must not hold its own terminal open, or it would outlive a failed test.
        for end in [&pty.master, &pty.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("fcntl");
        }
        let keys = File::from(pty.master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, into) = (keys.try_clone().expect("dup"), shown.clone());
        // Ends with the last user of the terminal's other side.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = screen.read(&mut buffer) {
                let mut shown = into.lock().expect("no panic");
                shown.extend_from_slice(&buffer[..n]);
            }
        });
        Terminal {
            keys,
            line: pty.slave,
            shown,
        }
    }

    /// Makes it the controlling terminal and the three standard streams of a program to be started.
    pub fn attach(&self, command: &mut Command) {
        let line = || Stdio::from(self.line.try_clone().expect("dup"));
        command.stdin(line()).stdout(line()).stderr(line());
        // SAFETY: setsid(2) and ioctl(2) are async-signal-safe, and nothing else is called.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
    }

    /// Gives it another size, which its programs are told by a signal.
    pub fn resize(&self, columns: u16, lines: u16) {
        let size = winsize(columns, lines);
        // SAFETY: the kernel reads one `winsize` from where one is.
        let set = unsafe { libc::ioctl(self.keys.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(set, 0, "TIOCSWINSZ");
    }

    /// Types this; `\n` ends a line, `\x03` interrupts.
    pub fn type_in(&self, text: &str) {
        (&self.keys).write_all(text.as_bytes()).expect("typing");
    }

    /// What has been shown so far.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("no panic")).into_owned()
    }

    /// Waits until `phrase` was shown for the `count`th time.
    #[track_caller]
    pub fn wait_for(&self, phrase: &str, count: usize) {
        let seen = || (self.shown().matches(phrase).count() >= count).then_some(());
        assert!(
            poll_for(DEADLINE, seen).is_some(),
            "no {count}. {phrase:?} on the terminal:\n{}",
            self.shown()
        );
    }

    /// Whether it echoes what is typed.
    pub fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.line).expect("a terminal");
        modes.local_flags.contains(LocalFlags::ECHO)
    }
}

fn winsize(columns: u16, lines: u16) -> nix::pty::Winsize {
    nix::pty::Winsize {
        ws_row: lines,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Starts a program without a terminal, wherever the tests are run.
pub fn take_terminal_away(command: &mut Command) {
    // SAFETY: setsid(2) is async-signal-safe, and nothing else is called.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        });
    }
}
