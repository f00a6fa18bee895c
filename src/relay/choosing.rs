//! Chooses the service by the name that the client asks for (SNI): reads its hello, which stays where it
//! is for the handshake, and hands the session to that service. What is no hello, and a client that is
//! gone, are left to the handshake to complain of.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::end::{End, Reading, Received};
use super::failing;
use super::handshaking::{self, failed, receive};
use super::step::{Context, Ending, Next, broken};
use crate::ipc::scoreboard::HandshakeFailure;
use crate::tls::hello::{self, Arriving};
use crate::{debug, error, info, notice};

/// See the module.
#[derive(Debug)]
pub(crate) struct Choosing {
    deadline: Instant,
    arriving: Arriving,
}

impl Choosing {
    /// Begins to wait for the hello.
    pub(crate) fn begin(end: &mut End, context: &mut Context<'_>) -> Self {
        // A dialogue may have heard it.
        end.take_back(&mut context.resources.pool);
        Self {
            deadline: context.resources.now + context.common.config().timeouts.busy,
            arriving: Arriving::default(),
        }
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Instant {
        self.deadline
    }

    /// Goes on until it must wait for the client, or the service is chosen.
    ///
    /// # Errors
    /// It took too long, or the client reset the connection.
    pub(crate) fn step(
        mut self,
        end: &mut End,
        other: Option<&End>,
        mut context: Context<'_>,
    ) -> Result<Next<Self>, Ending> {
        let log = context.common.log;
        if context.resources.now >= self.deadline {
            info!(log, "{}: sending reset", handshaking::TOO_LATE);
            let late = failing::late(handshaking::TOO_LATE, handshaking::BUSY_CLIENT);
            failed(HandshakeFailure::Vanished, &late, &context);
            return Err(Ending::Reset);
        }
        if other.is_some_and(End::failed) {
            return Ok(Next::Advance);
        }
        if let Err(errno) = end.flush(&mut context.resources.pool) {
            failed(
                HandshakeFailure::Vanished,
                &failing::lost("SSL_accept", errno),
                &context,
            );
            return Err(broken(&log, "SSL_accept", errno));
        }
        loop {
            if self.arriving.is_worth_reading(end.input.bytes()) {
                match hello::read(end.input.bytes()) {
                    hello::Reading::Incomplete => {}
                    hello::Reading::Hello(hello) => {
                        choose(hello.server_name.as_deref(), end, &mut context);
                        return Ok(Next::Advance);
                    }
                    hello::Reading::NotTls | hello::Reading::Malformed(_) => {
                        return Ok(Next::Advance);
                    }
                }
            }
            if end.reading == Reading::Over {
                return Ok(Next::Advance);
            }
            if !end.readable() {
                return Ok(Next::Wait(self));
            }
            match receive(end, &mut context.resources.pool) {
                Ok(Received::Bytes(_)) => context.common.is_heard(),
                Ok(Received::Nothing) => return Ok(Next::Wait(self)),
                Ok(Received::Eof) => end.reading = Reading::Over,
                Err(_) if end.input.is_empty() => return Err(context.common.has_left()),
                Err(errno) => {
                    failed(
                        HandshakeFailure::Vanished,
                        &failing::lost("SSL_accept", errno),
                        &context,
                    );
                    return Err(broken(&log, "SSL_accept", errno));
                }
            }
        }
    }
}

/// Hands the session to the service for clients that ask for `name`; to its own, where there is none.
fn choose(name: Option<&str>, end: &End, context: &mut Context<'_>) {
    let log = context.common.log;
    let Some(name) = name else {
        notice!(log, "SNI: no servername received");
        return;
    };
    info!(log, "SNI: requested servername: {name}");
    let hosts = context.common.service().hosts.as_ref();
    let Some(host) = hosts.and_then(|hosts| hosts.find(name)) else {
        error!(log, "SNI: no pattern matched servername: {name}");
        return;
    };
    debug!(log, "SNI: matched pattern: {}", host.pattern);
    let (before, chosen) = (context.common.index(), host.service);
    context.common.switch(chosen, end);
    let service = &context.common.config().name;
    notice!(log, "SNI: switched to service [{service}]");
    let resources = &*context.resources;
    resources.row(before).active().fetch_sub(1, Relaxed);
    resources.row(chosen).active().fetch_add(1, Relaxed);
    // The primary has accepted it all the same.
    resources.row(chosen).accepted().fetch_add(1, Relaxed);
}
