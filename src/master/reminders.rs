//! A certificate close to expiry is reported at load. A master that runs for months loads nothing more,
//! so it repeats the warning once a day, from thirty days before the end.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::load::Presented;
use crate::config::Service;
use crate::incidents::{Cause, Diagnosis};
use crate::ipc::scoreboard::Scoreboard;
use crate::log::Log;
use crate::tls;

/// How often the certificates are checked.
const EVERY: Duration = Duration::from_hours(24);

/// The certificates that services present, and when they are checked next.
#[derive(Debug, Clone)]
pub(super) struct Reminders {
    ends: Vec<End>,
    presented: Vec<Presented>,
    next: Instant,
}

#[derive(Debug, Clone)]
struct End {
    service: String,
    file: String,
    /// Seconds since 1970.
    at: i64,
}

impl Reminders {
    /// What these services present; certificates near expiry were already reported at load.
    pub(super) fn of(presented: &[Presented], services: &[Service]) -> Reminders {
        let ends = presented.iter().filter_map(|one| {
            let service = services.get(one.service)?;
            let options = match one.front {
                true => service.accepted_tls(),
                false => service.connected_tls(),
            };
            Some(End {
                service: service.name.clone(),
                file: options?.cert.as_ref()?.display().to_string(),
                at: one.ends?,
            })
        });
        let ends = ends.fold(Vec::new(), joined);
        Reminders {
            ends,
            presented: presented.to_vec(),
            next: Instant::now() + EVERY,
        }
    }

    /// When [`Reminders::remind`] has something to check.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.ends.is_empty()).then_some(self.next)
    }

    /// Logs each certificate that has expired or soon will, if a check is due, and has it kept.
    pub(super) fn remind(&mut self, now: Instant, scoreboard: &Scoreboard, log: &Log) {
        if self.next > now {
            return;
        }
        self.next = now + EVERY;
        let clock = seconds();
        for line in self.ends.iter().filter_map(|end| end.line(clock)) {
            crate::warning!(log, "{line}");
        }
        keep_at(&self.presented, scoreboard, clock);
    }
}

/// Has what ends soon kept for `adit status`.
pub(super) fn keep(presented: &[Presented], scoreboard: &Scoreboard) {
    keep_at(presented, scoreboard, seconds());
}

/// The same, as seen from `now`, in seconds since 1970.
fn keep_at(presented: &[Presented], scoreboard: &Scoreboard, now: i64) {
    for one in presented {
        let text = one.ends.and_then(|at| tls::end_that_is_near(at, now));
        let (Some(text), Some(incidents)) = (text, scoreboard.incidents(one.service)) else {
            continue;
        };
        let (option, shown_to) = match one.front {
            true => ("cert or acceptCert", "clients"),
            false => ("cert", "servers"),
        };
        let diagnosis = Diagnosis::new(
            Cause::CertificateEnds,
            format!("the certificate that {shown_to} are shown {text}"),
            format!("renew the file of {option}; then `adit reload`, unless certWatch is on"),
        );
        incidents.note(&diagnosis.met_by(None));
    }
}

/// Since 1970.
fn seconds() -> i64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH);
    clock.map_or(0, |since| since.as_secs().cast_signed())
}

/// Several services with one certificate get one reminder.
fn joined(mut ends: Vec<End>, end: End) -> Vec<End> {
    let same = |other: &&mut End| other.file == end.file && other.at == end.at;
    match ends.iter_mut().find(same) {
        Some(other) => other.service += &format!("], [{}", end.service),
        None => ends.push(end),
    }
    ends
}

impl End {
    fn line(&self, now: i64) -> Option<String> {
        let End { service, file, at } = self;
        let text = tls::end_that_is_near(*at, now)?;
        Some(format!(
            "Service [{service}]: the certificate in {file} {text}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    #[test]
    fn a_certificate_is_told_of_from_thirty_days_before_its_end() {
        let end = End {
            service: "imaps".into(),
            file: "/etc/adit/mail.crt".into(),
            at: 1000 * DAY,
        };
        assert_eq!(end.line(970 * DAY), None);
        let line = |now| end.line(now).unwrap();
        assert_eq!(
            line(970 * DAY + 1),
            "Service [imaps]: the certificate in /etc/adit/mail.crt expires in 29 day(s): renew it"
        );
        assert!(line(1000 * DAY).contains("expires in 0 day(s)"));
        assert!(line(1002 * DAY).contains("expired 2 day(s) ago"));
    }

    #[test]
    fn one_file_of_several_services_is_one_reminder() {
        let end = |service: &str, file: &str| End {
            service: service.into(),
            file: file.into(),
            at: 1000 * DAY,
        };
        let ends = [end("a", "/x"), end("b", "/y"), end("c", "/x")];
        let ends = ends.into_iter().fold(Vec::new(), joined);
        let lines: Vec<_> = ends.iter().filter_map(|end| end.line(1000 * DAY)).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("Service [a], [c]: the certificate in /x"));
    }

    #[test]
    fn it_is_reported_once_a_day_and_without_certificates_nothing_wakes_up() {
        let mut reminders = Reminders {
            ends: Vec::new(),
            presented: Vec::new(),
            next: Instant::now(),
        };
        assert_eq!(reminders.deadline(), None);
        reminders.ends.push(End {
            service: "imaps".into(),
            file: "/etc/adit/mail.crt".into(),
            at: 0,
        });
        reminders.presented.push(Presented {
            service: 1,
            front: true,
            ends: Some(seconds() + 7 * DAY + 60),
            key: None,
            exchanges_by_rsa: false,
        });
        let due = reminders.deadline().unwrap();
        let log = Log {
            level: 0,
            id: crate::log::Id::Main,
            from: None,
        };
        let board = Scoreboard::new(1, 2).unwrap();
        let kept = || {
            let ledger = board.ledger(1);
            let told = ledger.tallies.first()?.example.as_ref()?;
            Some((ledger.tallies[0].count, told.cause, told.reason.clone()))
        };
        reminders.remind(due, &board, &log);
        assert_eq!(reminders.deadline(), Some(due + EVERY));
        let text = "the certificate that clients are shown expires in 7 day(s): renew it";
        assert_eq!(kept(), Some((1, Cause::CertificateEnds, text.to_owned())));
        reminders.remind(due + EVERY / 2, &board, &log);
        assert_eq!(reminders.deadline(), Some(due + EVERY));
        assert_eq!(kept().map(|kept| kept.0), Some(1));
        reminders.remind(due + EVERY, &board, &log);
        assert_eq!(kept().map(|kept| kept.0), Some(2), "once a day");
        assert!(board.ledger(0).is_empty());
    }
}
