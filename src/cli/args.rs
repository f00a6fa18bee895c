//! Parses the arguments into a command. Never in here: reading or opening anything.

mod adding;
mod asking;
mod authority;
mod given;
mod signing_in;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::prelude::*;

use given::Given;

use super::add;
use super::ca;
use super::commands::COMMANDS;
use super::diff_stunnel;
use super::listen_in::{self, Mail};
use super::login;
use crate::config;

/// A parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// `adit [FILE]`, `adit -fd N`, `adit relay`: serve.
    Run(Configuration),
    /// `adit check`: report what is wrong, and start nothing.
    Check {
        /// What to check.
        configuration: Configuration,
        /// Warnings count as errors.
        strict: bool,
        /// How many sockets systemd will pass.
        passed: usize,
        /// Each service's route is shown.
        route: bool,
    },
    /// `adit reload`: make the running adit read its configuration again, and wait for the result.
    Reload(Configuration),
    /// `adit man PAGE`, for packages: prints the source of a manual page.
    Man(String),
    /// `adit completions SHELL`, for packages.
    Completions(String),
    /// `adit status`.
    Status {
        /// Which adit to ask.
        control: ControlAt,
        /// How it is shown.
        how: Shown,
    },
    /// `adit audit`.
    Audit {
        /// Which adit to look at.
        control: ControlAt,
        /// Print the report itself.
        json: bool,
    },
    /// `adit stop`: stop the running adit, and wait until it has exited.
    Stop(ControlAt),
    /// `adit connections`.
    Connections {
        /// Which adit to ask.
        control: ControlAt,
        /// Print the document itself.
        json: bool,
    },
    /// `adit cut`.
    Cut {
        /// Which adit to tell.
        control: ControlAt,
        /// The connection's number, or what the log shows for it.
        connection: String,
    },
    /// `adit drain`.
    Drain {
        /// Which adit to tell.
        control: ControlAt,
        /// The service's name.
        service: String,
        /// It is taken back.
        undo: bool,
    },
    /// `adit demo`.
    Demo,
    /// `adit ca`: a local authority and its certificate.
    Ca(ca::Asked),
    /// `adit add`: services for a mail address.
    Add(add::Asked),
    /// `adit login`: mail accounts that sign in by OAuth2.
    Login(login::Asked),
    /// `adit providers`: those with this word, or all.
    Providers(Option<String>),
    /// The hidden command by which `adit add` asks DNS, for this domain.
    LookUpMail(String),
    /// `adit listen-in`: say what a program speaks.
    ListenIn(listen_in::Asked),
    /// `adit diff-stunnel`: say where stunnel and adit differ on a configuration.
    DiffStunnel(diff_stunnel::Asked),
    /// `adit -version`.
    Version,
    /// `adit -help`.
    Help,
    /// `adit check --help` and its like: the command of this name.
    HelpOn(&'static str),
    /// `adit -sockets`: the socket options.
    Sockets,
    /// `adit -options`: the TLS options.
    Options,
}

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configuration {
    /// The text that the flags are added to.
    pub source: Source,
    /// Options and their values, in the order they were given.
    pub flags: Vec<(String, String)>,
}

/// The text that the flags are added to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A file.
    File(PathBuf),
    /// An open descriptor, to be read to its end.
    Descriptor(RawFd),
    /// Nothing: `adit relay`, whose flags make up the one service.
    Flags,
}

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// As tables.
    Once,
    /// The document itself.
    Json,
    /// On the terminal, again each second.
    Live,
    /// What went wrong, by cause; as JSON if `true`.
    Failures(bool),
}

/// The supervisor's control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ControlAt {
    /// This one.
    Socket(PathBuf),
    /// That of the adit that runs with this configuration.
    Configuration(Configuration),
}

impl ControlAt {
    /// The configuration file, if there is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            ControlAt::Configuration(Configuration {
                source: Source::File(path),
                ..
            }) => Some(path.clone()),
            _ => None,
        }
    }
}

/// A malformed command line; the text names the argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        UsageError(error.to_string())
    }
}

impl From<&str> for UsageError {
    fn from(text: &str) -> Self {
        UsageError(text.to_owned())
    }
}

/// Whether the program was called by stunnel's name. Then it behaves as scripts for stunnel expect:
/// with stunnel's default file, and without commands.
pub(super) fn called_as_stunnel(program: Option<&OsStr>) -> bool {
    let name = program.and_then(|program| Path::new(program).file_name());
    name.is_some_and(|name| name == "stunnel" || name == "stunnel4")
}

/// The file that is read if none is named.
pub(super) fn default_file(as_stunnel: bool) -> &'static str {
    match as_stunnel {
        true => "/etc/stunnel/stunnel.conf",
        false => "/etc/adit/adit.conf",
    }
}

/// Parses `arguments`, which do not include the program's name.
///
/// # Errors
/// An argument is unknown, missing or superfluous.
pub(super) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    as_stunnel: bool,
) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter().map(lengthened).peekable();
    let command = match arguments.peek().and_then(|first| first.to_str()) {
        Some(
            name @ ("check"
            | "relay"
            | "reload"
            | "status"
            | "audit"
            | "stop"
            | "connections"
            | "cut"
            | "drain"
            | "demo"
            | "listen-in"
            | "diff-stunnel"
            | "ca"
            | "add"
            | "login"
            | "providers"
            | add::LOOK_UP
            | "man"
            | "completions"),
        ) if !as_stunnel => name.to_owned(),
        _ => return run(lexopt::Parser::from_args(arguments), as_stunnel),
    };
    arguments.next();
    let parser = lexopt::Parser::from_args(arguments);
    match command.as_str() {
        "check" => check(parser),
        "relay" => relay(parser),
        "reload" => reload(parser),
        "status" => asking::status(parser),
        "audit" => asking::asking("audit", parser, |control, json| Command::Audit {
            control,
            json,
        }),
        "stop" => asking::stop(parser),
        "connections" => asking::asking("connections", parser, |control, json| {
            Command::Connections { control, json }
        }),
        "cut" => asking::cut(parser),
        "drain" => asking::drain(parser),
        "listen-in" => listen_in(parser),
        "diff-stunnel" => diff_stunnel(parser),
        "ca" => authority::local_authority(parser),
        "add" => adding::add(parser),
        "login" => signing_in::login(parser),
        "providers" => adding::providers(parser),
        add::LOOK_UP => Ok(Command::LookUpMail(one_word(parser)?)),
        "man" => Ok(Command::Man(one_word(parser)?)),
        "completions" => Ok(Command::Completions(one_word(parser)?)),
        _ => demo(parser),
    }
}

/// Commands of other programs, and what to type here instead.
const ELSEWHERE: [(&[&str], &str); 4] = [
    (
        &["start", "run", "serve", "daemon"],
        "to start adit, type `adit [FILE]`; as a systemd service, `systemctl start adit`",
    ),
    (
        &["restart", "force-reload", "hup"],
        "to apply a changed configuration, type `adit reload [FILE]`; to stop adit, `adit stop [FILE]`",
    ),
    (
        &["test", "configtest", "verify", "validate"],
        "did you mean `adit check [FILE]`?",
    ),
    (
        &["quit", "exit", "kill", "end", "shutdown"],
        "did you mean `adit stop [FILE]`?",
    ),
];

/// Advice for a word that is no command but was probably meant to be one. A word that contains a `/` or
/// a `.` is a file name.
pub(super) fn meant_command(word: &OsStr) -> Option<String> {
    let word = word.to_str().filter(|word| !word.contains(['/', '.']))?;
    let lower = word.to_ascii_lowercase();
    if let Some((_, advice)) = ELSEWHERE.iter().find(|(words, _)| words.contains(&&*lower)) {
        return Some((*advice).to_owned());
    }
    let commands = COMMANDS.iter().map(|command| command.name);
    let words = commands.chain(["-help", "-version"]);
    let meant = config::nearest(word, words.filter(|name| !name.is_empty()))?;
    (meant != word).then(|| format!("did you mean `adit {meant}`?"))
}

/// stunnel's long options have one dash.
fn lengthened(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(name @ ("-fd" | "-version" | "-help" | "-sockets" | "-options")) => {
            format!("-{name}").into()
        }
        _ => argument,
    }
}

fn run(mut parser: lexopt::Parser, as_stunnel: bool) -> Result<Command, UsageError> {
    let mut given = Given::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("version") | Short('V') => return Ok(Command::Version),
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("sockets") => return Ok(Command::Sockets),
            Long("options") => return Ok(Command::Options),
            Long(name) => {
                let name = name.to_owned();
                given.long(&name, &mut parser)?;
            }
            Value(file) => given.file(file)?,
            Short(_) => return Err(argument.unexpected().into()),
        }
    }
    Ok(Command::Run(given.configuration(as_stunnel)))
}

fn check(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let (mut given, mut strict, mut passed) = (Given::default(), false, 0);
    let mut route = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("strict") => strict = true,
            Long("route") => route = true,
            Long("passed") => passed = parser.value()?.parse()?,
            Long("help") | Short('h') => return Ok(Command::HelpOn("check")),
            Long(name) => {
                let name = name.to_owned();
                given.long(&name, &mut parser)?;
            }
            Value(file) => given.file(file)?,
            Short(_) => return Err(argument.unexpected().into()),
        }
    }
    let configuration = given.configuration(false);
    Ok(Command::Check {
        configuration,
        strict,
        passed,
        route,
    })
}

fn relay(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let mut given = Given::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::HelpOn("relay")),
            Long("server") => given.flag("client", "no"),
            Long("insecure" | "verify-none") => given.flag("verifyServer", "no"),
            Long(name) if name != "fd" => {
                let name = name.to_owned();
                given.long(&name, &mut parser)?;
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    for needed in ["accept", "connect"] {
        if !given.has(needed) {
            return Err(UsageError(format!("adit relay needs '--{needed}'")));
        }
    }
    // A person is watching the terminal.
    for (name, value) in [("foreground", "yes"), ("syslog", "no"), ("debug", "info")] {
        if !given.has(name) {
            given.flag(name, value);
        }
    }
    Ok(Command::Run(Configuration {
        source: Source::Flags,
        flags: given.flags,
    }))
}

fn reload(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let mut given = Given::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::HelpOn("reload")),
            Value(file) => given.file(file)?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Command::Reload(given.configuration(false)))
}

fn one_word(mut parser: lexopt::Parser) -> Result<String, UsageError> {
    let word = parser.value()?.string()?;
    match parser.next()? {
        None => Ok(word),
        Some(argument) => Err(argument.unexpected().into()),
    }
}

fn demo(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    match parser.next()? {
        None => Ok(Command::Demo),
        Some(Long("help") | Short('h')) => Ok(Command::HelpOn("demo")),
        Some(argument) => Err(argument.unexpected().into()),
    }
}

fn listen_in(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let (mut accept, mut protocol, mut timeout) = (None, None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("accept") => accept = Some(parser.value()?.string()?),
            Long("protocol") => {
                let name = parser.value()?.string()?;
                let known = Mail::named(&name).ok_or_else(|| {
                    UsageError(format!(
                        "'--protocol' takes smtp, pop3 or imap, not '{name}'"
                    ))
                })?;
                protocol = Some(known);
            }
            Long("timeout") => {
                let seconds: u32 = parser.value()?.parse()?;
                timeout = Some(Duration::from_secs(seconds.into()));
            }
            Long("help") | Short('h') => return Ok(Command::HelpOn("listen-in")),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let accept = accept.ok_or("adit listen-in needs '--accept'")?;
    Ok(Command::ListenIn(listen_in::Asked {
        accept,
        protocol,
        timeout,
    }))
}

fn diff_stunnel(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let (mut file, mut stunnel) = (None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("stunnel") => stunnel = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(Command::HelpOn("diff-stunnel")),
            Value(path) if file.is_none() => file = Some(PathBuf::from(path)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    // It is stunnel's file that is asked about.
    let file = file.unwrap_or_else(|| default_file(true).into());
    Ok(Command::DiffStunnel(diff_stunnel::Asked { file, stunnel }))
}

#[cfg(test)]
mod tests;
