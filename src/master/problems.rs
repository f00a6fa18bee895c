//! Problems with the files of services. A certificate used by several services is one file with one
//! problem, reported once.

use crate::config::{Diagnostic, Service, Severity, diagnostic_at};
use crate::ipc::scoreboard::Scoreboard;
use crate::tls::Problem;

/// Collects problems service by service.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Found>);

#[derive(Debug)]
struct Found {
    /// The services that have it.
    services: Vec<String>,
    text: String,
    /// About the first of those services.
    diagnostic: Diagnostic,
}

impl Problems {
    /// Adds what was found for one service. An error is reported for each line that needs mending; a
    /// warning or note is about the file itself.
    pub(super) fn add(&mut self, service: &Service, problems: Vec<Problem>) {
        for problem in problems {
            let diagnostic = Diagnostic {
                severity: problem.severity,
                ..diagnostic_at(&service.origins, problem.option, "")
            };
            let known = self.0.iter_mut().find(|known| {
                known.text == problem.text
                    && known.diagnostic.severity == problem.severity
                    && (problem.severity != Severity::Error
                        || known.diagnostic.origin == diagnostic.origin)
            });
            match known {
                Some(known) if known.services.contains(&service.name) => {}
                Some(known) => known.services.push(service.name.clone()),
                None => self.0.push(Found {
                    services: vec![service.name.clone()],
                    text: problem.text,
                    diagnostic,
                }),
            }
        }
    }

    /// One diagnostic for each problem.
    pub(super) fn told(self) -> impl Iterator<Item = Diagnostic> {
        self.0.into_iter().map(|found| {
            let services = found.services.join("], [");
            Diagnostic {
                text: format!("Service [{services}]: {}", found.text),
                ..found.diagnostic
            }
        })
    }
}

/// Has the first error kept where the supervisor looks for why a candidate was refused: it hears no words of it.
pub(super) fn keep(found: &[Diagnostic], scoreboard: &Scoreboard) {
    let errors = |one: &&Diagnostic| one.severity == Severity::Error;
    let first = found.iter().find(errors);
    if let (Some(first), Some(incidents)) = (first, scoreboard.incidents(0)) {
        incidents.note(&first.diagnosis().met_by(None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn a_file_of_three_services_is_warned_of_once_and_each_wrong_line_is_an_error() {
        let service = |name| format!("[{name}]\naccept = 0\nconnect = 9\ncert = /c\n");
        let sources = Sources {
            text: Some(("f".to_owned(), ["a", "b", "c"].map(service).concat().into())),
            ..Sources::default()
        };
        let config = load(&sources).unwrap().config;
        let mut problems = Problems::default();
        for service in &config.services {
            let of = |severity, text: &str| Problem {
                severity,
                option: "cert",
                text: text.to_owned(),
            };
            let found = vec![
                of(Severity::Warning, "/c expired"),
                of(Severity::Error, "/c is damaged"),
            ];
            problems.add(service, found);
        }
        let lines: Vec<String> = problems.told().map(|d| d.one_line()).collect();
        assert_eq!(
            lines,
            [
                "f:4: \"cert = /c\": Service [a], [b], [c]: /c expired",
                "f:4: \"cert = /c\": Service [a]: /c is damaged",
                "f:8: \"cert = /c\": Service [b]: /c is damaged",
                "f:12: \"cert = /c\": Service [c]: /c is damaged",
            ]
        );
    }
}
