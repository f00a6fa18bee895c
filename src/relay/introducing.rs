//! Hears for whom a balancer connects (`acceptProxy`), before anything else. From then on its client's address is the
//! session's. Never in here: a peer that is not named.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use nix::errno::Errno;

use super::Address;
use super::admitting;
use super::end::{End, Received};
use super::failing;
use super::handshaking::receive;
use super::poller::Readiness;
use super::step::{Common, Context, Ending, Next, broken};
use super::visiting::PATIENCE;
use crate::incidents::{Cause, Diagnosis};
use crate::log::{Log, Subject};
use crate::protocol::{Claim, NoHeader, Who, read_claim};
use crate::{debug, error, info};

/// See the module.
#[derive(Debug)]
pub(crate) struct Introducing {
    deadline: Instant,
    /// The header is there, of a check that may leave yet.
    is_introduced: bool,
}

/// What a balancer has said.
#[derive(Debug)]
pub(crate) struct Introduced {
    /// The client, and where it reached the balancer; `None`: the connection's own addresses count.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// The rest of it.
    pub claim: Claim,
}

impl Introducing {
    /// Begins; `None`: the peer is no balancer.
    pub(crate) fn begin(front: &mut End, context: &Context<'_>) -> Option<Self> {
        let common = &*context.common;
        let config = common.config();
        if !config.balancers.have(common.peer) {
            return None;
        }
        // As a rule it is here already.
        front.note(Readiness {
            readable: true,
            ..Readiness::default()
        });
        let deadline = context.resources.now + config.timeouts.busy;
        Some(Self {
            deadline,
            is_introduced: false,
        })
    }

    /// When it must be stepped though nothing happened.
    pub(crate) fn due(&self) -> Instant {
        self.deadline
    }

    /// Goes on until it must wait, or the header is there.
    ///
    /// # Errors
    /// It is no header, or does not come.
    pub(crate) fn step(
        mut self,
        front: &mut End,
        mut context: Context<'_>,
    ) -> Result<Next<Self>, Ending> {
        if self.is_introduced {
            return self.wait_for_more(front, &mut context);
        }
        match self.hear(front, &mut context) {
            Ok(true) => {
                admitting::by_share(&mut context)?;
                if !is_to_be_judged(context.common) {
                    return Ok(Next::Advance);
                }
                self.is_introduced = true;
                self.deadline = context.resources.now + PATIENCE;
                self.wait_for_more(front, &mut context)
            }
            Ok(false) => Ok(Next::Wait(self)),
            // It only looked whether the port is open.
            Err(Ending::Closed) => Err(Ending::Closed),
            Err(ending) => {
                context.keep_finding(|| failing::vanished("PROXY header"));
                let row = context.resources.row(context.common.index());
                row.failed_before_tls().fetch_add(1, Relaxed);
                Err(ending)
            }
        }
    }

    /// Whether the header is there.
    fn hear(&self, front: &mut End, context: &mut Context<'_>) -> Result<bool, Ending> {
        let (log, from) = (context.common.log, Address(context.common.peer));
        loop {
            match read_claim(front.input.bytes()) {
                Ok(Some((claim, length))) => {
                    // What is behind it goes on as if it had come now.
                    let rest = &front.input.bytes()[length..];
                    let pool = &mut context.resources.pool;
                    front.plain.push(rest, pool);
                    front.input.clear(pool);
                    introduce(claim, context.common);
                    return Ok(true);
                }
                Ok(None) => {}
                Err(why) => return Err(refuse(why, context)),
            }
            if context.resources.now >= self.deadline {
                info!(
                    log,
                    "PROXY header: TIMEOUTbusy exceeded: sending reset: {from} is named by `acceptProxy`, and sends none"
                );
                let reason = "PROXY header: TIMEOUTbusy exceeded";
                context.common.found(failing::late(reason, SEND_ONE));
                return Err(Ending::Reset);
            }
            match receive(front, &mut context.resources.pool) {
                Ok(Received::Bytes(_)) => {}
                Ok(Received::Nothing) => return Ok(false),
                Ok(Received::Eof) | Err(Errno::ECONNRESET) if front.input.is_empty() => {
                    debug!(log, "{from} closed the connection without a word: a check");
                    let claim = Claim {
                        who: Who::Itself,
                        ..Claim::default()
                    };
                    introduce(claim, context.common);
                    return Err(Ending::Closed);
                }
                Ok(Received::Eof) => {
                    let heard = front.input.len();
                    error!(
                        log,
                        "PROXY header: {from} closed the connection after {heard} byte(s) of it"
                    );
                    return Err(Ending::Reset);
                }
                Err(errno) => return Err(broken(&log, "PROXY header", errno)),
            }
        }
    }

    /// A check is judged by its own address, as any client. As a rule it leaves as soon as it is connected: then
    /// it wants nothing that could be refused.
    fn wait_for_more(
        self,
        front: &mut End,
        context: &mut Context<'_>,
    ) -> Result<Next<Self>, Ending> {
        if !front.plain.is_empty() || context.resources.now >= self.deadline {
            return Ok(Next::Advance);
        }
        let pool = &mut context.resources.pool;
        match receive(front, pool) {
            Ok(Received::Bytes(_)) => {
                front.plain.push(front.input.bytes(), pool);
                front.input.clear(pool);
                Ok(Next::Advance)
            }
            Ok(Received::Nothing) => Ok(Next::Wait(self)),
            Ok(Received::Eof) | Err(_) => Err(context.common.has_left()),
        }
    }
}

/// Whether it is a check that may be refused for its address.
fn is_to_be_judged(common: &Common) -> bool {
    let admission = &common.config().admission;
    let lists = || common.peer.map(|peer| admission.judge(peer.ip()));
    let asks = admission.libwrap || admission.ident.is_some();
    common.is_a_check() && (asks || matches!(lists(), Some(Err(_))))
}

/// The client's address is the session's from now on.
fn introduce(mut claim: Claim, common: &mut Common) {
    if let (Who::Client(from, _), Some(peer)) = (claim.who, common.peer)
        && canonical(from) == canonical(peer)
    {
        // So haproxy's checks say by version 1.
        claim.who = Who::Itself;
    }
    let (log, by) = (common.log, Address(common.peer));
    let addresses = match claim.who {
        Who::Itself => {
            debug!(
                log,
                "PROXY header: {by} connects for itself: a health check"
            );
            None
        }
        Who::Unknown => {
            info!(log, "PROXY header: {by} does not know its client's address");
            None
        }
        Who::Client(from, to) => {
            let (client, own) = (Address(Some(from)), Address(Some(to)));
            info!(
                log,
                "PROXY header: {by} connects for {client}, which connected to {own}"
            );
            Some((from, to))
        }
    };
    tell(&claim, &log);
    if let Some((from, _)) = addresses {
        common.peer = Some(from);
        common.log.from = Some(Subject::new(Some(from.ip()), common.index()));
    }
    common.introduced = Some(Box::new(Introduced { addresses, claim }));
}

/// What it says besides addresses.
fn tell(claim: &Claim, log: &Log) {
    if let Some(name) = &claim.authority {
        info!(
            *log,
            "PROXY header: the client asked for {}",
            name.escape_debug()
        );
    }
    if let Some(id) = &claim.unique_id {
        info!(
            *log,
            "PROXY header: the connection is {}",
            id.escape_ascii()
        );
    }
    if let Some(tls) = &claim.tls {
        let word = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or("?");
            text.escape_debug().to_string()
        };
        let (version, cipher) = (word(&tls.version), word(&tls.cipher));
        info!(
            *log,
            "PROXY header: the client's TLS is {version}, {cipher}"
        );
        if let Some(name) = &tls.name {
            let verified = if tls.verified { "" } else { "un" };
            let name = name.escape_debug();
            info!(
                *log,
                "PROXY header: its certificate is {name}'s, {verified}verified"
            );
        }
    }
}

/// For a balancer without one.
const SEND_ONE: &str = "let it send one (haproxy: `send-proxy-v2`; nginx: `proxy_protocol on`), or do not name it in `acceptProxy`";

fn refuse(why: NoHeader, context: &mut Context<'_>) -> Ending {
    let common = &mut *context.common;
    let by = Address(common.peer);
    let remedy = match why {
        NoHeader::Tls | NoHeader::Other(_) => SEND_ONE,
        NoHeader::TooLong => "let it send less, as without the client's whole certificate",
        NoHeader::Checksum => "something on the way changes what it sends",
    };
    error!(
        common.log,
        "PROXY header expected from {by}: {why} ({remedy})"
    );
    let reason = format!("PROXY header expected: {why}");
    common.found(Diagnosis::new(Cause::BalancerHeader, reason, remedy));
    Ending::Reset
}

/// IPv4 that is written as IPv6 is IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
