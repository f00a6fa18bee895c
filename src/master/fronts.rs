//! Programs in place of clients (`exec` with `connect`): the master has each one started and gives its socket
//! to a worker, as it does with a connection that it accepted. Never in here: a program's bytes.

use std::io;
use std::time::{Duration, Instant};

use super::handoff::Accepted;
use super::poll::{Poll, Source};
use crate::config::Front;
use crate::helper::{Contacts, Kind, LaunchClient, LaunchRequest, Launched, Refused};
use crate::ipc::handoff::Connection;
use crate::ipc::scoreboard::Scoreboard;
use crate::log::{Log, Reason};
use crate::relay::ServiceContext;

/// How often it is looked whether a session is over, where that matters.
const TICK: Duration = Duration::from_millis(200);
/// The least time between two tries to start a program that could not be started.
const PAUSE: Duration = Duration::from_secs(1);

/// All of a generation.
#[derive(Debug)]
pub(super) struct Fronts {
    all: Vec<Program>,
    client: Option<LaunchClient>,
    scoreboard: Scoreboard,
    log: Log,
}

/// One of them.
#[derive(Debug)]
struct Program {
    service: usize,
    name: String,
    timeout: Duration,
    retry: Option<Duration>,
    log: Log,
    stage: Stage,
    /// That it begins is said; as in stunnel, not again when it is retried.
    announced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To be started then.
    Due(Instant),
    /// The launcher was asked, by the question of this number; given up then.
    Asked(u64, Instant),
    /// A worker has its session, which counts as soon as the service has accepted more than these; to be
    /// looked at then.
    Running(u64, Instant),
    /// It does not come again.
    Over,
}

impl Fronts {
    /// Starts none yet.
    pub(super) fn new(services: &[ServiceContext], scoreboard: Scoreboard, log: Log) -> Fronts {
        let all = services.iter().enumerate().filter_map(|(index, service)| {
            let config = &service.config;
            let program = config.program.as_deref()?;
            (config.front == Front::Program).then(|| Program {
                service: index,
                name: config.name.clone(),
                timeout: config.timeouts.connect,
                retry: program.retry,
                log: Log {
                    level: config.debug,
                    ..log
                },
                stage: Stage::Due(Instant::now()),
                announced: false,
            })
        });
        Fronts {
            all: all.collect(),
            client: None,
            scoreboard,
            log,
        }
    }

    /// Gets to know the launcher, if it has to start anything here.
    pub(super) fn meet(&mut self, contacts: &Contacts, poll: &Poll) {
        if self.all.is_empty() {
            return;
        }
        if let Some(client) = self.client.take() {
            poll.remove(&client);
        }
        let met = contacts.introduce(Kind::Launcher).and_then(|socket| {
            poll.add(&socket, Source::Launcher)?;
            io::Result::Ok(LaunchClient::new(socket))
        });
        match met {
            Ok(client) => self.client = Some(client),
            Err(error) => crate::error!(self.log, "The launcher: {}", Reason(&error)),
        }
        // The one that is gone answers nothing.
        for program in &mut self.all {
            if let Stage::Asked(..) = program.stage {
                program.failed(&Refused::by_death());
            }
        }
    }

    /// Starts those that are due.
    pub(super) fn start_due(&mut self, now: Instant) {
        for program in &mut self.all {
            match program.stage {
                Stage::Due(at) if at <= now => {
                    program.announce();
                    let asked = self.client.as_mut().ok_or_else(Refused::by_death);
                    match asked.and_then(|client| client.ask(program.request())) {
                        Ok(id) => program.stage = Stage::Asked(id, now + program.timeout),
                        Err(refused) => program.failed(&refused),
                    }
                }
                Stage::Asked(_, until) if until <= now => {
                    let text =
                        "TIMEOUTconnect exceeded: the process that starts programs does not answer";
                    program.failed(&Refused(text.to_owned()));
                }
                Stage::Running(accepted, at) if at <= now => {
                    let board = &self.scoreboard;
                    let since = board.counts(program.service).accepted > accepted;
                    program.look(since && board.active(program.service) == 0, now);
                }
                _ => {}
            }
        }
    }

    /// What was started: the number of a new connection goes to each.
    pub(super) fn started(
        &mut self,
        poll: &Poll,
        mut number: impl FnMut() -> u64,
    ) -> Vec<Accepted> {
        let answers = self.client.as_mut().map(LaunchClient::answers);
        // A dead launcher's socket is ready for ever: polled until there is another launcher, it would take
        // a whole processor.
        if let Some(client) = self.client.take_if(|client| client.is_gone()) {
            poll.remove(&client);
        }
        let mut started = Vec::new();
        for (id, answer) in answers.into_iter().flatten() {
            let asked = |program: &&mut Program| matches!(program.stage, Stage::Asked(asked, _) if asked == id);
            // The program of one that was given up reads an end of file.
            let Some(program) = self.all.iter_mut().find(asked) else {
                continue;
            };
            match answer {
                Ok(launched) => {
                    let counts = self.scoreboard.counts(program.service);
                    started.push(program.run(launched, counts.accepted, number()));
                }
                Err(refused) => program.failed(&refused),
            }
        }
        started
    }

    /// When [`Fronts::start_due`] is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let due = self.all.iter().filter_map(|program| match program.stage {
            Stage::Due(at) | Stage::Asked(_, at) | Stage::Running(_, at) => Some(at),
            Stage::Over => None,
        });
        due.min()
    }

    /// None is started any more: another generation serves.
    pub(super) fn stop(&mut self) {
        self.all.clear();
    }
}

impl Program {
    fn announce(&mut self) {
        if !std::mem::replace(&mut self.announced, true) {
            let name = &self.name;
            crate::debug!(self.log, "Starting exec+connect service [{name}]");
        }
    }

    fn request(&self) -> LaunchRequest {
        LaunchRequest {
            id: 0,
            service: self.service,
            peer: None,
            names: None,
        }
    }

    fn run(&mut self, launched: Launched, accepted: u64, number: u64) -> Accepted {
        if let Some(terminal) = &launched.started.terminal {
            crate::debug!(self.log, "TTY={terminal} allocated");
        }
        let pid = launched.started.pid;
        crate::info!(self.log, "Local mode child started (PID={pid})");
        self.stage = match self.retry {
            Some(_) => Stage::Running(accepted, Instant::now() + TICK),
            None => Stage::Over,
        };
        Accepted {
            socket: launched.socket,
            connection: Connection {
                number,
                service: self.service,
                peer: None,
                warrant: None,
            },
            key: None,
        }
    }

    fn failed(&mut self, why: &Refused) {
        crate::error!(
            self.log,
            "Failed to start exec+connect service [{}]: {why}",
            self.name
        );
        self.stage = match self.retry {
            Some(retry) => Stage::Due(Instant::now() + retry.max(PAUSE)),
            None => Stage::Over,
        };
    }

    /// Its session is over, or not: then it is due again.
    fn look(&mut self, over: bool, now: Instant) {
        self.stage = match (self.stage, self.retry) {
            (_, Some(retry)) if over => {
                crate::info!(self.log, "Retrying an exec+connect section");
                Stage::Due(now + retry)
            }
            (Stage::Running(accepted, _), _) => Stage::Running(accepted, now + TICK),
            (stage, _) => stage,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::channel::Channel;
    use crate::log::Id;
    use nix::sys::epoll::EpollTimeout;
    use std::os::fd::AsFd;

    fn program(retry: Option<Duration>) -> Program {
        Program {
            service: 0,
            name: "x".into(),
            timeout: Duration::from_secs(1),
            retry,
            log: Log {
                level: 0,
                id: Id::Main,
                from: None,
            },
            stage: Stage::Running(4, Instant::now()),
            announced: true,
        }
    }

    #[test]
    fn a_program_comes_again_after_its_session_and_the_pause() {
        let retry = Duration::from_secs(9);
        let mut program = program(Some(retry));
        let now = Instant::now();
        program.look(false, now);
        assert_eq!(program.stage, Stage::Running(4, now + TICK));
        program.look(true, now);
        assert_eq!(program.stage, Stage::Due(now + retry));
    }

    #[test]
    fn one_that_cannot_be_started_is_tried_again_only_with_retry_and_not_at_once() {
        let before = Instant::now();
        let mut eager = program(Some(Duration::ZERO));
        eager.failed(&Refused::by_death());
        assert!(matches!(eager.stage, Stage::Due(at) if at >= before + PAUSE));
        let mut single = program(None);
        single.failed(&Refused::by_death());
        assert_eq!(single.stage, Stage::Over);
    }

    #[test]
    fn a_dead_launcher_is_polled_no_more_and_its_question_is_lost() {
        let poll = Poll::new().unwrap();
        let (ours, theirs) = Channel::pair().unwrap();
        poll.add(&ours, Source::Launcher).unwrap();
        // A copy, as in a child that was just forked: closing alone would not do.
        let _copy = ours.as_fd().try_clone_to_owned().unwrap();
        let mut asking = program(Some(Duration::ZERO));
        asking.stage = Stage::Due(Instant::now());
        let mut fronts = Fronts {
            log: asking.log,
            all: vec![asking],
            client: Some(LaunchClient::new(ours.into())),
            scoreboard: Scoreboard::new(1, 1).unwrap(),
        };
        fronts.start_due(Instant::now());
        assert!(matches!(fronts.all[0].stage, Stage::Asked(..)));
        drop(theirs);
        assert_eq!(poll.wait(EpollTimeout::ZERO).unwrap(), [Source::Launcher]);
        assert!(fronts.started(&poll, || 0).is_empty());
        assert_eq!(poll.wait(EpollTimeout::ZERO).unwrap(), []);
        assert!(matches!(fronts.all[0].stage, Stage::Due(_)));
        // Until there is another, each try fails, and waits for the next.
        let later = Instant::now() + Duration::from_secs(9);
        fronts.start_due(later);
        assert!(matches!(fronts.all[0].stage, Stage::Due(_)));
    }
}
