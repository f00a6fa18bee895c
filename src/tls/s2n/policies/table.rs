//! s2n-tls' suites that adit uses, as its sources have them (tls/s2n_cipher_suites.c); the tests ask the library
//! for each.

use super::{TLS10, TLS12, TLS13, Version};
use crate::config::SecurityLevel;

impl Suite {
    /// Whether a version below TLS 1.3 has it.
    pub(in crate::tls) fn is_old(&self) -> bool {
        self.since < TLS13
    }

    /// Whether OpenSSL has it at this security level. From 3 on DHE is left out: the group has 2048 bits, and a server's
    /// may have any number; from 4 on SHA-1.
    pub(in crate::tls) fn is_of(&self, level: SecurityLevel) -> bool {
        let forward_secret = matches!(self.exchange, Ecdhe | Any);
        level < SecurityLevel::Three
            || forward_secret
                && self.bits >= level.bits()
                && (level == SecurityLevel::Three || !self.name.ends_with("-SHA"))
    }
}

/// How the two sides come to their secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    Rsa,
    Dhe,
    Ecdhe,
    /// TLS 1.3 has it outside of the suite.
    Any,
}

/// Whose signature, or key, the suite asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls) enum Authentication {
    Rsa,
    Ecdsa,
    Any,
}

/// A suite that s2n has.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tls) struct Suite {
    pub(in crate::tls) code: u16,
    /// OpenSSL's name.
    pub(in crate::tls) name: &'static str,
    /// OpenSSL's count of the bits of its key.
    pub(in crate::tls) bits: u16,
    pub(super) exchange: Exchange,
    pub(super) authentication: Authentication,
    /// The first version that has it.
    pub(in crate::tls) since: Version,
}

const fn suite(
    code: u16,
    name: &'static str,
    bits: u16,
    exchange: Exchange,
    authentication: Authentication,
    since: Version,
) -> Suite {
    Suite {
        code,
        name,
        bits,
        exchange,
        authentication,
        since,
    }
}

/// The numbers of 3DES, which is closed after some data; see `stream`.
pub(in crate::tls) const TRIPLE_DES: [u16; 3] = [0x000a, 0x0016, 0xc012];
pub(in crate::tls) const RC4: [u16; 2] = [0x0004, 0x0005];

use Authentication::{Any as AnyKey, Ecdsa, Rsa as RsaKey};
use Exchange::{Any, Dhe, Ecdhe, Rsa};

/// In the order in which a server chooses, and a client offers: as s2n's own policies have it (key exchange by RSA
/// before DHE, for which old clients may want a group of 1024 bits), but with 3DES and RC4 last.
pub(in crate::tls) static SUITES: [Suite; 34] = [
    suite(0x1301, "TLS_AES_128_GCM_SHA256", 128, Any, AnyKey, TLS13),
    suite(0x1302, "TLS_AES_256_GCM_SHA384", 256, Any, AnyKey, TLS13),
    suite(
        0x1303,
        "TLS_CHACHA20_POLY1305_SHA256",
        256,
        Any,
        AnyKey,
        TLS13,
    ),
    suite(
        0xc02b,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        128,
        Ecdhe,
        Ecdsa,
        TLS12,
    ),
    suite(
        0xc02f,
        "ECDHE-RSA-AES128-GCM-SHA256",
        128,
        Ecdhe,
        RsaKey,
        TLS12,
    ),
    suite(
        0xc02c,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        256,
        Ecdhe,
        Ecdsa,
        TLS12,
    ),
    suite(
        0xc030,
        "ECDHE-RSA-AES256-GCM-SHA384",
        256,
        Ecdhe,
        RsaKey,
        TLS12,
    ),
    suite(
        0xcca9,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        256,
        Ecdhe,
        Ecdsa,
        TLS12,
    ),
    suite(
        0xcca8,
        "ECDHE-RSA-CHACHA20-POLY1305",
        256,
        Ecdhe,
        RsaKey,
        TLS12,
    ),
    suite(0xc009, "ECDHE-ECDSA-AES128-SHA", 128, Ecdhe, Ecdsa, TLS10),
    suite(0xc013, "ECDHE-RSA-AES128-SHA", 128, Ecdhe, RsaKey, TLS10),
    suite(
        0xc023,
        "ECDHE-ECDSA-AES128-SHA256",
        128,
        Ecdhe,
        Ecdsa,
        TLS12,
    ),
    suite(0xc027, "ECDHE-RSA-AES128-SHA256", 128, Ecdhe, RsaKey, TLS12),
    suite(0xc00a, "ECDHE-ECDSA-AES256-SHA", 256, Ecdhe, Ecdsa, TLS10),
    suite(0xc014, "ECDHE-RSA-AES256-SHA", 256, Ecdhe, RsaKey, TLS10),
    suite(
        0xc024,
        "ECDHE-ECDSA-AES256-SHA384",
        256,
        Ecdhe,
        Ecdsa,
        TLS12,
    ),
    suite(0xc028, "ECDHE-RSA-AES256-SHA384", 256, Ecdhe, RsaKey, TLS12),
    suite(0x009c, "AES128-GCM-SHA256", 128, Rsa, RsaKey, TLS12),
    suite(0x009d, "AES256-GCM-SHA384", 256, Rsa, RsaKey, TLS12),
    suite(0x002f, "AES128-SHA", 128, Rsa, RsaKey, TLS10),
    suite(0x003c, "AES128-SHA256", 128, Rsa, RsaKey, TLS12),
    suite(0x0035, "AES256-SHA", 256, Rsa, RsaKey, TLS10),
    suite(0x003d, "AES256-SHA256", 256, Rsa, RsaKey, TLS12),
    suite(0x009e, "DHE-RSA-AES128-GCM-SHA256", 128, Dhe, RsaKey, TLS12),
    suite(0x009f, "DHE-RSA-AES256-GCM-SHA384", 256, Dhe, RsaKey, TLS12),
    suite(0x0033, "DHE-RSA-AES128-SHA", 128, Dhe, RsaKey, TLS10),
    suite(0x0067, "DHE-RSA-AES128-SHA256", 128, Dhe, RsaKey, TLS12),
    suite(0x0039, "DHE-RSA-AES256-SHA", 256, Dhe, RsaKey, TLS10),
    suite(0x006b, "DHE-RSA-AES256-SHA256", 256, Dhe, RsaKey, TLS12),
    suite(0xc012, "ECDHE-RSA-DES-CBC3-SHA", 112, Ecdhe, RsaKey, TLS10),
    suite(0x000a, "DES-CBC3-SHA", 112, Rsa, RsaKey, TLS10),
    suite(0x0016, "DHE-RSA-DES-CBC3-SHA", 112, Dhe, RsaKey, TLS10),
    suite(0x0005, "RC4-SHA", 128, Rsa, RsaKey, TLS10),
    suite(0x0004, "RC4-MD5", 128, Rsa, RsaKey, TLS10),
];

/// The groups of its key exchanges at a security level.
pub(super) fn groups(level: SecurityLevel) -> &'static [u16] {
    match level {
        SecurityLevel::Five => &[25],
        SecurityLevel::Four => &[24, 25],
        _ => &[23, 29, 24, 25],
    }
}

/// SecP256r1MLKEM768 and X25519MLKEM768, of TLS 1.3 alone.
pub(super) fn hybrids(level: SecurityLevel) -> &'static [u16] {
    match level {
        SecurityLevel::Five => &[],
        _ => &[0x11eb, 0x11ec],
    }
}
