//! The thin part that opens files and reads the environment; everything else is given text.

use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Config;
use super::assemble::{Surroundings, assemble};
use super::control::{self, Folders};
use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::endpoint::Ports;
use super::global::{Foreground, Global};
use super::provider::{self, Layer, Raw};
use super::syntax::{self, Files};

/// Where a configuration comes from. Flags stand above the environment, and that above the file.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Text that was read already, as from a descriptor (`-fd 0`), and its name for messages.
    pub text: Option<(String, Vec<u8>)>,
    /// Option names and values from the command line; case, `-` and `_` in the names are ignored.
    pub flags: Vec<(String, String)>,
    /// Whether `ADIT_*` variables of this process count.
    pub environment: bool,
    /// The program was started by the name `stunnel`, and logs by it.
    pub called_as_stunnel: bool,
    /// The flags make up one service, named `relay`. Unless they say otherwise it is a client
    /// (`client = yes`) that verifies the server (`verifyServer = yes`).
    pub relay: bool,
    /// Listening sockets that systemd passed (`LISTEN_FDS`), for services without `accept`.
    pub passed: usize,
    /// This process must not go into the background: what `foreground = no` is instead. `Yes` is `Quiet`
    /// where `output` is given.
    pub(crate) stays: Option<Foreground>,
}

/// A configuration that can be served.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// What was asked for.
    pub config: Config,
    /// Warnings and notes, in the order of the lines; no error.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it, warnings and notes besides.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Diagnostics> {
    whole(load_partly(sources))
}

/// Reads a configuration as far as that is possible: what could be understood of it, and everything
/// that is wrong. `None` when it could not even be opened.
pub(crate) fn load_partly(sources: &Sources) -> (Option<Config>, Diagnostics) {
    let variables = match sources.environment {
        true => adit_variables(),
        false => Vec::new(),
    };
    let machine = Machine {
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        folders: socket_folders(),
        ports: crate::ports::tcp,
    };
    load_partly_from(sources, &variables, &machine, &Disk)
}

impl Config {
    /// Every default, and no service: what is in force while no configuration can be read.
    pub(crate) fn empty() -> Config {
        let surroundings = Surroundings {
            program: "adit",
            processors: 1,
            passed: 0,
            // Else it would be told that it has no service.
            incomplete: true,
            control: None,
            ports: |_| None,
        };
        let (global, services) = assemble(&Raw::default(), surroundings, &mut Vec::new());
        Config { global, services }
    }
}

/// Where an adit that was started with this configuration may have its control socket, whatever is
/// wrong with the file by now: where the file says, and where it is when none does.
pub(crate) fn control_sockets(sources: &Sources) -> Vec<PathBuf> {
    let (config, _) = load_partly(sources);
    let mut found: Vec<PathBuf> = config
        .and_then(|config| config.global.control)
        .into_iter()
        .collect();
    let defaults = control::defaults(sources.file.as_deref(), &socket_folders());
    for socket in defaults {
        if !found.contains(&socket) {
            found.push(socket);
        }
    }
    found
}

/// The folders of sockets that configurations do not name.
pub(crate) fn control_folders() -> Vec<PathBuf> {
    socket_folders().all()
}

fn socket_folders() -> Folders {
    Folders {
        of_unit: std::env::var_os("RUNTIME_DIRECTORY"),
        of_user: std::env::var_os("XDG_RUNTIME_DIR"),
        is_root: nix::unistd::Uid::effective().is_root(),
    }
}

/// What a configuration depends on besides its text.
#[derive(Debug, Clone)]
struct Machine {
    /// How many processors there are.
    processors: usize,
    /// Where sockets are made.
    folders: Folders,
    /// What it calls its ports.
    ports: Ports,
}

fn whole((config, diagnostics): (Option<Config>, Diagnostics)) -> Result<Loaded, Diagnostics> {
    match config {
        Some(config) if !diagnostics.failed() => Ok(Loaded {
            config,
            diagnostics: diagnostics.0,
        }),
        _ => Err(diagnostics),
    }
}

/// As [`load`], everything outside given as an argument.
#[cfg(any(test, fuzzing))]
pub(super) fn load_from(
    sources: &Sources,
    variables: &[(String, Option<String>)],
    processors: usize,
    files: &dyn Files,
) -> Result<Loaded, Diagnostics> {
    let machine = Machine {
        processors,
        folders: Folders::default(),
        ports: |_| None,
    };
    whole(load_partly_from(sources, variables, &machine, files))
}

/// As [`load_partly`], everything outside given as an argument.
fn load_partly_from(
    sources: &Sources,
    variables: &[(String, Option<String>)],
    machine: &Machine,
    files: &dyn Files,
) -> (Option<Config>, Diagnostics) {
    let mut found = Vec::new();
    let main = main_text(sources, files, &mut found);
    let file_failed = !found.is_empty();
    let mut layers = Vec::new();
    let mut incomplete = false;
    if let Some((place, text)) = main {
        let parsed = syntax::parse(&place, &text, files, &mut found);
        layers.push(Layer::from_items(&parsed.items));
        incomplete = parsed.incomplete;
    }
    let below = layers.first();
    let environment = Layer::from_environment(variables, below, 1, &mut found);
    if sources.relay && environment.has_sections() {
        found.push(sections_beside_relay());
    }
    layers.push(environment);
    let flags = flags(sources);
    layers.push(Layer::from_flags(&flags, sources.relay, 2, &mut found));

    let program = match sources.called_as_stunnel {
        true => "stunnel",
        false => "adit",
    };
    let control = control::defaults(sources.file.as_deref(), &machine.folders);
    let surroundings = Surroundings {
        program,
        processors: machine.processors,
        passed: sources.passed,
        incomplete,
        control: control.first().map(PathBuf::as_path),
        ports: machine.ports,
    };
    let assembled = match provider::merge(layers) {
        // Without its file nothing true can be said of the rest.
        Ok(_) if file_failed => None,
        Ok(raw) => Some(assemble(&raw, surroundings, &mut found)),
        Err(error) => {
            let error = Diagnostic::new(Severity::Error, None, error.to_string());
            found.push(error.help("this should not happen: report it, with the configuration"));
            None
        }
    };
    let config = assembled.map(|(mut global, services)| {
        if let (Foreground::No, Some(stays)) = (global.foreground, sources.stays) {
            global.foreground = match global.output {
                Some(_) => Foreground::Quiet,
                None => stays,
            };
        }
        found.extend(lost_stream(&global));
        Config { global, services }
    });
    let mut diagnostics = Diagnostics(found);
    diagnostics.sort();
    (config, diagnostics)
}

/// The text of the file or of the descriptor, and its name.
fn main_text(
    sources: &Sources,
    files: &dyn Files,
    found: &mut Vec<Diagnostic>,
) -> Option<(String, Zeroizing<Vec<u8>>)> {
    if let Some((name, text)) = &sources.text {
        return Some((name.clone(), Zeroizing::new(text.clone())));
    }
    if let Some(path) = &sources.file {
        let place = path.display().to_string();
        match files.read(path) {
            Ok(text) => return Some((place, Zeroizing::new(text))),
            Err(reason) => {
                let text = format!("Cannot open configuration file {place}: {reason}");
                let error = Diagnostic::new(Severity::Error, None, text);
                found.push(error.help(
                    "check the path, or name another file: `adit FILE`; what is root's only root can read",
                ));
            }
        }
    } else if !sources.relay {
        let text = "no configuration was given";
        let error = Diagnostic::new(Severity::Error, None, text);
        found.push(error.help("name a file: `adit FILE`"));
    }
    None
}

/// The flags, and for `adit relay` what they leave open.
fn flags(sources: &Sources) -> Vec<(String, String)> {
    let mut flags = sources.flags.clone();
    if !sources.relay {
        return flags;
    }
    let given = |flags: &[(String, String)], names: &[&str]| {
        flags.iter().any(|(name, _)| {
            let name = name.replace(['-', '_'], "");
            names.iter().any(|known| known.eq_ignore_ascii_case(&name))
        })
    };
    if !given(&flags, &["client", "cert"]) {
        flags.push(("client".to_owned(), "yes".to_owned()));
    }
    let client = flags.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("client") && value.eq_ignore_ascii_case("yes")
    });
    let says = [
        "verify",
        "verifyChain",
        "verifyPeer",
        "verifyServer",
        "PSKsecrets",
    ];
    if client && !given(&flags, &says) {
        flags.push(("verifyServer".to_owned(), "yes".to_owned()));
    }
    flags
}

/// A daemon lets go of its standard output.
fn lost_stream(global: &Global) -> Option<Diagnostic> {
    let output = global.output.as_deref()?;
    if global.foreground != Foreground::No || !crate::log::is_standard_stream(output) {
        return None;
    }
    let text = "adit goes into the background, where nothing reads its standard output any more";
    let origin = global.origins.get("output");
    let warning = Diagnostic::new(Severity::Warning, origin, text);
    Some(warning.help("stay: `foreground = quiet`; or name a file"))
}

fn sections_beside_relay() -> Diagnostic {
    let text =
        "variables that begin with ADIT_SERVICE_ make services, and `adit relay` has one alone";
    Diagnostic::new(Severity::Error, None, text)
        .help("give its options as flags, `--connect`, and unset the variables; or start `adit`")
}

/// The `ADIT_*` variables; a value that is no text is `None`.
fn adit_variables() -> Vec<(String, Option<String>)> {
    let mut variables: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())))
        .filter(|(name, _)| name.starts_with("ADIT_"))
        .collect();
    variables.sort();
    variables
}

/// Files on the disk.
struct Disk;

impl Files for Disk {
    fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let path = Path::new(pattern);
        if path.is_dir() {
            let entries = fs::read_dir(path).map_err(|error| reason(&error))?;
            let mut paths = Vec::new();
            for entry in entries {
                paths.push(entry.map_err(|error| reason(&error))?.path());
            }
            paths.retain(|path| path.is_file());
            paths.sort();
            return Ok(paths);
        }
        if !pattern.contains(['*', '?', '[']) {
            fs::metadata(path).map_err(|error| reason(&error))?;
            return Ok(vec![path.to_owned()]);
        }
        let found = glob::glob(pattern).map_err(|error| error.to_string())?;
        let mut paths = Vec::new();
        for path in found {
            paths.push(path.map_err(|error| reason(error.error()))?);
        }
        paths.retain(|path| path.is_file());
        paths.sort();
        Ok(paths)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        fs::read(path).map_err(|error| reason(&error))
    }
}

/// The system's words without Rust's `(os error 2)`.
fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_owned(),
        None => error.to_string(),
    }
}

/// What `fuzz/` does with this room.
#[cfg(fuzzing)]
#[expect(clippy::panic, reason = "a panic is how libFuzzer learns of a fault")]
pub(crate) mod fuzzing {
    use super::{Diagnostics, Files, Loaded, Path, PathBuf, Severity, Sources, load_from};
    use crate::config::Service;

    /// No file but the text itself.
    struct NoFiles;

    impl Files for NoFiles {
        fn expand(&self, _: &str) -> Result<Vec<PathBuf>, String> {
            Ok(Vec::new())
        }

        fn read(&self, _: &Path) -> Result<Vec<u8>, String> {
            Err("No such file or directory".to_owned())
        }
    }

    fn load_text(text: &[u8]) -> Result<Loaded, Diagnostics> {
        let sources = Sources {
            text: Some(("fuzz.conf".to_owned(), text.to_vec())),
            ..Sources::default()
        };
        load_from(&sources, &[], 4, &NoFiles)
    }

    /// Reads a configuration text. What is refused has a reason, and no message breaks a terminal.
    pub(crate) fn fuzz(text: &[u8]) {
        let diagnostics = match load_text(text) {
            Ok(loaded) => {
                let mut said = loaded.diagnostics.iter();
                assert!(said.all(|one| one.severity != Severity::Error));
                Diagnostics(loaded.diagnostics)
            }
            Err(diagnostics) => {
                assert!(diagnostics.failed(), "refused without an error");
                diagnostics
            }
        };
        let shown = diagnostics.to_string();
        assert!(!shown.contains(['\0', '\r', '\u{1b}']), "{shown:?}");
    }

    /// The first service of a good configuration.
    pub(crate) fn fuzz_service(text: &str) -> Service {
        match load_text(text.as_bytes()) {
            Ok(mut loaded) => loaded.config.services.remove(0),
            Err(diagnostics) => panic!("{diagnostics}"),
        }
    }
}
