//! What a dialogue makes of an event, done. Never in here: a read.

use zeroize::Zeroize;

use super::holding::keeps_silent;
use super::token::Wanted;
use super::{After, Talking};
use crate::config::Endpoint;
use crate::protocol::{Action, Event, Progress, Question, Side};
use crate::relay::ends::Ends;
use crate::relay::lookup::Lookup;
use crate::relay::step::{Context, Ending};
use crate::{error, log_at};

impl Talking {
    /// Gives the dialogue an event, and does what it wants done.
    pub(super) fn feed(
        &mut self,
        event: Event<'_>,
        ends: &mut Ends<'_>,
        context: &mut Context<'_>,
    ) -> Result<After, Ending> {
        let leaves = matches!(event, Event::Eof(Side::Front));
        let mut actions = std::mem::take(&mut context.resources.scratch.actions);
        let progress = self.dialogue.feed(event, &mut actions);
        let silent = match &progress {
            Err(failure) if !self.held => keeps_silent(failure, &mut actions, context.common),
            _ => false,
        };
        let told = actions
            .iter()
            .any(|action| matches!(action, Action::Send(Side::Front, _)));
        let done = actions
            .drain(..)
            .try_for_each(|action| self.perform(action, ends, context));
        context.resources.scratch.actions = actions;
        match progress {
            // The dialogue's own reason comes before that of a socket it could not reach.
            Err(_) if leaves && self.may_be_a_check(context) => Err(context.common.has_left()),
            Err(failure) => {
                let diagnosis = failure.diagnosis();
                match &*diagnosis.remedy {
                    "" => error!(context.common.log, "{failure}"),
                    remedy => error!(context.common.log, "{failure} ({remedy})"),
                }
                context.common.found(diagnosis);
                let kept = self.kept.take().filter(|kept| !kept.is_empty());
                // It was greeted by the connection before.
                let kept = kept.filter(|_| !context.common.again && !silent);
                let told = told || kept.is_some();
                if let Some(kept) = kept {
                    self.perform(Action::Send(Side::Front, kept), ends, context)?;
                }
                // A client that was told why must be able to read it.
                Err(match told {
                    true => Ending::Alerted(Side::Front),
                    false => Ending::Reset,
                })
            }
            Ok(Progress::More) => done.map(|()| After::More),
            Ok(Progress::End) => done.map(|()| After::End),
            Ok(Progress::Next) => done.map(|()| After::Next),
            Ok(Progress::Tls) => done.map(|()| After::Tls),
        }
    }

    fn perform(
        &mut self,
        action: Action,
        ends: &mut Ends<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        let log = context.common.log;
        match action {
            Action::Send(side, mut bytes) => {
                if side == Side::Front
                    && let Some(kept) = &mut self.kept
                {
                    kept.extend_from_slice(&bytes);
                    return Ok(());
                }
                context.common.greeted |= side == Side::Front;
                let resources = &mut *context.resources;
                let whole = 0..bytes.len();
                let Some(end) = ends.end(side) else {
                    error!(log, "INTERNAL ERROR: the dialogue speaks with no {side}");
                    return Err(Ending::Reset);
                };
                let said = end.say(
                    &bytes,
                    std::slice::from_ref(&whole),
                    &mut resources.scratch.write,
                    &mut resources.pool,
                );
                // It may have been a password.
                bytes.zeroize();
                if let Err(trouble) = said {
                    context.common.found(trouble.diagnosis());
                    return Err(trouble.end_dialogue(side, &log));
                }
            }
            Action::Named(name) => {
                if let Some(hold) = context.common.holds() {
                    hold.called = Some(String::from_utf8_lossy(&name).into_owned());
                }
            }
            Action::ConnectAnew => self.anew = true,
            Action::Ask(Question::Token(question)) => {
                self.wanted = Some(Box::new(Wanted::new(question, context)));
            }
            Action::Connect(target) => self.target = Some(target),
            Action::Ask(Question::Addresses(name)) => {
                let endpoint = Endpoint::Tcp {
                    host: Some(name),
                    port: 0,
                };
                let (common, resources) = (&*context.common, &mut *context.resources);
                let mut lookup = Lookup::new(&[endpoint]);
                lookup.ask(common.key, common.index(), &common.log, resources);
                let until = resources.now + common.config().timeouts.connect;
                self.lookup = Some((lookup, until));
            }
            Action::Timer(after) => self.timer = Some(context.resources.now + after),
            Action::Failed(diagnosis) => context.keep(&diagnosis),
            Action::Log(level, text) => log_at!(log, level, "{text}"),
        }
        Ok(())
    }
}
