//! From files to certificates and keys, with every way they can be wrong explained to the
//! administrator.
//!
//! * `reading`, `chain`: a file, and the certificates in it;
//! * `text`, `folder`, `lists`: PEM, CApath, and CRLfile and CRLpath;
//! * `locked`: keys with a pass phrase, and the pass phrases;
//! * `pkcs12`, `encryption`, `asn1`: the formats of such files.

mod asn1;
mod chain;
mod encryption;
mod folder;
mod lists;
mod locked;
mod pkcs12;
mod reading;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

use super::trust::Authority;
use super::{Problem, armour, key_kinds};
use crate::config::TlsOptions;
pub(crate) use chain::end_that_is_near;
use chain::{chain, check, no_certificate, ordered, pem_certificates, public_key};
use encryption::{Refusal, Secret};
pub(super) use folder::ca_path;
pub(super) use lists::revocation_lists;
use locked::{LockedPem, Opener};
pub(crate) use locked::{PassPhrases, locked_file};
use reading::{MAX_FILE, permissions, read, read_limited, read_whole};

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
                "key values mismatch: the private key in {} does not belong to the certificate in {}: name the key \
                 that the certificate was asked for with, or the certificate that was made for this key",
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
        let remedy = match option {
            "cert" => "name the key's file by `key = FILE`",
            "acceptCert" => "name the key's file by `acceptKey = FILE`",
            _ => "name the file that has it",
        };
        format!("{path} has no PEM private key (-----BEGIN PRIVATE KEY-----) in it: {remedy}")
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
