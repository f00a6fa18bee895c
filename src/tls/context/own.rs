//! Our own certificate and key: loading them, and what is read from them. Never in here: a key in a message.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::TlsOptions;
use crate::log::Log;
use crate::tls::keys::PrivateKey;
use crate::tls::{PassPhrases, Problem, keys};

pub(super) fn certified_key(
    options: &TlsOptions,
    phrases: &PassPhrases,
    problems: &mut Vec<Problem>,
    log: &Log,
) -> Option<(Arc<CertifiedKey>, PrivateKey)> {
    let cert = options.cert.as_deref()?;
    match keys::identity(options, cert, phrases, problems) {
        Ok(found) if found.pkcs12 && found.key_file == cert => {
            let path = cert.display();
            crate::info!(*log, "Certificate and private key loaded from file: {path}");
            Some((found.key, found.private))
        }
        Ok(found) => {
            crate::info!(*log, "Certificate loaded from file: {}", cert.display());
            let path = found.key_file.display();
            crate::info!(*log, "Private key loaded from file: {path}");
            Some((found.key, found.private))
        }
        Err(more) => {
            problems.extend(more);
            None
        }
    }
}

pub(super) fn end_of(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

pub(super) fn public_key_of(der: &[u8]) -> Option<[u8; 32]> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let hash = digest::digest(&digest::SHA256, certificate.public_key().raw);
    hash.as_ref().try_into().ok()
}
