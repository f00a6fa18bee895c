//! A terminal with somebody at it: a pty, what is shown on it, and what is typed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::{DEADLINE, poll_for};

/// See the module.
pub struct Terminal {
    keys: File,
    /// Open, so that the terminal outlives who uses it.
    line: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// A new one.
    pub fn new() -> Terminal {
        let size = nix::pty::Winsize {
            ws_row: 24,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = nix::pty::openpty(Some(&size), None).expect("a pty");
        // Who is started must not hold its own terminal open: it would outlive a test that fails.
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

    /// Makes it the controlling terminal, and the three streams, of what will be started.
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

    /// Types this; a `\n` ends a line, `\x03` interrupts.
    pub fn type_in(&self, text: &str) {
        (&self.keys).write_all(text.as_bytes()).expect("typing");
    }

    /// What was shown so far.
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

    /// Whether it shows what is typed.
    pub fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.line).expect("a terminal");
        modes.local_flags.contains(LocalFlags::ECHO)
    }
}

/// What is started has no terminal, wherever the tests are run.
pub fn take_terminal_away(command: &mut Command) {
    // SAFETY: setsid(2) is async-signal-safe, and nothing else is called.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        });
    }
}
