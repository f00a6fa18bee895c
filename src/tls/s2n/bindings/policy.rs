//! A policy of our own. s2n-tls has names for its policies alone, but goes by any other in the same way (its
//! functions say "not in the official list"). What is declared here is in its private headers, so Cargo.toml
//! names one version of it, and a test compares. Never in here: a version below TLS 1.0.

use std::ffi::c_int;
use std::ptr;

use s2n_tls_sys as sys;

use super::{done, last_error};
use crate::config::SecurityLevel;
use crate::tls::s2n::policies::{TLS10, Version};

/// s2n's own, of which only the address is used.
#[repr(C)]
pub(super) struct Opaque([u8; 0]);

/// `struct s2n_cipher_preferences` (tls/s2n_cipher_preferences.h).
#[repr(C)]
struct CipherPreferences {
    count: u16,
    suites: *const *const Opaque,
    allow_chacha20_boosting: bool,
}

/// `struct s2n_ecc_preferences`, and `struct s2n_signature_preferences` (tls/s2n_ecc_preferences.h,
/// tls/s2n_signature_scheme.h).
#[repr(C)]
struct Preferences {
    count: u8,
    members: *const *const Opaque,
}

/// `struct s2n_security_policy` (tls/s2n_security_policies.h).
#[repr(C)]
struct SecurityPolicy {
    minimum_protocol_version: u8,
    cipher_preferences: *const CipherPreferences,
    kem_preferences: *const Opaque,
    signature_preferences: *const Opaque,
    certificate_signature_preferences: *const Opaque,
    ecc_preferences: *const Opaque,
    strongly_preferred_groups: *const Opaque,
    certificate_key_preferences: *const Opaque,
    certificate_preferences_apply_locally: bool,
    /// Forward secrecy, FIPS: only asserted of s2n's own.
    rules: [bool; 2],
}

unsafe extern "C" {
    /// No hybrid group.
    static kem_preferences_null: Opaque;
    /// SecP256r1MLKEM768 and X25519MLKEM768, for TLS 1.3.
    static kem_preferences_pq_tls_1_3_ietf_2024_10: Opaque;
    /// PSS, PKCS#1 and ECDSA, SHA-1 last.
    static s2n_signature_preferences_20201021: Opaque;
    /// P-256, X25519, P-384, P-521.
    static s2n_ecc_preferences_20240501: Opaque;
    static s2n_ecc_curve_secp384r1: Opaque;
    static s2n_ecc_curve_secp521r1: Opaque;
    /// TLS 1.3 has those of ECDSA with one curve each: P-384, P-521.
    static s2n_ecdsa_sha384: Opaque;
    static s2n_ecdsa_sha512: Opaque;
    static s2n_rsa_pss_rsae_sha384: Opaque;
    static s2n_rsa_pss_rsae_sha512: Opaque;
    static s2n_rsa_pkcs1_sha384: Opaque;
    static s2n_rsa_pkcs1_sha512: Opaque;
    /// `S2N_RESULT` is a struct of one int, and comes back as one.
    fn s2n_cipher_suite_from_iana(
        number: *const u8,
        length: usize,
        suite: *mut *const Opaque,
    ) -> c_int;
    fn s2n_config_set_security_policy(
        config: *mut sys::s2n_config,
        policy: *const SecurityPolicy,
    ) -> c_int;
}

/// Which versions and suites are spoken, and in which order a server prefers them.
pub(in crate::tls::s2n) struct Policy {
    raw: Box<SecurityPolicy>,
    /// What `raw` refers to.
    _preferences: Box<CipherPreferences>,
    _suites: Box<[*const Opaque]>,
    _of_level: Option<OfLevel>,
}

/// The groups and the signatures that a level above 3 leaves, for [`SecurityPolicy`].
struct OfLevel {
    groups: Box<Preferences>,
    signatures: Box<Preferences>,
    _members: [Box<[*const Opaque]>; 2],
}

impl OfLevel {
    fn new(level: SecurityLevel) -> Option<Self> {
        let (groups, signatures): (&[_], &[_]) = match level {
            SecurityLevel::Five => (
                &[&raw const s2n_ecc_curve_secp521r1],
                &[
                    &raw const s2n_ecdsa_sha512,
                    &raw const s2n_rsa_pss_rsae_sha512,
                    &raw const s2n_rsa_pkcs1_sha512,
                ],
            ),
            SecurityLevel::Four => (
                &[
                    &raw const s2n_ecc_curve_secp384r1,
                    &raw const s2n_ecc_curve_secp521r1,
                ],
                &[
                    &raw const s2n_ecdsa_sha384,
                    &raw const s2n_ecdsa_sha512,
                    &raw const s2n_rsa_pss_rsae_sha384,
                    &raw const s2n_rsa_pss_rsae_sha512,
                    &raw const s2n_rsa_pkcs1_sha384,
                    &raw const s2n_rsa_pkcs1_sha512,
                ],
            ),
            _ => return None,
        };
        let members: [Box<[*const Opaque]>; 2] = [groups.into(), signatures.into()];
        let listed = |members: &[*const Opaque]| {
            Box::new(Preferences {
                count: members.len() as u8,
                members: members.as_ptr(),
            })
        };
        Some(Self {
            groups: listed(&members[0]),
            signatures: listed(&members[1]),
            _members: members,
        })
    }
}

// SAFETY: nothing changes it once it is made; what it leads to is its own, or s2n's constants.
unsafe impl Send for Policy {}
// SAFETY: as above.
unsafe impl Sync for Policy {}

impl Policy {
    /// One of these suites, and of versions from `lowest` on, with the groups and signatures of a level. With `hybrids`
    /// TLS 1.3 has groups that withstand quantum computers.
    ///
    /// # Errors
    /// s2n's name of the error: it has no such suite.
    pub(in crate::tls::s2n) fn new(
        lowest: Version,
        suites: &[u16],
        hybrids: bool,
        level: SecurityLevel,
    ) -> Result<Self, &'static str> {
        let count = u16::try_from(suites.len()).map_err(|_| "too many suites")?;
        let suites: Result<Box<[_]>, _> = suites.iter().map(|code| found(*code)).collect();
        let suites = suites?;
        let preferences = Box::new(CipherPreferences {
            count,
            suites: suites.as_ptr(),
            allow_chacha20_boosting: false,
        });
        let of_level = OfLevel::new(level);
        let (groups, signatures) = match &of_level {
            Some(OfLevel {
                groups, signatures, ..
            }) => (
                (&raw const **groups).cast(),
                (&raw const **signatures).cast(),
            ),
            None => (
                &raw const s2n_ecc_preferences_20240501,
                &raw const s2n_signature_preferences_20201021,
            ),
        };
        let raw = Box::new(SecurityPolicy {
            minimum_protocol_version: lowest.max(TLS10).0,
            cipher_preferences: &raw const *preferences,
            kem_preferences: match hybrids && level < SecurityLevel::Five {
                true => &raw const kem_preferences_pq_tls_1_3_ietf_2024_10,
                false => &raw const kem_preferences_null,
            },
            signature_preferences: signatures,
            certificate_signature_preferences: ptr::null(),
            ecc_preferences: groups,
            strongly_preferred_groups: ptr::null(),
            certificate_key_preferences: ptr::null(),
            certificate_preferences_apply_locally: false,
            rules: [false; 2],
        });
        Ok(Self {
            raw,
            _preferences: preferences,
            _suites: suites,
            _of_level: of_level,
        })
    }

    /// # Safety
    /// `config` is valid, and this outlives it.
    pub(super) unsafe fn apply(&self, config: *mut sys::s2n_config) -> Result<(), &'static str> {
        // SAFETY: as above; s2n reads the policy, and keeps a pointer to it.
        done(unsafe { s2n_config_set_security_policy(config, &raw const *self.raw) })
    }
}

/// s2n's suite with this number.
pub(super) fn found(code: u16) -> Result<*const Opaque, &'static str> {
    let number = code.to_be_bytes();
    let mut suite = ptr::null();
    // SAFETY: all pointers are valid for the call; the suite is a variable of s2n's.
    done(unsafe { s2n_cipher_suite_from_iana(number.as_ptr(), number.len(), &raw mut suite) })?;
    match suite.is_null() {
        true => Err(last_error()),
        false => Ok(suite),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, c_char};

    use super::*;

    unsafe extern "C" {
        fn s2n_find_security_policy_from_version(
            name: *const c_char,
            policy: *mut *const SecurityPolicy,
        ) -> c_int;
        fn s2n_security_policy_equals(
            one: *const SecurityPolicy,
            other: *const SecurityPolicy,
            equal: *mut bool,
        ) -> c_int;
    }

    fn named(name: &CStr) -> &'static SecurityPolicy {
        let mut policy = ptr::null();
        // SAFETY: both pointers are valid; the policy is a constant of s2n's.
        unsafe {
            done(s2n_find_security_policy_from_version(
                name.as_ptr(),
                &raw mut policy,
            ))
            .unwrap();
            &*policy
        }
    }

    fn equal(one: &SecurityPolicy, other: &SecurityPolicy) -> bool {
        let mut equal = false;
        // SAFETY: all three are valid for the call.
        done(unsafe { s2n_security_policy_equals(one, other, &raw mut equal) }).unwrap();
        equal
    }

    const LEVEL: SecurityLevel = SecurityLevel::Two;

    /// RC4 and older suites, by TLS 1.0 and later, in s2n's order.
    const OF_2014: [u16; 8] = [
        0x0067, 0x0033, 0x0016, 0x003c, 0x002f, 0x000a, 0x0005, 0x0004,
    ];

    #[test]
    fn s2n_reads_a_policy_of_ours_as_one_of_its_own() {
        crate::tls::s2n::start().unwrap();
        let theirs = named(c"20141001");
        let mut ours = Policy::new(TLS10, &OF_2014, false, LEVEL).unwrap();
        assert!(!equal(&ours.raw, theirs));
        ours.raw.signature_preferences = theirs.signature_preferences;
        ours.raw.ecc_preferences = theirs.ecc_preferences;
        assert!(equal(&ours.raw, theirs));
        let change: [fn(&mut SecurityPolicy); 9] = [
            |raw| raw.minimum_protocol_version += 1,
            |raw| raw.kem_preferences = &raw const kem_preferences_pq_tls_1_3_ietf_2024_10,
            |raw| raw.signature_preferences = &raw const s2n_signature_preferences_20201021,
            |raw| {
                raw.certificate_signature_preferences =
                    &raw const s2n_signature_preferences_20201021;
            },
            |raw| raw.ecc_preferences = &raw const s2n_ecc_preferences_20240501,
            |raw| raw.certificate_preferences_apply_locally = true,
            |raw| raw.rules[0] = true,
            |raw| raw.rules[1] = true,
            |raw| raw.cipher_preferences = named(c"20150202").cipher_preferences,
        ];
        for (number, change) in change.iter().enumerate() {
            let mut changed = Policy::new(TLS10, &OF_2014, false, LEVEL).unwrap();
            changed.raw.signature_preferences = theirs.signature_preferences;
            changed.raw.ecc_preferences = theirs.ecc_preferences;
            change(&mut changed.raw);
            assert!(!equal(&changed.raw, theirs), "{number}");
        }
        let shorter = Policy::new(TLS10, &OF_2014[1..], false, LEVEL).unwrap();
        assert!(!equal(&shorter.raw, theirs));
        assert!(Policy::new(TLS10, &[0x1234], false, LEVEL).is_err());
    }
}
