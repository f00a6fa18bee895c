//! Helpers that do not answer the sessions of a relay thread: the master is told, and the supervisor looks whether they
//! stand still. Never in here: a wait.

use std::time::{Duration, Instant};

use crate::helper::Kind;
use crate::ipc::channel::Channel;
use crate::ipc::words::{FromWorker, say_now};
use crate::relay::resources::Resources;

/// How often the same is said at most: many sessions may wait in vain at a time.
const PAUSE: Duration = Duration::from_secs(1);

/// What is said of helpers.
#[derive(Debug)]
pub(super) struct Complaints {
    master: Option<Channel>,
    /// When each kind was complained of last.
    made: Vec<(Kind, Instant)>,
}

impl Complaints {
    /// Without a master nothing is said.
    pub(super) fn to(master: Option<Channel>) -> Complaints {
        Complaints {
            master,
            made: Vec::new(),
        }
    }

    /// Tells what sessions have found in this turn.
    #[inline]
    pub(super) fn make(&mut self, resources: &mut Resources) {
        if !resources.silent.is_empty() {
            self.tell(resources);
        }
    }

    #[cold]
    fn tell(&mut self, resources: &mut Resources) {
        let now = resources.now;
        self.made
            .retain(|(_, at)| now.saturating_duration_since(*at) < PAUSE);
        for kind in resources.silent.drain(..) {
            let is_new = !self.made.iter().any(|(made, _)| *made == kind);
            if let Some(master) = self.master.as_ref().filter(|_| is_new) {
                // A master that has no room for it is told the next time.
                let _ = say_now(master, &FromWorker::Silent(kind), &[]);
                self.made.push((kind, now));
            }
        }
    }
}
