//! AWS-LC's records of TLS 1.2 and older: MAC, then padding, then CBC, opened in constant time; and the
//! function that makes their keys.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use aws_lc_rs::rand;
use aws_lc_sys as lc;

use super::stitched::Stitched;

/// A cipher and a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls::s2n) enum CbcSuite {
    TripleDesSha1,
    Aes128Sha1,
    Aes256Sha1,
    Aes128Sha256,
    Aes256Sha384,
}

impl CbcSuite {
    /// The lengths of the MAC's key, the cipher's key, and a block, in bytes.
    pub(in crate::tls::s2n) fn lengths(self) -> (usize, usize, usize) {
        match self {
            CbcSuite::TripleDesSha1 => (20, 24, 8),
            CbcSuite::Aes128Sha1 => (20, 16, 16),
            CbcSuite::Aes256Sha1 => (20, 32, 16),
            CbcSuite::Aes128Sha256 => (32, 16, 16),
            CbcSuite::Aes256Sha384 => (48, 32, 16),
        }
    }

    /// Whether records of it are sealed in one pass.
    pub(in crate::tls::s2n) fn is_stitched(self) -> bool {
        Stitched::cipher(self).is_some()
    }

    /// `implicit`: each record begins where the last one ended (TLS 1.0); SHA-2 came later.
    fn aead(self, implicit: bool) -> Option<*const lc::EVP_AEAD> {
        // SAFETY: each gives the address of a constant.
        unsafe {
            Some(match (self, implicit) {
                (CbcSuite::TripleDesSha1, true) => lc::EVP_aead_des_ede3_cbc_sha1_tls_implicit_iv(),
                (CbcSuite::TripleDesSha1, false) => lc::EVP_aead_des_ede3_cbc_sha1_tls(),
                (CbcSuite::Aes128Sha1, true) => lc::EVP_aead_aes_128_cbc_sha1_tls_implicit_iv(),
                (CbcSuite::Aes128Sha1, false) => lc::EVP_aead_aes_128_cbc_sha1_tls(),
                (CbcSuite::Aes256Sha1, true) => lc::EVP_aead_aes_256_cbc_sha1_tls_implicit_iv(),
                (CbcSuite::Aes256Sha1, false) => lc::EVP_aead_aes_256_cbc_sha1_tls(),
                (CbcSuite::Aes128Sha256, false) => lc::EVP_aead_aes_128_cbc_sha256_tls(),
                (CbcSuite::Aes256Sha384, false) => lc::EVP_aead_aes_256_cbc_sha384_tls(),
                (CbcSuite::Aes128Sha256 | CbcSuite::Aes256Sha384, true) => return None,
            })
        }
    }
}

/// A key for one direction.
struct Context(Box<lc::EVP_AEAD_CTX>);

// SAFETY: no thread owns it, and it is used through `&mut` alone.
unsafe impl Send for Context {}

impl Context {
    fn new(
        suite: CbcSuite,
        implicit: bool,
        key: &[u8],
        direction: lc::evp_aead_direction_t,
    ) -> Option<Self> {
        let aead = suite.aead(implicit)?;
        let mut context = Box::new(MaybeUninit::<lc::EVP_AEAD_CTX>::zeroed());
        // SAFETY: the context is ours, and an all-zero one is what EVP_AEAD_CTX_zero makes; the key is as
        // long as is said, and copied. A default tag length is 0.
        let done = unsafe {
            lc::EVP_AEAD_CTX_init_with_direction(
                context.as_mut_ptr(),
                aead,
                key.as_ptr(),
                key.len(),
                0,
                direction,
            )
        };
        // SAFETY: zeros are a valid context, which needs no cleaning up.
        (done == 1).then(|| Self(unsafe { context.assume_init() }))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was initialised.
        unsafe { lc::EVP_AEAD_CTX_cleanup(&raw mut *self.0) };
    }
}

/// What is authenticated besides the plaintext and its length: sequence number, content type, version.
pub(in crate::tls::s2n) type Associated = [u8; 11];

/// Seals records.
pub(in crate::tls::s2n) struct Sealer(Sealing);

enum Sealing {
    TwoPasses(Context),
    OnePass(Stitched),
}

impl Sealer {
    /// `key` is the MAC's key, the cipher's, and where `implicit` the last block of the record before.
    pub(in crate::tls::s2n) fn new(suite: CbcSuite, implicit: bool, key: &[u8]) -> Option<Self> {
        match Stitched::new(suite, implicit, key) {
            Some(stitched) => Some(Self(Sealing::OnePass(stitched))),
            None => Self::in_two_passes(suite, implicit, key),
        }
    }

    /// As [`Sealer::new`], on any processor.
    pub(super) fn in_two_passes(suite: CbcSuite, implicit: bool, key: &[u8]) -> Option<Self> {
        let direction = lc::evp_aead_direction_t_evp_aead_seal;
        let context = Context::new(suite, implicit, key, direction)?;
        Some(Self(Sealing::TwoPasses(context)))
    }

    /// Seals `plain` into `output`, behind its vector of `explicit` bytes: how much of that is filled.
    pub(in crate::tls::s2n) fn seal(
        &mut self,
        explicit: usize,
        associated: &Associated,
        plain: &[u8],
        output: &mut [u8],
    ) -> Option<usize> {
        let context = match &mut self.0 {
            Sealing::OnePass(stitched) => return stitched.seal(associated, plain, output),
            Sealing::TwoPasses(context) => context,
        };
        let (iv, sealed) = output.split_at_mut_checked(explicit)?;
        rand::fill(iv).ok()?;
        let mut length = 0;
        // SAFETY: every slice is as long as is said; input and output do not overlap.
        let done = unsafe {
            lc::EVP_AEAD_CTX_seal(
                &raw const *context.0,
                sealed.as_mut_ptr(),
                &raw mut length,
                sealed.len(),
                iv.as_ptr(),
                iv.len(),
                plain.as_ptr(),
                plain.len(),
                associated.as_ptr(),
                associated.len(),
            )
        };
        (done == 1).then_some(explicit + length)
    }
}

/// Opens records.
pub(in crate::tls::s2n) struct Opener(Context);

impl Opener {
    /// As [`Sealer::new`].
    pub(in crate::tls::s2n) fn new(suite: CbcSuite, implicit: bool, key: &[u8]) -> Option<Self> {
        Context::new(suite, implicit, key, lc::evp_aead_direction_t_evp_aead_open).map(Self)
    }

    /// Opens `body` in place: how long its plaintext is. `None`: it is not authentic.
    pub(in crate::tls::s2n) fn open(
        &mut self,
        iv: &[u8],
        associated: &Associated,
        body: &mut [u8],
    ) -> Option<usize> {
        let mut length = 0;
        let start = body.as_mut_ptr();
        // SAFETY: every slice is as long as is said; input and output are the same, which is allowed.
        let done = unsafe {
            lc::EVP_AEAD_CTX_open(
                &raw const *self.0.0,
                start,
                &raw mut length,
                body.len(),
                iv.as_ptr(),
                iv.len(),
                start,
                body.len(),
                associated.as_ptr(),
                associated.len(),
            )
        };
        (done == 1).then_some(length)
    }
}

/// The hash of a connection's pseudo-random function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls::s2n) enum Digest {
    /// TLS 1.0 and 1.1 (RFC 2246, section 5).
    Md5Sha1,
    Sha256,
    Sha384,
}

/// Fills `output` by the pseudo-random function of TLS 1.2 and older (RFC 5246, section 5).
pub(in crate::tls::s2n) fn prf(
    digest: Digest,
    secret: &[u8],
    label: &[u8],
    seeds: [&[u8]; 2],
    output: &mut [u8],
) -> Option<()> {
    let [first, second] = seeds;
    // SAFETY: every slice is as long as is said; the digests are constants.
    let done = unsafe {
        let digest = match digest {
            Digest::Md5Sha1 => lc::EVP_md5_sha1(),
            Digest::Sha256 => lc::EVP_sha256(),
            Digest::Sha384 => lc::EVP_sha384(),
        };
        lc::CRYPTO_tls1_prf(
            digest,
            output.as_mut_ptr(),
            output.len(),
            secret.as_ptr(),
            secret.len(),
            label.as_ptr().cast::<c_char>(),
            label.len(),
            first.as_ptr(),
            first.len(),
            second.as_ptr(),
            second.len(),
        )
    };
    (done == 1).then_some(())
}
