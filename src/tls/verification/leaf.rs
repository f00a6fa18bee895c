//! What is asked of the peer's own certificate, whatever is above it. Never in here: its path.

use rustls::pki_types::UnixTime;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use super::Verifier;
use crate::tls::rejection::Rejection;
use crate::tls::{level, signatures};

/// When a certificate ends, in seconds since 1970; `None`: it cannot be read.
pub(in crate::tls) fn end(der: &[u8]) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    // One that ended before 1970 is over too.
    Some(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0))
}

impl Verifier {
    pub(super) fn dates_and_purpose(
        &self,
        certificate: &X509Certificate<'_>,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        let now = now.as_secs() as i64;
        let validity = certificate.validity();
        if validity.not_before.timestamp() > now {
            return Err(Rejection::NotYetValid);
        }
        if validity.not_after.timestamp() < now {
            return Err(Rejection::Expired);
        }
        let unhandled = certificate.extensions().iter().any(|extension| {
            extension.critical
                && matches!(
                    extension.parsed_extension(),
                    ParsedExtension::UnsupportedExtension { .. }
                        | ParsedExtension::ParseError { .. }
                        | ParsedExtension::Unparsed
                )
        });
        if unhandled {
            return Err(Rejection::Other("unhandled critical extension".into()));
        }
        self.suitable(certificate)?;
        match certificate.extended_key_usage() {
            Ok(None) => Ok(()),
            Ok(Some(usage)) => {
                // anyExtendedKeyUsage does not count, neither in OpenSSL nor in webpki.
                let usage = usage.value;
                let allowed = if self.peer_serves {
                    usage.server_auth
                } else {
                    usage.client_auth
                };
                if allowed {
                    Ok(())
                } else {
                    Err(Rejection::Purpose)
                }
            }
            Err(_) => Err(Rejection::Unreadable),
        }
    }

    /// Whether the leaf may be used as the peer uses it.
    pub(super) fn suitable(&self, certificate: &X509Certificate<'_>) -> Result<(), Rejection> {
        purposeful(certificate, self.peer_serves)?;
        match signatures::smaller_than(self.level.smallest_rsa(), certificate) {
            Some(bits) => Err(Rejection::WeakKey(bits)),
            None if level::is_weak_kind(self.level, certificate) => {
                Err(Rejection::BelowLevel("EE certificate key too weak"))
            }
            None => Ok(()),
        }
    }
}

/// What OpenSSL checks in a leaf and webpki does not: keyUsage, Netscape's type.
fn purposeful(certificate: &X509Certificate<'_>, serves: bool) -> Result<(), Rejection> {
    let usage = certificate
        .key_usage()
        .map_err(|_| Rejection::Unreadable)?
        .map(|usage| usage.value);
    let usable = usage.is_none_or(|usage| {
        usage.digital_signature() || usage.key_agreement() || (serves && usage.key_encipherment())
    });
    let typed = certificate
        .iter_extensions()
        .all(|extension| match extension.parsed_extension() {
            ParsedExtension::NSCertType(kind) if serves => kind.ssl_server(),
            ParsedExtension::NSCertType(kind) => kind.ssl_client(),
            _ => true,
        });
    match usable && typed {
        true => Ok(()),
        false => Err(Rejection::Purpose),
    }
}
