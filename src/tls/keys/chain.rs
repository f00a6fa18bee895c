//! Certificates: those of a file, in the order of their chain, and when they end. Never in here: a private key.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{pkcs12, text};
use crate::tls::trust::Authority;
use crate::tls::{Problem, canonical, key_kinds, names, tickets};

/// A certificate that expires within this time gets a warning, in seconds: 30 days.
const SOON: i64 = 30 * 24 * 3600;

/// The chain of a PEM file, leaf first.
pub(super) fn chain(
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
pub(super) fn check(
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
pub(super) fn pem_certificates(
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
pub(super) fn no_certificate(path: &Path, bytes: &[u8]) -> String {
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

/// The key's certificate first, then each one's issuer as far as present. A file keeps them in any
/// order, and may hold more.
pub(super) fn ordered(
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
pub(super) fn public_key(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.public_key().raw.to_vec())
}

/// A warning for a certificate that is not valid yet, expired, or about to expire.
fn validity(path: &Path, certificate: &X509Certificate<'_>) -> Option<Problem> {
    let now = tickets::unix_time() as i64;
    let validity = certificate.validity();
    let not_after = validity.not_after.timestamp();
    let name = names::distinguished(certificate.subject());
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
