//! What a relay thread tells of its sessions, and does to one, when an administrator asks.

use super::Reactor;
use crate::ipc::inquiry::{Connection, Inquiry};
use crate::relay::step::Ending;

impl Reactor {
    /// The sessions that are concerned; one that is to be cut is over then.
    pub(super) fn told(&mut self, inquiry: Inquiry) -> Vec<Connection> {
        let now = self.resources.now;
        let number = match inquiry {
            Inquiry::List => {
                let sessions = self.sessions.iter();
                return sessions.map(|(_, entry)| entry.session.told(now)).collect();
            }
            Inquiry::Cut(number) => number,
        };
        let found = {
            let mut sessions = self.sessions.iter();
            let found = sessions.find(|(_, entry)| entry.session.number() == number);
            found.map(|(key, entry)| {
                entry.session.tell_of_cut();
                (key, entry.session.told(now))
            })
        };
        let Some((key, told)) = found else {
            return Vec::new();
        };
        self.finish(key, Ending::Reset);
        vec![told]
    }
}
