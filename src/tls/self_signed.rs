//! Which certificates count as self-signed: those that OpenSSL marks with EXFLAG_SS. As in OpenSSL, the
//! signature is not checked: a root is trusted because it is installed.

use x509_parser::extensions::{AuthorityKeyIdentifier, GeneralName, ParsedExtension};
use x509_parser::prelude::X509Certificate;
use x509_parser::x509::X509Name;

use super::canonical;
use super::holder::EC;

/// Whether its issuer is its subject and nothing in it points to another key. A certificate that links
/// an authority's new key to its old one also repeats the name, but is signed by the old key.
pub(super) fn self_signed(certificate: &X509Certificate<'_>) -> bool {
    same_name(certificate.subject(), certificate.issuer())
        && identifies_itself(certificate)
        && could_sign_itself(certificate)
}

fn same_name(one: &X509Name<'_>, other: &X509Name<'_>) -> bool {
    let (one, other) = (one.as_raw(), other.as_raw());
    one == other || canonical::name(one).is_some_and(|name| Some(name) == canonical::name(other))
}

/// X509_check_akid: whether the authorityKeyIdentifier, if present, identifies this certificate.
fn identifies_itself(certificate: &X509Certificate<'_>) -> bool {
    /// 2.5.29.35
    const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
    let mut extensions = certificate.iter_extensions();
    extensions.all(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(authority) => is_of(authority, certificate),
        // An unreadable one could identify any certificate.
        _ => extension.oid.as_bytes() != AUTHORITY_KEY_IDENTIFIER,
    })
}

/// Whether nothing in an authorityKeyIdentifier points to another certificate than this one.
pub(super) fn is_of(
    authority: &AuthorityKeyIdentifier<'_>,
    certificate: &X509Certificate<'_>,
) -> bool {
    let mut extensions = certificate.iter_extensions();
    let own = extensions.find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(own) => Some(own.0),
        _ => None,
    });
    let key = authority.key_identifier.as_ref().map(|key| key.0);
    let by_key = key.zip(own).is_none_or(|(key, own)| key == own);
    let serial = authority.authority_cert_serial;
    let by_serial = serial.is_none_or(|serial| serial == certificate.raw_serial());
    let mut names = authority.authority_cert_issuer.iter().flatten();
    // OpenSSL looks at the first directory name.
    let name = names.find_map(|name| match name {
        GeneralName::DirectoryName(name) => Some(name),
        _ => None,
    });
    let by_name = name.is_none_or(|name| same_name(name, certificate.issuer()));
    by_key && by_serial && by_name
}

/// Whether its key is of the kind that made its signature.
fn could_sign_itself(certificate: &X509Certificate<'_>) -> bool {
    /// 1.2.840.113549.1.1.1, rsaEncryption
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    /// 1.2.840.113549.1.1; also the old SHA-1 and RIPEMD-160 with RSA: 1.3.14.3.2.29, 1.3.36.3.3.1
    const BY_RSA: &[&[u8]] = &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1], OIW, TELETRUST];
    const OIW: &[u8] = &[0x2b, 14, 3, 2, 29];
    const TELETRUST: &[u8] = &[0x2b, 36, 3, 3, 1];
    /// 1.2.840.10045.4
    const BY_EC: &[&[u8]] = &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4]];
    let key = certificate.public_key().algorithm.algorithm.as_bytes();
    let signature = certificate.signature.algorithm.as_bytes();
    let signs = |families: &[&[u8]]| families.iter().any(|family| signature.starts_with(family));
    match key {
        RSA => signs(BY_RSA),
        EC => signs(BY_EC),
        // Ed25519 and the like: one identifier for both.
        other => other == signature,
    }
}
