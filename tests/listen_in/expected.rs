//! What `adit listen-in` says of each hello in `tests/hellos`.

/// Words that stand in the report about each hello, and words that do not.
pub type Expected<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

const OLD_OPTIONS: [&str; 2] = ["acceptSSLVersionMin", "acceptCiphers"];
const TLS10: &str = "versions TLS 1.0 at most";
const MIN10: &str = "acceptCert = /etc/adit/ca/old.pem acceptSSLVersionMin = TLSv1 ";

pub const EXPECTED: &[Expected<'_>] = &[
    (
        "adit-rustls-0.23",
        &["TLS 1.3, TLS 1.2 suites", "X25519MLKEM768", "ML-DSA-44"],
        &OLD_OPTIONS,
    ),
    (
        "curl-7.88-https",
        &[
            "protocols (ALPN) h2, http/1.1",
            "It asks for www.example.com",
        ],
        &OLD_OPTIONS,
    ),
    (
        "curl-7.88-starttls",
        &["TLS 1.3", "server name (SNI) mail.example.com"],
        &OLD_OPTIONS,
    ),
    (
        "fetchmail-6.4",
        &[TLS10, MIN10, "ECDHE-RSA-AES256-SHA"],
        &["acceptCiphers"],
    ),
    (
        "gnutls-3.7",
        &["TLS 1.3, TLS 1.2, TLS 1.1, TLS 1.0", "ffdhe2048"],
        &OLD_OPTIONS,
    ),
    (
        "gnutls-3.7-3des",
        &[
            TLS10,
            "suites DES-CBC3-SHA server",
            "extensions none",
            "3DES",
            MIN10,
            "--sha1",
        ],
        &["acceptCiphers"],
    ),
    (
        "gnutls-3.7-rc4",
        &[
            "suites RC4-SHA, RC4-MD5 server",
            "RFC 7465",
            "acceptCiphers = ALL:RC4-SHA ",
            MIN10,
        ],
        &[],
    ),
    (
        "gnutls-3.7-tls11",
        &["versions TLS 1.1 at most", "acceptSSLVersionMin = TLSv1.1"],
        &["acceptCiphers"],
    ),
    (
        "java-17",
        &[
            "TLS 1.3, TLS 1.2",
            "TLS_AES_256_GCM_SHA384",
            "mail.example.com",
        ],
        &OLD_OPTIONS,
    ),
    (
        "java-17-ssl2",
        &["form that of SSLv2", TLS10, "ECDH-ECDSA-AES256-SHA", MIN10],
        &["acceptCiphers"],
    ),
    (
        "java-17-tls10",
        &["versions TLS 1.0 suites", MIN10, "groups"],
        &["form", "acceptCiphers"],
    ),
    ("ldapsearch-2.5", &["TLS 1.3", "no SNI"], &OLD_OPTIONS),
    ("msmtp-1.8", &["TLS 1.3"], &OLD_OPTIONS),
    ("ncat-7.93", &["TLS 1.3"], &OLD_OPTIONS),
    (
        "node-20",
        &["TLS 1.3, TLS 1.2", "mail.example.com"],
        &OLD_OPTIONS,
    ),
    (
        "nss-3.87",
        &["TLS 1.3", "TLS_AES_128_GCM_SHA256"],
        &OLD_OPTIONS,
    ),
    (
        "nss-3.87-ssl3",
        &[
            "versions SSLv3 ",
            "RC4-MD5",
            "does not speak SSLv3",
            "plain",
        ],
        &["acceptTLS"],
    ),
    (
        "nss-3.87-tls10",
        &[TLS10, "RC4-SHA", "DES-CBC3-SHA", MIN10],
        &["acceptCiphers", "Its best cipher"],
    ),
    (
        "nss-3.87-tls10-3des",
        &[
            TLS10,
            "suites DES-CBC3-SHA server",
            "Its best cipher is 3DES",
            MIN10,
        ],
        &["acceptCiphers"],
    ),
    (
        "openssl-3.0",
        &[
            "TLS 1.3, TLS 1.2",
            "ECDHE-RSA-CHACHA20-POLY1305",
            "resumption by tickets",
        ],
        &OLD_OPTIONS,
    ),
    (
        "openssl-3.0-dhe",
        &[
            "versions TLS 1.2 at most",
            "acceptCiphers = DHE-RSA-AES256-SHA",
        ],
        &["acceptSSLVersionMin"],
    ),
    (
        "openssl-3.0-tls10",
        &[TLS10, "AES128-SHA", MIN10],
        &["3DES", "acceptCiphers"],
    ),
    (
        "openssl-3.0-tls11-fallback",
        &["TLS 1.1 at most", "TLS_FALLBACK_SCSV", "first try"],
        &[],
    ),
    (
        "openssl-3.0-tls12",
        &[
            "versions TLS 1.2 at most",
            "`adit ca --name mail.example.com`",
        ],
        &OLD_OPTIONS,
    ),
    (
        "python-3.11",
        &["TLS 1.3", "mail.example.com"],
        &OLD_OPTIONS,
    ),
    ("s-nail-14.9", &["TLS 1.3"], &OLD_OPTIONS),
    (
        "schannel-xp",
        &[
            TLS10,
            "EXP1024-RC4-SHA",
            "DES-CBC3-SHA",
            "extensions none",
            "RFC 5746 is unknown",
            "XP SP3",
            MIN10,
        ],
        &["acceptCiphers"],
    ),
    (
        "schannel-xp-ssl2",
        &[TLS10, "form that of SSLv2", "DHE-DSS-DES-CBC3-SHA", MIN10],
        &["acceptCiphers"],
    ),
    (
        "ssl2-only",
        &["versions SSLv2 ", "does not speak SSLv2", "TLS 1.0"],
        &["acceptTLS"],
    ),
    ("swaks-ssleay", &["TLS 1.3"], &OLD_OPTIONS),
    (
        "tlslite-0.8-ssl3",
        &["versions SSLv3 ", "does not speak SSLv3"],
        &["acceptTLS"],
    ),
    (
        "tlslite-0.8-tls10-3des",
        &[TLS10, "suites DES-CBC3-SHA server", MIN10],
        &["acceptCiphers"],
    ),
    (
        "tlslite-0.8-tls10-rc4",
        &[TLS10, "RFC 7465", "acceptCiphers = ALL:RC4-SHA "],
        &[],
    ),
    (
        "tlslite-0.8-tls11",
        &[
            "versions TLS 1.1 at most",
            "AES128-SHA",
            "acceptSSLVersionMin = TLSv1.1",
        ],
        &["acceptCiphers"],
    ),
    ("wget-1.21", &["TLS 1.3"], &OLD_OPTIONS),
];
