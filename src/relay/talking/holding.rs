//! A program that is held while there is no server, and what a failed try tells it. Never in here: when the next try is.

use std::time::Duration;

use super::Talking;
use crate::protocol::{self, Action, ProtocolError, Side};
use crate::relay::end::End;
use crate::relay::ends::Ends;
use crate::relay::resources::Resources;
use crate::relay::step::{Common, Context, Ending};

impl Talking {
    /// Greets a program that is held.
    ///
    /// # Errors
    /// A socket is broken.
    pub(crate) fn hold(ends: &mut Ends<'_>, context: &mut Context<'_>) -> Result<Self, Ending> {
        let config = context.common.config();
        let dialogue = protocol::held(&config.dialogue, config.login.mail.is_some());
        let mut talking = Self::new(dialogue, context);
        talking.within = true;
        talking.held = true;
        // Its time ends sooner.
        if let Some(hold) = context.common.holds() {
            talking.deadline = hold.until() + Duration::from_secs(1);
        }
        talking.start(ends, context)
    }

    /// Leaves what the program said to the next stage.
    pub(crate) fn hand_over(mut self, front: &mut End, resources: &mut Resources) {
        let rest = self.dialogue.take_rest(Side::Front);
        let since = front.plain.bytes().to_vec();
        front.plain.clear(&mut resources.pool);
        front.plain.push(&rest, &mut resources.pool);
        front.plain.push(&since, &mut resources.pool);
    }
}

/// Whether the program hears nothing of a failed try: it is held, or will be. Takes note of a failure that is for good.
pub(super) fn keeps_silent(
    failure: &ProtocolError,
    actions: &mut Vec<Action>,
    common: &mut Common,
) -> bool {
    let Some(hold) = common.holds() else {
        return false;
    };
    hold.for_good |= !failure.may_pass();
    let silent = failure.may_pass() || hold.held.is_some();
    if silent {
        actions.retain(|action| !matches!(action, Action::Send(Side::Front, _)));
    }
    silent
}
