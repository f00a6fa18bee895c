//! HKDF for TLS 1.3 (RFC 5869): rustls' own code over HMAC, with AWS-LC's HMAC keys, so that each key
//! is set up once for everything expanded from a secret. AWS-LC's HKDF sets it up again each time,
//! which is a quarter of a handshake's hashing. Never in here: what is expanded.

use aws_lc_rs::hmac;
use rustls::crypto::CipherSuiteCommon;
use rustls::crypto::hmac::{Hmac, Key, Tag};
use rustls::crypto::tls13::HkdfUsingHmac;
use rustls::{SupportedCipherSuite, Tls13CipherSuite};

static HKDF_SHA256: HkdfUsingHmac<'static> = HkdfUsingHmac(&Hash(&hmac::HMAC_SHA256));
static HKDF_SHA384: HkdfUsingHmac<'static> = HkdfUsingHmac(&Hash(&hmac::HMAC_SHA384));

/// rustls' SHA-256 suite with this HKDF.
pub(super) const fn with_sha256(suite: &SupportedCipherSuite) -> Tls13CipherSuite {
    with(suite, &HKDF_SHA256)
}

/// rustls' SHA-384 suite with this HKDF.
pub(super) const fn with_sha384(suite: &SupportedCipherSuite) -> Tls13CipherSuite {
    with(suite, &HKDF_SHA384)
}

#[expect(clippy::panic, reason = "evaluated when this is compiled")]
const fn with(suite: &SupportedCipherSuite, hkdf: &'static HkdfUsingHmac<'_>) -> Tls13CipherSuite {
    let SupportedCipherSuite::Tls13(suite) = suite else {
        panic!("a suite of TLS 1.3");
    };
    Tls13CipherSuite {
        common: CipherSuiteCommon {
            suite: suite.common.suite,
            hash_provider: suite.common.hash_provider,
            confidentiality_limit: suite.common.confidentiality_limit,
        },
        hkdf_provider: hkdf,
        aead_alg: suite.aead_alg,
        quic: None,
    }
}

struct Hash(&'static hmac::Algorithm);

impl Hmac for Hash {
    fn with_key(&self, key: &[u8]) -> Box<dyn Key> {
        Box::new(Prepared(hmac::Key::new(*self.0, key)))
    }

    fn hash_output_len(&self) -> usize {
        self.0.digest_algorithm().output_len()
    }
}

struct Prepared(hmac::Key);

impl Key for Prepared {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(first);
        for part in middle {
            context.update(part);
        }
        context.update(last);
        Tag::new(context.sign().as_ref())
    }

    fn tag_len(&self) -> usize {
        self.0.algorithm().digest_algorithm().output_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs::cipher_suite as suites;

    /// The same secrets as AWS-LC's own HKDF.
    #[test]
    fn secrets_are_those_of_the_suites_that_rustls_has() {
        let ours = [
            with_sha256(&suites::TLS13_AES_128_GCM_SHA256),
            with_sha384(&suites::TLS13_AES_256_GCM_SHA384),
        ];
        let theirs = [
            suites::TLS13_AES_128_GCM_SHA256,
            suites::TLS13_AES_256_GCM_SHA384,
        ];
        for (ours, theirs) in ours.iter().zip(theirs) {
            let theirs = theirs.tls13().unwrap();
            let expanded = |suite: &Tls13CipherSuite, salt: Option<&[u8]>| {
                let hkdf = suite.hkdf_provider;
                let zero = hkdf.extract_from_zero_ikm(salt).expand_block(&[b"a", b""]);
                let expander = hkdf.extract_from_secret(salt, b"secret");
                let block = expander.expand_block(&[b"label", b"context"]);
                let mut long = [0; 200];
                expander.expand_slice(&[b"key"], &mut long).unwrap();
                let next = hkdf.expander_for_okm(&block).expand_block(&[]);
                let tag = hkdf.hmac_sign(&block, b"finished");
                let parts = [
                    zero.as_ref(),
                    block.as_ref(),
                    &long,
                    next.as_ref(),
                    tag.as_ref(),
                ];
                parts.concat()
            };
            for salt in [None, Some(&b"salt"[..])] {
                assert_eq!(expanded(ours, salt), expanded(theirs, salt));
            }
        }
    }
}
