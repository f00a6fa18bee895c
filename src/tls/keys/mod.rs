//! From files to certificates and keys, with every way they can be wrong explained to the
//! administrator.
//!
//! * `text`, `folder`, `lists`: PEM, CApath, and CRLfile and CRLpath;
//! * `locked`: keys with a pass phrase, and the pass phrases;
//! * `pkcs12`, `encryption`, `asn1`: the formats of such files.

mod asn1;
mod encryption;
mod folder;
mod lists;
mod locked;
mod pkcs12;
mod text;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

use super::trust::Authority;
use super::{Problem, armour, canonical, key_kinds};
use crate::config::TlsOptions;
use crate::log::Reason;
use crate::remedy;
use encryption::{Refusal, Secret};
pub(super) use folder::ca_path;
pub(super) use lists::revocation_lists;
use locked::{LockedPem, Opener};
pub(crate) use locked::{PassPhrases, locked_file};

/// The longest certificate file (the largest bundles of roots are below 1 MiB).
const MAX_FILE: u64 = 16 << 20;
/// The initial buffer for a file that does not report its length, in bytes.
const SHORT_FILE: u64 = 4096;
/// A certificate that expires within this time gets a warning, in seconds: 30 days.
const SOON: i64 = 30 * 24 * 3600;

/// Reads a whole file, which may be secret; `what` names it in messages ("certificate file").
fn read(option: &'static str, what: &str, path: &Path) -> Result<Secret, Problem> {
    read_limited(option, what, path, MAX_FILE)
}

/// The same with another limit to its length, in bytes.
fn read_limited(
    option: &'static str,
    what: &str,
    path: &Path,
    longest: u64,
) -> Result<Secret, Problem> {
    let failed = |reason: &dyn std::fmt::Display| {
        Problem::error(
            option,
            format!("cannot read the {what} {}: {reason}", path.display()),
        )
    };
    let unreadable = |error: io::Error| {
        let remedy = remedy::reading_a_file(&error);
        failed(&format_args!("{} ({remedy})", Reason(&error)))
    };
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let bytes = read_whole(&mut file, longest).map_err(unreadable)?;
    bytes.ok_or_else(|| failed(&"it is too long to be one"))
}

/// The text of a file of pre-shared keys.
pub(super) fn psk_file(
    option: &'static str,
    path: &Path,
    warnings: &mut Vec<Problem>,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let text = read(option, "file of pre-shared keys", path)?;
    warnings.extend(permissions(option, path, "the keys"));
    Ok(text)
}

/// The content of a file; `None` if it is longer than that.
fn read_whole(file: &mut fs::File, longest: u64) -> io::Result<Option<Secret>> {
    // Only a regular file reports its length.
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    read_to_end(file, length.clamp(SHORT_FILE, longest) as usize, longest)
}

/// Reads to the end, which is expected after `length` bytes; `None` beyond `longest`. Leaves no copy
/// of what was read: a vector that grows by itself would leave one at each reallocation.
fn read_to_end(from: &mut impl Read, length: usize, longest: u64) -> io::Result<Option<Secret>> {
    // One byte more, to notice the end.
    let mut bytes = Secret::new(vec![0; length + 1]);
    let mut filled = 0;
    loop {
        if filled as u64 > longest {
            return Ok(None);
        }
        if filled == bytes.len() {
            let mut larger = Secret::new(vec![0; 2 * filled]);
            larger[..filled].copy_from_slice(&bytes);
            // Dropping the smaller buffer wipes it.
            bytes = larger;
        }
        match from.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(Some(bytes))
}

/// A certificate with its chain and its private key.
pub(super) struct Identity {
    /// For rustls.
    pub(super) key: Arc<CertifiedKey>,
    /// For s2n-tls.
    pub(super) private: PrivateKey,
    /// The file with the private key.
    pub(super) key_file: PathBuf,
    /// Whether all of it is in one PKCS#12 file.
    pub(super) pkcs12: bool,
}

/// A private key that is wiped when it goes.
pub(super) struct PrivateKey(PrivateKeyDer<'static>);

impl PrivateKey {
    /// PEM, wiped as well.
    pub(super) fn to_pem(&self) -> Zeroizing<Vec<u8>> {
        let label = match &self.0 {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        let mut pem = Zeroizing::default();
        armour::push(&mut pem, label, self.0.secret_der());
        pem
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What was read, before it is known to match.
struct Material {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    key_option: &'static str,
    key_file: PathBuf,
    pkcs12: bool,
}

/// Loads what `cert` and `key` name, checks that they match, and adds warnings.
///
/// # Errors
/// The first fault of each file.
pub(super) fn identity(
    options: &TlsOptions,
    cert: &Path,
    phrases: &PassPhrases,
    warnings: &mut Vec<Problem>,
) -> Result<Identity, Vec<Problem>> {
    let opener = Opener::new(options, phrases).map_err(|problem| vec![problem])?;
    if let Some(path) = &options.key_password_file {
        warnings.extend(permissions("keyPasswordFile", path, "the pass phrases"));
    }
    let material = match read("cert", "certificate file", cert) {
        Ok(bytes) if pkcs12::is_one(&bytes) => {
            from_pkcs12(options, cert, &bytes, &opener, warnings)?
        }
        bytes => from_pem(options, cert, bytes, &opener, warnings)?,
    };
    let Material {
        certificates,
        key,
        key_option,
        key_file,
        pkcs12,
    } = material;
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|error| {
        let what = key_kinds::of_private_key(&key).unwrap_or_else(|| error.to_string());
        let path = key_file.display();
        let text = format!(
            "the private key in {path} cannot be used ({what}); {}",
            key_kinds::TAKEN
        );
        vec![Problem::error(key_option, text)]
    })?;
    let ours = signing.public_key().map(|key| key.to_vec());
    let chain = match pkcs12 {
        true => ordered(certificates, ours.as_deref()),
        false => certificates,
    };
    let theirs = chain.first().and_then(public_key);
    let same = |ours: &[u8]| {
        (theirs.as_deref()).is_some_and(|theirs| key_kinds::are_the_same(ours, theirs))
    };
    if !ours.as_deref().is_some_and(same) {
        return Err(vec![Problem::error(
            key_option,
            format!(
                "key values mismatch: the private key in {} does not belong to the certificate in {}",
                key_file.display(),
                cert.display()
            ),
        )]);
    }
    if ours != theirs {
        let text = format!(
            "the certificate in {} has an EC key with explicit parameters, which many peers refuse \
             (RFC 5480): get one for a key with a named curve, as \
             openssl ecparam -name prime256v1 -genkey makes it",
            cert.display()
        );
        warnings.push(Problem::warning("cert", text));
    }
    Ok(Identity {
        key: Arc::new(CertifiedKey::new(chain, signing)),
        private: PrivateKey(key),
        key_file,
        pkcs12,
    })
}

/// A PEM chain, and the key, which may be in another file.
fn from_pem(
    options: &TlsOptions,
    cert: &Path,
    bytes: Result<Secret, Problem>,
    opener: &Opener<'_>,
    warnings: &mut Vec<Problem>,
) -> Result<Material, Vec<Problem>> {
    let chain = bytes.and_then(|bytes| chain(cert, &bytes, warnings));
    if let (Err(problem), None) = (&chain, &options.key) {
        // One file that should hold both and does not: one problem.
        return Err(vec![problem.clone()]);
    }
    let key_option = if options.key.is_some() { "key" } else { "cert" };
    let key_file = options.key.as_deref().unwrap_or(cert);
    match (chain, private_key(key_option, key_file, opener, warnings)) {
        (Ok(certificates), Ok(key)) => Ok(Material {
            certificates,
            key,
            key_option,
            key_file: key_file.to_owned(),
            pkcs12: false,
        }),
        (chain, key) => Err([chain.err(), key.err()].into_iter().flatten().collect()),
    }
}

/// Everything from one file; only a key that it lacks may be elsewhere.
fn from_pkcs12(
    options: &TlsOptions,
    cert: &Path,
    bytes: &[u8],
    opener: &Opener<'_>,
    warnings: &mut Vec<Problem>,
) -> Result<Material, Vec<Problem>> {
    warnings.extend(permissions("cert", cert, "the private key"));
    let contents = open_pkcs12("cert", cert, bytes, opener).map_err(|problem| vec![problem])?;
    let certificates = contents.certificates;
    if certificates.is_empty() {
        let text = format!("{} is PKCS#12 without a certificate", cert.display());
        return Err(vec![Problem::error("cert", text)]);
    }
    check(cert, &certificates, warnings).map_err(|problem| vec![problem])?;
    let elsewhere = options.key.as_deref().filter(|key| *key != cert);
    let (key_option, key_file, key) = match (contents.keys.into_iter().next(), elsewhere) {
        (Some(key), elsewhere) => {
            // As stunnel does, without saying so.
            if elsewhere.is_some() {
                let text = format!("key has no effect: the key in {} counts", cert.display());
                warnings.push(Problem::warning("key", text));
            }
            ("cert", cert, locked::pkcs8(key))
        }
        (None, Some(path)) => {
            let key = private_key("key", path, opener, warnings);
            ("key", path, key.map_err(|problem| vec![problem])?)
        }
        (None, None) => {
            let text = format!(
                "{} is PKCS#12 without a private key: name the file with the key in key",
                cert.display()
            );
            return Err(vec![Problem::error("cert", text)]);
        }
    };
    Ok(Material {
        certificates,
        key,
        key_option,
        key_file: key_file.to_owned(),
        pkcs12: true,
    })
}

fn open_pkcs12(
    option: &'static str,
    path: &Path,
    bytes: &[u8],
    opener: &Opener<'_>,
) -> Result<pkcs12::Contents, Problem> {
    let opened = opener.open(|phrase| pkcs12::open(bytes, phrase));
    opened.map_err(|refusal| {
        // OpenSSL of that age cannot check a MAC that adit cannot check.
        let unchecked = match refusal {
            Refusal::UnservedMac(_) => " -nomacver",
            _ => "",
        };
        let convert = format!(
            "openssl pkcs12 -legacy{unchecked} -in {} -nodes -out FILE.pem makes PEM of it",
            path.display()
        );
        opener.problem(option, path, &refusal, &convert)
    })
}

/// The key's certificate first, then each one's issuer as far as present. A file keeps them in any
/// order, and may hold more.
fn ordered(
    mut left: Vec<CertificateDer<'static>>,
    key: Option<&[u8]>,
) -> Vec<CertificateDer<'static>> {
    let is_ours = |der: &CertificateDer<'_>| {
        let found = public_key(der);
        key.zip(found)
            .is_some_and(|(key, found)| key_kinds::are_the_same(key, &found))
    };
    let Some(at) = left.iter().position(is_ours) else {
        return left;
    };
    let mut chain = vec![left.remove(at)];
    while let Some((_, issuer)) = chain.last().and_then(names_of) {
        let issued_it =
            |der: &CertificateDer<'_>| names_of(der).is_some_and(|(subject, _)| subject == issuer);
        match left.iter().position(issued_it) {
            Some(at) => {
                let issuer = left.remove(at);
                chain.push(issuer);
            }
            None => break,
        }
    }
    chain
}

/// Subject and issuer of a certificate, for comparison.
fn names_of(der: &CertificateDer<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = canonical::name(certificate.subject().as_raw())?;
    Some((subject, canonical::name(certificate.issuer().as_raw())?))
}

/// Parsed by x509-parser: rustls would refuse an X.509 version 1 certificate, which is legal here.
fn public_key(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.public_key().raw.to_vec())
}

/// The chain of a PEM file, leaf first.
fn chain(
    path: &Path,
    bytes: &[u8],
    warnings: &mut Vec<Problem>,
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let chain = pem_certificates("cert", path, bytes)?;
    let chain: Vec<_> = chain.into_iter().map(|one| one.der).collect();
    if chain.is_empty() {
        return Err(Problem::error("cert", no_certificate(path, bytes)));
    }
    check(path, &chain, warnings)?;
    Ok(chain)
}

/// Checks each certificate.
fn check(
    path: &Path,
    certificates: &[CertificateDer<'_>],
    warnings: &mut Vec<Problem>,
) -> Result<(), Problem> {
    for (depth, der) in certificates.iter().enumerate() {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Err(Problem::error(
                "cert",
                format!(
                    "certificate {} in {} cannot be parsed",
                    depth + 1,
                    path.display()
                ),
            ));
        };
        warnings.extend(validity(path, &certificate));
    }
    Ok(())
}

/// Every certificate of a PEM text; other sections are skipped.
fn pem_certificates(
    option: &'static str,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<Authority>, Problem> {
    let found = text::certificates(bytes).into_iter().enumerate();
    let found = found.map(|(nth, one)| {
        one.map_err(|error| {
            let (nth, path) = (nth + 1, path.display());
            let text = format!(
                "certificate {nth} in {path} is damaged PEM: {error}; copy it again, or remove it"
            );
            Problem::error(option, text)
        })
    });
    found.collect()
}

/// Describes a file without a certificate.
fn no_certificate(path: &Path, bytes: &[u8]) -> String {
    let path = path.display();
    match bytes {
        _ if pkcs12::is_one(bytes) => format!(
            "{path} is PKCS#12, and not PEM: \
             openssl pkcs12 -in {path} -nokeys -out FILE.pem makes PEM of its certificates"
        ),
        [0x30, _, ..] => format!(
            "{path} is DER, not PEM: openssl x509 -inform der -in {path} -out FILE.pem makes PEM of it"
        ),
        _ => format!("{path} has no PEM certificate (-----BEGIN CERTIFICATE-----) in it"),
    }
}

/// A warning for a certificate that is not valid yet, expired, or about to expire.
fn validity(path: &Path, certificate: &X509Certificate<'_>) -> Option<Problem> {
    let now = super::tickets::unix_time() as i64;
    let validity = certificate.validity();
    let not_after = validity.not_after.timestamp();
    let name = super::names::distinguished(certificate.subject());
    let path = path.display();
    let early = not_after >= now && validity.not_before.timestamp() > now;
    let what = match early {
        true => "is not valid yet: check the clock".into(),
        false => end_that_is_near(not_after, now)?,
    };
    let text = format!("the certificate of {name} in {path} {what}");
    Some(Problem::warning("cert", text))
}

/// Text about a certificate that expires within 30 days or has expired: how long until then, or since.
/// Both times are in seconds since 1970.
pub(crate) fn end_that_is_near(not_after: i64, now: i64) -> Option<String> {
    let days = (not_after - now).abs() / (24 * 3600);
    if not_after < now {
        return Some(format!("expired {days} day(s) ago: renew it"));
    }
    (not_after - now < SOON).then(|| format!("expires in {days} day(s): renew it"))
}

/// A warning about a file that users besides its owner and group can read.
fn permissions(option: &'static str, path: &Path, what: &str) -> Option<Problem> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o007 != 0).then(|| {
        let text = format!(
            "insecure file permissions on {0}: others can use {what} in it; chmod o= {0}",
            path.display()
        );
        Problem::warning(option, text)
    })
}

/// What the line before each private key of a PEM file has (RFC 7468, sections 10 and 11).
const WORDS: &[u8] = b"PRIVATE KEY-----";

/// The first private key of a PEM or PKCS#12 file, decrypted.
fn private_key(
    option: &'static str,
    path: &Path,
    opener: &Opener<'_>,
    warnings: &mut Vec<Problem>,
) -> Result<PrivateKeyDer<'static>, Problem> {
    let bytes = read(option, "private key file", path)?;
    // A certificate alone is no secret.
    if pkcs12::is_one(&bytes) || bytes.windows(WORDS.len()).any(|words| words == WORDS) {
        warnings.extend(permissions(option, path, "the private key"));
    }
    if pkcs12::is_one(&bytes) {
        let contents = open_pkcs12(option, path, &bytes, opener)?;
        let key = contents.keys.into_iter().next();
        return key.map(locked::pkcs8).ok_or_else(|| {
            let text = format!("{} is PKCS#12 without a private key", path.display());
            Problem::error(option, text)
        });
    }
    let error = match PrivateKeyDer::from_pem_slice(text::unmarked(&bytes)) {
        Ok(key) => return Ok(key),
        Err(error) => error,
    };
    if let Some(pem) = LockedPem::find(&bytes) {
        return opener.open(|phrase| pem.open(phrase)).map_err(|refusal| {
            let convert = format!(
                "openssl pkey -in {} -out FILE.pem decrypts it",
                path.display()
            );
            opener.problem(option, path, &refusal, &convert)
        });
    }
    let path = path.display();
    let text = if matches!(error, rustls::pki_types::pem::Error::NoItemsFound) {
        format!("{path} has no PEM private key (-----BEGIN PRIVATE KEY-----) in it")
    } else {
        format!("the private key in {path} is damaged PEM: {error}")
    };
    Err(Problem::error(option, text))
}

/// The certificates of CAfile.
///
/// # Errors
/// It is unreadable, damaged, or has no certificate.
pub(super) fn ca_file(path: &Path) -> Result<Vec<Authority>, Problem> {
    let bytes = read("CAfile", "file of trusted certificates", path)?;
    let found = pem_certificates("CAfile", path, &bytes)?;
    if found.is_empty() {
        return Err(Problem::error("CAfile", no_certificate(path, &bytes)));
    }
    // stunnel starts, and then trusts none of the others either.
    if let Some(nth) = found
        .iter()
        .position(|one| X509Certificate::from_der(&one.der).is_err())
    {
        let (nth, path) = (nth + 1, path.display());
        let text = format!("certificate {nth} in {path} is damaged: copy it again, or remove it");
        return Err(Problem::error("CAfile", text));
    }
    if !found.iter().any(Authority::is_plain) {
        let path = path.display();
        let text = format!(
            "{path} has nothing but -----BEGIN TRUSTED CERTIFICATE-----, with which stunnel does not \
             start either: openssl x509 -in {path} -out FILE.pem makes plain PEM of it"
        );
        return Err(Problem::error("CAfile", text));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_whatever_length_it_tells() {
        let content: Vec<u8> = (0..100_000_u32).map(|nth| nth as u8).collect();
        for expected in [0, 1, 4096, 99_999, 100_000, 100_001] {
            let read = read_to_end(&mut content.as_slice(), expected, MAX_FILE).unwrap();
            assert_eq!(*read.unwrap(), content);
        }
    }

    #[test]
    fn a_file_of_any_length_without_end_is_given_up() {
        for length in [1, MAX_FILE as usize] {
            assert!(
                read_to_end(&mut io::repeat(1), length, MAX_FILE)
                    .unwrap()
                    .is_none()
            );
        }
        let longest = read_to_end(&mut io::repeat(1).take(MAX_FILE), 1, MAX_FILE).unwrap();
        assert_eq!(longest.unwrap().len() as u64, MAX_FILE);
    }
}
