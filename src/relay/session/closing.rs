//! How the ends of a session are closed, and stunnel's word for it. Never in here: a wait for a peer.

use std::os::fd::AsFd;

use crate::protocol::Side;
use crate::relay::end::{End, Writing};
use crate::relay::resources::Resources;
use crate::relay::session::life::Life;
use crate::relay::step::Ending;

fn is_reset(side: Side, ending: Ending, reset: bool) -> bool {
    match ending {
        Ending::Closed => false,
        Ending::Reset => reset,
        Ending::Alerted(alerted) | Ending::Blinded(alerted, _) => reset && side != alerted,
    }
}

/// stunnel's word for it: of the remote side, then of the local one if that went otherwise.
pub(super) fn close_status(ending: Ending, reset: bool) -> &'static str {
    let remote = is_reset(Side::Back, ending, reset);
    let local = is_reset(Side::Front, ending, reset);
    match (remote, local) {
        (true, true) => "reset",
        (true, false) => "reset/closed",
        (false, true) => "closed/reset",
        (false, false) => "closed",
    }
}

/// Lets go of the stage and closes the ends as the session ended, but for that of the side that is `kept`.
pub(super) fn close(
    life: Life,
    kept: Option<Side>,
    ending: Ending,
    reset: bool,
    resources: &mut Resources,
) -> Option<End> {
    let ends = match life {
        Life::Alone(front, phase) => {
            phase.release(resources);
            [None, Some((Side::Front, front))]
        }
        Life::Joined(pair, phase) => {
            phase.release(resources);
            [
                Some((Side::Back, pair.back)),
                Some((Side::Front, pair.front)),
            ]
        }
        Life::Leaving(side, end) => [None, Some((side, end))],
        Life::Between => [None, None],
    };
    let mut found = None;
    for (side, end) in ends.into_iter().flatten() {
        match kept == Some(side) {
            true => found = Some(end),
            false => close_end(end, side, ending, reset, resources),
        }
    }
    found
}

/// Closes an end as its session ended.
fn close_end(mut end: End, side: Side, ending: Ending, reset: bool, resources: &mut Resources) {
    if is_reset(side, ending, reset) {
        // The socket is closed anyway; without the option it ends by a FIN.
        let _ = end.reset_on_close();
    } else {
        if ending == Ending::Closed && end.writing == Writing::Open {
            // A dialogue that ends within TLS ends with close_notify. A peer that cannot be reached any more
            // needs none.
            let _ = end.finish(&mut resources.scratch.tls, &mut resources.pool);
        }
        if ending == Ending::Alerted(side) || end.writing != Writing::Over {
            end.let_last_words_arrive(&mut resources.scratch.read, &mut resources.pool);
        }
    }
    let socket = end.into_socket(&mut resources.pool);
    if side == Side::Front {
        // The master may still have it: then closing it would not take it off, and what comes
        // in later would wake this thread for nothing.
        resources.poller.remove(socket.as_fd());
    }
    resources.closing.push(socket);
}
