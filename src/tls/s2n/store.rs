//! Sessions that s2n resumes. Those of servers are in the memory that all processes share, sealed with a
//! key that all of a service's processes derive from one secret; those of clients stay in the worker.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::{error::Unspecified, hkdf};
use rustls::pki_types::ServerName;
use rustls::server::StoresServerSessions;
use zeroize::Zeroizing;

use super::bindings::SessionStore;
use crate::tls::sessions::SharedSessions;
use crate::tls::tickets::EPOCH;

impl SessionStore for SharedSessions {
    fn put(&self, id: &[u8], session: &[u8]) {
        let _ = StoresServerSessions::put(self, id.to_vec(), session.to_vec());
    }

    fn copy(&self, id: &[u8], place: &mut [u8]) -> Option<usize> {
        let session = self.get(id)?;
        place.get_mut(..session.len())?.copy_from_slice(&session);
        Some(session.len())
    }

    fn remove(&self, id: &[u8]) {
        let _ = self.take(id);
    }
}

/// One epoch's key for sessions and tickets of a service, and its name.
pub(super) struct TicketKey {
    pub(super) name: [u8; 16],
    pub(super) key: Zeroizing<[u8; 32]>,
}

/// Where the keys of a service come from.
pub(super) struct TicketKeys(hkdf::Prk);

impl TicketKeys {
    /// `secret` is shared by all; `identity` is a hash over what a session must not outlive.
    pub(super) fn new(secret: &[u8; 32], identity: &[u8; 32]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, identity).extract(secret))
    }

    /// The key of an epoch (see `tickets`), the same in every process.
    pub(super) fn of(&self, epoch: u64) -> Option<TicketKey> {
        let mut made = TicketKey {
            name: [0; 16],
            key: Zeroizing::new([0; 32]),
        };
        let fill = |label: &[u8], place: &mut [u8]| -> Result<(), Unspecified> {
            let info = [label, &epoch.to_be_bytes()];
            self.0.expand(&info, Length(place.len()))?.fill(place)
        };
        fill(b"adit s2n ticket name", &mut made.name).ok()?;
        fill(b"adit s2n ticket", &mut *made.key).ok()?;
        Some(made)
    }
}

/// How much is derived, in bytes.
pub(super) struct Length(pub(super) usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// A server that sessions are kept for: by its name, or none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Peer(String);

impl Peer {
    pub(super) fn of(name: Option<&ServerName<'_>>) -> Self {
        Self(name.map_or_else(String::new, |name| name.to_str().into_owned()))
    }
}

/// Servers remembered for each service, which connects to the few hosts that it names.
const SERVERS: usize = 64;

/// TLS 1.3 tickets kept for each server, as for rustls.
const TICKETS: usize = 64;

/// How long a client keeps a session up to TLS 1.2, in seconds, from its full handshake on: the server shows
/// no certificate when it resumes, so one that has ended, or is no longer trusted, must not live on by it.
const LIFETIME: u64 = EPOCH;

/// What a session is made anew from.
pub(super) type Session = Zeroizing<Vec<u8>>;

/// What a handshake offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) session: Session,
    /// When it is forgotten, in seconds since 1970; `None`: it is a ticket of TLS 1.3, and used up.
    pub(super) until: Option<u64>,
}

/// When a session is to be forgotten that a handshake leaves now, in seconds since 1970. `resumed` is the
/// time of the one that it resumed, which stays; `ends` that of the peer's certificate, if it was judged.
pub(super) fn deadline(now: u64, resumed: Option<u64>, ends: Option<u64>) -> u64 {
    let fresh = || (now + LIFETIME).min(ends.unwrap_or(u64::MAX));
    resumed.unwrap_or_else(fresh)
}

/// The sessions of each server, in this worker.
#[derive(Default)]
pub(crate) struct ClientSessions {
    servers: Mutex<HashMap<Peer, Kept>>,
    /// None is kept.
    none: bool,
}

#[derive(Default)]
struct Kept {
    /// Up to TLS 1.2: the latest, and when it is forgotten.
    session: Option<(Session, u64)>,
    /// Of TLS 1.3: each is used once (RFC 8446, appendix C.4).
    tickets: VecDeque<Session>,
    /// When the first certificate ends by which one of these began, in seconds since 1970.
    ends: Option<u64>,
}

impl Kept {
    /// Forgets the tickets once a certificate has ended. Those that still come by it find the bound there until another
    /// certificate is shown.
    fn drop_ended(&mut self, now: u64) {
        if self.ends.is_some_and(|ends| ends <= now) {
            self.tickets.clear();
        }
    }
}

impl ClientSessions {
    /// For a client that resumes none.
    pub(super) fn none() -> Self {
        Self {
            none: true,
            ..Self::default()
        }
    }

    /// One to resume by at this time, in seconds since 1970.
    pub(super) fn find(&self, peer: &Peer, now: u64) -> Option<Offered> {
        // A panicked thread left the map whole: every change is one insertion or removal.
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = servers.get_mut(peer)?;
        kept.drop_ended(now);
        if let Some(session) = kept.tickets.pop_back() {
            let until = None;
            return Some(Offered { session, until });
        }
        // A clock that was set back makes none live longer.
        let lives = |(_, until): &(_, u64)| *until > now && *until - now <= LIFETIME;
        kept.session = kept.session.take().filter(lives);
        let (session, until) = kept.session.clone()?;
        Some(Offered {
            session,
            until: Some(until),
        })
    }

    /// Keeps a session until then, in seconds since 1970.
    pub(super) fn keep(&self, peer: Peer, session: Vec<u8>, until: u64) {
        let session = (Zeroizing::new(session), until);
        self.with(peer, |kept| kept.session = Some(session));
    }

    /// Forgets the session of a connection that failed (RFC 5246, section 7.2.2).
    pub(super) fn forget(&self, peer: &Peer) {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = servers.get_mut(peer) {
            kept.session = None;
        }
    }

    /// The server has shown a certificate that ends then: no ticket that comes of it lives longer.
    pub(super) fn bound(&self, peer: Peer, ends: u64, now: u64) {
        self.with(peer, |kept| {
            kept.drop_ended(now);
            let before = kept.ends.filter(|before| *before > now);
            kept.ends = Some(before.map_or(ends, |before| before.min(ends)));
        });
    }

    pub(super) fn keep_tickets(&self, peer: Peer, tickets: Vec<Session>) {
        self.with(peer, |kept| {
            kept.tickets.extend(tickets);
            let over = kept.tickets.len().saturating_sub(TICKETS);
            kept.tickets.drain(..over);
        });
    }

    fn with(&self, peer: Peer, change: impl FnOnce(&mut Kept)) {
        if self.none {
            return;
        }
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if servers.len() >= SERVERS && !servers.contains_key(&peer) {
            servers.clear();
        }
        change(servers.entry(peer).or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_key_is_the_same_in_every_process_and_another_in_each_epoch_and_service() {
        let made = |secret, identity, epoch| {
            let made = TicketKeys::new(&[secret; 32], &[identity; 32])
                .of(epoch)
                .unwrap();
            (made.name, *made.key)
        };
        let one = made(1, 1, 7);
        assert_eq!(one, made(1, 1, 7));
        for other in [made(2, 1, 7), made(1, 2, 7), made(1, 1, 8)] {
            assert_ne!(one.0, other.0);
            assert_ne!(one.1, other.1);
        }
    }

    #[test]
    fn a_ticket_is_used_once_and_an_old_session_as_often_as_it_serves() {
        let sessions = ClientSessions::default();
        let peer = Peer("mail.example.com".into());
        let find = |peer: &Peer| sessions.find(peer, 1000).map(|offered| offered.session);
        assert_eq!(find(&peer), None);
        sessions.keep(peer.clone(), vec![1], 1001);
        let ticket = |byte| Session::from(vec![byte]);
        sessions.keep_tickets(
            peer.clone(),
            (0..=TICKETS as u8).map(|nth| ticket(nth + 2)).collect(),
        );
        for nth in (1..=TICKETS as u8).rev() {
            assert_eq!(find(&peer), Some(ticket(nth + 2)));
        }
        sessions.bound(peer.clone(), 1000, 900);
        sessions.bound(peer.clone(), 2000, 900);
        for _ in ["before", "late"] {
            sessions.keep_tickets(peer.clone(), [ticket(7)].into());
            assert_eq!(find(&peer), Some(ticket(1)), "a certificate has ended");
        }
        sessions.bound(peer.clone(), 2000, 1000);
        sessions.keep_tickets(peer.clone(), [ticket(8)].into());
        assert_eq!(find(&peer), Some(ticket(8)), "another is shown");
        // One ticket was too many.
        for _ in 0..2 {
            assert_eq!(find(&peer), Some(ticket(1)));
        }
        assert_eq!(find(&Peer::of(None)), None);
        for nth in 0..SERVERS {
            sessions.keep(Peer(nth.to_string()), vec![9], 1001);
        }
        assert_eq!(find(&peer), None, "more servers than are remembered");
    }

    #[test]
    fn a_session_ends_in_time_with_its_certificate_and_with_a_failure() {
        let sessions = ClientSessions::default();
        let peer = Peer("mail.example.com".into());
        let made = 5_000_000;
        let until = deadline(made, None, None);
        assert_eq!(until, made + LIFETIME);
        // Resuming does not renew it, and a certificate may end before.
        assert_eq!(deadline(made + 7, Some(until), None), until);
        assert_eq!(deadline(made, None, Some(made + 7)), made + 7);
        assert_eq!(deadline(made, None, Some(u64::MAX)), until);
        for (now, found) in [
            (made, true),
            (until - 1, true),
            (until, false),
            // It is forgotten, not only left alone.
            (made, false),
        ] {
            if now == made && found {
                sessions.keep(peer.clone(), vec![1], until);
            }
            let offered = sessions.find(&peer, now).map(|offered| offered.until);
            assert_eq!(offered, found.then_some(Some(until)), "{now}");
        }
        sessions.keep(peer.clone(), vec![1], until);
        assert_eq!(
            sessions.find(&peer, made - 1),
            None,
            "the clock was set back"
        );
        sessions.keep(peer.clone(), vec![1], until);
        sessions.forget(&peer);
        assert_eq!(sessions.find(&peer, made), None);
    }
}
