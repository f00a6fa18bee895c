//! The options that hold for the whole program.

use std::path::PathBuf;
use std::time::Duration;

/// `foreground = yes | quiet | no`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreground {
    /// Daemonise once the workers serve (the default).
    No,
    /// Stay, and log to stderr too.
    Yes,
    /// Stay, and do not log to stderr.
    Quiet,
}

/// `log = append | overwrite`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogMode {
    /// Add to an existing file (the default).
    Append,
    /// Empty the file at the start; a reopening (USR1) appends.
    Overwrite,
}

/// See the manual's section on global options; defaults are stunnel's unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    /// The jail's directory.
    pub chroot: Option<PathBuf>,
    /// User to become, by name or number. As stunnel: without `setgid` the groups of the user.
    pub setuid: Option<String>,
    /// Group to become, by name or number.
    pub setgid: Option<String>,
    /// Where the supervisor writes its process number; inside the jail. `None`: nowhere.
    pub pid: Option<PathBuf>,
    /// Whether to daemonise.
    pub foreground: Foreground,
    /// Highest level that is logged, 0 (emergency) to 7 (debug). Default 5 (notice).
    pub debug: u8,
    /// syslog facility number (not shifted). Default 3 (daemon).
    pub facility: u8,
    /// Log file; inside the jail, or outside it when its folder is not there inside.
    pub output: Option<PathBuf>,
    /// Whether `output` is emptied at the start.
    pub log: LogMode,
    /// Log to syslog as well. Default yes.
    pub syslog: bool,
    /// Name of the program in syslog. Default `adit` (`stunnel` when called by that name).
    pub service: String,
    /// Worker processes. Default: one per processor, at least 2.
    pub workers: usize,
    /// Relay threads in each worker. Default 2.
    pub threads: usize,
    /// How long connections of a retired generation, or at TERM, may go on. `None`: after a reload
    /// until they end by themselves, at TERM not at all (as stunnel).
    pub drain_timeout: Option<Duration>,
    /// The supervisor's Unix socket, which `adit status` asks. `None`: there is none.
    pub control: Option<PathBuf>,
    /// Where each option that was given was written, by its canonical name.
    pub origins: super::service::Origins,
}
