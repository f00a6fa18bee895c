//! Session tickets that every worker of every generation can open: the keys come only from one secret
//! and the time, so they rotate without communication.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use rustls::server::ProducesTickets;

/// How long one key seals, in seconds, unless tickets are to live longer. A ticket lives one to two of these:
/// the previous key still opens. RFC 8446 allows a week; forward secrecy asks for less.
pub(super) const EPOCH: u64 = 6 * 60 * 60;

const TIME_LEN: usize = 8;

/// How far the clock of another machine may be ahead, in seconds.
const SKEW: u64 = 60;

/// A key and its epoch.
type Made = (u64, Arc<LessSafeKey>);

/// Seals and opens the tickets of one service.
pub(super) struct Tickets {
    /// Bound to the service's identity: tickets of another service, or of another verification, do not
    /// open.
    key: hkdf::Prk,
    /// The keys of the last two epochs in use, even and odd.
    made: [Mutex<Option<Made>>; 2],
    /// How long one key seals, in seconds.
    epoch: u64,
    /// How long a ticket lives at most, in seconds.
    lifetime: u64,
    clock: fn() -> u64,
}

impl Tickets {
    /// `secret` is shared by all; `identity` is a hash over what a session must not outlive. Tickets live for
    /// `lifetime` seconds, if that is given.
    pub(super) fn new(secret: &[u8; 32], identity: &[u8], lifetime: Option<u32>) -> Self {
        let lifetime = lifetime.map(u64::from);
        Self {
            key: hkdf::Salt::new(hkdf::HKDF_SHA256, identity).extract(secret),
            made: Default::default(),
            epoch: epoch_for(lifetime),
            lifetime: lifetime.unwrap_or(2 * EPOCH),
            clock: unix_time,
        }
    }

    fn key_of(&self, epoch: u64) -> Option<Arc<LessSafeKey>> {
        let place = &self.made[(epoch % 2) as usize];
        // A panicked thread left it intact, since it is replaced in one step.
        let mut made = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, key)) = &*made
            && *of == epoch
        {
            return Some(Arc::clone(key));
        }
        let key = Arc::new(self.make_key(epoch)?);
        *made = Some((epoch, Arc::clone(&key)));
        Some(key)
    }

    fn make_key(&self, epoch: u64) -> Option<LessSafeKey> {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        self.key
            .expand(&[b"adit ticket", &epoch.to_be_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut *bytes))
            .ok()?;
        UnboundKey::new(&AES_256_GCM, &*bytes)
            .ok()
            .map(LessSafeKey::new)
    }
}

/// How long one key seals, in seconds, where tickets live for that many.
pub(super) fn epoch_for(lifetime: Option<u64>) -> u64 {
    lifetime.map_or(EPOCH, |lifetime| lifetime.max(EPOCH))
}

/// Seconds since 1970; before that, 0.
pub(super) fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // For so long the key of any moment opens. It fits, since both are a week at most.
        self.lifetime.min(self.epoch) as u32
    }

    /// The time, nonce, sealed session, tag. The nonce is random: with 96 bits, 2^32 tickets of one key
    /// are safe (NIST SP 800-38D, section 8.3), and a key lasts six hours.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = (self.clock)();
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let head = now.to_be_bytes();
        let mut ticket =
            Vec::with_capacity(TIME_LEN + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        ticket.extend_from_slice(&head);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(plain);
        let tag = self
            .key_of(now / self.epoch)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(head),
                &mut ticket[TIME_LEN + NONCE_LEN..],
            )
            .ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (head, rest) = ticket.split_first_chunk::<TIME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (made, now) = (u64::from_be_bytes(*head), (self.clock)());
        let epoch = made / self.epoch;
        let lives = made <= now.saturating_add(SKEW) && now.saturating_sub(made) <= self.lifetime;
        if !lives || (now / self.epoch).abs_diff(epoch) > 1 {
            return None;
        }
        let mut session = sealed.to_vec();
        let len = self
            .key_of(epoch)?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(*head),
                &mut session,
            )
            .ok()?
            .len();
        session.truncate(len);
        Some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(clock: fn() -> u64, identity: &[u8]) -> Tickets {
        Tickets {
            clock,
            ..Tickets::new(&[7; 32], identity, None)
        }
    }

    #[test]
    fn another_process_opens_a_ticket_until_its_key_is_two_epochs_old() {
        let ticket = at(|| EPOCH * 9 + 5, b"service")
            .encrypt(b"session")
            .unwrap();
        let open = |clock| at(clock, b"service").decrypt(&ticket);
        assert_eq!(open(|| EPOCH * 9), Some(b"session".to_vec()));
        assert_eq!(open(|| EPOCH * 11 - 1), Some(b"session".to_vec()));
        assert_eq!(open(|| EPOCH * 11), None);
        assert!(open(|| EPOCH * 9 - 1).is_some(), "another clock");
        assert_eq!(open(|| EPOCH * 9 - SKEW), None, "a ticket of the future");
    }

    #[test]
    fn keys_of_two_epochs_differ() {
        let ticket = at(|| 0, b"service").encrypt(b"session").unwrap();
        let mut moved = ticket.clone();
        moved[..TIME_LEN].copy_from_slice(&EPOCH.to_be_bytes());
        assert!(at(|| EPOCH, b"service").decrypt(&ticket).is_some());
        assert!(at(|| EPOCH, b"service").decrypt(&moved).is_none());
    }

    #[test]
    fn another_service_another_secret_and_garbage_open_nothing() {
        let ticket = at(|| 0, b"service").encrypt(b"session").unwrap();
        assert!(at(|| 0, b"other").decrypt(&ticket).is_none());
        let other_secret = Tickets {
            clock: || 0,
            ..Tickets::new(&[8; 32], b"service", None)
        };
        assert!(other_secret.decrypt(&ticket).is_none());
        for end in 0..ticket.len() {
            assert!(at(|| 0, b"service").decrypt(&ticket[..end]).is_none());
        }
        for place in 0..ticket.len() {
            let mut bent = ticket.clone();
            bent[place] ^= 1;
            assert!(at(|| 0, b"service").decrypt(&bent).is_none());
        }
    }

    #[test]
    fn a_ticket_lives_as_long_as_is_asked_for() {
        for (lifetime, hint) in [(0, 0), (300, 300), (604_800, 604_800)] {
            let of = |clock| Tickets {
                clock,
                ..Tickets::new(&[7; 32], b"service", Some(lifetime))
            };
            let tickets = of(|| 604_800 * 9 + 604_799);
            assert_eq!(tickets.lifetime(), hint);
            let mut ticket = tickets.encrypt(b"session").unwrap();
            assert!(tickets.decrypt(&ticket).is_some(), "{lifetime}");
            let later = of(|| 604_800 * 10 + 604_799);
            assert_eq!(later.decrypt(&ticket).is_some(), lifetime == 604_800);
            assert!(of(|| 604_800 * 11).decrypt(&ticket).is_none());
            ticket[0] ^= 0x80;
            assert!(tickets.decrypt(&ticket).is_none());
        }
    }

    #[test]
    fn no_two_tickets_are_alike() {
        let tickets = at(|| 0, b"service");
        assert_ne!(tickets.encrypt(b"same"), tickets.encrypt(b"same"));
    }
}
