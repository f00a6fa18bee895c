//! The addresses that the names of a configuration had when they were resolved last: kept for as long as DNS does not
//! answer, over reloads, deaths and new programs. Never in here: a name that a client has chosen.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV6};

use serde::{Deserialize, Serialize};

/// Names in one message: with all the addresses that an answer can have they fit.
const PART: usize = 32;

/// Those of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct KnownNames(BTreeMap<String, Known>);

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// With port 0.
    addresses: Vec<SocketAddr>,
    /// DNS did not answer when it was asked last.
    kept: bool,
}

impl KnownNames {
    /// The addresses of a name, with this port; `None`: it was never resolved.
    pub(crate) fn of(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let addresses = self.0.get(host)?.addresses.iter();
        Some(addresses.map(|it| with_port(*it, port)).collect())
    }

    /// Adds a name, in place of what was known of it.
    pub(crate) fn learn(&mut self, host: &str, addresses: &[SocketAddr], kept: bool) {
        let addresses = addresses.iter().map(|it| with_port(*it, 0)).collect();
        self.0.insert(host.to_owned(), Known { addresses, kept });
    }

    /// There is no such name any more.
    pub(crate) fn forget(&mut self, host: &str) {
        self.0.remove(host);
    }

    /// Whether the addresses of a name are kept, since DNS did not answer.
    pub(crate) fn is_kept(&self, host: &str) -> bool {
        self.0.get(host).is_some_and(|known| known.kept)
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those of a message.
    pub(crate) fn add(&mut self, part: KnownNames) {
        self.0.extend(part.0);
    }

    /// In parts, each for one message.
    pub(crate) fn parts(&self) -> Vec<KnownNames> {
        let all: Vec<_> = self.0.iter().collect();
        let part = |part: &[(&String, &Known)]| {
            let part = part.iter().copied();
            KnownNames(part.map(|(host, it)| (host.clone(), it.clone())).collect())
        };
        all.chunks(PART).map(part).collect()
    }

    /// Those whose addresses are kept, since DNS did not answer.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &str> {
        let kept = self.0.iter().filter(|(_, known)| known.kept);
        kept.map(|(host, _)| host.as_str())
    }
}

#[cfg(test)]
impl KnownNames {
    /// One whose addresses are kept.
    pub(crate) fn example() -> KnownNames {
        let mut names = KnownNames::default();
        names.learn("mail.example", &[([192, 0, 2, 1], 0).into()], true);
        names
    }
}

/// The same address with another port; an interface stays.
fn with_port(address: SocketAddr, port: u16) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::from((*v4.ip(), port)),
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), port, 0, v6.scope_id()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::MAX_ADDRESSES;
    use super::*;
    use crate::ipc::words::{FromMaster, MAX_WORD};

    #[test]
    fn what_is_learned_last_counts_with_the_port_that_is_wanted() {
        let mut names = KnownNames::default();
        let addresses = |all: &[&str]| -> Vec<SocketAddr> {
            all.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(names.of("a.example", 25), None);
        names.learn("a.example", &addresses(&["192.0.2.1:9"]), false);
        names.learn("b.example", &addresses(&["192.0.2.2:9"]), false);
        let last = addresses(&["192.0.2.3:7", "[fe80::1%3]:7"]);
        names.learn("a.example", &last, true);
        let with_port = addresses(&["192.0.2.3:25", "[fe80::1%3]:25"]);
        assert_eq!(names.of("a.example", 25), Some(with_port));
        assert_eq!(names.kept().collect::<Vec<_>>(), ["a.example"]);
        let text = serde_json::to_string(&names).unwrap();
        assert_eq!(serde_json::from_str::<KnownNames>(&text).unwrap(), names);
    }

    #[test]
    fn a_part_fits_into_a_message_however_many_addresses_names_have() {
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:0";
        let addresses = vec![longest.parse().unwrap(); MAX_ADDRESSES];
        let mut names = KnownNames::default();
        for number in 0..=PART {
            let host = format!("{number}{}", "a".repeat(240));
            names.learn(&host, &addresses, true);
        }
        let parts = names.parts();
        assert_eq!(parts.len(), 2);
        let mut again = KnownNames::default();
        for part in parts {
            let word = FromMaster::Resolved(part.clone());
            assert!(serde_json::to_vec(&word).unwrap().len() < MAX_WORD);
            again.add(part);
        }
        assert_eq!(again, names);
    }
}
