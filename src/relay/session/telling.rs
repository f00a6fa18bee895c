//! What a session tells of itself when an administrator asks. Never in here: payload, or a secret.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getpeername};

use super::Session;
use super::life::{Early, Late, Life};
use crate::config::LogId;
use crate::ipc::inquiry::Connection;
use crate::notice;
use crate::relay::end::End;

impl Session {
    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.common.number
    }

    /// It is about to be ended by order.
    pub(crate) fn tell_of_cut(&self) {
        notice!(self.common.log, "Connection cut by `adit cut`");
        self.cut();
    }

    /// What is to be known of it.
    pub(crate) fn told(&self, now: Instant) -> Connection {
        let common = &self.common;
        let config = common.config();
        let named = config.log_id != LogId::Sequential;
        let upstream = match &self.life {
            Life::Joined(pair, _) => match &config.program {
                Some(program) if !pair.back.is_tcp() && config.connect.is_empty() => {
                    Some(program.path.display().to_string())
                }
                _ => other_end(&pair.back),
            },
            _ => None,
        };
        Connection {
            number: common.number,
            log_id: named.then(|| common.log.id.to_string()),
            service: config.name.clone(),
            peer: common.peer.map(|peer| peer.to_string()),
            upstream,
            state: self.state().to_owned(),
            age: now.saturating_duration_since(common.began).as_secs(),
            bytes_to_back: common.to_back,
            bytes_to_front: common.to_front,
        }
    }

    /// What it is about, in a word or two.
    fn state(&self) -> &'static str {
        if self.parting.is_some() {
            return "closing";
        }
        match &self.life {
            Life::Alone(_, early) => match early {
                Early::Introducing(_) => "PROXY header",
                Early::Gatekeeping(_) | Early::Identifying(_) => "admission",
                Early::Choosing(_) => "first words",
                Early::Talking(_) => "dialogue",
                Early::Handshaking(_) => "handshake",
                Early::Verdict(_) => "OCSP",
                Early::Connecting(_) => "connecting",
                Early::Launching(_) => "starting",
                Early::Pausing(_) => "held",
                Early::Stepping => "closing",
            },
            Life::Joined(_, late) => match late {
                Late::Choosing(_) => "first words",
                Late::Talking(_) => "dialogue",
                Late::Handshaking(_) => "handshake",
                Late::Verdict(_) => "OCSP",
                Late::Pump(_) => "open",
                Late::Stepping => "closing",
            },
            Life::Between | Life::Leaving(..) => "closing",
        }
    }
}

/// The address that an end is connected to; `None` if that is gone by now.
fn other_end(end: &End) -> Option<String> {
    let name = getpeername::<SockaddrStorage>(end.as_fd().as_raw_fd()).ok()?;
    match name.family()? {
        AddressFamily::Unix => {
            let path = name.as_unix_addr()?.path()?;
            Some(path.display().to_string())
        }
        _ => Some(name.to_string()),
    }
}
