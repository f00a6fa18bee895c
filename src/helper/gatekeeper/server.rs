//! What the process does for its clients: each thread of its pool judges one.

use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

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
    /// As many may wait for a name server at a time before another has to wait for them.
    const THREADS: usize = 16;
    const THREAD: &'static str = "gate";
    const MAX_PACKET: usize = MAX_QUESTION;

    type Key = Question;
    type Terms = ();
    /// The question's number.
    type Ticket = u64;
    type Outcome = Judgement;

    fn decode(packet: &[u8]) -> Option<Asked<Self>> {
        let (ticket, key) = message::decode(packet)?;
        Some(Asked {
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
