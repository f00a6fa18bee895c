//! What the process does for its clients: each thread of its pool judges one.

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use super::judge::{self, Judgement, Name, Question, World};
use super::message::{self, MAX_QUESTION};
use super::names;
use crate::helper::asker::Answer;
use crate::helper::pool::{Asked, Work};

/// The longest file of rules or patterns, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Judges clients.
#[derive(Default)]
pub(super) struct Judgements;

impl Work for Judgements {
    const THREADS: usize = 64;
    const KEPT: usize = 2;
    /// The names of one network's hosts are one name server's, as a rule: a slow one delays its own clients.
    const SHARE: usize = 4;
    const PATIENCE: Duration = Duration::from_mins(2);
    const THREAD: &'static str = "gate";
    const MAX_PACKET: usize = MAX_QUESTION;

    type Key = Question;
    type Terms = ();
    /// The client's network.
    type Lane = IpAddr;
    /// The question's number.
    type Ticket = u64;
    type Outcome = Judgement;

    fn decode(packet: &[u8]) -> Option<Asked<Self>> {
        let (ticket, key) = message::decode(packet)?;
        Some(Asked {
            lane: network(key.client),
            key,
            terms: (),
            ticket,
        })
    }

    fn perform(&self, question: &Question, (): ()) -> Judgement {
        judge::judge(question, &System)
    }

    fn overloaded(_: &Question) -> Judgement {
        Judgement::Undecided("too many clients wait to be judged".to_owned())
    }

    fn encode(judgement: &Judgement, id: u64) -> Vec<u8> {
        judgement.encode(id)
    }
}

/// The network in which one party may well have all addresses: a zone of names, or what a provider gives to a customer.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 80)).into(),
    }
}

/// The files are read for each client: what has changed counts for the next.
pub(super) struct System;

impl World for System {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let file = fs::File::open(file)?;
        let mut text = Vec::new();
        let length = file.take(MAX_FILE + 1).read_to_end(&mut text)?;
        match length as u64 > MAX_FILE {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(text),
        }
    }

    fn name(&self, address: IpAddr) -> Name {
        names::name(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_one_network_share_a_lane() {
        for (client, lane) in [
            ("192.0.2.77", "192.0.2.0"),
            ("::ffff:192.0.2.77", "192.0.2.0"),
            ("2001:db8:1:2::3", "2001:db8:1::"),
        ] {
            assert_eq!(network(client.parse().unwrap()).to_string(), lane);
        }
    }
}
