//! `adit check`: everything that a start or a reload would find wrong, without starting anything.

use std::process::ExitCode;

use crate::config::{self, Diagnostic, Severity, Sources};
use crate::log::{self, Id, Log, Outputs};
use crate::process;
use crate::supervisor::trial;

/// Parses, loads, resolves; prints every error, warning and note. Fails on an error, with `strict`
/// on a warning too.
pub fn run(sources: &Sources, strict: bool) -> ExitCode {
    log::install(Outputs::stderr_only());
    let mut found = Vec::new();
    let mut services = 0;
    match config::load(sources) {
        Ok(loaded) => {
            found.extend(loaded.diagnostics);
            services = loaded.config.services.len();
            let log = Log {
                level: 0,
                id: Id::Ui,
            };
            process::find_command_line();
            match trial::load(&loaded.config, &log) {
                Ok(more) => found.extend(more),
                Err(error) => found.push(Diagnostic::new(
                    Severity::Error,
                    None,
                    format!("the check itself failed: {error}"),
                )),
            }
        }
        Err(diagnostics) => found.extend(diagnostics.0),
    }
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
