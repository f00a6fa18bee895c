//! The keys of a TLS 1.2 connection (RFC 5246, section 6.3). rustls derives them twice: for its own records, and
//! again when adit takes them from it at the end of the handshake. Here its function remembers what it derived, for
//! the time of one step and for the handshake that is stepped. Never in here: keys that outlive their handshake.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use rustls::crypto::tls12::Prf;
use rustls::crypto::{ActiveKeyExchange, CipherSuiteCommon};
use rustls::{Error, SupportedCipherSuite, Tls12CipherSuite};
use zeroize::Zeroizing;

/// The label by which keys are derived.
const KEYS: &[u8] = b"key expansion";

thread_local! {
    /// Of the handshake that is stepped.
    static MEMORY: RefCell<Memory> = const { RefCell::new(Memory { open: false, keys: None }) };
}

struct Memory {
    /// A handshake is stepped.
    open: bool,
    keys: Option<KeyBlock>,
}

/// Keys, and the randoms of the two sides, which no other connection has.
pub(super) struct KeyBlock {
    randoms: Box<[u8]>,
    keys: Zeroizing<Box<[u8]>>,
}

impl fmt::Debug for KeyBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyBlock").finish_non_exhaustive()
    }
}

/// The thread remembers keys as long as this lives.
pub(super) struct Remembering;

impl Remembering {
    /// Begins with what the handshake's last step came to.
    pub(super) fn from(keys: Option<KeyBlock>) -> Self {
        MEMORY.set(Memory { open: true, keys });
        Self
    }

    /// What is remembered, to go on with.
    pub(super) fn keys(self) -> Option<KeyBlock> {
        MEMORY.with_borrow_mut(|memory| memory.keys.take())
    }
}

impl Drop for Remembering {
    fn drop(&mut self) {
        let (open, keys) = (false, None);
        MEMORY.set(Memory { open, keys });
    }
}

/// The same suite, which remembers. TLS 1.3 derives nothing twice.
pub(super) fn remembering(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    /// Made once for each: a suite lives as long as the program, and configurations are loaded again and again.
    static MADE: Mutex<Vec<&Tls12CipherSuite>> = Mutex::new(Vec::new());
    let SupportedCipherSuite::Tls12(theirs) = suite else {
        return suite;
    };
    // A panic leaves the list whole: each change is one insertion.
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(ours) = made.iter().find(|ours| **ours == theirs) {
        return SupportedCipherSuite::Tls12(ours);
    }
    let ours: &'static _ = Box::leak(Box::new(Tls12CipherSuite {
        common: CipherSuiteCommon {
            suite: theirs.common.suite,
            hash_provider: theirs.common.hash_provider,
            confidentiality_limit: theirs.common.confidentiality_limit,
        },
        prf_provider: Box::leak(Box::new(Once(theirs.prf_provider))),
        kx: theirs.kx,
        sign: theirs.sign,
        aead_alg: theirs.aead_alg,
    }));
    made.push(ours);
    SupportedCipherSuite::Tls12(ours)
}

/// A function that derives keys once.
struct Once(&'static dyn Prf);

impl Prf for Once {
    fn for_secret(&self, output: &mut [u8], secret: &[u8], label: &[u8], seed: &[u8]) {
        if label != KEYS {
            return self.0.for_secret(output, secret, label, seed);
        }
        MEMORY.with_borrow_mut(|memory| match &memory.keys {
            Some(known) if *known.randoms == *seed && known.keys.len() == output.len() => {
                output.copy_from_slice(&known.keys);
            }
            _ => {
                self.0.for_secret(output, secret, label, seed);
                memory.keys = memory.open.then(|| KeyBlock {
                    randoms: seed.into(),
                    keys: Zeroizing::new((&*output).into()),
                });
            }
        });
    }

    fn for_key_exchange(
        &self,
        output: &mut [u8; 48],
        exchange: Box<dyn ActiveKeyExchange>,
        peer_key: &[u8],
        label: &[u8],
        seed: &[u8],
    ) -> Result<(), Error> {
        (self.0).for_key_exchange(output, exchange, peer_key, label, seed)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::*;

    /// Answers with how often it was asked.
    #[derive(Default)]
    struct Counting(AtomicU8);

    impl Prf for Counting {
        fn for_secret(&self, output: &mut [u8], _: &[u8], _: &[u8], _: &[u8]) {
            output.fill(self.0.fetch_add(1, Relaxed) + 1);
        }

        fn for_key_exchange(
            &self,
            _: &mut [u8; 48],
            _: Box<dyn ActiveKeyExchange>,
            _: &[u8],
            _: &[u8],
            _: &[u8],
        ) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn keys_are_derived_once_for_a_handshake_and_never_for_another() {
        let prf = Once(Box::leak(Box::default()) as &Counting);
        let ask = |label: &[u8], seed: &[u8], length| {
            let mut output = vec![0; length];
            prf.for_secret(&mut output, b"secret", label, seed);
            output
        };
        let step = Remembering::from(None);
        assert_eq!(ask(KEYS, b"one", 2), [1; 2]);
        assert_eq!(ask(b"client finished", b"hash", 2), [2; 2]);
        assert_eq!(ask(KEYS, b"one", 2), [1; 2], "the same step");
        let keys = step.keys();
        assert_eq!(ask(KEYS, b"one", 2), [3; 2], "outside of a step");

        let step = Remembering::from(keys);
        assert_eq!(ask(KEYS, b"one", 2), [1; 2], "the next step");
        assert_eq!(ask(KEYS, b"one", 3), [4; 3], "another length");
        assert_eq!(ask(KEYS, b"two", 3), [5; 3], "other randoms");
        drop(step);
        assert_eq!(ask(KEYS, b"two", 3), [6; 3], "after the steps");
        assert_eq!(format!("{:?}", Remembering::from(None).keys()), "None");
    }

    #[test]
    fn a_suite_is_made_once_and_is_the_same() {
        for suite in rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES {
            let (once, again) = (remembering(*suite), remembering(*suite));
            assert_eq!(once, *suite);
            if let (SupportedCipherSuite::Tls12(once), SupportedCipherSuite::Tls12(again)) =
                (once, again)
            {
                assert!(std::ptr::eq(once, again));
            }
        }
    }
}
