//! Files to certificates and keys, and every way in which they can be wrong, in the admin's words.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Problem;

/// A certificate file that is longer is not one (the largest bundles of roots are below 1 MiB).
const MAX_FILE: u64 = 16 << 20;
/// A certificate that ends within this is warned about, in seconds: 30 days.
const SOON: i64 = 30 * 24 * 3600;

/// Reads a whole file; `what` names it in messages ("certificate file").
fn read(option: &'static str, what: &str, path: &Path) -> Result<Vec<u8>, Problem> {
    let failed = |reason: &dyn std::fmt::Display| {
        Problem::error(
            option,
            format!("cannot read the {what} {}: {reason}", path.display()),
        )
    };
    let file = fs::File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(&"it is too long to be one"));
    }
    Ok(bytes)
}

/// Loads what `cert` and `key` name, checks that they belong together, and adds warnings.
///
/// # Errors
/// The first thing that is wrong with each file.
pub(super) fn certified_key(
    cert: &Path,
    key: Option<&Path>,
    warnings: &mut Vec<Problem>,
) -> Result<Arc<CertifiedKey>, Vec<Problem>> {
    let key_option = if key.is_some() { "key" } else { "cert" };
    let key_path = key.unwrap_or(cert);
    let chain = chain(cert, warnings);
    if let (Err(problem), None) = (&chain, key) {
        // One file that should hold both, and does not: one problem.
        return Err(vec![problem.clone()]);
    }
    let (chain, key) = match (chain, private_key(key_option, key_path, warnings)) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
    };
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|error| {
        vec![Problem::error(
            key_option,
            format!(
                "the private key in {} cannot be used ({error}); adit takes RSA of 2048 to 8192 bits, \
                 ECDSA on P-256, P-384 or P-521, and Ed25519",
                key_path.display()
            ),
        )]
    })?;
    // By x509-parser: rustls would refuse a certificate of X.509 version 1, which is legal here.
    let public_key = chain.first().and_then(|leaf| {
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        Some(certificate.public_key().raw.to_vec())
    });
    if signing.public_key().map(|key| key.to_vec()) != public_key {
        return Err(vec![Problem::error(
            key_option,
            format!(
                "key values mismatch: the private key in {} does not belong to the certificate in {}",
                key_path.display(),
                cert.display()
            ),
        )]);
    }
    Ok(Arc::new(CertifiedKey::new(chain, signing)))
}

/// The chain of a PEM file, leaf first.
fn chain(
    path: &Path,
    warnings: &mut Vec<Problem>,
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let bytes = read("cert", "certificate file", path)?;
    let chain = pem_certificates("cert", path, &bytes)?;
    if chain.is_empty() {
        return Err(Problem::error("cert", no_certificate(path, &bytes)));
    }
    for (depth, der) in chain.iter().enumerate() {
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
    Ok(chain)
}

/// Every certificate of a PEM text; other sections are gone past.
fn pem_certificates(
    option: &'static str,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| {
            Problem::error(
                option,
                format!("{} is damaged PEM: {error}", path.display()),
            )
        })
}

/// What a file without a certificate seems to be.
fn no_certificate(path: &Path, bytes: &[u8]) -> String {
    let path = path.display();
    match bytes {
        [0x30, _, ..] if pkcs12(bytes) => format!(
            "{path} is PKCS#12, which adit does not read yet: \
             openssl pkcs12 -in {path} -nodes -out FILE.pem makes PEM of it"
        ),
        [0x30, _, ..] => format!(
            "{path} is DER, not PEM: openssl x509 -inform der -in {path} -out FILE.pem makes PEM of it"
        ),
        _ => format!("{path} has no PEM certificate (-----BEGIN CERTIFICATE-----) in it"),
    }
}

/// PFX (RFC 7292): a sequence that begins with version 3.
fn pkcs12(bytes: &[u8]) -> bool {
    let after_length = match bytes.get(1) {
        Some(long @ 0x81..=0x84) => 2 + usize::from(long - 0x80),
        _ => 2,
    };
    bytes
        .get(after_length..)
        .is_some_and(|rest| rest.starts_with(&[2, 1, 3]))
}

/// A warning for a certificate outside its dates, or about to be.
fn validity(path: &Path, certificate: &X509Certificate<'_>) -> Option<Problem> {
    let now = super::tickets::unix_time() as i64;
    let validity = certificate.validity();
    let not_after = validity.not_after.timestamp();
    let name = super::names::distinguished(certificate.subject());
    let path = path.display();
    let days = (not_after - now).abs() / (24 * 3600);
    let text = if not_after < now {
        format!("the certificate of {name} in {path} expired {days} day(s) ago: renew it")
    } else if validity.not_before.timestamp() > now {
        format!("the certificate of {name} in {path} is not valid yet: check the clock")
    } else if not_after - now < SOON {
        format!("the certificate of {name} in {path} expires in {days} day(s): renew it")
    } else {
        return None;
    };
    Some(Problem::warning("cert", text))
}

/// The first private key of a PEM file.
fn private_key(
    option: &'static str,
    path: &Path,
    warnings: &mut Vec<Problem>,
) -> Result<PrivateKeyDer<'static>, Problem> {
    let bytes = zeroize::Zeroizing::new(read(option, "private key file", path)?);
    if let Ok(metadata) = fs::metadata(path)
        && metadata.permissions().mode() & 0o007 != 0
    {
        warnings.push(Problem::warning(
            option,
            format!(
                "insecure file permissions on {0}: others can use the private key in it; chmod o= {0}",
                path.display()
            ),
        ));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let text = String::from_utf8_lossy(&bytes);
        let path = path.display();
        let text = if text.contains("ENCRYPTED PRIVATE KEY") || text.contains("4,ENCRYPTED") {
            format!(
                "the private key in {path} is encrypted, and adit has nobody to ask for the passphrase: \
                 openssl pkey -in {path} -out FILE.pem decrypts it"
            )
        } else if pkcs12(&bytes) {
            format!(
                "{path} is PKCS#12, which adit does not read yet: \
                 openssl pkcs12 -in {path} -nodes -out FILE.pem makes PEM of it"
            )
        } else if matches!(error, rustls::pki_types::pem::Error::NoItemsFound) {
            format!("{path} has no PEM private key (-----BEGIN PRIVATE KEY-----) in it")
        } else {
            format!("the private key in {path} is damaged PEM: {error}")
        };
        Problem::error(option, text)
    })
}

/// The certificates of CAfile.
///
/// # Errors
/// Unreadable, damaged, or without a certificate.
pub(super) fn ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let bytes = read("CAfile", "file of trusted certificates", path)?;
    let found = pem_certificates("CAfile", path, &bytes)?;
    if found.is_empty() {
        return Err(Problem::error("CAfile", no_certificate(path, &bytes)));
    }
    Ok(found)
}

/// The certificates of CApath: every PEM file in the folder, hashed name or not, read now, since
/// a jailed worker cannot look one up later. Subfolders and files that are no PEM are gone past.
///
/// # Errors
/// Unreadable, or without a certificate.
pub(super) fn ca_path(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let failed = |error: std::io::Error| {
        Problem::error(
            "CApath",
            format!(
                "cannot read the folder of trusted certificates {}: {error}",
                path.display()
            ),
        )
    };
    let mut found: Vec<CertificateDer<'static>> = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        // Through the links that openssl rehash makes.
        if fs::metadata(&file).is_ok_and(|metadata| metadata.is_file())
            && let Ok(bytes) = read("CApath", "file", &file)
        {
            found.extend(CertificateDer::pem_slice_iter(&bytes).flatten());
        }
    }
    // A link and its file are the same certificate.
    found.sort_by(|one, two| one.as_ref().cmp(two.as_ref()));
    found.dedup();
    if found.is_empty() {
        return Err(Problem::error(
            "CApath",
            format!("no trusted certificates found in {}", path.display()),
        ));
    }
    Ok(found)
}
