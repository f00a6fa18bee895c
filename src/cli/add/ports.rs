//! The ports that programs are told: the same each time for the same name, and easy to type. Never in here: a
//! port that another service or program has.

use aws_lc_rs::digest::{SHA256, digest};

use crate::cli::providers::Mail;

/// The thousands of a port: above what is usual for other programs, below what the kernel gives to clients
/// (net.ipv4.ip_local_port_range).
const FIRST: u16 = 11;
const LAST: u16 = 31;
/// What is added when all thousands have something.
const ROUNDS: [u16; 3] = [0, 200, 400];

/// A port for each protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ports(Vec<(Mail, u16)>);

impl Ports {
    pub(super) fn of(&self, mail: Mail) -> Option<u16> {
        let mut ports = self.0.iter();
        ports
            .find(|(known, _)| *known == mail)
            .map(|(_, port)| *port)
    }

    pub(super) fn set(&mut self, mail: Mail, port: u16) {
        if self.of(mail).is_none() {
            self.0.push((mail, port));
        }
    }

    /// Adds free ports for those of `wanted` that have none, as 14587 for SMTP, 14110 for POP3 and 14143 for
    /// IMAP; whether there were any.
    pub(super) fn complete(
        &mut self,
        name: &str,
        wanted: &[Mail],
        is_free: impl Fn(u16) -> bool,
    ) -> bool {
        let missing: Vec<Mail> = wanted
            .iter()
            .copied()
            .filter(|mail| self.of(*mail).is_none())
            .collect();
        let found = blocks(name).find(|block| {
            let mut ports = missing.iter().map(|mail| block + last(*mail));
            ports.all(&is_free)
        });
        let Some(block) = found else {
            return missing.is_empty();
        };
        for mail in missing {
            self.set(mail, block + last(mail));
        }
        true
    }
}

/// What is left of a port without its block: the protocol's own port.
fn last(mail: Mail) -> u16 {
    match mail {
        Mail::Smtp => 587,
        Mail::Pop3 => 110,
        Mail::Imap => 143,
    }
}

/// Every block of ports, the one that belongs to this name first.
fn blocks(name: &str) -> impl Iterator<Item = u16> {
    let count = LAST - FIRST + 1;
    let digest = digest(&SHA256, name.as_bytes());
    let start = digest.as_ref().iter().take(2);
    let start = start.fold(0, |sum: u16, byte| sum << 8 | u16::from(*byte)) % count;
    ROUNDS.into_iter().flat_map(move |more| {
        (0..count).map(move |nth| (FIRST + (start + nth) % count) * 1000 + more)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, is_free: impl Fn(u16) -> bool) -> Option<Ports> {
        let mut ports = Ports::default();
        ports.complete(name, &Mail::ALL, is_free).then_some(ports)
    }

    #[test]
    fn a_name_has_its_ports_and_gives_way_to_what_has_them() {
        let first = chosen("you@gmx.de", |_| true).unwrap();
        assert_eq!(chosen("you@gmx.de", |_| true).unwrap(), first);
        let [smtp, pop3, imap] = Mail::ALL.map(|mail| first.of(mail).unwrap());
        assert_eq!((smtp % 1000, pop3 % 1000, imap % 1000), (587, 110, 143));
        assert_eq!((smtp / 1000, smtp / 1000), (pop3 / 1000, imap / 1000));
        // One of the three is enough for another block.
        let second = chosen("you@gmx.de", |port| port != pop3).unwrap();
        assert!(
            Mail::ALL
                .iter()
                .all(|mail| second.of(*mail) != first.of(*mail))
        );
        let third = chosen("you@gmx.de", |port| port % 1000 > 150 && port % 1000 != 587).unwrap();
        assert_eq!(third.of(Mail::Imap).unwrap() % 1000, 343);
        assert_eq!(chosen("you@gmx.de", |_| false), None);
    }

    #[test]
    fn all_blocks_differ_and_are_below_the_ports_of_clients() {
        let mut all: Vec<u16> = blocks("x")
            .flat_map(|block| Mail::ALL.map(|mail| block + last(mail)))
            .collect();
        assert!(all.iter().all(|port| (11_000..32_768).contains(port)));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3 * 3 * 21);
    }

    #[test]
    fn ports_that_are_there_stay() {
        let mut ports = Ports::default();
        ports.set(Mail::Smtp, 2525);
        assert!(ports.complete("x", &Mail::ALL, |_| true));
        assert_eq!(ports.of(Mail::Smtp), Some(2525));
        assert!(ports.of(Mail::Imap).is_some());
        let before = ports.clone();
        assert!(ports.complete("x", &Mail::ALL, |_| false));
        assert_eq!(ports, before);
    }
}
