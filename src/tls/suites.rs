//! The cipher suites of the two sides of a handshake, by their OpenSSL names: for the log, when they
//! have none in common.

use rustls::{CipherSuite, SupportedCipherSuite};

use super::ciphers;
use super::record::HEADER;

/// The most suites named in a line; a hello may have hundreds.
const MAX_NAMED: usize = 16;

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746) and TLS_FALLBACK_SCSV (RFC 7507), which are no suites.
const SIGNALS: [u16; 2] = [0x00ff, 0x5600];

/// The suites that a client offers in the hello at the front of `input`; `None` if it is incomplete.
pub(super) fn offered(input: &[u8]) -> Option<Vec<CipherSuite>> {
    let hello = message(input)?;
    // Version and random; session id; suites (RFC 8446, section 4.1.2).
    let (_, rest) = hello.split_at_checked(2 + 32)?;
    let (length, rest) = rest.split_first()?;
    let (_, rest) = rest.split_at_checked(usize::from(*length))?;
    let (length, rest) = rest.split_first_chunk()?;
    let suites = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    let (suites, _) = suites.as_chunks();
    let suites = suites.iter().map(|suite| u16::from_be_bytes(*suite));
    let real = suites.filter(|suite| !SIGNALS.contains(suite) && !is_grease(*suite));
    Some(real.map(CipherSuite::from).collect())
}

/// The content of the ClientHello, joined from its records.
fn message(mut input: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let (header, rest) = input.split_at_checked(HEADER)?;
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let (fragment, rest) = rest.split_at_checked(length)?;
        if header[0] != 22 || fragment.is_empty() {
            return None;
        }
        message.extend_from_slice(fragment);
        input = rest;
        if let [kind, a, b, c, content @ ..] = &message[..] {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if *kind != 1 {
                return None;
            }
            if content.len() >= length {
                return Some(content[..length].to_vec());
            }
        }
    }
}

/// Reserved values without a meaning (RFC 8701).
fn is_grease(suite: u16) -> bool {
    suite & 0x0f0f == 0x0a0a && suite >> 8 == suite & 0xff
}

/// Names `suites`.
pub(super) fn named(suites: impl IntoIterator<Item = CipherSuite>) -> String {
    let mut names: Vec<String> = suites.into_iter().map(name).collect();
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    match (names.len(), more) {
        (0, _) => "none".into(),
        (_, 0) => names.join(", "),
        _ => format!("{} and {more} more", names.join(", ")),
    }
}

/// The suites of a configuration.
pub(super) fn of(suites: &[SupportedCipherSuite]) -> impl Iterator<Item = CipherSuite> {
    suites.iter().map(SupportedCipherSuite::suite)
}

/// `TLS_RSA_WITH_AES_128_CBC_SHA` is AES128-SHA.
fn name(suite: CipherSuite) -> String {
    match ciphers::describe(suite).0 {
        "UNKNOWN" => {}
        known => return known.into(),
    }
    let Some(standard) = suite.as_str() else {
        return format!("0x{:04X}", u16::from(suite));
    };
    let standard = standard.strip_prefix("TLS_").unwrap_or(standard);
    let Some((exchange, cipher)) = standard.split_once("_WITH_") else {
        return format!("TLS_{}", standard.trim_start_matches("TLS13_"));
    };
    let exchange = match exchange {
        "RSA" => String::new(),
        "DH_anon" => "ADH-".into(),
        "ECDH_anon" => "AECDH-".into(),
        other => other.replace('_', "-") + "-",
    };
    let cipher = cipher
        .replace("AES_", "AES")
        .replace("CAMELLIA_", "CAMELLIA")
        .replace("3DES_EDE_CBC", "DES-CBC3")
        .replace("RC4_128", "RC4")
        .replace(
            "_CBC",
            if cipher.starts_with("DES_") {
                "-CBC"
            } else {
                ""
            },
        )
        .replace('_', "-");
    let cipher = match cipher.strip_suffix("-POLY1305-SHA256") {
        Some(cipher) => format!("{cipher}-POLY1305"),
        None => cipher,
    };
    exchange + &cipher
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with OpenSSL's names, except where the standard's name does not determine them.
    #[test]
    fn suites_are_named_as_openssl_names_them() {
        let output = std::process::Command::new("openssl")
            .args(["ciphers", "-V", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut seen = 0;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (code, expected) = (words.next().unwrap(), words.nth(1).unwrap());
            if ["PSK", "SRP", "ARIA", "CCM"]
                .iter()
                .any(|odd| expected.contains(odd))
            {
                continue;
            }
            let (high, low) = code.split_once(',').unwrap();
            let byte = |hex: &str| u8::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap();
            let suite = CipherSuite::from(u16::from_be_bytes([byte(high), byte(low)]));
            assert_eq!(name(suite), expected);
            seen += 1;
        }
        assert!(seen > 50, "{seen}");
        for (suite, expected) in [
            (0x000a, "DES-CBC3-SHA"),
            (0x0016, "DHE-RSA-DES-CBC3-SHA"),
            (0x0009, "DES-CBC-SHA"),
            (0x0004, "RC4-MD5"),
            (0x1304, "TLS_AES_128_CCM_SHA256"),
            (0x4545, "0x4545"),
        ] {
            assert_eq!(name(CipherSuite::from(suite)), expected);
        }
    }

    #[test]
    fn what_is_no_whole_hello_offers_nothing() {
        let mut hello = vec![1, 0, 0, 45, 3, 3];
        hello.extend([7; 32]);
        hello.extend([1, 9, 0, 8, 0x0a, 0x0a, 0, 0x2f, 0, 0xff, 0x56, 0, 0]);
        hello[3] = (hello.len() - 4) as u8;
        let record = |part: &[u8]| [&[22, 3, 1, 0, part.len() as u8], part].concat();
        let whole = record(&hello);
        assert_eq!(named(offered(&whole).unwrap()), "AES128-SHA");
        let parts: Vec<u8> = hello.chunks(7).flat_map(record).collect();
        assert_eq!(offered(&parts), offered(&whole));
        for length in 0..whole.len() {
            assert_eq!(offered(&whole[..length]), None);
        }
        assert_eq!(offered(&record(&[2, 0, 0, 1, 0])), None);
        assert_eq!(offered(&record(&[])), None);
    }

    #[test]
    fn a_long_list_is_cut() {
        let many = (0..40).map(|nth| CipherSuite::from(0x6000 + nth));
        assert!(named(many).ends_with(" and 24 more"));
        assert_eq!(named([]), "none");
    }
}
