//! Sessions of clients, by server. They stay in the worker, since rustls' values cannot be serialised.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use super::tickets::unix_time;

/// TLS 1.3 tickets kept for each server. Each is used once (RFC 8446, appendix C.4) and each connection
/// brings one or two, so this many connections can resume at a time.
const CLIENT_TICKETS: usize = 64;
/// Servers remembered for each service, which connects to the few hosts it names.
const CLIENT_SERVERS: usize = 64;

/// The client's sessions of one service, in this worker.
pub(super) struct ClientSessions {
    servers: Mutex<HashMap<ServerName<'static>, Server>>,
    without_tls12: bool,
    clock: fn() -> u64,
}

impl Default for ClientSessions {
    fn default() -> Self {
        Self {
            servers: Mutex::default(),
            without_tls12: false,
            clock: unix_time,
        }
    }
}

#[derive(Default)]
struct Server {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tickets: VecDeque<Tls13ClientSessionValue>,
    /// When the first certificate ends by which one of them began, in seconds since 1970.
    until: Option<u64>,
}

impl Server {
    /// Forgets the sessions once a certificate has ended: a resumed one shows none (RFC 8446, section 4.6.1). Tickets
    /// that still come by it find the bound there until another certificate is shown.
    fn at(&mut self, now: u64) -> &mut Self {
        if self.until.is_some_and(|until| until <= now) {
            self.tls12 = None;
            self.tickets.clear();
        }
        self
    }

    fn bound(&mut self, end: u64, now: u64) {
        let before = self.at(now).until.filter(|until| *until > now);
        self.until = Some(before.map_or(end, |until| until.min(end)));
    }
}

impl ClientSessions {
    /// Keeps none of TLS 1.2. (With `Tls12Resumption::Disabled` rustls resumes by session ids all the same.)
    pub(super) fn without_tls12() -> Self {
        Self {
            without_tls12: true,
            ..Self::default()
        }
    }

    /// A panicked thread left the map intact: every change is one insertion or removal.
    fn servers(&self) -> MutexGuard<'_, HashMap<ServerName<'static>, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server has shown a certificate that ends then: no session that comes of it lives longer.
    pub(super) fn bound(&self, name: &ServerName<'_>, end: u64) {
        let now = (self.clock)();
        self.with(name.to_owned(), |server| server.bound(end, now));
    }

    fn with(&self, name: ServerName<'static>, change: impl FnOnce(&mut Server)) {
        let mut servers = self.servers();
        if servers.len() >= CLIENT_SERVERS && !servers.contains_key(&name) {
            servers.clear();
        }
        change(servers.entry(name).or_default());
    }
}

impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSessions")
    }
}

impl ClientSessionStore for ClientSessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.with(name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.servers().get(&name.to_owned())?.group
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        if !self.without_tls12 {
            self.with(name, |server| server.tls12 = Some(value));
        }
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let now = (self.clock)();
        let mut servers = self.servers();
        servers.get_mut(&name.to_owned())?.at(now).tls12.clone()
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if let Some(server) = self.servers().get_mut(name) {
            server.tls12 = None;
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.with(name, |server| {
            if server.tickets.len() >= CLIENT_TICKETS {
                server.tickets.pop_front();
            }
            server.tickets.push_back(value);
        });
    }

    /// The newest one, whose lifetime lasts longest.
    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let now = (self.clock)();
        self.servers().get_mut(name)?.at(now).tickets.pop_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_that_ends_bounds_the_sessions_until_another_is_shown() {
        let mut server = Server::default();
        for (end, until) in [(1000, 1000), (2000, 1000), (900, 900)] {
            server.bound(end, 800);
            assert_eq!(server.until, Some(until));
        }
        assert_eq!(
            server.at(900).until,
            Some(900),
            "what comes late is bound too"
        );
        server.bound(2000, 900);
        assert_eq!(server.until, Some(2000));
    }
}
