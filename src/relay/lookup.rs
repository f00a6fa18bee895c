//! The names of a service's `connect` entries, being resolved for one session.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Upstream;
use super::resources::Resources;
use crate::config::Endpoint;
use crate::error;
use crate::helper::{Kind, KnownNames, NO_ANSWER, Resolved};
use crate::incidents::{Cause, Diagnosis};
use crate::log::{self, Log};
use crate::remedy;

/// One `connect` entry.
#[derive(Debug)]
enum Entry {
    /// An address already, or an answer.
    Known(Vec<Upstream>),
    /// A name that must be asked for.
    Name { host: String, port: u16 },
    /// A name that was asked for, by the question with this id.
    Asked { id: u64, host: String, port: u16 },
}

#[derive(Debug)]
pub(crate) struct Lookup {
    entries: Vec<Entry>,
    /// Why one of them has no address.
    finding: Option<Diagnosis>,
}

impl Lookup {
    /// Prepares to resolve `connect`. No host means loopback, as with stunnel.
    pub(crate) fn new(connect: &[Endpoint]) -> Self {
        let entries = connect.iter().map(|endpoint| match endpoint {
            Endpoint::Unix(path) => Entry::Known(vec![Upstream::Unix(path.clone())]),
            Endpoint::Tcp { host: None, port } => {
                let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), *port);
                Entry::Known(vec![Upstream::Tcp(address, "localhost".to_owned())])
            }
            Endpoint::Tcp {
                host: Some(host),
                port,
            } => match host.parse::<IpAddr>() {
                Ok(ip) => {
                    let address = SocketAddr::new(ip, *port);
                    Entry::Known(vec![Upstream::Tcp(address, host.clone())])
                }
                Err(_) => Entry::Name {
                    host: host.clone(),
                    port: *port,
                },
            },
        });
        Self {
            entries: entries.collect(),
            finding: None,
        }
    }

    /// Whether asking again can give anything new.
    pub(crate) fn has_names(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| !matches!(entry, Entry::Known(_)))
    }

    /// Asks for the names not asked for yet, on behalf of a session of that service. A name that cannot be asked for
    /// counts as unknown; where there is no resolver just now, it is asked for when there is one.
    pub(crate) fn ask(&mut self, key: u64, service: usize, log: &Log, resources: &mut Resources) {
        for entry in &mut self.entries {
            let Entry::Name { host, port } = entry else {
                continue;
            };
            match resources.ask(key, service, host, *port) {
                Ok(None) => {}
                Ok(Some(id)) => {
                    *entry = Entry::Asked {
                        id,
                        host: std::mem::take(host),
                        port: *port,
                    };
                }
                Err(error) => {
                    let reason = format!("Error resolving \"{host}\": {}", log::Reason(&error));
                    error!(log, "{reason} ({})", remedy::RESOLVING);
                    self.finding = Some(unresolved(reason));
                    *entry = Entry::Known(Vec::new());
                }
            }
        }
    }

    /// Takes an answer; `None` makes the name be asked for again.
    pub(crate) fn answer(&mut self, question: u64, answer: Option<Resolved>, log: &Log) {
        for entry in &mut self.entries {
            let Entry::Asked { id, host, port } = entry else {
                continue;
            };
            if *id != question {
                continue;
            }
            let host = std::mem::take(host);
            *entry = match answer {
                None => Entry::Name { host, port: *port },
                Some(Ok(addresses)) => {
                    let tcp = |address| Upstream::Tcp(address, host.clone());
                    Entry::Known(addresses.into_iter().map(tcp).collect())
                }
                Some(Err(error)) => {
                    error!(log, "{error} ({})", remedy::RESOLVING);
                    self.finding = Some(unresolved(error.to_string()));
                    Entry::Known(Vec::new())
                }
            };
            return;
        }
    }

    /// The addresses in the order of `connect`, when every name is answered.
    pub(crate) fn done(&self) -> Option<Vec<Upstream>> {
        let mut all = Vec::new();
        for entry in &self.entries {
            match entry {
                Entry::Known(addresses) => all.extend_from_slice(addresses),
                Entry::Name { .. } | Entry::Asked { .. } => return None,
            }
        }
        Some(all)
    }

    /// The time for it is over: no address.
    pub(crate) fn give_up(&mut self, log: &Log, resources: &mut Resources) -> Vec<Upstream> {
        let reason = format!("TIMEOUTconnect exceeded: {NO_ANSWER}");
        error!(log, "{reason} ({})", remedy::RESOLVING);
        self.finding = Some(unresolved(reason));
        let asked = |entry: &Entry| matches!(entry, Entry::Asked { .. });
        if self.entries.iter().any(asked) {
            resources.is_silent(Kind::Resolver);
        }
        self.forget(resources);
        Vec::new()
    }

    /// Why a name has no address, as far as one has none.
    pub(crate) fn take_finding(&mut self) -> Option<Diagnosis> {
        self.finding.take()
    }

    /// Forgets the questions under way.
    pub(crate) fn release(self, resources: &mut Resources) {
        self.forget(resources);
    }

    fn forget(&self, resources: &mut Resources) {
        for entry in &self.entries {
            if let Entry::Asked { id, .. } = entry {
                resources.questions.remove(id);
            }
        }
    }
}

/// The addresses of these entries where names of theirs have others now than `before`. `None`: they have none of these
/// names.
pub(crate) fn renewed(
    entries: &[Endpoint],
    changed: &KnownNames,
    before: &[Upstream],
) -> Option<Vec<Upstream>> {
    let of_a_name = |entry: &Endpoint| match entry {
        Endpoint::Tcp {
            host: Some(host),
            port,
        } => {
            let upstream = |address| Upstream::Tcp(address, host.clone());
            let addresses = changed.of(host, *port)?.into_iter();
            Some(addresses.map(upstream).collect::<Vec<_>>())
        }
        _ => None,
    };
    let mut any = false;
    let mut now: Vec<Upstream> = Vec::new();
    for entry in entries {
        let of_this = of_a_name(entry);
        any |= of_this.is_some();
        let as_before = || {
            before
                .iter()
                .filter(|it| is_of(it, entry))
                .cloned()
                .collect()
        };
        for upstream in of_this.unwrap_or_else(as_before) {
            // An entry that stands twice would double what it has each time.
            if !now.contains(&upstream) {
                now.push(upstream);
            }
        }
    }
    any.then_some(now)
}

fn is_of(upstream: &Upstream, entry: &Endpoint) -> bool {
    match (upstream, entry) {
        (Upstream::Unix(path), Endpoint::Unix(entry)) => path == entry,
        (Upstream::Tcp(address, of), Endpoint::Tcp { host, port }) => {
            address.port() == *port && of == host.as_deref().unwrap_or("localhost")
        }
        _ => false,
    }
}

fn unresolved(reason: String) -> Diagnosis {
    Diagnosis::new(Cause::UpstreamName, reason, remedy::RESOLVING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Id;

    const LOG: Log = Log {
        level: 0,
        id: Id::Main,
        from: None,
    };

    fn endpoint(host: Option<&str>, port: u16) -> Endpoint {
        Endpoint::Tcp {
            host: host.map(str::to_owned),
            port,
        }
    }

    fn asked(lookup: &mut Lookup) {
        for (entry, question) in lookup.entries.iter_mut().zip(1..) {
            if let Entry::Name { host, port } = entry {
                *entry = Entry::Asked {
                    id: question,
                    host: host.clone(),
                    port: *port,
                };
            }
        }
    }

    #[test]
    fn addresses_need_no_question() {
        let unix = Endpoint::Unix("/run/x".into());
        let entries = [
            endpoint(None, 25),
            endpoint(Some("192.0.2.1"), 26),
            endpoint(Some("::1"), 27),
            unix,
        ];
        let lookup = Lookup::new(&entries);
        assert!(!lookup.has_names());
        let found: Vec<String> = lookup
            .done()
            .unwrap()
            .iter()
            .map(Upstream::to_string)
            .collect();
        assert_eq!(found, ["127.0.0.1:25", "192.0.2.1:26", "::1:27", "/run/x"]);
    }

    #[test]
    fn answers_keep_the_order_of_connect_whenever_they_come() {
        let entries = [endpoint(Some("one"), 1), endpoint(Some("two"), 2)];
        let mut lookup = Lookup::new(&entries);
        assert!(lookup.has_names());
        asked(&mut lookup);
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        lookup.answer(2, Some(Ok(vec![address("192.0.2.2:2")])), &LOG);
        assert_eq!(lookup.done(), None);
        lookup.answer(77, Some(Ok(vec![address("192.0.2.77:7")])), &LOG);
        assert_eq!(lookup.done(), None, "an answer to another question");
        let both = vec![address("192.0.2.1:1"), address("[2001:db8::1]:1")];
        lookup.answer(1, Some(Ok(both)), &LOG);
        let found = lookup.done().unwrap();
        let hosts: Vec<&str> = found
            .iter()
            .map(|upstream| match upstream {
                Upstream::Tcp(_, host) => host.as_str(),
                Upstream::Unix(_) => "",
            })
            .collect();
        assert_eq!(hosts, ["one", "one", "two"]);
    }

    #[test]
    fn entries_whose_names_have_not_changed_keep_their_addresses() {
        let unix = Endpoint::Unix("/run/x".into());
        let entries = [
            endpoint(Some("one"), 1),
            unix,
            endpoint(Some("two"), 2),
            endpoint(Some("one"), 1),
            endpoint(None, 3),
        ];
        let tcp = |text: &str, host: &str| Upstream::Tcp(text.parse().unwrap(), host.to_owned());
        let before = [
            tcp("192.0.2.1:1", "one"),
            Upstream::Unix("/run/x".into()),
            tcp("192.0.2.2:2", "two"),
            tcp("127.0.0.1:3", "localhost"),
        ];
        let mut changed = KnownNames::default();
        changed.learn("three", &[], false);
        assert_eq!(renewed(&entries, &changed, &before), None);
        changed.learn("two", &["192.0.2.9:0".parse().unwrap()], false);
        let mut expected = before.clone();
        expected[2] = tcp("192.0.2.9:2", "two");
        let now = renewed(&entries, &changed, &before);
        assert_eq!(now.as_deref(), Some(&expected[..]));
        let mut gone = KnownNames::default();
        gone.learn("one", &[], false);
        let now = renewed(&entries, &gone, &expected);
        assert_eq!(now.as_deref(), Some(&expected[1..]));
    }

    #[test]
    fn a_question_that_went_unanswered_is_asked_again() {
        let mut lookup = Lookup::new(&[endpoint(Some("one"), 1)]);
        asked(&mut lookup);
        lookup.answer(1, None, &LOG);
        assert!(matches!(&lookup.entries[0], Entry::Name { host, port: 1 } if host == "one"));
    }
}
