//! s2n-tls' suites, and those of its policies that adit uses, as its sources have them (tls/s2n_cipher_preferences.c,
//! tls/s2n_security_policies.c); the tests ask the library for each entry.

use std::ffi::CStr;

use super::{TLS10, TLS12, TLS13, Version};

impl Suite {
    /// Whether a version below TLS 1.3 has it.
    pub(in crate::tls) fn is_old(&self) -> bool {
        self.since < TLS13
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

/// The number of 3DES, which is closed after some data; see `stream`.
pub(in crate::tls) const TRIPLE_DES: [u16; 3] = [0x000a, 0x0016, 0xc012];
pub(in crate::tls) const RC4: [u16; 2] = [0x0004, 0x0005];

use Authentication::{Any as AnyKey, Ecdsa, Rsa as RsaKey};
use Exchange::{Any, Dhe, Ecdhe, Rsa};

/// Every suite of the policies below.
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
    suite(0xc012, "ECDHE-RSA-DES-CBC3-SHA", 112, Ecdhe, RsaKey, TLS10),
    suite(0x009c, "AES128-GCM-SHA256", 128, Rsa, RsaKey, TLS12),
    suite(0x009d, "AES256-GCM-SHA384", 256, Rsa, RsaKey, TLS12),
    suite(0x002f, "AES128-SHA", 128, Rsa, RsaKey, TLS10),
    suite(0x003c, "AES128-SHA256", 128, Rsa, RsaKey, TLS12),
    suite(0x0035, "AES256-SHA", 256, Rsa, RsaKey, TLS10),
    suite(0x003d, "AES256-SHA256", 256, Rsa, RsaKey, TLS12),
    suite(0x000a, "DES-CBC3-SHA", 112, Rsa, RsaKey, TLS10),
    suite(0x009e, "DHE-RSA-AES128-GCM-SHA256", 128, Dhe, RsaKey, TLS12),
    suite(0x009f, "DHE-RSA-AES256-GCM-SHA384", 256, Dhe, RsaKey, TLS12),
    suite(0x0033, "DHE-RSA-AES128-SHA", 128, Dhe, RsaKey, TLS10),
    suite(0x0067, "DHE-RSA-AES128-SHA256", 128, Dhe, RsaKey, TLS12),
    suite(0x0039, "DHE-RSA-AES256-SHA", 256, Dhe, RsaKey, TLS10),
    suite(0x006b, "DHE-RSA-AES256-SHA256", 256, Dhe, RsaKey, TLS12),
    suite(0x0016, "DHE-RSA-DES-CBC3-SHA", 112, Dhe, RsaKey, TLS10),
    suite(0x0005, "RC4-SHA", 128, Rsa, RsaKey, TLS10),
    suite(0x0004, "RC4-MD5", 128, Rsa, RsaKey, TLS10),
];

/// One of s2n's policies: its name, and its suites in its order. Each speaks TLS 1.0 and later.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tls) struct Policy {
    pub(in crate::tls) name: &'static CStr,
    pub(super) suites: &'static [u16],
    /// The groups of its key exchanges; TLS 1.3 alone has the hybrid ones.
    pub(super) groups: &'static [u16],
}

const P256_TO_P521: &[u16] = &[23, 24, 25, 0x11eb, 0x11ec];
const X25519_TO_P384: &[u16] = &[29, 23, 24];
const P256_AND_P384: &[u16] = &[23, 24];
/// SecP256r1MLKEM768 and X25519MLKEM768, of TLS 1.3 alone.
pub(super) const HYBRIDS: [u16; 2] = [0x11eb, 0x11ec];

/// In the order in which they are tried. The first has everything but RC4 and ChaCha20; the others have
/// less, or another order, for services that allow less. The last has RC4.
pub(in crate::tls) static POLICIES: [Policy; 10] = [
    Policy {
        name: c"20260520_gcm",
        suites: &[
            0x1301, 0x1302, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xc009, 0xc013, 0xc023, 0xc027, 0xc00a,
            0xc014, 0xc024, 0xc028, 0x009c, 0x009d, 0x002f, 0x003c, 0x0035, 0x003d, 0x000a, 0x009e,
            0x009f, 0x0033, 0x0067, 0x0039, 0x006b,
        ],
        groups: P256_TO_P521,
    },
    Policy {
        name: c"CloudFront-TLS-1-0-2014-sha256-no-pq",
        suites: &[
            0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc023, 0xc027, 0xc009, 0xc013, 0xc02c, 0xc030,
            0xcca9, 0xcca8, 0xc024, 0xc028, 0xc00a, 0xc014, 0x009c, 0x009d, 0x003c, 0x002f, 0x003d,
            0x0035, 0x000a,
        ],
        groups: X25519_TO_P384,
    },
    Policy {
        name: c"20260520",
        suites: &[
            0x1301, 0x1302, 0xc009, 0xc013, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xc023, 0xc027, 0xc00a,
            0xc014, 0xc024, 0xc028, 0x002f, 0x009c, 0x009d, 0x003c, 0x0035, 0x003d, 0x000a, 0x0033,
            0x009e, 0x009f, 0x0067, 0x0039, 0x006b,
        ],
        groups: P256_TO_P521,
    },
    Policy {
        name: c"20170718_gcm",
        suites: &[
            0xc02f, 0xc030, 0xc013, 0xc027, 0xc014, 0xc028, 0x009c, 0x009d, 0x002f, 0x003c, 0x0035,
            0x003d,
        ],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"ELBSecurityPolicy-FS-2018-06",
        suites: &[
            0xc02b, 0xc02f, 0xc023, 0xc027, 0xc009, 0xc013, 0xc02c, 0xc030, 0xc024, 0xc028, 0xc00a,
            0xc014,
        ],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"20170816_healthcheck",
        suites: &[0x0035, 0x002f],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"20150306",
        suites: &[
            0xc02f, 0xc030, 0xc013, 0xc027, 0xc012, 0xc014, 0x009c, 0x003c, 0x002f, 0x000a,
        ],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"20150214",
        suites: &[
            0x009e, 0x0067, 0x0033, 0x0016, 0x009c, 0x003c, 0x002f, 0x000a,
        ],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"20150202",
        suites: &[0x0067, 0x0033, 0x0016, 0x003c, 0x002f, 0x000a],
        groups: P256_AND_P384,
    },
    Policy {
        name: c"20141001",
        suites: &[
            0x0067, 0x0033, 0x0016, 0x003c, 0x002f, 0x000a, 0x0005, 0x0004,
        ],
        groups: P256_AND_P384,
    },
];

/// TLS 1.3 alone, for pre-shared keys. Most clients have a share for X25519 in their first hello.
pub(in crate::tls) static TLS13_POLICY: Policy = Policy {
    name: c"AWS-CRT-SDK-TLSv1.3-2023",
    suites: &[0x1301, 0x1302, 0x1303],
    groups: X25519_TO_P384,
};
