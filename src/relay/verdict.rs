//! The verdict of OCSP responders on the certificate of one end: its handshake is done, and no byte is carried
//! before the verdict. A helper asks; neither this thread nor another session waits.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::end::{End, Reading};
use super::resources::Resources;
use super::step::{Context, Ending, Next, broken};
use crate::helper::Kind;
use crate::log::{self, Log};
use crate::protocol::Side;
use crate::tls::{Failure, Inquiry, Turn};
use crate::{error, info, notice};

/// See the module.
#[derive(Debug)]
pub(crate) struct Verdict {
    side: Side,
    inquiry: Box<Inquiry>,
    request: Request,
    /// Until when its answer is waited for.
    deadline: Instant,
}

/// What is asked just now.
#[derive(Debug)]
enum Request {
    Nothing,
    /// A body that is to be posted to a URL, once there is a helper that does.
    Unsent(String, Vec<u8>),
    /// The request of this number.
    Sent(u64),
}

impl Verdict {
    /// Begins on the end of `side`; `None`: there is nothing to ask, as of a session that is resumed.
    pub(crate) fn begin(side: Side, end: &mut End, context: &Context<'_>) -> Option<Self> {
        let inquiry = end.tls.as_mut()?.inquiry()?;
        Some(Self {
            side,
            inquiry,
            request: Request::Nothing,
            deadline: context.resources.now,
        })
    }

    /// The end that it is about.
    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Instant {
        self.deadline
    }

    /// Takes what came of request `id`.
    pub(crate) fn fetched(&mut self, id: u64, answer: Result<Vec<u8>, String>, log: &Log) {
        if matches!(self.request, Request::Sent(sent) if sent == id) {
            self.request = Request::Nothing;
            self.inquiry.answer(answer, now(), log);
        }
    }

    /// Goes on until it must wait for a responder, or the verdict is there.
    ///
    /// # Errors
    /// The certificate is refused; a peer is gone.
    pub(crate) fn step(
        mut self,
        end: &mut End,
        other: Option<&mut End>,
        mut context: Context<'_>,
    ) -> Result<Next<Self>, Ending> {
        let log = context.common.log;
        if end.failed() || other.is_some_and(|other| other.failed()) {
            info!(log, "OCSP: a peer reset the connection before the verdict");
            self.release(context.resources);
            return Err(Ending::Reset);
        }
        if let Err(errno) = end.flush(&mut context.resources.pool) {
            self.release(context.resources);
            return Err(broken(&log, "OCSP", errno));
        }
        loop {
            if self.is_pending(&mut context) {
                return Ok(Next::Wait(self));
            }
            match self.inquiry.next(now(), &log) {
                Turn::Accepted => return Ok(Next::Advance),
                Turn::Refused(failure) if is_redirected(self.side, &context) => {
                    error!(log, "{failure}");
                    notice!(log, "Redirecting connection");
                    context.common.redirected = true;
                    if let Some(stream) = &mut end.tls {
                        stream.redirect();
                    }
                    return Ok(Next::Advance);
                }
                Turn::Refused(failure) => {
                    return Err(refuse(self.side, &failure, end, &mut context));
                }
                Turn::Ask { url, body } => {
                    self.request = Request::Unsent(url, body);
                    self.deadline = context.resources.now + context.common.config().timeouts.ocsp;
                }
            }
        }
    }

    /// Whether an answer is waited for. Sends what is unsent; gives up what is late.
    fn is_pending(&mut self, context: &mut Context<'_>) -> bool {
        let (common, resources) = (&*context.common, &mut *context.resources);
        let late = resources.now >= self.deadline;
        let failure = match &self.request {
            Request::Nothing => return false,
            Request::Sent(id) if late => {
                resources.requests.remove(id);
                // It may be the fetcher that does not answer.
                resources.is_silent(Kind::Fetcher);
                "TIMEOUTocsp exceeded: the responder does not answer".to_owned()
            }
            Request::Sent(_) => return true,
            Request::Unsent(..) if late => {
                "TIMEOUTocsp exceeded: there is no fetcher process".to_owned()
            }
            Request::Unsent(url, body) => {
                let patience = self.deadline.saturating_duration_since(resources.now);
                match resources.fetch(common.key, url, body, patience) {
                    Ok(Some(id)) => {
                        self.request = Request::Sent(id);
                        return true;
                    }
                    Ok(None) => return true,
                    Err(error) => {
                        let reason = log::Reason(&error);
                        format!("the fetcher process takes no request: {reason}")
                    }
                }
            }
        };
        self.request = Request::Nothing;
        self.inquiry.answer(Err(failure), now(), &common.log);
        false
    }

    /// Forgets the request under way.
    pub(crate) fn release(self, resources: &mut Resources) {
        if let Request::Sent(id) = self.request {
            resources.requests.remove(&id);
        }
    }
}

/// Whether a client is connected elsewhere, rather than refused. With a dialogue before TLS the service refuses
/// `redirect`, since the server is connected then.
fn is_redirected(side: Side, context: &Context<'_>) -> bool {
    side == Side::Front && !context.common.config().redirect.is_empty()
}

/// Tells the peer, behind the last flight of the handshake, which may have been held back for payload.
fn refuse(side: Side, failure: &Failure, end: &mut End, context: &mut Context<'_>) -> Ending {
    let log = context.common.log;
    let row = context.resources.row(context.common.index());
    row.handshake_failed(failure.kind());
    context.keep(&failure.diagnosis());
    let resources = &mut *context.resources;
    resources.scratch.tls.clear();
    if let Some(stream) = &mut end.tls {
        stream.refuse(failure, &mut resources.scratch.tls, &log);
    }
    error!(log, "{failure}");
    let told = end.queue(&resources.scratch.tls, &mut resources.pool);
    // Nothing that it has sent is for anyone.
    end.reading = Reading::Over;
    match told {
        Ok(()) => Ending::of(failure, side),
        Err(errno) => broken(&log, "OCSP", errno),
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
