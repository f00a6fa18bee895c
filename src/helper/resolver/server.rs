//! What the process does for its clients: each thread of its pool sits in getaddrinfo.

use std::time::Duration;

use super::lookup::{IpAddrScope, lookup, with_port};
use super::message::{MAX_REQUEST_PACKET, Request, Want};
use super::{ResolveError, Resolved};
use crate::helper::asker::Answer;
use crate::helper::pool::{Asked, Work};

/// Looks names up.
#[derive(Default)]
pub(super) struct Lookups;

/// Where an answer belongs.
pub(super) struct Ticket {
    id: u64,
    port: u16,
}

impl Work for Lookups {
    /// Requests for the same name share one lookup, so that this many names must be slow at a time before
    /// another has to wait.
    const THREADS: usize = 64;
    const KEPT: usize = 2;
    /// A service whose clients say where they want to go may ask for many names that do not answer.
    const SHARE: usize = 8;
    /// Longer than three silent name servers take, with a few domains to search.
    const PATIENCE: Duration = Duration::from_mins(2);
    const THREAD: &'static str = "lookup";
    const MAX_PACKET: usize = MAX_REQUEST_PACKET;

    type Key = (String, Want);
    type Terms = ();
    /// The service.
    type Lane = u32;
    type Ticket = Ticket;
    type Outcome = Result<Vec<IpAddrScope>, ResolveError>;

    fn decode(packet: &[u8]) -> Option<Asked<Self>> {
        let Request {
            id,
            host,
            port,
            want,
            service,
        } = Request::decode(packet)?;
        Some(Asked {
            key: (host, want),
            terms: (),
            lane: service,
            ticket: Ticket { id, port },
        })
    }

    fn perform(&self, (host, want): &Self::Key, (): ()) -> Self::Outcome {
        lookup(host, *want)
    }

    fn overloaded((host, _): &Self::Key) -> Self::Outcome {
        Err(ResolveError {
            host: host.clone(),
            reason: "too many names are being resolved".to_owned(),
            answered: false,
        })
    }

    fn encode(outcome: &Self::Outcome, Ticket { id, port }: Ticket) -> Vec<u8> {
        let with_port = |each| with_port(each, port);
        let answer: Resolved = match outcome {
            Ok(found) => Ok(found.iter().map(with_port).collect()),
            Err(error) => Err(error.clone()),
        };
        answer.encode(id)
    }
}
