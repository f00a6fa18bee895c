//! The options that hold for the whole program. Never in here: how a value is read; that is for the table in `options`.

mod options;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::keeper::KeeperOptions;
use super::metrics::{self, MetricsAddress};
use super::networks::Network;
use super::option::Fault;
use super::value::Origins;

pub(super) use options::OPTIONS;

/// `foreground = yes | quiet | no`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreground {
    /// Daemonise once the workers serve (the default).
    No,
    /// Stay, and log to stderr too.
    Yes,
    /// Stay, and do not log to stderr.
    Quiet,
}

/// `log = append | overwrite`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogMode {
    /// Add to an existing file (the default).
    Append,
    /// Empty the file at the start; a reopening (USR1) appends.
    Overwrite,
}

/// `logFormat = stunnel | short | json`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogFormat {
    /// stunnel's lines (the default).
    #[default]
    Stunnel,
    /// stunnel's lines, and of a connection's course one.
    Short,
    /// An object a line.
    Json,
}

/// `preferChaCha20 = auto | yes | no`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PreferChaCha20 {
    /// On processors without AES instructions (the default).
    #[default]
    Auto,
    /// ChaCha20 before AES.
    Yes,
    /// AES before ChaCha20.
    No,
}

/// See the manual's section on global options; defaults are stunnel's unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Global {
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
    /// The shape of log lines.
    pub log_format: LogFormat,
    /// Log lines of one kind that an address may cause in a minute; 0: any number. Default 10.
    pub log_repeats: u32,
    /// Log to syslog as well. Default yes.
    pub syslog: bool,
    /// Name of the program in syslog. Default `adit` (`stunnel` when called by that name).
    pub service: String,
    /// Worker processes. Default: one per processor, at least 2.
    pub workers: usize,
    /// Relay threads in each worker. Default 2.
    pub threads: usize,
    /// Connections of all services at once. `None`: as many as fit.
    pub max_connections: Option<NonZeroU32>,
    /// How long connections of a retired generation, or at TERM, may go on. `None`: after a reload
    /// until they end by themselves, at TERM not at all (as stunnel).
    pub drain_timeout: Option<Duration>,
    /// The supervisor's Unix socket, which `adit status` asks; given, or where it is by itself
    /// (`control.rs`). `None`: there is none.
    pub control: Option<PathBuf>,
    /// Where the accounts of `adit login` are kept.
    pub keeper: KeeperOptions,
    /// Where metrics and health are served. `None`: nowhere.
    pub metrics: Option<MetricsAddress>,
    /// Networks that may ask there; empty: all, but for the page, which is this machine's alone.
    pub metrics_allow: Vec<Network>,
    /// How often the names in `connect` and `redirect` are looked up again. `None`: never. Default 300 s.
    pub resolve_interval: Option<Duration>,
    /// Reload by itself when a certificate or a key changes. Default no.
    pub cert_watch: bool,
    /// Which cipher comes first in services that name none.
    pub prefer_chacha20: PreferChaCha20,
    /// What is added to the environment of programs; each name once.
    pub set_env: Vec<(String, String)>,
    /// Where each option that was given was written, by its canonical name.
    pub origins: Origins,
}

impl Global {
    /// Whether the configuration says where the control socket is; the one that adit makes by itself
    /// may be missing.
    pub(crate) fn names_control(&self) -> bool {
        self.origins.has("control")
    }

    /// Before the defaults of the table are put in. `workers` 0 stands for `auto` until the end.
    pub(super) fn blank(program: &str) -> Self {
        Global {
            chroot: None,
            setuid: None,
            setgid: None,
            pid: None,
            foreground: Foreground::No,
            debug: 0,
            facility: 0,
            output: None,
            log: LogMode::Append,
            log_format: LogFormat::Stunnel,
            log_repeats: 0,
            syslog: true,
            service: program.to_owned(),
            workers: 0,
            threads: 0,
            max_connections: None,
            drain_timeout: None,
            control: None,
            keeper: KeeperOptions::default(),
            metrics: None,
            metrics_allow: Vec::new(),
            resolve_interval: None,
            cert_watch: false,
            prefer_chacha20: PreferChaCha20::Auto,
            set_env: Vec::new(),
            origins: Origins::new(),
        }
    }

    /// What no single option can know. Pushes the option and what is wrong with it.
    pub(super) fn finish(&mut self, processors: usize) -> Vec<(&'static str, Fault)> {
        if self.workers == 0 {
            self.workers = processors.max(2);
        }
        let mut faults = Vec::from_iter(metrics::without_effect(self));
        // In the foreground stunnel takes these relative to where it was started.
        if self.foreground == Foreground::No {
            let relative =
                |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.is_relative());
            if relative(&self.output) {
                let fault = Fault::new("Log file must include full path name");
                faults.push(("output", fault.help("begin it with a `/`")));
            }
            if relative(&self.pid) {
                let fault = Fault::new("Pid file must include full path name");
                faults.push(("pid", fault.help("begin it with a `/`")));
            }
        }
        faults
    }
}
