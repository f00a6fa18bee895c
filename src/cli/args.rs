//! Arguments to a command. Nothing is read or opened here.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use lexopt::prelude::*;

use super::commands::COMMANDS;
use crate::config;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `adit [FILE]`, `adit -fd N`, `adit relay`: serve.
    Run(Configuration),
    /// `adit check`: say what is wrong, and start nothing.
    Check {
        /// What to check.
        configuration: Configuration,
        /// Warnings fail it too.
        strict: bool,
        /// How many sockets systemd will pass.
        passed: usize,
        /// Each service's route is shown.
        route: bool,
    },
    /// `adit reload`: have the running adit read its configuration again, and wait for the result.
    Reload(Configuration),
    /// `adit man PAGE`, for packages: the source of a manual page.
    Man(String),
    /// `adit completions SHELL`, for packages.
    Completions(String),
    /// `adit status`.
    Status {
        /// Where to ask.
        control: ControlAt,
        /// The document itself.
        json: bool,
    },
    /// `adit stop`: end the running adit, and wait until it has ended.
    Stop(ControlAt),
    /// `adit demo`.
    Demo,
    /// `adit -version`.
    Version,
    /// `adit -help`.
    Help,
    /// `adit -sockets`: the socket options.
    Sockets,
    /// `adit -options`: the TLS options.
    Options,
}

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// What is below the flags.
    pub source: Source,
    /// Options and their values, in the order they were given.
    pub flags: Vec<(String, String)>,
}

/// What is below the flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// An open descriptor, to be read to its end.
    Descriptor(RawFd),
    /// Nothing: `adit relay`, whose flags make up the one service.
    Flags,
}

/// The supervisor's control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlAt {
    /// This one.
    Socket(PathBuf),
    /// Of the adit that runs with this configuration.
    Configuration(Configuration),
}

impl ControlAt {
    /// The configuration file that is meant, if it is one.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            ControlAt::Configuration(Configuration {
                source: Source::File(path),
                ..
            }) => Some(path.clone()),
            _ => None,
        }
    }
}

/// The command line is not understood; names the argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(String);

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

/// Whether the program's own name is stunnel's: then it is what scripts made for stunnel expect,
/// and has stunnel's default file and no commands.
pub fn called_as_stunnel(program: Option<&OsStr>) -> bool {
    let name = program.and_then(|program| Path::new(program).file_name());
    name.is_some_and(|name| name == "stunnel" || name == "stunnel4")
}

/// The file that is read when none is given.
pub fn default_file(as_stunnel: bool) -> &'static str {
    match as_stunnel {
        true => "/etc/stunnel/stunnel.conf",
        false => "/etc/adit/adit.conf",
    }
}

/// Understands `arguments`, the program's name not among them.
///
/// # Errors
/// An argument is unknown, missing or one too many.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    as_stunnel: bool,
) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter().map(lengthened).peekable();
    let command = match arguments.peek().and_then(|first| first.to_str()) {
        Some(
            name @ ("check" | "relay" | "reload" | "status" | "stop" | "demo" | "man"
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
        "status" => status(parser),
        "stop" => stop(parser),
        "man" => Ok(Command::Man(one_word(parser)?)),
        "completions" => Ok(Command::Completions(one_word(parser)?)),
        _ => demo(parser),
    }
}

/// What other programs call it, and what to type here.
const ELSEWHERE: [(&[&str], &str); 4] = [
    (
        &["start", "run", "serve", "daemon"],
        "to start adit, type `adit [FILE]`; as a service of systemd, `systemctl start adit`",
    ),
    (
        &["restart", "force-reload", "hup"],
        "to have a changed configuration taken over, type `adit reload [FILE]`; to end adit, `adit stop [FILE]`",
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

/// What to type instead of a word that is no command, if it is probably meant to be one. A word with
/// a `/` or a `.` in it is a file's name.
pub fn meant_command(word: &OsStr) -> Option<String> {
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
            Long("help") | Short('h') => return Ok(Command::Help),
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
            Long("help") | Short('h') => return Ok(Command::Help),
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
    // It stands before somebody who wants to see what happens.
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
            Long("help") | Short('h') => return Ok(Command::Help),
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

fn status(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let (mut given, mut json, mut socket) = (Given::default(), false, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => json = true,
            Long("control") => socket = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(Command::Help),
            Value(file) => given.file(file)?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    let control = given.control(socket)?;
    Ok(Command::Status { control, json })
}

fn stop(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let (mut given, mut socket) = (Given::default(), None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("control") => socket = Some(PathBuf::from(parser.value()?)),
            Long("help") | Short('h') => return Ok(Command::Help),
            Value(file) => given.file(file)?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Command::Stop(given.control(socket)?))
}

fn demo(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    match parser.next()? {
        None => Ok(Command::Demo),
        Some(Long("help") | Short('h')) => Ok(Command::Help),
        Some(argument) => Err(argument.unexpected().into()),
    }
}

/// What was given of a configuration so far.
#[derive(Default)]
struct Given {
    source: Option<Source>,
    flags: Vec<(String, String)>,
}

impl Given {
    fn file(&mut self, file: OsString) -> Result<(), UsageError> {
        if self.source.is_some() {
            let text = format!("one configuration at a time: what is {}?", file.display());
            return Err(UsageError(text));
        }
        self.source = Some(Source::File(file.into()));
        Ok(())
    }

    /// `--fd N`, or any option of the configuration.
    fn long(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), UsageError> {
        if name == "fd" {
            let number: RawFd = parser.value()?.parse()?;
            if self.source.is_some() {
                return Err("one configuration at a time: what is '-fd'?".into());
            }
            if number < 0 {
                return Err("'-fd' needs the number of an open descriptor".into());
            }
            self.source = Some(Source::Descriptor(number));
            return Ok(());
        }
        let Some(option) = config::find(&name.replace(['-', '_'], "")) else {
            return Err(UsageError(format!("unknown option '--{name}'")));
        };
        let value = parser.value()?.string()?;
        self.flag(option.name, &value);
        Ok(())
    }

    fn flag(&mut self, name: &str, value: &str) {
        self.flags.push((name.to_owned(), value.to_owned()));
    }

    fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(given, _)| given == name)
    }

    /// Where to ask: at this socket, or where the configuration says.
    fn control(self, socket: Option<PathBuf>) -> Result<ControlAt, UsageError> {
        match socket {
            Some(_) if self.source.is_some() => Err("give '--control' or a file, not both".into()),
            Some(path) => Ok(ControlAt::Socket(path)),
            None => Ok(ControlAt::Configuration(self.configuration(false))),
        }
    }

    fn configuration(self, as_stunnel: bool) -> Configuration {
        let default = || Source::File(default_file(as_stunnel).into());
        Configuration {
            source: self.source.unwrap_or_else(default),
            flags: self.flags,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Command, String> {
        parse(arguments.iter().map(OsString::from), false).map_err(|error| error.to_string())
    }

    fn file(path: &str) -> Configuration {
        Configuration {
            source: Source::File(path.into()),
            flags: Vec::new(),
        }
    }

    fn descriptor(number: RawFd) -> Configuration {
        Configuration {
            source: Source::Descriptor(number),
            flags: Vec::new(),
        }
    }

    #[test]
    fn commands_are_understood() {
        let default = file("/etc/adit/adit.conf");
        let check = |configuration, strict| Command::Check {
            configuration,
            strict,
            passed: 0,
            route: false,
        };
        let status = |control, json| Command::Status { control, json };
        let named = |configuration| ControlAt::Configuration(configuration);
        for (arguments, command) in [
            (&[][..], Command::Run(default.clone())),
            (&["a.conf"], Command::Run(file("a.conf"))),
            (&["./check"], Command::Run(file("./check"))),
            (&["-fd", "0"], Command::Run(descriptor(0))),
            (&["--fd=7"], Command::Run(descriptor(7))),
            (&["-version"], Command::Version),
            (&["--version"], Command::Version),
            (&["-V"], Command::Version),
            (&["-help"], Command::Help),
            (&["-h"], Command::Help),
            (&["-sockets"], Command::Sockets),
            (&["-options"], Command::Options),
            (&["check"], check(default.clone(), false)),
            (&["check", "--strict", "a"], check(file("a"), true)),
            (&["check", "a", "--strict"], check(file("a"), true)),
            (&["check", "-fd", "3"], check(descriptor(3), false)),
            (
                &["check", "--route", "a"],
                Command::Check {
                    configuration: file("a"),
                    strict: false,
                    passed: 0,
                    route: true,
                },
            ),
            (&["check", "--help"], Command::Help),
            (&["status"], status(named(default), false)),
            (&["status", "a", "--json"], status(named(file("a")), true)),
            (
                &["status", "--control", "/c"],
                status(ControlAt::Socket("/c".into()), false),
            ),
            (&["stop", "a"], Command::Stop(named(file("a")))),
            (
                &["stop", "--control", "/c"],
                Command::Stop(ControlAt::Socket("/c".into())),
            ),
            (&["reload"], Command::Reload(file("/etc/adit/adit.conf"))),
            (&["reload", "a"], Command::Reload(file("a"))),
            (&["man", "adit.8"], Command::Man("adit.8".into())),
            (&["completions", "zsh"], Command::Completions("zsh".into())),
            (&["demo"], Command::Demo),
        ] {
            assert_eq!(parsed(arguments), Ok(command), "{arguments:?}");
        }
    }

    #[test]
    fn a_word_near_a_command_was_meant_to_be_it() {
        for (word, meant) in [
            ("chek", Some("`adit check`")),
            ("Check", Some("`adit check`")),
            ("relod", Some("`adit reload`")),
            ("stauts", Some("`adit status`")),
            ("stpo", Some("`adit stop`")),
            ("start", Some("`systemctl start adit`")),
            ("Restart", Some("`adit reload [FILE]`")),
            ("shutdown", Some("`adit stop [FILE]`")),
            ("configtest", Some("`adit check [FILE]`")),
            ("help", Some("`adit -help`")),
            ("mail", None),
            ("relay", None),
            ("stop", None),
            ("chek.conf", None),
            ("./start", None),
        ] {
            let advice = meant_command(word.as_ref());
            assert_eq!(advice.is_some(), meant.is_some(), "{word}: {advice:?}");
            let advice = advice.unwrap_or_default();
            assert!(
                advice.contains(meant.unwrap_or_default()),
                "{word}: {advice}"
            );
        }
    }

    #[test]
    fn any_option_of_a_file_can_be_a_flag() {
        let Ok(Command::Run(configuration)) = parsed(&["--debug=7", "a", "--drain-timeout", "5"])
        else {
            panic!("not a run");
        };
        assert_eq!(configuration.source, Source::File("a".into()));
        let flags = [("debug", "7"), ("drainTimeout", "5")];
        assert_eq!(
            configuration.flags,
            flags.map(|(n, v)| (n.into(), v.into()))
        );
    }

    #[test]
    fn a_relay_is_made_of_flags_and_shows_what_it_does() {
        let relay = |arguments: &[&str]| match parsed(arguments) {
            Ok(Command::Run(Configuration {
                source: Source::Flags,
                flags,
            })) => flags,
            other => panic!("{other:?}"),
        };
        let base = [
            "relay",
            "--accept",
            "1587",
            "--connect",
            "smtp.example.com:587",
        ];
        let flags = relay(&[&base[..], &["--protocol", "smtp"]].concat());
        let expected = [
            ("accept", "1587"),
            ("connect", "smtp.example.com:587"),
            ("protocol", "smtp"),
            ("foreground", "yes"),
            ("syslog", "no"),
            ("debug", "info"),
        ];
        assert_eq!(flags, expected.map(|(n, v)| (n.into(), v.into())));

        let server = relay(&[&base[..], &["--server", "--cert", "c", "--debug", "7"]].concat());
        assert!(server.contains(&("client".into(), "no".into())));
        assert!(server.contains(&("debug".into(), "7".into())));
        assert!(!server.contains(&("debug".into(), "info".into())));
        for flag in ["--insecure", "--verify-none"] {
            let open = relay(&[&base[..], &[flag]].concat());
            assert!(open.contains(&("verifyServer".into(), "no".into())));
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (arguments, word) in [
            (&["--frobnicate"][..], "--frobnicate"),
            (&["--frobnicate", "a"], "--frobnicate"),
            (&["-x"], "-x"),
            (&["a", "b"], "b"),
            (&["-fd"], "--fd"),
            (&["-fd", "x"], "x"),
            (&["-fd", "-1"], "-fd"),
            (&["-fd", "0", "a"], "a"),
            (&["--debug"], "--debug"),
            (&["check", "--json"], "--json"),
            (&["reload", "a", "b"], "b"),
            (&["man", "adit.8", "b"], "b"),
            (&["relay", "--accept", "1"], "--connect"),
            (&["relay", "--connect", "1"], "--accept"),
            (&["relay", "a"], "a"),
            (&["relay", "--fd", "0"], "--fd"),
            (&["status", "--control", "/c", "a"], "--control"),
            (&["status", "--strict"], "--strict"),
            (&["stop", "--control", "/c", "a"], "--control"),
            (&["stop", "--json"], "--json"),
            (&["demo", "a"], "a"),
        ] {
            let error = parsed(arguments).unwrap_err();
            assert!(error.contains(word), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn by_stunnels_name_there_are_stunnels_file_and_no_commands() {
        for (program, expected) in [
            ("stunnel", true),
            ("/usr/bin/stunnel", true),
            ("/usr/bin/stunnel4", true),
            ("adit", false),
            ("/opt/stunnel/adit", false),
        ] {
            assert_eq!(called_as_stunnel(Some(program.as_ref())), expected);
        }
        assert!(!called_as_stunnel(None));
        let as_stunnel = |arguments: &[&str]| parse(arguments.iter().map(OsString::from), true);
        assert_eq!(
            as_stunnel(&[]),
            Ok(Command::Run(file("/etc/stunnel/stunnel.conf")))
        );
        assert_eq!(as_stunnel(&["check"]), Ok(Command::Run(file("check"))));
    }
}
