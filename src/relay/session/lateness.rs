//! `TIMEOUThandshake`: a client that is not relayed in time, however it spends it, is ended. Never in here: the end of
//! one that is relayed, or that adit itself lets wait.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Session;
use super::life::{Early, Late, Life};
use crate::protocol::Side;
use crate::relay::resources::Resources;
use crate::relay::route::Part;
use crate::relay::step::{Common, Ending};
use crate::relay::{Address, failing};
use crate::warning;

impl Common {
    /// A dialogue begins: a login by adit has as long as all that came before it, since a person may be typing.
    pub(super) fn begins_to_talk(&mut self, part: Part, now: Instant) {
        if let (Part::Login(_), Some(_)) = (part, self.relayed_by) {
            let time = self.config().timeouts.until_relayed();
            self.relayed_by = time.map(|time| now + time);
        }
    }

    /// The client may be held for so long: that is not its doing.
    pub(super) fn may_be_held(&mut self, now: Instant) {
        if let (Some(by), Some(hold)) = (&mut self.relayed_by, &self.hold) {
            *by += hold.until().saturating_duration_since(now);
        }
    }

    /// It begins TLS, after words in plain that may have been passed on.
    pub(super) fn begins_tls(&mut self, now: Instant) {
        if self.relayed_by.is_none() {
            let time = self.config().timeouts.until_relayed();
            self.relayed_by = time.map(|time| now + time);
        }
    }

    /// Another service has taken it on, before a byte of its TLS was heard: its time counts from when that of the one
    /// `before` did, which may be long after it was accepted.
    pub(in crate::relay) fn goes_by_another_time(&mut self, before: Option<Duration>) {
        let since = self.relayed_by.zip(before);
        let since = since.and_then(|(by, time)| by.checked_sub(time));
        let time = self.config().timeouts.until_relayed();
        self.relayed_by = time.map(|time| since.unwrap_or_else(Instant::now) + time);
    }

    /// What it sends is passed on from now on.
    pub(super) fn is_relayed(&mut self) {
        self.relayed_by = None;
    }
}

impl Session {
    /// Whether it is to be looked after now.
    pub(super) fn needs_a_look(&self, now: Instant) -> bool {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        self.has_no_server() || is_due(self.common.relayed_by) || is_due(self.common.welcome_at())
    }

    /// Whether it is relayed, and everything else that has its time is behind it.
    pub(super) fn has_settled(&self) -> bool {
        matches!(self.life, Life::Joined(_, Late::Pump(_)))
            && !self.has_no_server()
            && self.common.relayed_by.is_none()
            && self.common.welcome_at().is_none()
    }

    /// Ends a session whose time is over; says where it was.
    pub(super) fn is_late(&mut self, resources: &Resources) -> Option<Ending> {
        self.common.relayed_by.take_if(|by| *by <= resources.now)?;
        let common = &self.common;
        let (place, config) = (self.life.place(), common.config());
        let seconds = resources.now.saturating_duration_since(common.began);
        let seconds = seconds.as_secs();
        warning!(
            common.log,
            "TIMEOUThandshake exceeded: Service [{}]: {seconds} s after it was accepted the connection from {} is still in \
             {place}: sending reset",
            config.name,
            Address(common.peer)
        );
        let late = failing::late(
            format!("TIMEOUThandshake exceeded: still in {place} after {seconds} s"),
            "where clients need longer, raise TIMEOUThandshake",
        );
        failing::keep(&late, common, resources);
        let row = resources.row(common.index());
        row.late().fetch_add(1, Relaxed);
        Some(Ending::Reset)
    }
}

impl Life {
    /// Where it is, for those that read the log.
    fn place(&self) -> &'static str {
        let handshake = |side| match side {
            Side::Front => "the TLS handshake with the client",
            Side::Back => "the TLS handshake with the server",
        };
        match self {
            Life::Alone(_, early) => match early {
                Early::Introducing(_) => "the PROXY header",
                Early::Gatekeeping(_) | Early::Identifying(_) => "the question who the client is",
                Early::Choosing(_) => "the choice of its service",
                Early::Talking(_) => "the dialogue with the client",
                Early::Handshaking(stage) => handshake(stage.side()),
                Early::Verdict(_) => "the question to an OCSP responder",
                Early::Connecting(_) | Early::Pausing(_) => "the connection to the server",
                Early::Launching(_) => "the start of its program",
                Early::Stepping => "its first step",
            },
            Life::Joined(_, late) => match late {
                Late::Choosing(_) => "the choice of its service",
                Late::Talking(stage) if stage.is_within_tls() => "the dialogue within TLS",
                Late::Talking(_) => "the dialogue before TLS",
                Late::Handshaking(stage) => handshake(stage.side()),
                Late::Verdict(_) => "the question to an OCSP responder",
                Late::Pump(_) | Late::Stepping => "a step towards the server",
            },
            Life::Between | Life::Leaving(..) => "its last step",
        }
    }
}
