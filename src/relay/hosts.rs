//! Which secondary service a client gets, by the name that it asks for (SNI). As in stunnel, the first
//! pattern in the file that matches counts; a look-up costs the same whatever their number is.

use std::collections::HashMap;

use crate::config::Service;

/// The secondary services of a primary one.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    /// By name, in lower case.
    names: HashMap<Box<str>, Host>,
    /// By what follows an asterisk, in lower case.
    endings: HashMap<Box<str>, Host>,
    /// How long endings are, each length once.
    lengths: Vec<usize>,
}

/// A secondary service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// Its index; the order of the file, too.
    pub(super) service: usize,
    /// Its pattern, as it is written.
    pub(super) pattern: Box<str>,
}

impl Hosts {
    /// Those of the primary service `index`; `None`: it has none.
    pub(crate) fn of(index: usize, services: &[Service]) -> Option<Self> {
        let secondaries = &services.get(index)?.secondaries;
        let mut hosts = Self::default();
        for service in secondaries {
            if let Some(host) = services
                .get(*service)
                .and_then(|it| it.virtual_host.as_ref())
            {
                hosts.add(&host.pattern, *service);
            }
        }
        (!secondaries.is_empty()).then_some(hosts)
    }

    fn add(&mut self, pattern: &str, service: usize) {
        let host = Host {
            service,
            pattern: pattern.into(),
        };
        let lower = pattern.to_ascii_lowercase();
        match lower.strip_prefix('*') {
            None => {
                self.names.entry(lower.into()).or_insert(host);
            }
            Some(ending) => {
                if !self.lengths.contains(&ending.len()) {
                    self.lengths.push(ending.len());
                }
                self.endings.entry(ending.into()).or_insert(host);
            }
        }
    }

    /// The one for clients that ask for `name`.
    pub(super) fn find(&self, name: &str) -> Option<&Host> {
        let name = name.to_ascii_lowercase();
        let endings = self.lengths.iter().filter_map(|length| {
            let ending = name.get(name.len().checked_sub(*length)?..)?;
            self.endings.get(ending)
        });
        let exact = self.names.get(name.as_str());
        exact
            .into_iter()
            .chain(endings)
            .min_by_key(|host| host.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_of_the_file_that_matches_counts() {
        let mut hosts = Hosts::default();
        for (service, pattern) in [
            (1, "mail.Example.com"),
            (2, "*.example.com"),
            (3, "www.example.com"),
            (4, "*ample.org"),
            (5, "*.example.org"),
            (6, "mail.example.com"),
        ] {
            hosts.add(pattern, service);
        }
        let service = |name: &str| hosts.find(name).map(|host| host.service);
        for (name, expected) in [
            ("mail.example.com", Some(1)),
            ("MAIL.example.COM", Some(1)),
            ("www.example.com", Some(2)),
            ("a.b.example.com", Some(2)),
            ("example.com", None),
            (".example.com", Some(2)),
            ("sample.org", Some(4)),
            ("a.example.org", Some(4)),
            ("ample.org", Some(4)),
            ("le.org", None),
            ("", None),
            ("mail.example.com.", None),
        ] {
            assert_eq!(service(name), expected, "{name}");
        }
        hosts.add("*", 7);
        let service = |name: &str| hosts.find(name).map(|host| host.service);
        assert_eq!(service("le.org"), Some(7));
        assert_eq!(service(""), Some(7));
        assert_eq!(service("mail.example.com"), Some(1));
    }
}
