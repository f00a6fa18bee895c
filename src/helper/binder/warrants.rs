//! Warrants for addresses. The master issues one for each client of a service that needs it, and the binder
//! verifies it. What is in between, a worker, cannot make one: no worker has the key, which is wiped in each fork.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use aws_lc_rs::{constant_time, hmac, rand};
use zeroize::Zeroizing;

use crate::ipc::handoff::{ADDRESS, WARRANT, Warrant, encode_address};
use crate::sys::page::Page;

/// Bytes of the key.
const LENGTH: usize = 32;
const SIZE: NonZeroUsize = NonZeroUsize::new(LENGTH).unwrap();

/// What issues warrants, in memory that no fork inherits.
#[derive(Debug)]
pub(crate) struct Warrants(Page);

/// A copy of the key, for the one child that is to have it.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; LENGTH]>);

impl Warrants {
    /// Draws a key.
    ///
    /// # Errors
    /// No memory; no randomness.
    pub(crate) fn draw() -> io::Result<Warrants> {
        let mut page = Page::new(SIZE)?;
        rand::fill(page.bytes_mut()).map_err(|_| io::Error::other("no randomness"))?;
        Ok(Warrants(page))
    }

    /// In a child that was given the key.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn with(key: &Key) -> io::Result<Warrants> {
        let mut page = Page::new(SIZE)?;
        page.bytes_mut().copy_from_slice(&key.0[..]);
        Ok(Warrants(page))
    }

    /// A copy of the key, for a child.
    pub(crate) fn key(&self) -> Key {
        let mut key = Zeroizing::new([0; LENGTH]);
        key.copy_from_slice(self.0.bytes());
        Key(key)
    }

    /// The warrant for an address.
    pub(crate) fn issue(&self, address: SocketAddr) -> Warrant {
        Warrant(seal(self.0.bytes(), Some(address)))
    }

    /// The warrant for any address but loopback's: of a balancer, which says itself who its client is.
    pub(crate) fn issue_for_any(&self) -> Warrant {
        Warrant(seal(self.0.bytes(), None))
    }
}

/// Warrants over a fork.
#[derive(Debug)]
pub(crate) enum Seal {
    /// This process's own.
    Ours(Warrants),
    /// A copy for a child, which is to [`settle`](Seal::settle) it first of all.
    Copied(Key),
}

impl Seal {
    /// A copy, for a child.
    pub(crate) fn copy(&self) -> Seal {
        Seal::Copied(match self {
            Seal::Ours(warrants) => warrants.key(),
            Seal::Copied(key) => key.clone(),
        })
    }

    /// Puts a copy where no child of this process finds it.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        if let Seal::Copied(key) = self {
            *self = Seal::Ours(Warrants::with(key)?);
        }
        Ok(())
    }

    /// The warrant for an address.
    pub(crate) fn issue(&self, address: SocketAddr) -> Warrant {
        match self {
            Seal::Ours(warrants) => warrants.issue(address),
            Seal::Copied(key) => Warrant(seal(&key.0[..], Some(address))),
        }
    }

    /// As of [`Warrants`].
    pub(crate) fn issue_for_any(&self) -> Warrant {
        match self {
            Seal::Ours(warrants) => warrants.issue_for_any(),
            Seal::Copied(key) => Warrant(seal(&key.0[..], None)),
        }
    }
}

impl Key {
    /// Whether the warrant is for this address.
    pub(super) fn covers(&self, address: SocketAddr, warrant: Warrant) -> bool {
        let is = |expected: [u8; WARRANT]| {
            constant_time::verify_slices_are_equal(&expected, &warrant.0).is_ok()
        };
        let far = !address.ip().to_canonical().is_loopback();
        is(seal(&self.0[..], Some(address))) || far && is(seal(&self.0[..], None))
    }
}

impl fmt::Debug for Key {
    /// Shows nothing: it is all secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// HMAC with SHA-256 of the address without its port, which is the client's own choice; half of it, as RFC 2104
/// (section 5) allows. `None`: for any.
fn seal(key: &[u8], address: Option<SocketAddr>) -> [u8; WARRANT] {
    let mut text = Vec::with_capacity(ADDRESS);
    encode_address(
        address.map(|address| SocketAddr::new(address.ip(), 0)),
        &mut text,
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &text);
    let mut half = [0; WARRANT];
    half.iter_mut()
        .zip(tag.as_ref())
        .for_each(|(to, from)| *to = *from);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warrant_is_good_for_its_address_under_its_key_alone() {
        let address: SocketAddr = "192.0.2.7:1042".parse().unwrap();
        let warrants = Warrants::draw().unwrap();
        let key = warrants.key();
        let warrant = warrants.issue(address);
        assert!(key.covers(address, warrant));
        assert!(key.covers("192.0.2.7:1".parse().unwrap(), warrant));
        for other in [
            "192.0.2.8:1042",
            "[::ffff:192.0.2.7]:1042",
            "[c000:207::]:1042",
        ] {
            assert!(!key.covers(other.parse().unwrap(), warrant), "{other}");
        }
        assert!(!key.covers(address, Warrant([0; WARRANT])));
        let any = warrants.issue_for_any();
        assert!(key.covers(address, any));
        assert!(!Warrants::draw().unwrap().key().covers(address, any));
        for near in ["127.0.0.1:1", "[::ffff:127.0.0.1]:1", "[::1]:1"] {
            assert!(!key.covers(near.parse().unwrap(), any), "{near}");
        }
        assert!(!Warrants::draw().unwrap().key().covers(address, warrant));
        let again = Warrants::with(&key).unwrap();
        assert_eq!(again.issue(address), warrant);
        let mut copy = Seal::Ours(again).copy();
        assert_eq!(copy.issue(address), warrant);
        assert_eq!(copy.issue_for_any(), any);
        copy.settle().unwrap();
        assert!(matches!(copy, Seal::Ours(_)));
        assert_eq!(copy.issue(address), warrant);
    }
}
