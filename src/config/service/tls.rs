//! The options of one TLS end of a service, and how those of verification are read. Never in here: what a
//! library is told; that is for `tls`.

use std::path::PathBuf;

use super::Draft;
use crate::config::global::PreferChaCha20;
use crate::config::ocsp::Ocsp;
use crate::config::option::{Fault, number, yes_no};
use crate::config::sessions::SessionOptions;
use crate::config::signature_list::SignatureLists;
use crate::config::subject::SubjectChecks;

/// A TLS protocol version adit can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    /// RFC 2246
    V1_0,
    /// RFC 4346
    V1_1,
    /// RFC 5246
    V1_2,
    /// RFC 8446
    V1_3,
}

/// What `verify`, `verifyChain`, `verifyPeer`, `requireCert`, `verifyServer` come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PeerVerification {
    /// Ask the peer for a certificate (server mode; a TLS server always sends one).
    pub request: bool,
    /// A peer without a certificate is refused.
    pub require: bool,
    /// The chain must end at a certificate of CAfile/CApath (verify 2, verifyChain).
    pub chain: bool,
    /// The leaf itself must be in CAfile/CApath (verify 3 and 4, verifyPeer).
    pub peer: bool,
    /// verifyServer: the system's roots unless CAfile/CApath is given, and the name in `sni` or `connect`.
    pub server: bool,
}

/// `securityLevel`: OpenSSL's levels (SSL_CTX_set_security_level(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum SecurityLevel {
    /// Any key.
    Zero,
    /// 80 bits of security.
    One,
    /// 112 bits.
    #[default]
    Two,
    /// 128 bits; forward secrecy, TLS 1.1 and later, no session tickets.
    Three,
    /// 192 bits; TLS 1.2 and later, no SHA-1.
    Four,
    /// 256 bits.
    Five,
}

impl SecurityLevel {
    /// The smallest RSA key, in bits.
    pub(crate) fn smallest_rsa(self) -> usize {
        match self {
            SecurityLevel::Zero => 0,
            SecurityLevel::One => 1024,
            SecurityLevel::Two => 2048,
            SecurityLevel::Three => 3072,
            SecurityLevel::Four => 7680,
            SecurityLevel::Five => 15360,
        }
    }

    /// How strong ciphers, hashes and key exchanges must be, in bits.
    pub(crate) fn bits(self) -> u16 {
        match self {
            SecurityLevel::Zero => 0,
            SecurityLevel::One => 80,
            SecurityLevel::Two => 112,
            SecurityLevel::Three => 128,
            SecurityLevel::Four => 192,
            SecurityLevel::Five => 256,
        }
    }

    /// The keys that a level above the default takes, in words.
    pub(crate) fn keys(self) -> &'static str {
        match self {
            SecurityLevel::Five => "ECDSA on P-521",
            SecurityLevel::Four => "RSA of 7680 bits, or ECDSA on P-384 or P-521",
            SecurityLevel::Three => "RSA of 3072 bits, or ECDSA",
            _ => "RSA of 2048 bits, or ECDSA",
        }
    }

    /// What else a level above the default leaves, in words; `None`: it is not above it.
    pub(crate) fn leaves(self) -> Option<&'static str> {
        match self {
            SecurityLevel::Five => Some(
                "hashes of 512 bits, AES-256 or ChaCha20 with forward secrecy, key exchanges on P-521, TLS 1.2 and \
                 later, no session tickets",
            ),
            SecurityLevel::Four => Some(
                "hashes of 384 bits and more, AES-256 or ChaCha20 with forward secrecy, key exchanges on P-384, P-521 \
                 or with ML-KEM, TLS 1.2 and later, no session tickets",
            ),
            SecurityLevel::Three => Some("forward secrecy, TLS 1.1 and later, no session tickets"),
            _ => None,
        }
    }
}

impl std::fmt::Display for SecurityLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (*self as u8).fmt(f)
    }
}

/// Reads `securityLevel`.
pub(super) fn security_level(value: &str) -> Result<SecurityLevel, Fault> {
    Ok(match number(value, 0..=5)? {
        0 => SecurityLevel::Zero,
        1 => SecurityLevel::One,
        2 => SecurityLevel::Two,
        3 => SecurityLevel::Three,
        4 => SecurityLevel::Four,
        _ => SecurityLevel::Five,
    })
}

/// The options of one TLS end of a service. Only `tls` reads them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TlsOptions {
    /// Certificate chain, PEM, or PKCS#12 with the key in it.
    pub cert: Option<PathBuf>,
    /// Private key, PEM or PKCS#12; default: the file of `cert`.
    pub key: Option<PathBuf>,
    /// Pass phrases for the key, one a line.
    pub key_password_file: Option<PathBuf>,
    /// Trusted certificates, one file.
    pub ca_file: Option<PathBuf>,
    /// Trusted certificates, a folder.
    pub ca_path: Option<PathBuf>,
    /// Revocation lists, one file.
    pub crl_file: Option<PathBuf>,
    /// Revocation lists, a folder.
    pub crl_path: Option<PathBuf>,
    /// What is asked of the peer's certificate.
    pub verification: PeerVerification,
    /// Server mode: a client whose certificate is missing or not valid is let in, and told apart (`redirect`).
    pub redirects: bool,
    /// What responders are asked about it.
    pub ocsp: Ocsp,
    /// What it must have in it.
    pub subject: SubjectChecks,
    /// Client mode: the name to send. `None`: the host of `connect`; `Some("")`: send none.
    pub sni: Option<String>,
    /// Client mode: the host of the first `connect` (`localhost` where it has none, nothing for a
    /// Unix socket), for verifyServer, and for SNI where `sni` is not given.
    pub connect_host: Option<String>,
    /// Lowest version spoken, what `options = NO_TLSv1_2` and its like say included. Default TLS 1.2.
    pub version_min: Option<TlsVersion>,
    /// Highest version spoken, what `options = NO_TLSv1_3` says included. Default TLS 1.3.
    pub version_max: Option<TlsVersion>,
    /// TLS 1.2 suites, an OpenSSL cipher list.
    pub ciphers: Option<String>,
    /// TLS 1.3 suites, colon separated.
    pub ciphersuites: Option<String>,
    /// Groups, colon separated, OpenSSL's names.
    pub curves: Option<String>,
    /// By what handshakes are signed.
    pub signatures: SignatureLists,
    /// Pre-shared keys.
    pub psk_secrets: Option<PathBuf>,
    /// Client mode: the identity to show. `None`: the first in the file.
    pub psk_identity: Option<String>,
    /// Which peers' keys are taken.
    pub security_level: SecurityLevel,
    /// How sessions are resumed.
    pub sessions: SessionOptions,
    /// `options = NO_TICKET`
    pub no_ticket: bool,
    /// `options = DISABLE_TLSEXT_CA_NAMES`: clients are not told which authorities are trusted.
    pub no_ca_names: bool,
    /// `options = CIPHER_SERVER_PREFERENCE`: our order rules.
    pub server_preference: bool,
    /// The protocols of ALPN, the preferred one first: a client offers them; a server refuses a client that offers
    /// others alone.
    pub alpn: Vec<String>,
    /// `alpn` says so.
    pub alpn_is_asked: bool,
    /// Server mode: what a client shows in its handshake is kept for the dialogue with the server.
    pub introduces: bool,
    /// The global option: which cipher comes first without `ciphersuites` or `ciphers`.
    pub prefer_chacha20: PreferChaCha20,
}

/// `verify = LEVEL`, as stunnel takes it apart.
pub(super) fn verify_level(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let level = number(value, 0..=4).map_err(|_| {
        Fault::new("Bad verify level").help("0 to 4; better: verifyChain, verifyPeer")
    })?;
    let verification = &mut draft.service.tls.verification;
    verification.request = true;
    verification.require = level >= 2;
    verification.chain = (1..=3).contains(&level);
    verification.peer = level >= 3;
    Ok(())
}

/// `verifyChain`, `verifyPeer`, `requireCert` ask for a certificate along with what they say; `no`
/// takes back only what they say, as in stunnel.
pub(super) fn verify_flag(
    draft: &mut Draft,
    value: &str,
    flag: fn(&mut PeerVerification) -> &mut bool,
) -> Result<(), Fault> {
    let on = yes_no(value)?;
    let verification = &mut draft.service.tls.verification;
    if on {
        verification.request = true;
        verification.require = true;
    }
    *flag(verification) = on;
    Ok(())
}
