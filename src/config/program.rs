//! `exec` and its like: a program behind a service, or before one. Never in here: whether the program is
//! there, which may be in a jail.

use std::path::PathBuf;
use std::time::Duration;

use super::option::{Fault, number, one_of};
use super::service::Draft;

/// `retry = yes`, as stunnel.
const RETRY: Duration = Duration::from_secs(1);

/// A program that sessions talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its file, inside the jail; as execve(2) takes it.
    pub path: PathBuf,
    /// Its arguments, `$0` first.
    pub args: Vec<String>,
    /// It gets a pseudoterminal, not a socket.
    pub pty: bool,
    /// How long after a session that began with it the next one does.
    pub retry: Option<Duration>,
}

/// Where a service's clients come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// They connect: to an address of `accept`, or to a socket that was passed.
    Listener,
    /// adit starts the one that there is.
    Program,
    /// The one that there is has descriptors 0 and 1: inetd mode.
    Inetd,
}

/// What was given, whatever of it counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    pub(super) path: Option<PathBuf>,
    pub(super) args: Vec<String>,
    pub(super) pty: bool,
    pub(super) retry: Option<Duration>,
}

impl Given {
    /// The program, if there is one.
    pub(super) fn program(self) -> Option<Program> {
        let path = self.path?;
        let args = match self.args.is_empty() {
            true => vec![path.display().to_string()],
            false => self.args,
        };
        Some(Program {
            path,
            args,
            pty: self.pty,
            retry: self.retry,
        })
    }
}

/// `execArgs`: stunnel knows no quotes and no backslashes here.
pub(super) fn set_args(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.program.args = value.split_whitespace().map(str::to_owned).collect();
    match value.contains(['"', '\'']) {
        true => Err(Fault::warning(
            "the quotes in `execArgs` are part of the arguments, as they are with stunnel",
        )
        .help("blanks alone part the arguments; an argument with a blank needs a script")),
        false => Ok(()),
    }
}

/// `retry`: how long to wait, if it is asked for.
pub(super) fn retry(value: &str) -> Result<Option<Duration>, Fault> {
    if value.starts_with(|first: char| first.is_ascii_digit()) {
        let wait = number(value, 0..=i32::MAX as u32)?;
        return Ok(Some(Duration::from_millis(wait.into())));
    }
    one_of(value, &[("yes", Some(RETRY)), ("no", None)])
}
