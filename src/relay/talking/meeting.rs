//! Where both ends meet within TLS: either may speak first, also on a connection to the server that is made anew. Never in
//! here: a word that was said to another.

use std::time::Instant;

use super::{SIDES, Talking};
use crate::protocol::Side;
use crate::relay::end::End;
use crate::relay::ends::Ends;
use crate::relay::step::{Context, Ending, broken};

impl Talking {
    /// Whether the dialogue wants another connection to the server: [`Talking::meet`] goes on with it.
    pub(crate) fn leaves_the_server(&self) -> bool {
        self.anew
    }

    /// Goes on when the server is connected anew, with TLS.
    ///
    /// # Errors
    /// As [`Talking::step`].
    pub(crate) fn meet(
        mut self,
        ends: &mut Ends<'_>,
        context: &mut Context<'_>,
    ) -> Result<Self, Ending> {
        meet_each_other(ends, context)?;
        self.anew = false;
        let bound = ends.end(Side::Back).and_then(|back| back.local_address());
        self.connected(bound, ends, context)
    }

    /// When its patience ends, while the server is connected anew.
    pub(crate) fn patience(&self) -> Option<Instant> {
        self.timer
    }
}

/// Either end may speak first now: no handshake's end waits for words that it could go with.
pub(super) fn meet_each_other(
    ends: &mut Ends<'_>,
    context: &mut Context<'_>,
) -> Result<(), Ending> {
    if let Some(back) = ends.end(Side::Back) {
        greets_first(back, context);
    }
    for side in SIDES {
        let Some(end) = ends.end(side) else { continue };
        let released = end.release(&mut context.resources.pool);
        released.map_err(|errno| broken(&context.common.log, "s_write", errno))?;
    }
    Ok(())
}

/// What the server greeted with comes before what it has said within TLS since, and is no answer to a login.
pub(super) fn greets_first(back: &mut End, context: &mut Context<'_>) {
    let greeting = std::mem::take(&mut context.common.greeting);
    if !greeting.is_empty() {
        let pool = &mut context.resources.pool;
        let since = back.plain.bytes().to_vec();
        back.plain.clear(pool);
        back.plain.push(&greeting, pool);
        back.plain.push(&since, pool);
    }
}
