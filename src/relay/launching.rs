//! Starting the program behind a service, which a helper does: sessions execute nothing. The front is watched
//! meanwhile.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::connecting::{Connection, watch_front};
use super::end::End;
use super::resources::Resources;
use super::step::{Context, Ending};
use crate::helper::{Kind, LaunchRequest, Launched, Refused};
use crate::incidents::{Cause, Diagnosis};
use crate::log;
use crate::tls::{Introduction, Stream};
use crate::{debug, error, info};

/// Where the process that starts programs does not answer.
const REMEDY: &str = "it waits for a file system, or was stopped: `ps` shows it as adit: launcher";

/// See the module.
#[derive(Debug)]
pub(crate) struct Launching {
    state: State,
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    /// The helper was asked, by the question of this number.
    Asked(u64),
    Answered(Result<Launched, Refused>),
}

/// How far it got.
#[derive(Debug)]
pub(crate) enum Step {
    /// It waits for an event or its time.
    Waiting(Launching),
    /// The program runs.
    Running(Connection),
}

impl Launching {
    /// Asks for the program, and says who its client is.
    pub(crate) fn begin(front: &End, context: &mut Context<'_>) -> Self {
        let (common, resources) = (&*context.common, &mut *context.resources);
        let shown = front.tls.as_ref().and_then(Stream::introduction);
        let request = LaunchRequest {
            id: 0,
            service: common.index(),
            peer: common.peer,
            names: shown.and_then(Introduction::subject_and_issuer),
        };
        let deadline = resources.now + common.config().timeouts.connect;
        let state = match resources.launch(common.key, request) {
            Ok(id) => State::Asked(id),
            Err(refused) => State::Answered(Err(refused)),
        };
        Self { state, deadline }
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Instant {
        self.deadline
    }

    /// Takes the answer to question `id`.
    pub(crate) fn answer(&mut self, id: u64, answer: Result<Launched, Refused>) {
        if matches!(self.state, State::Asked(asked) if asked == id) {
            self.state = State::Answered(answer);
        }
    }

    /// Goes on until it must wait, or the program runs.
    ///
    /// # Errors
    /// It was not started, or not in time; the client is gone.
    pub(crate) fn step(self, front: &mut End, mut context: Context<'_>) -> Result<Step, Ending> {
        if let Err(ending) = watch_front(front, &mut context) {
            self.release(context.resources);
            return Err(ending);
        }
        let log = context.common.log;
        let launched = match self.state {
            State::Asked(_) if context.resources.now < self.deadline => {
                return Ok(Step::Waiting(self));
            }
            State::Asked(_) => {
                let reason = "exec: TIMEOUTconnect exceeded: the process that starts programs does not answer";
                error!(log, "{reason} ({REMEDY})");
                context.resources.is_silent(Kind::Launcher);
                self.release(context.resources);
                return Err(give_up(reason, REMEDY, &context));
            }
            State::Answered(Err(refused)) => {
                error!(log, "{refused}");
                return Err(give_up(refused.to_string(), "", &context));
            }
            State::Answered(Ok(launched)) => launched,
        };
        if let Some(terminal) = &launched.started.terminal {
            debug!(log, "TTY={terminal} allocated");
        }
        info!(
            log,
            "Local mode child started (PID={})", launched.started.pid
        );
        let key = context.common.key | 1;
        if let Err(error) = context.resources.poller.add(launched.socket.as_fd(), key) {
            error!(log, "epoll_ctl: {}", log::Reason(&error));
            return Err(Ending::Reset);
        }
        Ok(Step::Running(Connection::with_a_program(launched.socket)))
    }

    /// Gives back what it holds.
    pub(crate) fn release(self, resources: &mut Resources) {
        match self.state {
            State::Asked(id) => drop(resources.launches.remove(&id)),
            State::Answered(_) => {}
        }
    }
}

fn give_up(reason: impl Into<String>, remedy: &'static str, context: &Context<'_>) -> Ending {
    context.keep(&Diagnosis::new(Cause::Program, reason, remedy));
    let row = context.resources.row(context.common.index());
    row.connect_failed().fetch_add(1, Relaxed);
    Ending::Reset
}
