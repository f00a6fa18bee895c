//! OpenSSL's suites, and which words of its language match which. Never in here: what adit serves.

/// A suite below TLS 1.3, as `openssl ciphers -v` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls) struct Row {
    pub(in crate::tls) name: &'static str,
    version: &'static str,
    exchange: &'static str,
    authentication: &'static str,
    cipher: &'static str,
    pub(super) bits: u16,
    mac: &'static str,
}

pub(super) fn rows() -> Vec<Row> {
    let lines = include_str!("../openssl_ciphers.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines.filter_map(Row::read).collect()
}

/// Suites that OpenSSL has removed from what it builds, and s2n-tls serves, as OpenSSL 1.1 had them.
pub(super) const OLD: &str = "\
ECDHE-RSA-DES-CBC3-SHA TLSv1 ECDH RSA 3DES 112 SHA1
DHE-RSA-DES-CBC3-SHA SSLv3 DH RSA 3DES 112 SHA1
DES-CBC3-SHA SSLv3 RSA RSA 3DES 112 SHA1
RC4-SHA SSLv3 RSA RSA RC4 128 SHA1
RC4-MD5 SSLv3 RSA RSA RC4 128 MD5
";

impl Row {
    pub(super) fn read(line: &'static str) -> Option<Row> {
        let mut words = line.split(' ');
        let mut next = || words.next();
        Some(Row {
            name: next()?,
            version: next()?,
            exchange: next()?,
            authentication: next()?,
            cipher: next()?,
            bits: next()?.parse().ok()?,
            mac: next()?,
        })
    }

    /// Whether one word of the language matches this suite. `None`: the language has no such word.
    pub(super) fn is(&self, word: &str) -> Option<bool> {
        let Row {
            exchange: kx,
            authentication: au,
            cipher: enc,
            ..
        } = *self;
        let anonymous = au == "None";
        let encrypts = enc != "None";
        let aes = matches!(enc, "AES" | "AESGCM" | "AESCCM" | "AESCCM8");
        let old = matches!(enc, "3DES" | "RC4");
        let rare = old || matches!(enc, "AESCCM" | "AESCCM8" | "ARIAGCM" | "Camellia");
        Some(match word {
            "ALL" => encrypts,
            "HIGH" => encrypts && !old,
            "MEDIUM" => old,
            "3DES" | "RC4" => enc == word,
            "COMPLEMENTOFALL" | "eNULL" | "NULL" => !encrypts,
            "COMPLEMENTOFDEFAULT" => rare || matches!(au, "DSS" | "None") && encrypts,
            "FIPS" => matches!(enc, "AES" | "AESGCM") && kx != "SRP",
            // Known words whose suites OpenSSL 3 has removed.
            "LOW" | "RC2" | "IDEA" | "SEED" | "GOST94" | "GOST89" => false,
            "kRSA" | "RSA" => kx == "RSA",
            "kDHE" | "kEDH" | "DH" => kx == "DH",
            "DHE" | "EDH" => kx == "DH" && !anonymous,
            "kECDHE" | "kEECDH" | "ECDH" => kx == "ECDH",
            "ECDHE" | "EECDH" => kx == "ECDH" && !anonymous,
            "ADH" => kx == "DH" && anonymous,
            "AECDH" => kx == "ECDH" && anonymous,
            "kPSK" => kx == "PSK",
            "kRSAPSK" => kx == "RSAPSK",
            "kDHEPSK" => kx == "DHEPSK",
            "kECDHEPSK" => kx == "ECDHEPSK",
            "PSK" => kx.ends_with("PSK"),
            "SRP" | "kSRP" => kx == "SRP",
            "aRSA" => au == "RSA",
            "aECDSA" | "ECDSA" => au == "ECDSA",
            "aDSS" | "DSS" => au == "DSS",
            "aPSK" => au == "PSK",
            "aSRP" => au == "SRP",
            "aNULL" => anonymous,
            "AES" => aes,
            "AES128" | "AES256" => aes && word.ends_with(&self.bits.to_string()),
            "AESGCM" => enc == "AESGCM",
            "AESCCM" => enc.starts_with("AESCCM"),
            "AESCCM8" => enc == "AESCCM8",
            "CAMELLIA" => enc == "Camellia",
            "CAMELLIA128" | "CAMELLIA256" => {
                enc == "Camellia" && word.ends_with(&self.bits.to_string())
            }
            "ARIA" | "ARIAGCM" => enc == "ARIAGCM",
            "ARIA128" | "ARIA256" => enc == "ARIAGCM" && word.ends_with(&self.bits.to_string()),
            "CHACHA20" => enc == "CHACHA20",
            "CBC" => matches!(enc, "AES" | "Camellia" | "3DES"),
            "MD5" | "SHA256" | "SHA384" => self.mac == word,
            "SHA" | "SHA1" => self.mac == "SHA1",
            "SSLv3" | "TLSv1" | "TLSv1.2" => self.version == word,
            "TLSv1.0" => self.version == "TLSv1",
            name if name == self.name => true,
            _ => return None,
        })
    }
}
