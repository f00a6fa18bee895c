//! `adit -help`, `adit COMMAND --help`, `-sockets`, `-options`.

use std::fmt;

use super::commands::CommandDef;
use super::man::capitalised;
use crate::config;

/// Lines of the help on one command end before this column, where they have blanks.
const WIDTH: usize = 96;

const COMMANDS: &str = "\
adit: a TLS relay that reads stunnel.conf

  adit [FILE]                   serve; FILE is /etc/adit/adit.conf unless given
  adit -fd N                    serve a configuration read from descriptor N
  adit check [--strict] [FILE]  report what is wrong with a configuration; start nothing
  adit reload [FILE]            make the running adit apply its changed configuration, and wait
  adit relay --accept A --connect B [--protocol P]
                                serve without a file: plain in, TLS out, the server verified
      --server --cert C [--key K]   the reverse: TLS in, plain out
      --insecure, --verify-none     verify no server
  adit status [--watch | --failures] [--json] [--control SOCKET | FILE]
                                ask the running adit for its workers and counts
  adit connections [--json]     list the open connections
  adit cut NUMBER               end one of them
  adit drain [--undo] SERVICE   accept nothing more for a service; what is open ends by itself
  adit audit [--json] [--control SOCKET | FILE]
                                look whether each process of the running adit has given up its rights
  adit stop [--control SOCKET | FILE]
                                stop the running adit, and wait until it has exited
  adit add ADDRESS [FILE]       services for a mail address, and what to type into the program
      --listen ADDRESS              for a program on another machine
      --print | --remove            only show them | remove them
  adit login NAME [FILE]        sign a mail account in by OAuth2, and choose a local password for it
      --list | --forget | --try     say which there are | remove one | have a token
  adit providers [WORD]         the mail providers that it knows
  adit demo                     an old mail program and a modern mail server, adit between them
  adit listen-in --accept A     take one connection, and say what that program speaks
  adit diff-stunnel [FILE]      run stunnel and adit on a configuration, and say where they differ
  adit ca [renew | show] [--dir D]
                                a local authority and a certificate that old programs take
  adit -version | -help | -sockets | -options

Every option of the configuration can be a flag as well (--debug 7), or a variable (ADIT_DEBUG=7, in
[mail] ADIT_SERVICE_MAIL_ACCEPT=25); flags override variables, and both override the file.
";

/// The text of `-help`: the commands, and the options that adit serves.
pub(super) struct Help;

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(COMMANDS)?;
        for (scope, title) in [
            (config::Scope::Global, "Global options"),
            (config::Scope::Service, "Options of a service"),
        ] {
            writeln!(f, "\n{title}:")?;
            for option in served(scope) {
                writeln!(f, "  {:<20} {}", option.name, option.syntax)?;
                writeln!(f, "  {:<20}   {}", "", option.doc)?;
            }
        }
        Ok(())
    }
}

/// The text of `adit COMMAND --help`: what adit(8) says about the command.
pub(super) struct HelpOn(pub &'static CommandDef);

impl fmt::Display for HelpOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = self.0;
        let usage = format!("adit {} {}", command.name, command.arguments);
        writeln!(f, "{}\n", usage.trim_end())?;
        let summary = command.summary;
        wrapped(f, "", &format!("{}.", capitalised(summary)))?;
        wrapped(f, "", command.details)?;
        if !command.flags.is_empty() {
            writeln!(f)?;
        }
        for flag in command.flags {
            let name = format!("{} {}", flag.name, flag.value);
            writeln!(f, "  {}", name.trim_end())?;
            wrapped(f, "      ", flag.doc)?;
        }
        if (command.takes_file && command.name != "add") || command.name == "relay" {
            writeln!(f)?;
            let text = "Every option of the configuration can be a flag as well (--debug 7): `adit -help` lists them.";
            wrapped(f, "", text)?;
        }
        writeln!(f, "\nadit(8) describes all commands.")
    }
}

/// `text`, broken at blanks, each line behind `indent`.
fn wrapped(f: &mut fmt::Formatter<'_>, indent: &str, text: &str) -> fmt::Result {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.len() + 1 + word.len() > WIDTH {
            writeln!(f, "{indent}{line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(f, "{indent}{line}")
}

/// The options of `scope` that have an effect.
pub(super) fn served(scope: config::Scope) -> impl Iterator<Item = &'static config::OptionDef> {
    config::options().filter(move |option| {
        let here = option.scope == scope || option.scope == config::Scope::Both;
        here && matches!(option.verdict, config::Verdict::Served)
    })
}

/// Names under a title, one on each line.
pub(super) struct Names<I>(pub &'static str, pub I);

impl<I: Iterator<Item = &'static str> + Clone> fmt::Display for Names<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0)?;
        self.1.clone().try_for_each(|name| writeln!(f, "  {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_the_commands_and_the_options_that_are_served() {
        let text = Help.to_string();
        for command in crate::cli::commands::COMMANDS {
            let line = format!("  adit {}", command.name);
            assert!(text.contains(line.trim_end()), "{}", command.name);
        }
        for word in ["adit demo", "  chroot ", "  accept ", "verifyServer"] {
            assert!(text.contains(word), "{word}");
        }
        assert!(!text.contains("iconActive"));
        assert!(text.lines().all(|line| line.chars().count() <= 120));
    }

    #[test]
    fn help_on_a_command_has_its_flags_and_no_others() {
        for command in crate::cli::commands::COMMANDS {
            let text = HelpOn(command).to_string();
            let usage = format!("adit {} {}", command.name, command.arguments);
            assert!(text.starts_with(usage.trim_end()), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
            for other in crate::cli::commands::COMMANDS {
                for flag in other.flags {
                    let own = command.flags.iter().any(|own| own.name == flag.name);
                    let line = format!("\n  {}", flag.name);
                    let shown = [" ", "\n"].map(|end| text.contains(&(line.clone() + end)));
                    assert_eq!(shown.contains(&true), own, "{}: {text}", flag.name);
                }
            }
        }
    }
}
