//! PKCS#12 files (RFC 7292): certificates and private keys in bags, protected by a pass phrase.

use aws_lc_rs::{digest, hmac};
use rustls::pki_types::CertificateDer;

use super::asn1::{Damaged, Elements};
use super::encryption::{
    PassPhrase, Pbkdf2, Purpose, Refusal, Secret, decrypt, hmac_hash, pkcs12_key,
};

/// The deepest nesting of bags.
const MAX_DEPTH: u8 = 4;
/// The most iterations, as elsewhere.
const MAX_ITERATIONS: u32 = 10_000_000;

/// The allowed lengths of a PBMAC1 key, in bytes; longer ones only take longer.
const PBMAC1_KEYS: std::ops::RangeInclusive<usize> = 20..=1024;

/// The content of a file, in its order.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// X.509 certificates.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Private keys, PKCS#8.
    pub keys: Vec<Secret>,
}

/// Whether these bytes look like a PKCS#12 file: a sequence that starts with version 3.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    let after_length = match bytes {
        [0x30, long @ 0x81..=0x84, ..] => 2 + usize::from(long - 0x80),
        [0x30, ..] => 2,
        _ => return false,
    };
    let rest = bytes.get(after_length..);
    rest.is_some_and(|rest| rest.starts_with(&[2, 1, 3]))
}

/// Opens a file.
///
/// # Errors
/// Every [`Refusal`].
pub(super) fn open(bytes: &[u8], phrase: PassPhrase<'_>) -> Result<Contents, Refusal> {
    let mut file = Elements::of(bytes).sequence()?;
    if file.number()? != 3 {
        return Err(Refusal::Damaged);
    }
    let mut authenticated = file.sequence()?;
    if content_type(&mut authenticated)? != Some(ContentType::Data) {
        return Err(Refusal::Unserved("public keys"));
    }
    let safes = authenticated.tagged()?.octets()?;
    if let Some(mac) = file.optional_sequence()? {
        verify(mac, &safes, phrase).map_err(|refusal| match refusal {
            Refusal::Unserved(what) => Refusal::UnservedMac(what),
            other => other,
        })?;
    }
    let mut safes = Elements::of(&safes).sequence()?;
    let mut contents = Contents::default();
    while !safes.is_empty() {
        let mut safe = safes.sequence()?;
        match content_type(&mut safe)? {
            Some(ContentType::Data) => {
                let bags = safe.tagged()?.octets()?;
                take_bags(&bags, phrase, MAX_DEPTH, &mut contents)?;
            }
            Some(ContentType::Encrypted) => {
                let mut encrypted = safe.tagged()?.sequence()?;
                encrypted.number()?;
                let mut encrypted = encrypted.sequence()?;
                content_type(&mut encrypted)?;
                let algorithm = encrypted.sequence()?;
                let bags = decrypt(algorithm, &encrypted.tagged_octets()?, phrase)?;
                take_bags(&bags, phrase, MAX_DEPTH, &mut contents).map_err(by_a_wrong_key)?;
            }
            None => return Err(Refusal::Unserved("public keys")),
        }
    }
    Ok(contents)
}

/// With a wrong key, the padding may be right by chance.
fn by_a_wrong_key(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Damaged => Refusal::Locked,
        other => other,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentType {
    Data,
    Encrypted,
}

/// The type of a ContentInfo (1.2.840.113549.1.7); `None` for another.
fn content_type(information: &mut Elements<'_>) -> Result<Option<ContentType>, Damaged> {
    Ok(match information.identifier()? {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1] => Some(ContentType::Data),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6] => Some(ContentType::Encrypted),
        _ => None,
    })
}

/// Checks the MacData over `safes`: the pass phrase is right, and nothing is damaged.
fn verify(mut mac: Elements<'_>, safes: &[u8], phrase: PassPhrase<'_>) -> Result<(), Refusal> {
    let mut information = mac.sequence()?;
    let mut algorithm = information.sequence()?;
    let identifier = algorithm.identifier()?;
    let expected = information.octets()?;
    // 1.2.840.113549.1.5.14: the rest of MacData is then unused.
    if identifier == [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 14] {
        return verify_by_pbmac1(algorithm.sequence()?, safes, &expected, phrase);
    }
    let (hash, hmac) = match identifier {
        [0x2b, 0x0e, 3, 2, 0x1a] => (
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        ),
        // 2.16.840.1.101.3.4.2, NIST's
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => (&digest::SHA256, hmac::HMAC_SHA256),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => (&digest::SHA384, hmac::HMAC_SHA384),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => (&digest::SHA512, hmac::HMAC_SHA512),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4] => (&digest::SHA224, hmac::HMAC_SHA224),
        _ => return Err(Refusal::Unserved("an uncommon hash")),
    };
    let salt = mac.octets()?;
    let times = mac.optional_number()?.unwrap_or(1);
    if !(1..=MAX_ITERATIONS).contains(&times) {
        return Err(Refusal::Damaged);
    }
    let length = hash.output_len();
    let key = pkcs12_key(hash, Purpose::Mac, phrase, &salt, times, length);
    hmac::verify(&hmac::Key::new(hmac, &key), safes, &expected).map_err(|_| Refusal::Locked)
}

/// PBMAC1 (RFC 9579), in OpenSSL since 3.4.
fn verify_by_pbmac1(
    mut parameters: Elements<'_>,
    safes: &[u8],
    expected: &[u8],
    phrase: PassPhrase<'_>,
) -> Result<(), Refusal> {
    let derivation = Pbkdf2::read(parameters.sequence()?)?;
    let hmac = match hmac_hash(parameters.sequence()?.identifier()?) {
        Some(7) => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Some(8) => hmac::HMAC_SHA224,
        Some(9) => hmac::HMAC_SHA256,
        Some(10) => hmac::HMAC_SHA384,
        Some(11) => hmac::HMAC_SHA512,
        _ => return Err(Refusal::Unserved("PBMAC1 with an uncommon hash")),
    };
    // The length must be given, and be at least 20 (RFC 9579, sections 4 and 9).
    let length = derivation.length.map(|length| length as usize);
    let length = length
        .filter(|length| PBMAC1_KEYS.contains(length))
        .ok_or(Refusal::Damaged)?;
    let key = derivation.key(phrase, length);
    hmac::verify(&hmac::Key::new(hmac, &key), safes, expected).map_err(|_| Refusal::Locked)
}

/// Takes the certificates and keys out of a SafeContents.
fn take_bags(
    bags: &[u8],
    phrase: PassPhrase<'_>,
    depth: u8,
    contents: &mut Contents,
) -> Result<(), Refusal> {
    /// 1.2.840.113549.1.12.10.1
    const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1];
    /// 1.2.840.113549.1.9.22.1
    const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
    let mut bags = Elements::of(bags).sequence()?;
    while !bags.is_empty() {
        let mut bag = bags.sequence()?;
        let kind = bag.identifier()?;
        let mut value = bag.tagged()?;
        match kind.strip_prefix(BAG) {
            Some([1]) => contents.keys.push(Secret::new(value.rest().to_vec())),
            Some([2]) => contents.keys.push(open_key(value.rest(), phrase)?),
            Some([3]) => {
                let mut certificate = value.sequence()?;
                if certificate.identifier()? == X509 {
                    let der = certificate.tagged()?.octets()?.into_owned();
                    contents.certificates.push(der.into());
                }
            }
            Some([6]) => {
                let depth = depth.checked_sub(1).ok_or(Refusal::Damaged)?;
                take_bags(value.rest(), phrase, depth, contents)?;
            }
            // CRLs and other secrets are of no use here.
            _ => {}
        }
    }
    Ok(())
}

/// Opens an EncryptedPrivateKeyInfo (RFC 5958, section 3), which is also used in PEM files.
///
/// # Errors
/// Every [`Refusal`].
pub(super) fn open_key(bytes: &[u8], phrase: PassPhrase<'_>) -> Result<Secret, Refusal> {
    let mut encrypted = Elements::of(bytes).sequence()?;
    let algorithm = encrypted.sequence()?;
    let key = decrypt(algorithm, &encrypted.octets()?, phrase)?;
    // As above: if it is no sequence, the key was wrong.
    let sound = Elements::of(&key).is_one_sequence();
    sound.then_some(key).ok_or(Refusal::Locked)
}
