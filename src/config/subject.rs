//! What the peer's certificate must have: `checkHost` and its like, and `checkPin`. Never a certificate: tls reads those.

use std::net::IpAddr;

use super::option::{Fault, given, parts};
use super::service::Draft;

/// The options that are about the certificate's subject and its alternative names.
pub(super) const OPTIONS: [&str; 7] = [
    "checkHost",
    "checkIP",
    "checkEmail",
    "checkURI",
    "checkOU",
    "checkCN",
    "checkPin",
];

/// What is asked of the peer's certificate beside its chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SubjectChecks {
    /// Of these and those below but for the pins, one that matches is enough.
    pub hosts: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// URIs, as SPIFFE names what is served.
    pub uris: Vec<String>,
    /// Organizational units in the subject.
    pub units: Vec<String>,
    /// Common names in the subject.
    pub common_names: Vec<String>,
    /// One of these must be the public key's, whatever else matches.
    pub pins: Vec<Pin>,
}

/// The SHA-256 of a public key (SubjectPublicKeyInfo), in Base64 as curl's `--pinnedpubkey` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin(String);

impl Pin {
    /// What stands before the hash.
    pub(crate) const PREFIX: &str = "sha256//";

    /// `None`: it is not the hash of anything.
    fn parse(text: &str) -> Option<Pin> {
        let hash = text.strip_prefix(Self::PREFIX)?;
        let digits = hash.strip_suffix('=')?;
        let is_digit = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
        // The last of 43 digits has four bits of the hash; an encoder leaves the other two at zero.
        let ends = digits.ends_with(|c| "AEIMQUYcgkosw048".contains(c));
        let whole = digits.len() == 43 && digits.bytes().all(is_digit) && ends;
        whole.then(|| Pin(hash.to_owned()))
    }

    /// The hash in Base64.
    pub(crate) fn hash(&self) -> &str {
        &self.0
    }
}

/// `checkHost`
pub(super) fn add_host(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.tls.subject.hosts.push(given(value)?);
    let help = match value {
        // That a comment or quotation marks are part of it is told of every value.
        _ if value.contains(['#', ';', '"', '\'']) => return Ok(()),
        _ if value.contains([',', ' ', '\t']) => "write each name in a line of its own",
        _ if value.parse::<IpAddr>().is_ok() => "for an address there is `checkIP`",
        _ if value.contains([':', '/', '@']) => "a host's name alone: no scheme, port or path",
        _ => return Ok(()),
    };
    Err(Fault::warning(format!("no certificate has the name `{value}`")).help(help))
}

/// `checkIP`
pub(super) fn add_ip(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let address = value.parse().map_err(|_| {
        let fault = Fault::new(format!("`{value}` is not an IP address"));
        fault.help("as 192.0.2.25 or 2001:db8::25; for a name there is `checkHost`")
    })?;
    draft.service.tls.subject.addresses.push(address);
    Ok(())
}

/// `checkEmail`
pub(super) fn add_email(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.tls.subject.emails.push(given(value)?);
    Ok(())
}

/// `checkURI`
pub(super) fn add_uri(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let uri = given(value)?;
    if !is_uri(&uri) {
        let fault = Fault::new(format!("`{value}` is not a URI"));
        return Err(fault.help("as spiffe://example.org/mail; for a name there is `checkHost`"));
    }
    if uri.contains('*') {
        let fault = Fault::new("`checkURI` has no wildcards: the whole URI is compared");
        return Err(fault.help("give a line for each URI"));
    }
    draft.service.tls.subject.uris.push(uri);
    Ok(())
}

/// A scheme, a colon, and something of what RFC 3986 allows behind it.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && (scheme.bytes()).all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.'))
        && !rest.is_empty()
        && rest.bytes().all(|c| c.is_ascii_graphic())
}

/// `checkOU`
pub(super) fn add_unit(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.tls.subject.units.push(given(value)?);
    Ok(())
}

/// `checkCN`
pub(super) fn add_common_name(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.tls.subject.common_names.push(given(value)?);
    Ok(())
}

/// `checkPin`; several in one line are parted by `;`, as curl takes them.
pub(super) fn add_pin(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    for one in parts(&given(value)?, &[';'])? {
        let pin = Pin::parse(one).ok_or_else(|| {
            let fault = Fault::new(format!("`{one}` is not the hash of a public key"));
            fault.help(
                "as `sha256//` and 44 characters of Base64: `openssl x509 -in CERT -pubkey -noout | \
                 openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64`",
            )
        })?;
        draft.service.tls.subject.pins.push(pin);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_no_certificate_can_have_is_warned_of() {
        for (value, help) in [
            ("mail.example.com", None),
            ("*.example.com.", None),
            ("a.example, b.example", Some("line of its own")),
            ("a.example b.example", Some("line of its own")),
            ("mail.example.com:465", Some("no scheme, port or path")),
            ("https://mail.example.com/", Some("no scheme, port or path")),
            ("2001:db8::1", Some("checkIP")),
        ] {
            let fault = add_host(&mut Draft::blank(), value).err();
            let said = fault.and_then(|fault| fault.help).unwrap_or_default();
            assert!(
                said.contains(help.unwrap_or("")) && said.is_empty() == help.is_none(),
                "{value}"
            );
        }
    }

    #[test]
    fn uris_are_told_from_names() {
        for (text, expected) in [
            ("spiffe://example.org/mail", true),
            ("urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", true),
            ("https://example.org/?a=b", true),
            ("example.org", false),
            ("//example.org", false),
            ("1a:b", false),
            ("a b:c", false),
            ("spiffe:", false),
            ("spiffe://example.org/a b", false),
            ("spiffe://example.org/\u{e9}", false),
            ("", false),
        ] {
            assert_eq!(is_uri(text), expected, "{text}");
        }
    }

    #[test]
    fn pins_are_hashes_of_32_bytes() {
        for (text, expected) in [
            ("sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", true),
            (
                "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=",
                false,
            ),
            ("sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", false),
            (
                "sha256//47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
                false,
            ),
            (
                "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUU=",
                false,
            ),
            ("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", false),
            ("sha1//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", false),
            ("sha256//", false),
            ("", false),
        ] {
            assert_eq!(Pin::parse(text).is_some(), expected, "{text}");
        }
    }
}
