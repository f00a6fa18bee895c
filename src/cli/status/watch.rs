//! `adit status --watch`: asks once a second, and draws what it is told on the terminal, which it gives back as it was.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};

use super::{Unanswered, ask_within, understood};
use crate::cli::complain;
use crate::cli::running::Running;
use crate::ipc::wait::wait;
use crate::log::Reason;
use crate::signals::Signals;
use crate::status::{Status, live};
use crate::sys::terminal::{self, Size};

/// Between two looks; an answer that takes longer is none.
const PAUSE: Duration = Duration::from_secs(1);
/// Where the terminal does not say.
const USUAL: Size = Size {
    columns: 80,
    lines: 24,
};

/// xterm's alternate screen, and no cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Shows it until `q` or an interrupt.
pub(in crate::cli) fn run(running: &Running) -> ExitCode {
    match watch(&running.socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{}", Reason(&error)));
            ExitCode::FAILURE
        }
    }
}

fn watch(socket: &Path) -> io::Result<()> {
    let stdout = io::stdout();
    if !io::IsTerminal::is_terminal(&stdout) {
        return Err(io::Error::other(
            "`--watch` draws on a terminal, and standard output is none (`--json` is for programs)",
        ));
    }
    let mut signals = Signals::hear(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH])?;
    let mut screen = Screen::open()?;
    let mut last: Option<(Status, Instant)> = None;
    let mut shown = Shown::default();
    loop {
        let asked = Instant::now();
        match ask_within(socket, PAUSE).and_then(|(text, _)| understood(socket, &text)) {
            Ok(status) => {
                shown.before = last.replace((status, asked));
                shown.trouble = None;
            }
            // It may be started again.
            Err(error) => shown.trouble = Some(Unanswered(socket, &error).to_string()),
        }
        loop {
            screen.draw(&shown.lines(last.as_ref(), screen.size()))?;
            let left = (asked + PAUSE).saturating_duration_since(Instant::now());
            match screen.wait(&mut signals, left)? {
                Woken::ByTime => break,
                Woken::Resized => {}
                Woken::ToEnd => return Ok(()),
            }
        }
    }
}

/// What is on the screen besides the last answer.
#[derive(Default)]
struct Shown {
    before: Option<(Status, Instant)>,
    trouble: Option<String>,
}

impl Shown {
    fn lines(&self, last: Option<&(Status, Instant)>, size: Size) -> Vec<String> {
        let height = size.lines - usize::from(self.trouble.is_some() && size.lines > 1);
        let mut lines = match last {
            None => Vec::new(),
            Some((now, at)) => {
                let before = self.before.as_ref();
                let before = before.map(|(status, then)| (status, at.duration_since(*then)));
                live(now, before, size.columns, height)
            }
        };
        if let Some(trouble) = &self.trouble {
            let whole = trouble.escape_debug().to_string();
            lines.insert(0, whole.chars().take(size.columns).collect());
        }
        lines
    }
}

/// Why a wait is over.
enum Woken {
    ByTime,
    Resized,
    ToEnd,
}

/// The terminal; dropping it gives it back as it was.
struct Screen {
    /// What the keyboard's terminal was; none if standard input is no terminal.
    before: Option<Termios>,
}

impl Screen {
    fn open() -> io::Result<Screen> {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut keys = before.clone();
            keys.local_flags
                .remove(LocalFlags::ICANON | LocalFlags::ECHO);
            // Stopped, it would leave the shell on its screen.
            keys.control_chars[SpecialCharacterIndices::VSUSP as usize] = 0;
            tcsetattr(io::stdin(), SetArg::TCSADRAIN, &keys)?;
        }
        let screen = Screen { before };
        let mut stdout = io::stdout();
        stdout.write_all(ENTER.as_bytes())?;
        Ok(screen)
    }

    fn size(&self) -> Size {
        terminal::size(&io::stdout()).unwrap_or(USUAL)
    }

    /// Draws over what is there, so that nothing flickers.
    fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut frame = "\x1b[H".to_owned();
        for (row, line) in lines.iter().enumerate() {
            // Behind the last line the screen would move up.
            let end = if row + 1 < lines.len() { "\r\n" } else { "" };
            let _ = write!(frame, "{line}\x1b[K{end}");
        }
        frame.push_str("\x1b[J");
        let mut stdout = io::stdout();
        stdout.write_all(frame.as_bytes())?;
        stdout.flush()
    }

    fn wait(&mut self, signals: &mut Signals, left: Duration) -> io::Result<Woken> {
        let stdin = io::stdin();
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if self.before.is_some() {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        wait(&mut fds, timeout)?;
        let is_typed = fds.get(1).and_then(PollFd::any).unwrap_or(false);
        drop(fds);
        let caught = signals.take();
        if caught.iter().any(|signal| *signal != SIGWINCH) || (is_typed && ends(&stdin)?) {
            return Ok(Woken::ToEnd);
        }
        Ok(match caught.is_empty() && !is_typed {
            true => Woken::ByTime,
            false => Woken::Resized,
        })
    }
}

/// Whether what was typed ends it: `q`, or the end of the terminal.
fn ends(stdin: &io::Stdin) -> io::Result<bool> {
    let mut keys = [0; 64];
    let count = stdin.lock().read(&mut keys)?;
    Ok(count == 0
        || keys[..count]
            .iter()
            .any(|key| matches!(key, b'q' | b'Q' | 0x03 | 0x04)))
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = io::stdout().write_all(LEAVE.as_bytes());
        let _ = io::stdout().flush();
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
        }
    }
}
