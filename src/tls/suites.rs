//! The cipher suites of the two sides of a handshake, by their OpenSSL names: for the log, when they
//! have none in common.

use rustls::{CipherSuite, SupportedCipherSuite};

use super::ciphers;
#[cfg(test)]
use super::hello::{self, Reading};

/// The most suites named in a line; a hello may have hundreds.
const MAX_NAMED: usize = 16;

/// The suites that a client offers in the hello at the front of `input`; `None` if it is incomplete.
#[cfg(test)]
pub(super) fn offered(input: &[u8]) -> Option<Vec<CipherSuite>> {
    match hello::read(input) {
        Reading::Hello(hello) => Some(hello.suites.into_iter().map(CipherSuite::from).collect()),
        _ => None,
    }
}

/// Names `suites`.
pub(super) fn named(suites: impl IntoIterator<Item = CipherSuite>) -> String {
    let suites = suites.into_iter();
    let mut names: Vec<String> = suites.map(|suite| name(u16::from(suite))).collect();
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

/// OpenSSL's name of a suite, also where no OpenSSL of today has it: `TLS_RSA_WITH_AES_128_CBC_SHA` is
/// AES128-SHA.
pub(crate) fn name(suite: u16) -> String {
    let suite = CipherSuite::from(suite);
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
    // What the United States let out until 2000: 40 bits, or 56 with RSA keys of 1024.
    let (export, exchange) = match exchange.rsplit_once("_EXPORT") {
        Some((exchange, "")) => ("EXP-", exchange),
        Some((exchange, "1024")) => ("EXP1024-", exchange),
        _ => ("", exchange),
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
        .replace("DES40", "DES")
        .replace("RC4_128", "RC4")
        .replace("RC4_40", "RC4")
        .replace("RC4_56", "RC4")
        .replace("_CBC_40", "_CBC")
        .replace("_CBC_56", "_CBC")
        .replace(
            "_CBC",
            if ["DES", "IDEA", "RC2"]
                .iter()
                .any(|old| cipher.starts_with(old))
            {
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
    format!("{export}{exchange}{cipher}")
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
            let suite = u16::from_be_bytes([byte(high), byte(low)]);
            assert_eq!(name(suite), expected);
            seen += 1;
        }
        assert!(seen > 50, "{seen}");
        for (suite, expected) in [
            (0x000a, "DES-CBC3-SHA"),
            (0x0016, "DHE-RSA-DES-CBC3-SHA"),
            (0x0009, "DES-CBC-SHA"),
            (0x0004, "RC4-MD5"),
            (0x0005, "RC4-SHA"),
            (0x0007, "IDEA-CBC-SHA"),
            (0xc011, "ECDHE-RSA-RC4-SHA"),
            (0x0018, "ADH-RC4-MD5"),
            (0x0003, "EXP-RC4-MD5"),
            (0x0006, "EXP-RC2-CBC-MD5"),
            (0x0008, "EXP-DES-CBC-SHA"),
            (0x0014, "EXP-DHE-RSA-DES-CBC-SHA"),
            (0x0017, "EXP-ADH-RC4-MD5"),
            (0x0061, "EXP1024-RC2-CBC-MD5"),
            (0x0062, "EXP1024-DES-CBC-SHA"),
            (0x0063, "EXP1024-DHE-DSS-DES-CBC-SHA"),
            (0x0064, "EXP1024-RC4-SHA"),
            (0x0002, "NULL-SHA"),
            (0x1304, "TLS_AES_128_CCM_SHA256"),
            (0x4545, "0x4545"),
        ] {
            assert_eq!(name(suite), expected);
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
