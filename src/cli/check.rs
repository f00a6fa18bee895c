//! `adit check`: everything that a start or a reload would find wrong, without starting anything.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{
    self, Config, Diagnostic, Diagnostics, Global, Service, Severity, Sources, diagnostic_at,
};
use crate::inside::seen_from_outside;
use crate::log::{self, Id, Log, Outputs};
use crate::master::load::look_at_files;
use crate::process;
use crate::supervisor::{asking, trial};
use crate::tls::PassPhrases;

/// Parses, loads, resolves; prints every error, warning and note. Fails on an error, with `strict`
/// on a warning too. With `ask` the pass phrases of keys are asked for, where there is a terminal.
pub fn run(sources: &Sources, strict: bool, ask: bool) -> ExitCode {
    log::install(Outputs::stderr_only());
    let mut found = Vec::new();
    let mut services = 0;
    let (config, diagnostics) = config::load_partly(sources);
    let failed = diagnostics.failed();
    found.extend(diagnostics.0);
    match config {
        Some(config) if !failed => {
            services = config.services.len();
            found.extend(passed_sockets(&config));
            found.extend(missing_folders(&config.global));
            let log = Log {
                level: 0,
                id: Id::Ui,
            };
            process::find_command_line();
            let loaded = match ask && asking::is_possible() {
                true => asking::ask(&config, &Log { level: 3, ..log }),
                false => Ok(PassPhrases::unasked()),
            }
            .and_then(|phrases| trial::load(&config, &phrases, &log));
            match loaded {
                Ok(more) => found.extend(more),
                Err(error) => found.push(Diagnostic::new(
                    Severity::Error,
                    None,
                    format!("the check itself failed: {error}"),
                )),
            }
        }
        Some(config) => {
            found.extend(missing_folders(&config.global));
            found.extend(look_at_files(&config));
        }
        None => {}
    }
    let mut found = Diagnostics(found);
    found.sort();
    let found = found.0;
    for diagnostic in &found {
        eprintln!("{diagnostic}");
    }
    let count = |severity| found.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    println!("{services} service(s), {errors} error(s), {warnings} warning(s)");
    if errors > 0 || (strict && warnings > 0) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Which service takes which of the sockets that systemd passes.
fn passed_sockets(config: &Config) -> Vec<Diagnostic> {
    let without = config.services.iter().filter(|s| s.accept.is_empty());
    let note = |(nth, service): (usize, &Service)| Diagnostic {
        severity: Severity::Note,
        ..diagnostic_at(
            &service.origins,
            "",
            format!(
                "Service [{}] has no `accept`: it takes the {}. socket that systemd passes",
                service.name,
                nth + 1
            ),
        )
    };
    without.enumerate().map(note).collect()
}

/// Folders that a start would write into and not find. Nothing is opened: that would make files.
fn missing_folders(global: &Global) -> Vec<Diagnostic> {
    let jail = global.chroot.as_deref();
    let inside = |path: &Path| seen_from_outside(jail, path);
    // The log may be outside the jail too, where its folder is not there inside.
    let output = |path: &Path| vec![inside(path), path.to_owned()];
    let pid = |path: &Path| vec![inside(path)];
    let control = |path: &Path| vec![path.to_owned()];
    let wanted: [(_, Option<Vec<PathBuf>>); 3] = [
        ("output", global.output.as_deref().map(output)),
        ("pid", global.pid.as_deref().map(pid)),
        ("control", global.control.as_deref().map(control)),
    ];
    let missing = wanted.into_iter().filter_map(|(option, places)| {
        let mut folders = places.as_deref()?.iter().filter_map(|place| place.parent());
        let last = folders.clone().next_back()?;
        // A path without a folder is in the one that adit is started in.
        let there = |folder: &Path| folder.as_os_str().is_empty() || folder.is_dir();
        let text = format!("{option}: there is no folder {}", last.display());
        (!folders.any(there)).then(|| diagnostic_at(&global.origins, option, text))
    });
    missing.collect()
}
