//! `adit check`: everything that a start or a reload would find wrong, without starting anything.

use std::io;
use std::process::ExitCode;

use crate::config::{self, Config, Diagnostic, Severity, Sources};
use crate::ipc::leash::leash;
use crate::log::{self, Id, Log, Outputs};
use crate::master::load;
use crate::process;
use crate::resolver::{self, Client};
use crate::supervisor::ResolverProcess;
use crate::tls::Resumption;

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
            match try_to_load(&loaded.config) {
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

/// Reads what the configuration names, as a master does; names are resolved by a resolver process,
/// since even a check may be run by root.
fn try_to_load(config: &Config) -> io::Result<Vec<Diagnostic>> {
    let log = Log {
        level: 0,
        id: Id::Ui,
    };
    process::find_command_line();
    let (_holder, leash) = leash()?;
    let resolver = ResolverProcess::start(&config.global, &leash, log)?;
    let mut client = Client::new(resolver::introduce(&resolver.channel)?);
    let loaded = load::load(config, &mut client, &Resumption::new()?, &log);
    resolver.kill();
    Ok(match loaded {
        Ok(loaded) => loaded.warnings,
        Err(found) => found,
    })
}
