//! What went wrong, as programs and people are told: by service, and by cause over all services. Never in here: what is
//! counted as a failure.

mod text;

use serde::{Deserialize, Serialize};

use super::Status;
use crate::incidents::{Cause, Incident, Ledger, Tally};

/// How often one cause was met, with its last example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailureStatus {
    /// The cause's name.
    pub cause: Cause,
    /// What it is about.
    pub group: String,
    /// What it is, for people.
    pub title: String,
    /// How often.
    pub count: u64,
    /// When it was met first, in seconds since 1970; 0 if that is not known.
    pub first: u64,
    /// When it was met last; as `first`.
    pub last: u64,
    /// The client's address in the last example; `None`: it has none, or there is no example.
    pub peer: Option<String>,
    /// What happened, in a line; empty without an example.
    pub reason: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IncidentStatus {
    /// The cause's name.
    pub cause: Cause,
    /// When, in seconds since 1970.
    pub at: u64,
    /// The client's address, if it has one.
    pub peer: Option<String>,
    /// What happened, in a line.
    pub reason: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

/// One cause, over all services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CauseStatus {
    /// The services that met it; none: adit itself.
    pub services: Vec<String>,
    /// The service of the last example.
    pub service: Option<String>,
    /// All of it, with the last example.
    #[serde(flatten)]
    pub failure: FailureStatus,
}

impl FailureStatus {
    /// All causes of a ledger, the latest first.
    pub(crate) fn all_of(ledger: &Ledger) -> Vec<FailureStatus> {
        let mut all: Vec<_> = ledger.tallies.iter().map(FailureStatus::of).collect();
        all.sort_by_key(|failure| std::cmp::Reverse((failure.last, failure.cause)));
        all
    }

    fn of(tally: &Tally) -> FailureStatus {
        let example = tally.example.as_ref();
        let text = |read: fn(&Incident) -> &String| example.map(read).cloned();
        FailureStatus {
            cause: tally.cause,
            group: tally.cause.group().name().to_owned(),
            title: tally.cause.title().to_owned(),
            count: tally.count,
            first: tally.first / 1000,
            last: tally.last / 1000,
            peer: example.and_then(peer),
            reason: text(|e| &e.reason).unwrap_or_default(),
            remedy: text(|e| &e.remedy).unwrap_or_default(),
        }
    }

    /// Adds another of the same cause; whether its example is the later one.
    fn add(&mut self, other: &FailureStatus) -> bool {
        let (count, known) = (self.count.saturating_add(other.count), self.first);
        let first = match (known, other.first) {
            (0, first) | (first, 0) => first,
            (one, another) => one.min(another),
        };
        let is_later = other.last > self.last;
        if is_later {
            *self = other.clone();
        }
        (self.count, self.first) = (count, first);
        is_later
    }
}

impl IncidentStatus {
    /// The last ones of a ledger, the latest first.
    pub(crate) fn last_of(ledger: &Ledger) -> Vec<IncidentStatus> {
        let all = ledger.recent.iter().map(|incident| IncidentStatus {
            cause: incident.cause,
            at: incident.at / 1000,
            peer: peer(incident),
            reason: incident.reason.clone(),
            remedy: incident.remedy.clone(),
        });
        all.collect()
    }
}

impl CauseStatus {
    /// What these services and adit itself met, by cause: the latest first.
    pub(crate) fn all<'a>(
        services: impl Iterator<Item = (&'a str, &'a [FailureStatus])>,
        own: &'a [FailureStatus],
    ) -> Vec<CauseStatus> {
        let services = services.map(|(name, failures)| (Some(name), failures));
        let mut all: Vec<CauseStatus> = Vec::new();
        for (name, failures) in services.chain([(None, own)]) {
            for failure in failures {
                let known = all.iter_mut().find(|c| c.failure.cause == failure.cause);
                let Some(known) = known else {
                    all.push(CauseStatus {
                        services: name.map(str::to_owned).into_iter().collect(),
                        service: name.map(str::to_owned),
                        failure: failure.clone(),
                    });
                    continue;
                };
                if known.failure.add(failure) {
                    known.service = name.map(str::to_owned);
                }
                if let Some(name) = name
                    && !known.services.iter().any(|known| known == name)
                {
                    known.services.push(name.to_owned());
                }
            }
        }
        all.sort_by_key(|c| std::cmp::Reverse((c.failure.last, c.failure.cause)));
        all
    }
}

impl Status {
    /// What went wrong, by cause, over all services and generations.
    pub(crate) fn by_cause(&self) -> Vec<CauseStatus> {
        let services = self.generations.iter().flat_map(|g| &g.services);
        let services = services.map(|s| (s.name.as_str(), s.failures.as_slice()));
        CauseStatus::all(services, &self.failures)
    }
}

fn peer(incident: &Incident) -> Option<String> {
    incident.peer.map(|peer| peer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incidents::Diagnosis;

    impl FailureStatus {
        pub(in crate::status) fn example() -> FailureStatus {
            FailureStatus {
                cause: Cause::UpstreamRefused,
                group: "upstream".into(),
                title: Cause::UpstreamRefused.title().into(),
                count: 3,
                first: 1_795_513_500,
                last: 1_795_513_570,
                peer: Some("192.0.2.7:1042".into()),
                reason: "s_connect: connect 192.0.2.1:587: Connection refused (111)".into(),
                remedy: "start the server".into(),
            }
        }
    }

    impl IncidentStatus {
        pub(in crate::status) fn example() -> IncidentStatus {
            let example = FailureStatus::example();
            IncidentStatus {
                cause: example.cause,
                at: example.last,
                peer: example.peer,
                reason: example.reason,
                remedy: example.remedy,
            }
        }
    }

    #[test]
    fn causes_add_up_over_services() {
        let ledger = |causes: &[(Cause, u64)]| {
            let mut ledger = Ledger::default();
            for &(cause, at) in causes {
                let incident = Diagnosis::new(cause, format!("at {at}"), "").met_by(None);
                ledger.note(Incident { at, ..incident });
            }
            FailureStatus::all_of(&ledger)
        };
        let smtp = ledger(&[(Cause::Vanished, 1000), (Cause::Vanished, 9000)]);
        let imap = ledger(&[(Cause::Vanished, 5000), (Cause::Password, 8000)]);
        let own = ledger(&[(Cause::Reload, 7000)]);
        let services = [("smtp", smtp.as_slice()), ("imap", &imap), ("imap", &imap)];
        let all = CauseStatus::all(services.into_iter(), &own);
        let told: Vec<_> = all
            .iter()
            .map(|c| {
                let f = &c.failure;
                (f.cause, f.count, f.first, f.last, f.reason.as_str())
            })
            .collect();
        assert_eq!(
            told,
            [
                (Cause::Vanished, 4, 1, 9, "at 9000"),
                (Cause::Password, 2, 8, 8, "at 8000"),
                (Cause::Reload, 1, 7, 7, "at 7000"),
            ]
        );
        assert_eq!(all[0].services, ["smtp", "imap"]);
        assert_eq!(all[0].service.as_deref(), Some("smtp"));
        assert!(all[2].services.is_empty() && all[2].service.is_none());
        let value = serde_json::to_value(&all[1]).unwrap();
        assert_eq!(value["cause"], "password");
        assert_eq!(value["group"], "login");
    }
}
