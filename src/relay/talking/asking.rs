//! A dialogue that waits for the addresses of a name. Never in here: a connection.

use std::net::IpAddr;

use super::Talking;
use crate::protocol::Event;
use crate::relay::Upstream;
use crate::relay::ends::Ends;
use crate::relay::step::{Context, Ending};

impl Talking {
    /// Asks what the dialogue wants to know, and gives it the answer.
    pub(super) fn look_up(
        &mut self,
        ends: &mut Ends<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        let Some((mut lookup, until)) = self.lookup.take() else {
            return Ok(());
        };
        let (common, resources) = (&*context.common, &mut *context.resources);
        lookup.ask(common.key, common.index(), &common.log, resources);
        let found = match lookup.done() {
            Some(found) => found,
            None if resources.now < until => {
                self.lookup = Some((lookup, until));
                return Ok(());
            }
            None => lookup.give_up(&common.log, resources),
        };
        let addresses: Vec<IpAddr> = found.iter().filter_map(Upstream::ip).collect();
        self.after = self.feed(Event::Answer(&addresses), ends, context)?;
        Ok(())
    }
}
