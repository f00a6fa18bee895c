//! The parts of a configuration that the arguments have given so far. Never in here: a command of its own.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use lexopt::prelude::*;

use super::{Configuration, ControlAt, Source, UsageError, default_file};
use crate::config;

/// The parts of a configuration given so far.
#[derive(Default)]
pub(super) struct Given {
    source: Option<Source>,
    pub(super) flags: Vec<(String, String)>,
}

impl Given {
    pub(super) fn file(&mut self, file: OsString) -> Result<(), UsageError> {
        if self.source.is_some() {
            let text = format!("one configuration at a time: what is {}?", file.display());
            return Err(UsageError(text));
        }
        self.source = Some(Source::File(file.into()));
        Ok(())
    }

    /// `--fd N`, or any option of the configuration.
    pub(super) fn long(
        &mut self,
        name: &str,
        parser: &mut lexopt::Parser,
    ) -> Result<(), UsageError> {
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

    pub(super) fn flag(&mut self, name: &str, value: &str) {
        self.flags.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(given, _)| given == name)
    }

    /// Which adit to ask: the one at this socket, or the configuration's.
    pub(super) fn control(self, socket: Option<PathBuf>) -> Result<ControlAt, UsageError> {
        match socket {
            Some(_) if self.source.is_some() => Err("give '--control' or a file, not both".into()),
            Some(path) => Ok(ControlAt::Socket(path)),
            None => Ok(ControlAt::Configuration(self.configuration(false))),
        }
    }

    pub(super) fn configuration(self, as_stunnel: bool) -> Configuration {
        let default = || Source::File(default_file(as_stunnel).into());
        Configuration {
            source: self.source.unwrap_or_else(default),
            flags: self.flags,
        }
    }
}
