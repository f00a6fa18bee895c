//! What `sslVersion` and `options` say, in OpenSSL's words.

use super::diagnostic::nearest;
use super::option::Fault;
use super::service::TlsVersion;

/// Every version that is spoken, in OpenSSL's words.
const SPOKEN: [(&str, TlsVersion); 4] = [
    ("TLSv1", TlsVersion::V1_0),
    ("TLSv1.1", TlsVersion::V1_1),
    ("TLSv1.2", TlsVersion::V1_2),
    ("TLSv1.3", TlsVersion::V1_3),
];

/// Versions that adit never speaks (RFC 6176, RFC 7568).
const BROKEN: [&str; 2] = ["SSLv2", "SSLv3"];

/// Reads a protocol version; `all` is no limit.
pub(super) fn version(value: &str) -> Result<Option<TlsVersion>, Fault> {
    if value.eq_ignore_ascii_case("all") {
        return Ok(None);
    }
    let mut spoken = SPOKEN.iter();
    if let Some((_, version)) = spoken.find(|(name, _)| name.eq_ignore_ascii_case(value)) {
        return Ok(Some(*version));
    }
    if is_broken(value) {
        return Err(
            Fault::new(format!("{value} is broken, and adit never speaks it"))
                .help("TLSv1 is the oldest version that is served"),
        );
    }
    Err(Fault::new("Invalid protocol version")
        .help("TLSv1, TLSv1.1, TLSv1.2, TLSv1.3, or all: TLSv1.2 and TLSv1.3"))
}

/// Reads a lower bound. One below what adit speaks means newer versions too.
pub(super) fn version_min(value: &str) -> Result<Option<TlsVersion>, Fault> {
    match is_broken(value) {
        true => Ok(Some(TlsVersion::V1_0)),
        false => version(value),
    }
}

/// What is said of such a lower bound.
pub(super) fn never_spoken(value: &str) -> Fault {
    let text = format!("adit never speaks {value}, which is broken: the lowest version is TLSv1");
    Fault::warning(text).help("`sslVersionMin = TLSv1`, or TLSv1.2 if no peer is that old")
}

/// Whether it is SSL, which no lower bound brings back; to be told where [`version_min`] takes it.
pub(super) fn is_broken(value: &str) -> bool {
    BROKEN.iter().any(|name| name.eq_ignore_ascii_case(value))
}

/// OpenSSL's name of a version.
pub(super) fn version_name(version: TlsVersion) -> &'static str {
    let mut spoken = SPOKEN.iter();
    let found = spoken.find(|(_, known)| *known == version);
    found.map_or("TLS", |(name, _)| name)
}

/// The members of `options` that change something here, each a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TlsFlags(u8);

impl TlsFlags {
    pub(super) const NO_TICKET: TlsFlags = TlsFlags(1);
    pub(super) const SERVER_PREFERENCE: TlsFlags = TlsFlags(2);
    pub(super) const NO_TLS1_2: TlsFlags = TlsFlags(4);
    pub(super) const NO_TLS1_3: TlsFlags = TlsFlags(8);
    pub(super) const NO_TLS1_0: TlsFlags = TlsFlags(16);
    pub(super) const NO_TLS1_1: TlsFlags = TlsFlags(32);
    pub(super) const NO_CA_NAMES: TlsFlags = TlsFlags(64);
    const NO_TLS: TlsFlags =
        TlsFlags(Self::NO_TLS1_0.0 | Self::NO_TLS1_1.0 | Self::NO_TLS1_2.0 | Self::NO_TLS1_3.0);

    pub(super) fn with(self, other: TlsFlags) -> TlsFlags {
        TlsFlags(self.0 | other.0)
    }

    pub(super) fn without(self, other: TlsFlags) -> TlsFlags {
        TlsFlags(self.0 & !other.0)
    }

    pub(super) fn only(self, other: TlsFlags) -> TlsFlags {
        TlsFlags(self.0 & other.0)
    }

    pub(super) fn has(self, other: TlsFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

#[derive(Clone, Copy)]
enum Meaning {
    /// Done as asked.
    Does(TlsFlags),
    /// adit does so in any case; taking it back changes nothing.
    Always,
    /// It has no effect here, for this reason.
    NoEffect(&'static str),
}

use Meaning::{Always, Does, NoEffect};

/// Why some have no effect.
const OLD: &str = "OpenSSL itself gives it no meaning any more";
const RENEGOTIATION: &str = "adit never renegotiates";
const DTLS: &str = "it is for DTLS, and adit speaks TLS";
const KEX: &str = "sessions are resumed with a fresh key exchange in any case, for forward secrecy";
const COMPRESSION: &str = "certificates are not compressed, in either setting";

/// SSL_CTX_set_options(3)'s names as `stunnel -options` lists them.
#[rustfmt::skip]
const KNOWN: &[(&str, Meaning)] = &[
    ("ALL", NoEffect("it is for peers with faults of old, which adit's TLS libraries meet by themselves")),
    ("ALLOW_CLIENT_RENEGOTIATION", NoEffect(RENEGOTIATION)),
    ("ALLOW_NO_DHE_KEX", NoEffect(KEX)),
    ("ALLOW_UNSAFE_LEGACY_RENEGOTIATION", NoEffect(RENEGOTIATION)),
    ("CIPHER_SERVER_PREFERENCE", Does(TlsFlags::SERVER_PREFERENCE)),
    ("CISCO_ANYCONNECT", NoEffect(DTLS)),
    ("CLEANSE_PLAINTEXT", NoEffect("plaintext is passed on at once and soon overwritten")),
    ("COOKIE_EXCHANGE", NoEffect(DTLS)),
    ("CRYPTOPRO_TLSEXT_BUG", NoEffect("it is for GOST suites, which adit does not have")),
    ("DISABLE_TLSEXT_CA_NAMES", Does(TlsFlags::NO_CA_NAMES)),
    ("DONT_INSERT_EMPTY_FRAGMENTS", NoEffect("whether records of TLS 1.0 are split (BEAST) is the TLS library's choice")),
    ("ENABLE_KTLS", NoEffect("adit encrypts by itself, and leaves nothing to the kernel")),
    ("ENABLE_MIDDLEBOX_COMPAT", Always),
    ("EPHEMERAL_RSA", NoEffect(OLD)),
    ("IGNORE_UNEXPECTED_EOF", NoEffect("how a connection ends is told to the other side in any case")),
    ("LEGACY_SERVER_CONNECT", NoEffect("servers without secure renegotiation are connected to in either setting, and nothing is renegotiated")),
    ("MICROSOFT_BIG_SSLV3_BUFFER", NoEffect(OLD)),
    ("MICROSOFT_SESS_ID_BUG", NoEffect(OLD)),
    ("MSIE_SSLV2_RSA_PADDING", NoEffect(OLD)),
    ("NETSCAPE_CA_DN_BUG", NoEffect(OLD)),
    ("NETSCAPE_CHALLENGE_BUG", NoEffect(OLD)),
    ("NETSCAPE_DEMO_CIPHER_CHANGE_BUG", NoEffect(OLD)),
    ("NETSCAPE_REUSE_CIPHER_CHANGE_BUG", NoEffect(OLD)),
    ("NO_ANTI_REPLAY", NoEffect("adit takes no early data, which alone can be replayed")),
    ("NO_COMPRESSION", Always),
    ("NO_DTLS_MASK", NoEffect(DTLS)),
    ("NO_DTLSv1", NoEffect(DTLS)),
    ("NO_DTLSv1_2", NoEffect(DTLS)),
    ("NO_ENCRYPT_THEN_MAC", NoEffect("it is for CBC suites, and agreed on where both sides have it")),
    ("NO_EXTENDED_MASTER_SECRET", NoEffect("it is used wherever the peer has it (RFC 7627)")),
    ("NO_QUERY_MTU", NoEffect(DTLS)),
    ("NO_RENEGOTIATION", Always),
    ("NO_RX_CERTIFICATE_COMPRESSION", NoEffect(COMPRESSION)),
    ("NO_SESSION_RESUMPTION_ON_RENEGOTIATION", NoEffect(RENEGOTIATION)),
    ("NO_SSL_MASK", Does(TlsFlags::NO_TLS)),
    ("NO_SSLv2", Always),
    ("NO_SSLv3", Always),
    ("NO_TICKET", Does(TlsFlags::NO_TICKET)),
    ("NO_TLSv1", Does(TlsFlags::NO_TLS1_0)),
    ("NO_TLSv1_1", Does(TlsFlags::NO_TLS1_1)),
    ("NO_TLSv1_2", Does(TlsFlags::NO_TLS1_2)),
    ("NO_TLSv1_3", Does(TlsFlags::NO_TLS1_3)),
    ("NO_TX_CERTIFICATE_COMPRESSION", NoEffect(COMPRESSION)),
    ("PKCS1_CHECK_1", NoEffect(OLD)),
    ("PKCS1_CHECK_2", NoEffect(OLD)),
    ("PREFER_NO_DHE_KEX", NoEffect(KEX)),
    ("PRIORITIZE_CHACHA", NoEffect("a server goes by its client's order anyway, unless `CIPHER_SERVER_PREFERENCE` says otherwise; see `preferChaCha20`")),
    ("SAFARI_ECDHE_ECDSA_BUG", NoEffect("it is for Safari of OS X 10.8, which is gone")),
    ("SINGLE_DH_USE", NoEffect(OLD)),
    ("SINGLE_ECDH_USE", NoEffect(OLD)),
    ("SSLEAY_080_CLIENT_DH_BUG", NoEffect(OLD)),
    ("SSLREF2_REUSE_CERT_TYPE_BUG", NoEffect(OLD)),
    ("TLSEXT_PADDING", NoEffect("it is for a fault of load balancers that is mended")),
    ("TLS_BLOCK_PADDING_BUG", NoEffect(OLD)),
    ("TLS_D5_BUG", NoEffect(OLD)),
    ("TLS_ROLLBACK_BUG", NoEffect("it would give up a check of the version, which adit never does")),
];

/// Reads one `options` value into what is set and what is taken back. As in stunnel, what is taken
/// back stays so wherever it stands.
pub(super) fn set(set: &mut TlsFlags, cleared: &mut TlsFlags, value: &str) -> Result<(), Fault> {
    let (back, name) = match value.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, value),
    };
    let Some((name, meaning)) = KNOWN
        .iter()
        .find(|known| known.0.eq_ignore_ascii_case(name))
    else {
        let fault = Fault::new(format!("Illegal TLS option: `{name}` is not known"));
        return Err(match nearest(name, KNOWN.iter().map(|known| known.0)) {
            Some(meant) => fault.help(format!("did you mean `{meant}`?")),
            None => fault.help("one name in a line; `adit -options` lists them"),
        });
    };
    match (meaning, back) {
        (Does(flags), false) => *set = set.with(*flags),
        (Does(flags), true) => *cleared = cleared.with(*flags),
        (Always, false) => {}
        (Always, true) => {
            return Err(Fault::note(format!(
                "`-{name}` has no effect: adit keeps to {name} in any case"
            )));
        }
        (NoEffect(why), _) => {
            return Err(Fault::note(format!("`{name}` has no effect: {why}")));
        }
    }
    Ok(())
}

/// The names that `options` takes, for `adit -options`.
pub(crate) fn tls_option_names() -> impl Iterator<Item = &'static str> + Clone {
    KNOWN.iter().map(|known| known.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Severity;

    #[test]
    fn versions() {
        assert_eq!(version("all"), Ok(None));
        assert_eq!(version("tlsv1.2"), Ok(Some(TlsVersion::V1_2)));
        assert_eq!(version("TLSv1.3"), Ok(Some(TlsVersion::V1_3)));
        assert_eq!(version("tlsv1"), Ok(Some(TlsVersion::V1_0)));
        assert_eq!(version("TLSv1.1"), Ok(Some(TlsVersion::V1_1)));
        for broken in ["SSLv2", "SSLv3"] {
            let fault = version(broken).unwrap_err();
            assert!(fault.text.contains("never speaks it"), "{}", fault.text);
        }
        for wrong in ["", "TLS1.2", "TLSv1.4"] {
            assert_eq!(version(wrong).unwrap_err().text, "Invalid protocol version");
        }
    }

    #[test]
    fn a_lower_bound_below_what_is_spoken_is_the_oldest_that_is() {
        for broken in ["SSLv2", "sslv3"] {
            assert_eq!(version_min(broken), Ok(Some(TlsVersion::V1_0)), "{broken}");
        }
        assert_eq!(version_min("TLSv1.3"), Ok(Some(TlsVersion::V1_3)));
        let fault = version_min("TLSv1.4").unwrap_err();
        assert_eq!(fault.severity, Severity::Error);
    }

    #[test]
    fn what_is_taken_back_stays_so() {
        let (mut on, mut off) = (TlsFlags::default(), TlsFlags::default());
        for value in [
            "-NO_TICKET",
            "no_ticket",
            "CIPHER_SERVER_PREFERENCE",
            "NO_SSLv3",
        ] {
            assert_eq!(set(&mut on, &mut off, value), Ok(()), "{value}");
        }
        let left = on.without(off);
        assert!(!left.has(TlsFlags::NO_TICKET));
        assert!(left.has(TlsFlags::SERVER_PREFERENCE));
        assert!(!left.has(TlsFlags::NO_TLS1_2));
    }

    #[test]
    fn no_effect_is_a_note_and_unknown_is_an_error() {
        let fault = |value: &str| {
            let (mut on, mut off) = Default::default();
            set(&mut on, &mut off, value).unwrap_err()
        };
        for value in ["ALL", "SINGLE_ECDH_USE", "-SINGLE_ECDH_USE", "-NO_SSLv3"] {
            assert_eq!(fault(value).severity, Severity::Note, "{value}");
        }
        for value in ["", "-", "NO_TLSv1.2", "SSL_OP_ALL", "NO_SSLv2 NO_SSLv3"] {
            assert_eq!(fault(value).severity, Severity::Error, "{value}");
        }
        assert_eq!(
            fault("NO_TLSv1.2").help.unwrap(),
            "did you mean `NO_TLSv1_2`?"
        );
    }
}
