//! `adit check`: everything that a start or a reload would find wrong, without starting anything.

use std::io;
use std::process::ExitCode;

use super::running;
use super::unit;
use crate::config::{
    self, Config, Diagnostic, Diagnostics, Front, Service, Severity, Sources, diagnostic_at,
};
use crate::helper::KnownNames;
use crate::helper::gatekeeper::{self, Remark};
use crate::ipc::words::Accept;
use crate::jail::Keeping;
use crate::log::{self, Id, Log, Outputs};
use crate::master::load::look_at_files;
use crate::process;
use crate::relay::Route;
use crate::supervisor::trial::Trial;
use crate::supervisor::{asking, clashes, places, vacancy};
use crate::tls::{PassPhrases, Wanted};

/// How to check.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// Warnings count as errors.
    pub strict: bool,
    /// Show what the sessions of each service go through.
    pub route: bool,
    /// Ask for the pass phrases of keys, if there is a terminal.
    pub phrases: bool,
}

/// Parses, loads, resolves; prints every error, warning and note. Fails on an error.
pub fn run(sources: &Sources, asked: Asked) -> ExitCode {
    log::install(Outputs::stderr_only());
    let mut found = Vec::new();
    let mut services = 0;
    let (config, diagnostics) = config::load_partly(sources);
    let failed = diagnostics.failed();
    found.extend(diagnostics.0);
    match config {
        Some(config) if !failed => {
            services = config.services.len();
            if asked.route {
                show_routes(&config);
            }
            found.extend(passed_sockets(&config));
            found.extend(rules_of_hosts(&config));
            found.extend(no_keeping(&config));
            found.extend(places::missing(&config.global));
            found.extend(unit::forbidden(sources.file.as_deref(), &config.global));
            let log = Log {
                level: 0,
                id: Id::Ui,
                from: None,
            };
            process::find_command_line();
            let running = running::find(sources).ok();
            let running = running.and_then(|running| running.status().ok());
            let known = running.as_ref().map(|status| status.names.clone());
            match load(&config, &known.unwrap_or_default(), asked.phrases, log) {
                Ok((more, accept)) => {
                    found.extend(more);
                    let running = running.map(|status| status.pid);
                    found.extend(clashes::found(&config, &accept));
                    found.extend(vacancy::missing(&config, &accept, running));
                }
                Err(error) => found.push(Diagnostic::new(
                    Severity::Error,
                    None,
                    format!("the check itself failed: {}", log::Reason(&error)),
                )),
            }
        }
        Some(config) => {
            found.extend(places::missing(&config.global));
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
    if errors > 0 || (asked.strict && warnings > 0) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn show_routes(config: &Config) {
    for service in &config.services {
        let first = match service.front {
            Front::Program => "the program of `exec` as the client, ",
            Front::Inetd => "the connection on descriptor 0, ",
            Front::Listener => "",
        };
        println!("Service [{}]: {first}{}", service.name, Route::of(service));
        for secondary in &service.secondaries {
            let secondary = config.services.get(*secondary);
            if let Some(host) = secondary.and_then(|it| it.virtual_host.as_ref().zip(Some(it))) {
                println!("  {}: service [{}]", host.0.pattern, host.1.name);
            }
        }
        if !service.redirect.is_empty() {
            let all = service.redirect.iter().map(ToString::to_string);
            let all = all.collect::<Vec<_>>().join(", ");
            println!("  clients without a valid certificate: connect to {all}");
        }
        let ends = [
            ("client", Wanted::accepted(service)),
            ("server", Wanted::connected(service)),
        ];
        for (peer, wanted) in ends {
            if let Some(wanted) = wanted {
                let choice = wanted.backend();
                println!(
                    "  TLS with the {peer}: {}: {}",
                    choice.backend, choice.reason
                );
                if let Some(leaves) = wanted.leaves() {
                    println!("    {leaves}");
                }
            }
        }
    }
}

/// Loads everything that the configuration names, as an adit does that knows these addresses; with `ask`, it asks for
/// pass phrases.
fn load(
    config: &Config,
    known: &KnownNames,
    ask: bool,
    log: Log,
) -> io::Result<(Vec<Diagnostic>, Vec<Vec<Accept>>)> {
    let trial = Trial::start(config, log)?;
    let obstacle = match ask {
        true => asking::obstacle(),
        false => Some("the running adit has the pass phrases"),
    };
    let phrases = match obstacle {
        None => asking::ask(config, &Log { level: 3, ..log })?,
        Some(reason) => PassPhrases::unasked(reason),
    };
    trial.load(config, known, &phrases)
}

/// What in hosts.allow and hosts.deny does not do what it seems to, where a service goes by them.
fn rules_of_hosts(config: &Config) -> Vec<Diagnostic> {
    let asked = config.services.iter().any(|s| s.admission.libwrap);
    let remarks = asked.then(gatekeeper::remarks).unwrap_or_default();
    let warning = |Remark { place, text, help }| {
        let text = format!("{place}: {text}");
        Diagnostic::new(Severity::Warning, None, text).help(help)
    };
    remarks.into_iter().map(warning).collect()
}

/// Why tokens could not be kept, where a service logs in by them.
fn no_keeping(config: &Config) -> Option<Diagnostic> {
    let asked = config.services.iter().any(Service::asks_for_tokens);
    let why = Keeping::obstacle(&config.global.keeper).filter(|_| asked)?;
    let origins = &config.global.origins;
    Some(diagnostic_at(origins, why.option(), why.to_string()))
}

/// Which service gets which of the sockets passed by systemd.
fn passed_sockets(config: &Config) -> Vec<Diagnostic> {
    let without = config.services.iter().filter(|s| s.takes_passed_socket());
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
