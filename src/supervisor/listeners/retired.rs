//! Listeners that take no new connection, until no handshake with them is under way and their queues are empty.
//! Never in here: a word to a master.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Instant;

use super::{Listeners, Listening, Served};
use crate::ipc::retire;
use crate::sys::handshakes::{self, Handshake};

/// A retired listener: whichever master serves takes what is in its queue.
#[derive(Debug)]
pub(super) struct Retired {
    pub(super) listening: Rc<Listening>,
    /// The service whose it was.
    name: String,
    /// The service, of those in force, that its clients go to.
    service: usize,
    /// The handshakes with it that are under way, as far as the kernel tells.
    under_way: Option<HashSet<Handshake>>,
    /// There may be some until then.
    until: Instant,
}

/// What is left of the retired listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) struct Left {
    /// Some are.
    pub any: bool,
    /// There were some, and no handshake with them is under way any more.
    pub settled: bool,
}

impl Retired {
    /// Retires what this service had. `None` where that cannot be: then the master takes what is in the queue, and
    /// closes it.
    pub(super) fn new(listening: Rc<Listening>, name: String) -> Option<Retired> {
        retire::retire(listening.socket.as_fd()).ok()?;
        let port = listening.port();
        Some(Retired {
            under_way: port.and_then(|port| handshakes::under_way(port).ok()),
            listening,
            name,
            service: 0,
            until: Instant::now() + retire::LAST_HANDSHAKES,
        })
    }

    /// Whether a handshake is under way that began before it was retired. None can begin after.
    fn shakes_hands(&mut self, now: Instant) -> bool {
        if now >= self.until {
            return false;
        }
        let (Some(port), Some(before)) = (self.listening.port(), &mut self.under_way) else {
            return true;
        };
        if !before.is_empty() {
            match handshakes::under_way(port) {
                Ok(still) => before.retain(|one| still.contains(one)),
                Err(_) => return true,
            }
        }
        !before.is_empty()
    }

    fn is_empty(&self) -> bool {
        retire::is_empty(self.listening.socket.as_fd())
    }
}

impl Listeners {
    /// What a retired listener has goes to the service of its name if that has the port, or else to another that
    /// has it; where none has it any more, the listener goes.
    pub(super) fn assign_the_retired(&mut self) {
        let (open, served) = (&self.open, &self.served);
        self.retired.retain_mut(|retired| {
            let port = retired.listening.port();
            let has_it = |served: &&Served| open.get(&served.key).is_some_and(|l| l.port() == port);
            let mut same = served.iter().filter(|served| served.name == retired.name);
            let heir = same.find(has_it).or_else(|| served.iter().find(has_it));
            retired.service = heir.map_or(0, |heir| heir.service);
            heir.is_some()
        });
    }

    /// Retired listeners that are still kept, each with the index of the service that its clients go to.
    pub(in crate::supervisor) fn retired(&self) -> Vec<(usize, BorrowedFd<'_>)> {
        let retired = self.retired.iter();
        retired
            .map(|r| (r.service, r.listening.socket.as_fd()))
            .collect()
    }

    /// Closes retired listeners with which no handshake is under way and whose queue is empty.
    pub(in crate::supervisor) fn close_the_retired(&mut self) -> Left {
        let now = Instant::now();
        let mut settled = !self.retired.is_empty();
        // In this order: a handshake that ends between the two looks is in the queue by then.
        self.retired.retain_mut(|retired| {
            let shakes_hands = retired.shakes_hands(now);
            settled &= !shakes_hands;
            shakes_hands || !retired.is_empty()
        });
        Left {
            any: !self.retired.is_empty(),
            settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn where_the_kernel_does_not_tell_handshakes_have_their_time() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let listening = Listening {
            socket: socket.into(),
            address,
            listens: Cell::new(true),
        };
        let now = Instant::now();
        let mut retired = Retired {
            listening: Rc::new(listening),
            name: String::new(),
            service: 0,
            under_way: None,
            until: now + retire::LAST_HANDSHAKES,
        };
        assert!(retired.shakes_hands(now));
        assert!(!retired.shakes_hands(retired.until));
        // It tells of none; then of one that has ended by now.
        for under_way in [HashSet::new(), HashSet::from([[7; 36]])] {
            retired.under_way = Some(under_way);
            assert!(!retired.shakes_hands(now));
        }
    }
}
