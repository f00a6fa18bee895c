//! The command line: parses it and runs the command. Never in here: what serving means.
#![forbid(unsafe_code)]

mod add;
mod args;
mod audit;
pub mod ca;
pub mod check;
pub mod commands;
pub mod completions;
pub mod demo;
pub mod diff_stunnel;
mod held;
mod help;
pub mod listen_in;
mod listener;
mod login;
pub mod man;
mod orders;
mod passed;
mod providers;
mod reload;
mod running;
mod status;
mod stop;
mod stunnel;
mod unit;
mod version;

#[cfg(fuzzing)]
pub(crate) use add::fuzz as fuzz_services;
#[cfg(test)]
pub(crate) use providers::is_known as is_mail_provider;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use args::{Command, Configuration, ControlAt, Shown, Source};
use running::{NotFound, Running};

use crate::config::{self, Sources};
use crate::inetd;
use crate::ipc::inherit;
use crate::log::Reason;
use crate::status::Status;
use crate::supervisor;

/// The exit status for a malformed command line; 1 is for later failures.
const USAGE: u8 = 2;
/// The longest configuration read from a descriptor, in bytes.
const MAX_TEXT: u64 = 16 << 20;

/// Runs the command in `arguments`, the first of which is the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter().peekable();
    let as_stunnel = args::called_as_stunnel(arguments.next().as_deref());
    let first = arguments.peek().cloned();
    // If a file of that name exists, it was meant.
    let meant = first.filter(|word| !as_stunnel && !Path::new(word).exists());
    let meant = meant.and_then(|word| Some((args::meant_command(&word)?, word)));
    match (args::parse(arguments, as_stunnel), meant) {
        (Ok(Command::Run(_)) | Err(_), Some((meant, word))) => {
            let word = word.display();
            misused(format_args!(
                "{word} is neither a command nor a file: {meant}"
            ))
        }
        (Ok(command), _) => obey(command, as_stunnel),
        (Err(error), None) => misused(format_args!("{error}; see adit -help")),
    }
}

/// Says what is wrong with the command line: to syslog where standard error is a client, as under an inetd.
fn misused(text: fmt::Arguments<'_>) -> ExitCode {
    match inetd::keep_off_the_client() {
        true => crate::error!(inetd::ui_log(), "{text}"),
        false => complain(text),
    }
    ExitCode::from(USAGE)
}

fn obey(command: Command, as_stunnel: bool) -> ExitCode {
    match command {
        Command::Run(configuration) => match sources(configuration, as_stunnel) {
            Ok(sources) => supervisor::run(sources),
            Err(code) => code,
        },
        Command::Check {
            configuration,
            strict,
            passed,
            route,
        } => match sources(configuration, as_stunnel) {
            Ok(sources) => {
                let sources = Sources { passed, ..sources };
                let asked = check::Asked {
                    strict,
                    route,
                    phrases: true,
                };
                check::run(&passed::as_running(sources), asked)
            }
            Err(code) => code,
        },
        Command::Status { control, how } => match running(control) {
            Ok(running) if how == Shown::Live => status::watch::run(&running),
            Ok(running) => status::run(&running, how),
            Err(code) => code,
        },
        Command::Audit { control, json } => match running(control) {
            Ok(running) => audit::run(&running, json),
            Err(code) => code,
        },
        Command::Connections { control, json } => match running(control) {
            Ok(running) => orders::connections(&running, json),
            Err(code) => code,
        },
        Command::Cut {
            control,
            connection,
        } => match running(control) {
            Ok(running) => orders::cut(&running, &connection),
            Err(code) => code,
        },
        Command::Drain {
            control,
            service,
            undo,
        } => match running(control) {
            Ok(running) => orders::drain(&running, &service, undo),
            Err(code) => code,
        },
        Command::Stop(control) => {
            let control = meant(control);
            match running(control.clone()) {
                Ok(running) => stop::run(&running.socket, control.file().as_deref()),
                Err(code) => code,
            }
        }
        Command::Reload(configuration) => match sources(meant_file(configuration), false) {
            Ok(sources) => reload::run(&passed::as_running(sources)),
            Err(code) => code,
        },
        Command::Man(name) => match man::page(&name, man::source_date()) {
            Some(page) => print(format_args!("{page}")),
            None => no_such(&name, &man::PAGES),
        },
        Command::Completions(shell) => match completions::script(&shell) {
            Some(script) => print(format_args!("{script}")),
            None => no_such(&shell, &completions::SHELLS),
        },
        Command::Demo => demo::run(),
        Command::Ca(asked) => ca::run(&asked),
        Command::Add(asked) => add::run(&asked),
        Command::Login(asked) => login::run(&asked),
        Command::Providers(word) => providers::run(word.as_deref()),
        Command::LookUpMail(domain) => add::look_up(&domain),
        Command::ListenIn(asked) => listen_in::run(&asked),
        Command::DiffStunnel(asked) => diff_stunnel::run(&asked),
        Command::Version if as_stunnel => tell(format_args!("{}", stunnel::Version)),
        Command::Help if as_stunnel => tell(format_args!("{}", stunnel::Help)),
        Command::Sockets if as_stunnel => tell(format_args!("{}", stunnel::SocketOptions)),
        Command::Options if as_stunnel => tell(format_args!("{}", stunnel::TlsOptions)),
        Command::Version => print(format_args!("{}", version::Version)),
        Command::Help => print(format_args!("{}", help::Help)),
        Command::HelpOn(name) => match commands::find(name) {
            Some(command) => print(format_args!("{}", help::HelpOn(command))),
            None => print(format_args!("{}", help::Help)),
        },
        Command::Sockets => {
            let names = config::socket_option_names();
            let title = "Options for socket = a|l|r:OPTION=VALUE[:VALUE]:";
            print(format_args!("{}", help::Names(title, names)))
        }
        Command::Options => {
            let names = config::tls_option_names();
            let title = "TLS options for options = NAME or -NAME:";
            print(format_args!("{}", help::Names(title, names)))
        }
    }
}

fn no_such(name: &str, there_are: &[&str]) -> ExitCode {
    complain(format_args!("{name}: there are {}", there_are.join(", ")));
    ExitCode::from(USAGE)
}

/// Where the configuration is, in a form that can be read again after the program has left this folder.
fn sources(configuration: Configuration, called_as_stunnel: bool) -> Result<Sources, ExitCode> {
    let mut sources = Sources {
        flags: configuration.flags,
        environment: true,
        called_as_stunnel,
        ..Sources::default()
    };
    match configuration.source {
        Source::Flags => sources.relay = true,
        Source::File(path) => sources.file = Some(std::path::absolute(&path).unwrap_or(path)),
        Source::Descriptor(number) => {
            let text = read_descriptor(number).map_err(|error| {
                complain(format_args!(
                    "-fd {number}: {} (open it before: `adit -fd {number} {number}<FILE`)",
                    Reason(&error)
                ));
                ExitCode::FAILURE
            })?;
            sources.text = Some((format!("descriptor {number}"), text));
        }
    }
    Ok(sources)
}

fn read_descriptor(number: RawFd) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    duplicate(number)?.take(MAX_TEXT).read_to_end(&mut text)?;
    Ok(text)
}

/// The same open file under a number of adit's own.
fn duplicate(number: RawFd) -> io::Result<File> {
    if number == io::stdin().as_raw_fd() {
        return Ok(nix::unistd::dup(io::stdin())?.into());
    }
    Ok(inherit::copy_of(number)?.into())
}

/// Where no file is named, and the usual one is not there, the only adit that runs is meant.
fn meant(control: ControlAt) -> ControlAt {
    match control {
        ControlAt::Configuration(configuration) if is_nowhere(&configuration) => {
            match only_one().map(|(socket, status)| (socket, status.file)) {
                Some((_, Some(file))) => ControlAt::Configuration(Configuration {
                    source: Source::File(file),
                    ..configuration
                }),
                Some((socket, None)) => ControlAt::Socket(socket),
                None => ControlAt::Configuration(configuration),
            }
        }
        control => control,
    }
}

/// The same for a command that needs the file.
fn meant_file(configuration: Configuration) -> Configuration {
    match meant(ControlAt::Configuration(configuration.clone())) {
        ControlAt::Configuration(configuration) => configuration,
        ControlAt::Socket(_) => configuration,
    }
}

/// Whether it is the usual file, which does not exist.
fn is_nowhere(configuration: &Configuration) -> bool {
    let Source::File(file) = &configuration.source else {
        return false;
    };
    let usual = Path::new(args::default_file(false));
    file == usual && matches!(usual.try_exists(), Ok(false))
}

/// The adit that runs, if it is the only one.
fn only_one() -> Option<(PathBuf, Status)> {
    let mut all = running::all();
    all.pop().filter(|_| all.is_empty())
}

/// Says which adits run, to one who has not named a file and whose adit does not.
fn tell_of_others() {
    for (socket, status) in running::all() {
        let pid = status.pid;
        match &status.file {
            Some(file) => complain(format_args!(
                "an adit runs with {}, PID {pid}: name that file",
                file.display()
            )),
            None => complain(format_args!(
                "an adit runs without a file, PID {pid}: give `--control {}`",
                socket.display()
            )),
        }
    }
}

/// The running adit at this control socket, or the one of this configuration.
fn running(control: ControlAt) -> Result<Running, ExitCode> {
    let control = meant(control);
    let is_usual = matches!(&control, ControlAt::Configuration(configuration)
        if configuration.source == Source::File(args::default_file(false).into()));
    let found = match control {
        ControlAt::Socket(socket) => match status::ask(&socket) {
            Ok((document, _)) => Ok(Running { socket, document }),
            Err(error) => Err(NotFound::Unanswered(socket, error)),
        },
        ControlAt::Configuration(configuration) => running::find(&sources(configuration, false)?),
    };
    found.map_err(|error| {
        complain(format_args!("{error}"));
        if is_usual {
            tell_of_others();
        }
        ExitCode::FAILURE
    })
}

/// Prints to standard output; fails if that is closed, like a pipe without a reader.
fn print(text: fmt::Arguments<'_>) -> ExitCode {
    write(io::stdout().lock(), text)
}

/// Prints to standard error, as stunnel does with such texts.
fn tell(text: fmt::Arguments<'_>) -> ExitCode {
    write(io::stderr().lock(), text)
}

fn write(mut out: impl Write, text: fmt::Arguments<'_>) -> ExitCode {
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints one error message. If standard error is closed, the exit status still reports it.
fn complain(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "adit: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_read_to_its_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"debug = 7\n\xff").unwrap();
        drop(writer);
        let text = read_descriptor(reader.as_raw_fd()).unwrap();
        assert_eq!(text, b"debug = 7\n\xff");
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_an_error() {
        let error = read_descriptor(1_000_000).unwrap_err();
        assert_eq!(Reason(&error).to_string(), "Bad file descriptor (9)");
    }
}
