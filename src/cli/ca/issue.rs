//! The authority and the certificates that it issues. Never in here: a file, or a clock.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, SanType,
    SerialNumber, date_time_ymd,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::names::{self, Name};
use super::sha1;

const DAY: u64 = 24 * 3600;
/// Twenty years: longer than the machine that is to trust it.
const AUTHORITY_LIFE: u64 = 20 * 365 * DAY;
/// Two years, which programs of today take from a private authority too.
const LEAF_LIFE: u64 = 2 * 365 * DAY;
/// It is valid a day before it is made, for clocks that are slow, or set to the wrong time zone.
const BACKDATED: u64 = DAY;
/// 2049-12-31 23:59:59: what is later is a GeneralizedTime (RFC 5280, section 4.1.2.5), which old programs
/// cannot read. In seconds since 1970, as every time here.
const LAST_UTC_TIME: u64 = 2_524_607_999;
/// The longest common name (RFC 5280, appendix A.1), in characters.
const MAX_COMMON_NAME: usize = 64;

/// What certificates are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digest {
    Sha256,
    Sha1,
}

/// The programs that a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Those of today, which may refuse a certificate whose dNSName is none (RFC 5280, section 4.2.1.6).
    Today,
    /// Those that speak old TLS: Windows before 10 looks for an address among the dNSNames, and reads no
    /// iPAddress.
    Old,
}

/// Why a certificate cannot be made, or read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// rcgen or AWS-LC refuses.
    Making(rcgen::Error),
    /// It is no certificate, or no key, as `adit ca` makes them.
    Strange(&'static str),
    /// The key is not the certificate's.
    Mismatch,
    /// No randomness.
    Random,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Making(error) => error.fmt(f),
            Trouble::Strange(what) => write!(f, "this is no {what} as adit ca makes it"),
            Trouble::Mismatch => f.write_str("the key does not belong to the certificate"),
            Trouble::Random => f.write_str("the system has no randomness"),
        }
    }
}

impl From<rcgen::Error> for Trouble {
    fn from(error: rcgen::Error) -> Trouble {
        Trouble::Making(error)
    }
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    pub(super) common_name: String,
    pub(super) names: Vec<Name>,
    /// First and last second.
    pub(super) validity: (u64, u64),
    pub(super) digest: Digest,
}

impl About {
    /// # Errors
    /// It is no certificate, or one without a common name.
    pub(super) fn of(der: &[u8]) -> Result<About, Trouble> {
        let strange = Trouble::Strange("certificate");
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Err(strange);
        };
        let mut common_names = certificate.subject().iter_common_name();
        let Some(Ok(common_name)) = common_names.next().map(AttributeTypeAndValue::as_str) else {
            return Err(strange);
        };
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let names = alternatives
            .into_iter()
            .flat_map(|it| &it.value.general_names);
        let parsed = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Name::parse(name),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(Into::into);
                let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(Into::into));
                address.ok().map(Name::Address)
            }
            _ => None,
        });
        // An address may stand there in two ways.
        let mut names = Vec::new();
        names::add(&mut names, parsed);
        let seconds = |time: x509_parser::time::ASN1Time| time.timestamp().try_into().unwrap_or(0);
        let validity = certificate.validity();
        let signature = certificate.signature_algorithm.algorithm.to_id_string();
        Ok(About {
            common_name: common_name.to_owned(),
            names,
            validity: (seconds(validity.not_before), seconds(validity.not_after)),
            digest: match signature.as_str() {
                "1.2.840.113549.1.1.5" => Digest::Sha1,
                "1.2.840.113549.1.1.11" => Digest::Sha256,
                _ => return Err(strange),
            },
        })
    }

    /// Whether less than a third of its life is left.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let (from, until) = self.validity;
        until.saturating_sub(now) < until.saturating_sub(from) / 3
    }
}

/// An authority that can sign.
pub(super) struct Authority {
    /// Its certificate, in DER.
    pub(super) certificate: Vec<u8>,
    pub(super) about: About,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for a service, and its key.
pub(super) struct Leaf {
    /// In DER.
    pub(super) certificate: Vec<u8>,
    /// PKCS#8, PEM.
    pub(super) key: Zeroizing<String>,
}

impl Authority {
    /// A new one of this name, made at `now`.
    ///
    /// # Errors
    /// No randomness, no memory.
    pub(super) fn make(name: &str, digest: Digest, now: u64) -> Result<Authority, Trouble> {
        let mut params = ca_params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial()?);
        set_validity(&mut params, now, (now + AUTHORITY_LIFE).min(LAST_UTC_TIME));
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
        let certificate = params.self_signed(&key)?.der().to_vec();
        let certificate = signed(certificate, digest, &key)?;
        Authority::of(certificate, key)
    }

    /// The one in these files: a certificate in DER, a key in PEM.
    ///
    /// # Errors
    /// They are something else, or do not belong together.
    pub(super) fn load(certificate: Vec<u8>, key: &str) -> Result<Authority, Trouble> {
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(key, &PKCS_RSA_SHA256)
            .map_err(|_| Trouble::Strange("key"))?;
        Authority::of(certificate, key)
    }

    fn of(certificate: Vec<u8>, key: KeyPair) -> Result<Authority, Trouble> {
        let about = About::of(&certificate)?;
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|_| Trouble::Strange("certificate"))?;
        if parsed.public_key().subject_public_key.data != key.public_key_raw() {
            return Err(Trouble::Mismatch);
        }
        let issuer = Issuer::new(ca_params(&about.common_name), key);
        Ok(Authority {
            certificate,
            about,
            issuer,
        })
    }

    /// The authority's key, PKCS#8, PEM.
    pub(super) fn key(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// A certificate for these names, with a key of its own.
    ///
    /// # Errors
    /// No randomness, no memory.
    pub(super) fn issue(&self, names: &[Name], reader: Reader, now: u64) -> Result<Leaf, Trouble> {
        let mut params = CertificateParams::default();
        let text = names.iter().map(ToString::to_string);
        // What programs before RFC 2818 look at.
        let common = text
            .into_iter()
            .find(|name| name.chars().count() <= MAX_COMMON_NAME);
        params.distinguished_name = subject(&common.unwrap_or_else(|| "localhost".to_owned()));
        params.subject_alt_names = alternatives(names, reader)?;
        params.is_ca = IsCa::ExplicitNoCa;
        // keyEncipherment is what RSA key exchange asks for.
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        set_validity(
            &mut params,
            now,
            (now + LEAF_LIFE).min(self.about.validity.1),
        );
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?.der().to_vec();
        Ok(Leaf {
            certificate: signed(certificate, self.about.digest, self.issuer.key())?,
            key: Zeroizing::new(key.serialize_pem()),
        })
    }
}

/// The entries of subjectAltName.
fn alternatives(names: &[Name], reader: Reader) -> Result<Vec<SanType>, Trouble> {
    let dns = |name: &str| name.try_into().map(SanType::DnsName);
    let mut entries = Vec::new();
    for name in names {
        match name {
            Name::Dns(name) => entries.push(dns(name)?),
            Name::Address(address) => {
                if reader == Reader::Old {
                    entries.push(dns(&address.to_string())?);
                }
                entries.push(SanType::IpAddress(*address));
            }
        }
    }
    Ok(entries)
}

fn signed(certificate: Vec<u8>, digest: Digest, key: &KeyPair) -> Result<Vec<u8>, Trouble> {
    match digest {
        Digest::Sha256 => Ok(certificate),
        Digest::Sha1 => {
            let private = Zeroizing::new(key.serialize_der());
            sha1::signed_again(&certificate, &private, key.public_key_raw())
                .ok_or(Trouble::Strange("certificate"))
        }
    }
}

/// What an issuer is told by: its name. The key identifier follows from the key.
fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(name);
    params
}

/// A common name, in the oldest kind of string that has its letters.
fn subject(name: &str) -> DistinguishedName {
    let value = match name.try_into() {
        Ok(printable) => DnValue::PrintableString(printable),
        Err(_) => DnValue::Utf8String(name.to_owned()),
    };
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, value);
    subject
}

fn set_validity(params: &mut CertificateParams, now: u64, until: u64) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATED));
    params.not_after = epoch + Duration::from_secs(until);
}

/// 127 random bits, positive and never shorter (RFC 5280, section 4.1.2.2).
fn serial() -> Result<SerialNumber, Trouble> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Trouble::Random)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-27
    const NOW: u64 = 1_795_737_600;

    fn names() -> Vec<Name> {
        ["mill.example.com", "192.0.2.1", "::1"]
            .map(|name| Name::parse(name).unwrap())
            .to_vec()
    }

    #[test]
    fn an_authority_signs_for_names_also_when_it_is_loaded_again() {
        for digest in [Digest::Sha256, Digest::Sha1] {
            let made = Authority::make("adit test: mill", digest, NOW).unwrap();
            assert_eq!(made.about.common_name, "adit test: mill");
            assert_eq!(made.about.digest, digest);
            let again = Authority::load(made.certificate.clone(), &made.key()).unwrap();
            let leaf = again.issue(&names(), Reader::Old, NOW).unwrap();
            let about = About::of(&leaf.certificate).unwrap();
            assert_eq!(about.common_name, "mill.example.com");
            assert_eq!(about.names, names());
            assert_eq!(about.digest, digest);
            let other = Authority::make("other", digest, NOW).unwrap();
            let mixed = Authority::load(made.certificate, &other.key());
            assert!(matches!(mixed, Err(Trouble::Mismatch)));
        }
    }

    #[test]
    fn no_certificate_outlives_its_authority_or_the_last_utc_time() {
        let late = LAST_UTC_TIME - 400 * DAY;
        let authority = Authority::make("adit test", Digest::Sha256, late).unwrap();
        assert_eq!(authority.about.validity.1, LAST_UTC_TIME);
        let leaf = authority.issue(&names(), Reader::Today, late).unwrap();
        let about = About::of(&leaf.certificate).unwrap();
        assert_eq!(about.validity, (late - DAY, LAST_UTC_TIME));
    }

    #[test]
    fn a_certificate_is_due_in_the_last_third_of_its_life() {
        let about = About {
            common_name: String::new(),
            names: Vec::new(),
            validity: (1000, 1300),
            digest: Digest::Sha256,
        };
        assert!(!about.is_due(0) && !about.is_due(1200));
        assert!(about.is_due(1201) && about.is_due(9999));
    }

    #[test]
    fn what_is_no_certificate_or_key_is_told() {
        assert!(About::of(b"\x30\x03\x02\x01\x01").is_err());
        let made = Authority::make("adit test", Digest::Sha256, NOW).unwrap();
        let strange = Authority::load(made.certificate, "no key");
        assert!(matches!(strange, Err(Trouble::Strange("key"))));
    }
}
