//! What the process does for its clients: each thread of its pool sits in getaddrinfo.

use super::ResolveError;
use super::lookup::{IpAddrScope, lookup, with_port};
use super::message::{Answer, MAX_REQUEST_PACKET, Request, Want};
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
    const THREADS: usize = 8;
    const THREAD: &'static str = "lookup";
    const MAX_PACKET: usize = MAX_REQUEST_PACKET;

    type Key = (String, Want);
    type Terms = ();
    type Ticket = Ticket;
    type Outcome = Result<Vec<IpAddrScope>, ResolveError>;

    fn decode(packet: &[u8]) -> Option<Asked<Self>> {
        let Request {
            id,
            host,
            port,
            want,
        } = Request::decode(packet)?;
        Some(Asked {
            key: (host, want),
            terms: (),
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
        })
    }

    fn encode(outcome: &Self::Outcome, Ticket { id, port }: Ticket) -> Vec<u8> {
        let result = match outcome {
            Ok(found) => Ok(found.iter().map(|each| with_port(each, port)).collect()),
            Err(error) => Err(error.clone()),
        };
        Answer { id, result }.encode()
    }
}
