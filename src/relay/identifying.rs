//! Whether a connection belongs to the user of `ident`, as the client's machine says (RFC 1413). It is asked from
//! the address that the client has connected to: an identd knows the connection by both.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use super::admitting::{count, refused};
use super::connecting::watch_front;
use super::end::{End, Received, take_error};
use super::handshaking::receive;
use super::outbound::{self, Progress, Refusal};
use super::poller::Readiness;
use super::resources::Resources;
use super::step::{Context, Ending, Next};
use super::{Address, Reason, UNSPECIFIED, Upstream};
use crate::log;
use crate::protocol::ident::{self, Ports};
use crate::{debug, error, info, warning};

/// Where an identd listens.
const PORT: u16 = 113;

/// What helps where it cannot be asked.
const NEEDS_IDENTD: &str =
    "with `ident` the client's machine must have an identd that this one reaches";

/// See the module.
#[derive(Debug)]
pub(crate) struct Identifying {
    client: SocketAddr,
    ports: Ports,
    state: State,
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    /// connect(2) is to be called.
    New { from: IpAddr },
    /// It is under way.
    Connecting(OwnedFd, Readiness),
    /// The question is on its way, or the answer.
    Asking(Box<End>),
}

impl Identifying {
    /// Begins; `None`: the client has no address at which one could ask.
    pub(crate) fn begin(front: &End, context: &Context<'_>) -> Option<Self> {
        let Some(mut client) = context.common.peer else {
            info!(context.common.log, "IDENT not supported on Unix sockets");
            return None;
        };
        let server = context.common.reached(front).unwrap_or(UNSPECIFIED);
        let mut from = server.ip().to_canonical();
        let introduced = context.common.introduced.as_ref();
        if introduced.is_some_and(|introduced| introduced.addresses.is_some()) {
            // It is the balancer's.
            from = UNSPECIFIED.ip();
        }
        if let (SocketAddr::V6(client), SocketAddr::V6(server)) = (&mut client, server)
            && server.ip().is_unicast_link_local()
        {
            // It is reached by the interface that it came by, which has no other such address.
            client.set_scope_id(server.scope_id());
            from = UNSPECIFIED.ip();
        }
        Some(Self {
            client,
            ports: Ports {
                client: client.port(),
                server: server.port(),
            },
            state: State::New { from },
            deadline: context.resources.now + context.common.config().timeouts.connect,
        })
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Instant {
        self.deadline
    }

    /// Takes note of an event on the connection to the identd.
    pub(crate) fn note(&mut self, ready: Readiness) {
        match &mut self.state {
            State::New { .. } => {}
            State::Connecting(_, noted) => noted.merge(ready),
            State::Asking(end) => end.note(ready),
        }
    }

    /// Goes on until it must wait, or the user is the right one.
    ///
    /// # Errors
    /// It is not, or cannot be known; the client is gone.
    pub(crate) fn step(
        mut self,
        front: &mut End,
        mut context: Context<'_>,
    ) -> Result<Next<Self>, Ending> {
        let turn = watch_front(front, &mut context).and_then(|()| self.go_on(&mut context));
        match turn {
            Ok(None) => return Ok(Next::Wait(self)),
            Ok(Some(())) => {}
            Err(ending) => {
                self.release(context.resources);
                return Err(ending);
            }
        }
        self.release(context.resources);
        Ok(Next::Advance)
    }

    fn go_on(&mut self, context: &mut Context<'_>) -> Result<Option<()>, Ending> {
        loop {
            match &mut self.state {
                State::New { from } => {
                    let from = *from;
                    self.connect(from, context)?;
                }
                State::Connecting(socket, ready) => {
                    let happened = ready.writable || ready.failed || ready.hung_up;
                    match happened.then(|| take_error(socket)) {
                        Some(None) => self.ask(context)?,
                        Some(Some(errno)) => return Err(self.unreachable(Reason(errno), context)),
                        None if context.resources.now < self.deadline => return Ok(None),
                        None => return Err(self.unreachable("TIMEOUTconnect exceeded", context)),
                    }
                }
                State::Asking(_) => return self.hear(context),
            }
        }
    }

    fn connect(&mut self, from: IpAddr, context: &mut Context<'_>) -> Result<(), Ending> {
        let (common, resources) = (&*context.common, &mut *context.resources);
        let upstream = Upstream::Tcp(self.identd(), String::new());
        let local = Some(from).filter(|from| !from.is_unspecified());
        let (socket, progress) =
            match outbound::begin(&upstream, common.config(), local, &common.log) {
                Ok(begun) => begun,
                Err(Refusal::NoSocket(errno) | Refusal::Connect(errno) | Refusal::Bind(errno)) => {
                    return Err(self.unreachable(Reason(errno), context));
                }
                Err(Refusal::Family | Refusal::Full) => {
                    return Err(self.unreachable("no way leads there", context));
                }
            };
        // The back's key: there is none yet.
        if let Err(error) = resources.poller.add_both(socket.as_fd(), common.key | 1) {
            error!(common.log, "epoll_ctl: {}", log::Reason(&error));
            return Err(Ending::Reset);
        }
        let ready = Readiness {
            writable: progress == Progress::Connected,
            ..Readiness::default()
        };
        self.state = State::Connecting(socket, ready);
        Ok(())
    }

    fn identd(&self) -> SocketAddr {
        let mut identd = self.client;
        identd.set_port(PORT);
        match identd.ip().to_canonical() {
            IpAddr::V4(v4) => SocketAddr::new(v4.into(), PORT),
            // With its interface.
            IpAddr::V6(_) => identd,
        }
    }

    /// The identd is connected.
    fn ask(&mut self, context: &mut Context<'_>) -> Result<(), Ending> {
        let log = context.common.log;
        let unasked = State::New {
            from: UNSPECIFIED.ip(),
        };
        if let State::Connecting(socket, ready) = std::mem::replace(&mut self.state, unasked) {
            debug!(log, "IDENT server connected");
            let mut end = Box::new(End::new(socket, true, true));
            end.note(ready);
            self.deadline = context.resources.now + context.common.config().timeouts.busy;
            let question = ident::question(self.ports);
            let sent = end.queue(question.as_bytes(), &mut context.resources.pool);
            self.state = State::Asking(end);
            sent.map_err(|errno| self.unreachable(Reason(errno), context))?;
        }
        Ok(())
    }

    fn hear(&mut self, context: &mut Context<'_>) -> Result<Option<()>, Ending> {
        let State::Asking(end) = &mut self.state else {
            return Ok(None);
        };
        if context.resources.now >= self.deadline {
            return Err(self.unreachable("TIMEOUTbusy exceeded", context));
        }
        let heard = end.flush(&mut context.resources.pool);
        let heard = heard.and_then(|_| receive(end, &mut context.resources.pool));
        // What came together with the end, or with a reset, counts.
        match (ident::read(end.input.bytes(), self.ports), heard) {
            (Ok(Some(user)), _) => self.judge(&user, context).map(Some),
            (Err(wrong), _) => {
                error!(context.common.log, "{wrong}");
                Err(count(wrong.to_string(), NEEDS_IDENTD, context))
            }
            (Ok(None), Ok(Received::Bytes(_) | Received::Nothing)) if end.readable() => {
                self.hear(context)
            }
            (Ok(None), Ok(Received::Bytes(_) | Received::Nothing)) => Ok(None),
            (Ok(None), Ok(Received::Eof)) => {
                Err(self.unreachable("it closed the connection without an answer", context))
            }
            (Ok(None), Err(errno)) => Err(self.unreachable(Reason(errno), context)),
        }
    }

    fn judge(&self, user: &str, context: &mut Context<'_>) -> Result<(), Ending> {
        let log = context.common.log;
        if context.common.config().admission.ident.as_deref() == Some(user) {
            info!(log, "IDENT authentication passed");
            return Ok(());
        }
        let (from, user) = (Address(Some(self.client)), user.escape_debug());
        warning!(
            log,
            "Connection from {from} REFUSED by IDENT (user \"{user}\")"
        );
        Err(count(
            format!("REFUSED by IDENT (user \"{user}\")"),
            "`ident` names the user who may connect",
            context,
        ))
    }

    /// The identd cannot be asked.
    fn unreachable(&self, why: impl std::fmt::Display, context: &mut Context<'_>) -> Ending {
        let identd = Address(Some(self.identd()));
        error!(
            context.common.log,
            "IDENT: {identd}: {why} ({NEEDS_IDENTD})"
        );
        refused("IDENT", NEEDS_IDENTD, self.client, context)
    }

    /// Gives back what it holds.
    pub(crate) fn release(self, resources: &mut Resources) {
        let socket = match self.state {
            State::New { .. } => return,
            State::Connecting(socket, _) => socket,
            State::Asking(end) => end.into_socket(&mut resources.pool),
        };
        // What comes in later is not the back's.
        resources.poller.remove(socket.as_fd());
        resources.closing.push(socket);
    }
}
