//! The time between a session's end and the closing of its sockets: a silence that hides what was wrong with a record,
//! and a farewell, while the peer's last bytes are read away, since closing with something unread sends an RST, which
//! may overtake the alert. Never in here: a wait without an end.

use std::time::{Duration, Instant};

use crate::protocol::Side;
use crate::relay::end::{End, Reading, Received, Writing};
use crate::relay::poller::Readiness;
use crate::relay::resources::Resources;
use crate::relay::step::Ending;

/// How long a peer that was told why may go on sending before it is cut off: some round trips.
const FAREWELL: Duration = Duration::from_secs(2);

/// Reads in a step before others have their turn.
const READS: usize = 8;

/// What a session that is over still waits for on one side, and until when.
#[derive(Debug)]
pub(super) enum Parting {
    /// Nothing may be seen of its end; the alert, if there is one, waits in the end's output.
    Silence(Side, Instant),
    /// The peer has been told, or is being told, and has not ended yet.
    Farewell(Side, Instant),
}

/// How far a parting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parted {
    /// It waits for an event or its time.
    Waits,
    /// There is more to read away, after others had their turn.
    Reads,
    /// The sockets are to be closed.
    Over,
}

impl Parting {
    /// What is to be waited for after this ending, if anything.
    pub(super) fn after(ending: Ending, resources: &Resources) -> Option<Self> {
        match ending {
            Ending::Closed | Ending::Reset => None,
            Ending::Alerted(side) => Some(Self::farewell(side, resources)),
            Ending::Blinded(side, time) => Some(Parting::Silence(side, resources.now + time)),
        }
    }

    fn farewell(side: Side, resources: &Resources) -> Self {
        Parting::Farewell(side, resources.now + FAREWELL)
    }

    /// The side that it is about.
    pub(super) fn side(&self) -> Side {
        match self {
            Parting::Silence(side, _) | Parting::Farewell(side, _) => *side,
        }
    }

    /// Whether the end of the session may be seen.
    pub(super) fn is_farewell(&self) -> bool {
        matches!(self, Parting::Farewell(..))
    }

    /// When it is over, or goes on to the next, though nothing happens.
    pub(super) fn due(&self) -> Instant {
        match self {
            Parting::Silence(_, at) | Parting::Farewell(_, at) => *at,
        }
    }

    /// Goes on with what can be done now. `None`: the end is there no more.
    pub(super) fn step(&mut self, end: Option<&mut End>, resources: &mut Resources) -> Parted {
        let Some(end) = end else {
            return Parted::Over;
        };
        // A peer that has gone measures nothing any more, and hears nothing.
        if end.failed() {
            return Parted::Over;
        }
        let late = self.due() <= resources.now;
        match self {
            Parting::Silence(side, _) if late => {
                *self = Self::farewell(*side, resources);
                say_goodbye(end, resources)
            }
            Parting::Silence(..) => Parted::Waits,
            Parting::Farewell(..) if late => Parted::Over,
            Parting::Farewell(..) => say_goodbye(end, resources),
        }
    }
}

/// Sends what waits, and a FIN, and reads away what came in.
fn say_goodbye(end: &mut End, resources: &mut Resources) -> Parted {
    if end.writing == Writing::Open {
        end.writing = Writing::Finishing;
    }
    if end.reading == Reading::Over {
        // Whether TCP has ended too, or only TLS, a read tells.
        end.note(Readiness {
            readable: true,
            ..Readiness::default()
        });
    }
    if end.flush(&mut resources.pool).is_err() {
        return Parted::Over;
    }
    for _ in 0..READS {
        match end.receive(&mut resources.scratch.read) {
            Ok(Received::Bytes(_)) => {}
            Ok(Received::Nothing) => return Parted::Waits,
            // It hears what is still to be sent, though it says nothing more. Then another read tells.
            Ok(Received::Eof) if end.unsent() > 0 => {
                end.reading = Reading::Over;
                return Parted::Waits;
            }
            Ok(Received::Eof) | Err(_) => return Parted::Over,
        }
    }
    Parted::Reads
}
