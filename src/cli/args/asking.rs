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

/// `adit cut`.
pub(super) fn cut(parser: lexopt::Parser) -> Result<Command, UsageError> {
    let Some(Ordered { control, word, .. }) = ordered(parser, false)? else {
        return Ok(Command::HelpOn("cut"));
    };
    let connection = word.ok_or("adit cut needs the number of a connection")?;
    Ok(Command::Cut {
        control,
        connection,
    })
}

/// `adit drain`.
pub(super) fn drain(parser: lexopt::Parser) -> Result<Command, UsageError> {
    let Some(ordered) = ordered(parser, true)? else {
        return Ok(Command::HelpOn("drain"));
    };
    Ok(Command::Drain {
        control: ordered.control,
        service: ordered
            .word
            .ok_or("adit drain needs the name of a service")?,
        undo: ordered.undo,
    })
}

struct Ordered {
    control: ControlAt,
    /// What it is about.
    word: Option<String>,
    undo: bool,
}

/// A word, then perhaps a file; `None`: help is asked for.
fn ordered(mut parser: lexopt::Parser, can_be_undone: bool) -> Result<Option<Ordered>, UsageError> {
    let (mut given, mut socket) = (Given::default(), None);
    let (mut word, mut undo) = (None, false);
    loop {
        if !can_be_undone && word.is_none() {
            word = log_id(&mut parser);
        }
        let Some(argument) = parser.next()? else {
            break;
        };
        match argument {
            Long("undo") if can_be_undone => undo = true,
            Long("control") => socket = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(None),
            Value(first) if word.is_none() => word = Some(first.string()?),
            Value(file) => given.file(file)?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Some(Ordered {
        control: given.control(socket)?,
        word,
        undo,
    }))
}

/// The next argument, where it looks like an option and is what `logId = unique` gives a connection: 22 letters of base64url,
/// of which a dash may be the first.
fn log_id(parser: &mut lexopt::Parser) -> Option<String> {
    const LENGTH: usize = 22;
    let mut raw = parser.try_raw_args()?;
    let next = raw.peek()?.to_str()?;
    let of_base64url = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_id = next.len() == LENGTH && next.starts_with('-') && next.bytes().all(of_base64url);
    is_id.then(|| raw.next())??.into_string().ok()
}
