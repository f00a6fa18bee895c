//! The arguments of commands that ask or end the running adit. Never in here: a question.

use std::path::PathBuf;

use lexopt::prelude::*;

use super::given::Given;
use super::{Command, ControlAt, Shown, UsageError};

/// `adit status`.
pub(super) fn status(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let (mut given, mut how, mut socket) = (Given::default(), Shown::Once, None);
    let mut failures = false;
    while let Some(argument) = parser.next()? {
        let wanted = match argument {
            Long("json") => Shown::Json,
            Long("watch") => Shown::Live,
            Long("failures") => {
                failures = true;
                continue;
            }
            Long("control") => {
                socket = Some(PathBuf::from(parser.value()?));
                continue;
            }
            Long("help") | Short('h') => return Ok(Command::HelpOn("status")),
            Value(file) => {
                given.file(file)?;
                continue;
            }
            _ => return Err(argument.unexpected().into()),
        };
        if how != Shown::Once && how != wanted {
            return Err("give '--watch' or '--json', not both".into());
        }
        how = wanted;
    }
    if failures {
        how = match how {
            Shown::Live => return Err("give '--watch' or '--failures', not both".into()),
            how => Shown::Failures(how == Shown::Json),
        };
    }
    let control = given.control(socket)?;
    Ok(Command::Status { control, how })
}

/// A command that asks the running adit and prints what it learns.
pub(super) fn asking(
    name: &'static str,
    mut parser: lexopt::Parser,
    command: impl FnOnce(ControlAt, bool) -> Command,
) -> Result<Command, UsageError> {
    let (mut given, mut json, mut socket) = (Given::default(), false, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => json = true,
            Long("control") => socket = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(Command::HelpOn(name)),
            Value(file) => given.file(file)?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(command(given.control(socket)?, json))
}

pub(super) fn stop(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let (mut given, mut socket) = (Given::default(), None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("control") => socket = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(Command::HelpOn("stop")),
            Value(file) => given.file(file)?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Command::Stop(given.control(socket)?))
}
