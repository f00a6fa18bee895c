//! Names in certificates: a subject as stunnel prints it, and the checks of checkHost and its like; those of
//! stunnel follow OpenSSL's X509_check_host(3).

use std::fmt::Write as _;
use std::net::IpAddr;

use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};
use x509_parser::x509::AttributeTypeAndValue;

use super::der;

/// X509_NAME_print_ex with XN_FLAG_ONELINE, no blanks around `=`, and no escaping of UTF-8:
/// `C=PL, O="Foo, Inc.", CN=bar`. (X509_NAME2text in stunnel's verify.c.)
pub(super) fn distinguished(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    for (index, rdn) in name.iter_rdn().enumerate() {
        for (place, attribute) in rdn.iter().enumerate() {
            text.push_str(match (index, place) {
                (0, 0) => "",
                (_, 0) => ", ",
                _ => " + ",
            });
            push_attribute(&mut text, attribute);
        }
    }
    text
}

/// A name without the SEQUENCE around it, for the log.
pub(super) fn of_content(name: &[u8]) -> String {
    let name = der::element(der::SEQUENCE, name);
    X509Name::from_der(&name).map_or_else(|_| UNREADABLE.into(), |(_, name)| distinguished(&name))
}

const UNREADABLE: &str = "(unreadable name)";

/// The subject of a certificate, for the log.
pub(super) fn subject_of(der: &[u8]) -> String {
    X509Certificate::from_der(der).map_or_else(
        |_| UNREADABLE.into(),
        |(_, certificate)| distinguished(certificate.subject()),
    )
}

/// The common name in a certificate's subject; the last, if it has several.
pub(super) fn common_name(der: &[u8]) -> Option<String> {
    last_common_name(&X509Certificate::from_der(der).ok()?.1)
}

/// The same of a certificate that is parsed.
pub(super) fn last_common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate
        .subject()
        .iter_common_name()
        .last()
        .and_then(value)
}

/// Subject and issuer of a certificate.
pub(super) fn subject_and_issuer(der: &[u8]) -> Option<(String, String)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let [subject, issuer] = [certificate.subject(), certificate.issuer()].map(distinguished);
    Some((subject, issuer))
}

fn push_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type().to_id_string();
    text.push_str(short_name(&oid).unwrap_or(&oid));
    text.push('=');
    match value(attribute) {
        Some(value) => push_value(text, &value),
        None => {
            let any = attribute.attr_value();
            let constructed = if any.header.is_constructed() { 0x20 } else { 0 };
            let tag = (any.class() as u8) << 6 | constructed | any.tag().0 as u8;
            text.push('#');
            for byte in der::element(tag, any.data) {
                let _ = write!(text, "{byte:02X}");
            }
        }
    }
}

/// OpenSSL's short names.
fn short_name(oid: &str) -> Option<&'static str> {
    static NAMES: &str = include_str!("openssl_attributes.txt");
    // What most names have.
    let common = match oid {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => {
            let mut lines = NAMES.lines().filter_map(|line| line.split_once(' '));
            return lines.find(|(known, _)| *known == oid).map(|(_, name)| name);
        }
    };
    Some(common)
}

/// The text of a string type; `None` for anything else.
fn value(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let any = attribute.attr_value();
    let data = any.data;
    match any.tag() {
        Tag::Utf8String => Some(String::from_utf8_lossy(data).into_owned()),
        // Latin-1, whatever they should be.
        Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::TeletexString
        | Tag::VisibleString
        | Tag::UtcTime
        | Tag::GeneralizedTime => Some(data.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let (pairs, _) = data.as_chunks();
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            Some(String::from_utf16_lossy(&units))
        }
        Tag::UniversalString => {
            let (characters, _) = data.as_chunks();
            let characters = characters.iter().map(|one| u32::from_be_bytes(*one));
            let known = |one| char::from_u32(one).unwrap_or(char::REPLACEMENT_CHARACTER);
            Some(characters.map(known).collect())
        }
        _ => None,
    }
}

/// RFC 2253's special characters put the value in quotes (ASN1_STRFLGS_ESC_QUOTE); a quote or a
/// backslash, and control characters, are escaped, so that no name can forge a log line. OpenSSL leaves
/// the second set of control characters (U+0080 to U+009F), by which some terminals are commanded.
fn push_value(text: &mut String, value: &str) {
    let quoted = value.starts_with(['#', ' '])
        || value.ends_with(' ')
        || value.contains([',', '+', '<', '>', ';']);
    if quoted {
        text.push('"');
    }
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            _ if character.is_control() => {
                let mut utf8 = [0; 4];
                for byte in character.encode_utf8(&mut utf8).bytes() {
                    let _ = write!(text, "\\{byte:02X}");
                }
            }
            _ => text.push(character),
        }
    }
    if quoted {
        text.push('"');
    }
}

/// The alternative names of a certificate; none if they cannot be parsed.
fn alternatives<'a>(certificate: &'a X509Certificate<'_>) -> &'a [GeneralName<'a>] {
    certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map_or(&[], |extension| &extension.value.general_names)
}

/// The name in the certificate that matches `host`: one of its DNS alternative names or, if it has
/// none, its common name. `.example.com` matches every name below it.
pub(super) fn matching_host(certificate: &X509Certificate<'_>, host: &str) -> Option<String> {
    let mut names = alternatives(certificate)
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        })
        .peekable();
    if names.peek().is_some() {
        return names
            .find(|name| host_matches(name, host))
            .map(str::to_owned);
    }
    certificate
        .subject()
        .iter_common_name()
        .filter_map(value)
        .find(|name| host_matches(name, host))
}

/// One wildcard, in the leftmost label, with optional text around it, as in OpenSSL; never for a whole
/// top-level domain, nor inside an IDNA label. A final dot is compared like any character, and no
/// wildcard pattern has one.
fn host_matches(pattern: &str, host: &str) -> bool {
    if pattern.is_empty() || pattern.contains('\0') {
        return false;
    }
    if host.starts_with('.') {
        return pattern
            .len()
            .checked_sub(host.len())
            .and_then(|at| pattern.get(at..).filter(|_| at > 0))
            .is_some_and(|end| end.eq_ignore_ascii_case(host));
    }
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some((label, parent)), Some((host_label, host_parent))) =
        (pattern.split_once('.'), host.split_once('.'))
    else {
        return false;
    };
    let Some((before, after)) = label.split_once('*') else {
        return false;
    };
    let idna = |label: &str| {
        label
            .get(..4)
            .is_some_and(|head| head.eq_ignore_ascii_case("xn--"))
    };
    let partial = !before.is_empty() || !after.is_empty();
    if after.contains('*')
        || !parent.contains('.')
        || parent.ends_with('.')
        || idna(label)
        || (partial && idna(host_label))
    {
        return false;
    }
    let long_enough = host_label.len() > before.len() + after.len();
    let head = host_label.get(..before.len());
    let tail = host_label
        .len()
        .checked_sub(after.len())
        .and_then(|at| host_label.get(at..));
    long_enough
        && parent.eq_ignore_ascii_case(host_parent)
        && head.is_some_and(|head| head.eq_ignore_ascii_case(before))
        && tail.is_some_and(|tail| tail.eq_ignore_ascii_case(after))
}

/// Whether `address` is among the certificate's alternative names.
pub(super) fn has_ip(certificate: &X509Certificate<'_>, address: IpAddr) -> bool {
    alternatives(certificate)
        .iter()
        .any(|name| match (name, address) {
            (GeneralName::IPAddress(bytes), IpAddr::V4(address)) => *bytes == address.octets(),
            (GeneralName::IPAddress(bytes), IpAddr::V6(address)) => *bytes == address.octets(),
            _ => false,
        })
}

/// Whether `email` is among the certificate's alternative names or, if these have no mail address, in
/// its subject. The local part is case-sensitive (RFC 5280, section 7.5).
pub(super) fn has_email(certificate: &X509Certificate<'_>, email: &str) -> bool {
    let mut names = alternatives(certificate)
        .iter()
        .filter_map(|name| match name {
            GeneralName::RFC822Name(name) => Some(*name),
            _ => None,
        })
        .peekable();
    if names.peek().is_some() {
        return names.any(|name| email_matches(name, email));
    }
    certificate
        .subject()
        .iter_email()
        .filter_map(value)
        .any(|name| email_matches(&name, email))
}

/// Whether `uri` is among the certificate's alternative names, byte by byte: nothing in it is folded or decoded. A
/// certificate with several URIs has no SPIFFE ID (X509-SVID, section 2).
pub(super) fn has_uri(certificate: &X509Certificate<'_>, uri: &str) -> bool {
    let names = alternatives(certificate);
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match uri.starts_with("spiffe://") {
        true => uris.next() == Some(uri) && uris.next().is_none(),
        false => uris.any(|one| one == uri),
    }
}

/// Whether `unit` is an organizational unit in the certificate's subject.
pub(super) fn has_unit(certificate: &X509Certificate<'_>, unit: &str) -> bool {
    let mut units = certificate.subject().iter_organizational_unit();
    units.any(|one| value(one).as_deref() == Some(unit))
}

fn email_matches(one: &str, two: &str) -> bool {
    match (one.rsplit_once('@'), two.rsplit_once('@')) {
        (Some((local, domain)), Some((other, other_domain))) => {
            local == other && domain.eq_ignore_ascii_case(other_domain)
        }
        _ => one.eq_ignore_ascii_case(two),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_as_x509_check_host_says() {
        for (pattern, host, expected) in [
            ("mail.example.com", "MAIL.example.com", true),
            ("mail.example.com", "mail.example.com.", false),
            ("MAIL.Example.com", "mail.example.com.", false),
            ("mail.example.com.", "mail.example.com", false),
            ("example.com.", "example.com.", true),
            ("*.example.com", "mail.example.com.", false),
            ("*.example.com.", "mail.example.com.", false),
            ("m*.example.com.", "mail.example.com.", false),
            ("*.com.", "example.com.", false),
            ("mail.example.com", ".example.com.", false),
            ("mail.example.com.", ".example.com.", true),
            ("mail.example.com", "mail.example.org", false),
            ("*.example.com", "mail.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.mail.example.com", false),
            ("*.com", "example.com", false),
            ("*", "example", false),
            ("m*l.example.com", "mail.example.com", true),
            ("m*.example.com", "mail.example.com", true),
            ("m*.example.com", "m.example.com", false),
            ("*l.example.com", "imap.example.com", false),
            ("*a*.example.com", "mail.example.com", false),
            ("mail.*.com", "mail.example.com", false),
            ("x*.example.com", "xn--mail.example.com", false),
            ("mail.example.com", ".example.com", true),
            ("example.com", ".example.com", false),
            ("badexample.com", ".example.com", false),
            ("", "mail.example.com", false),
            ("mail.example.com\0.evil.org", "mail.example.com", false),
        ] {
            assert_eq!(host_matches(pattern, host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn mail_addresses_match_by_the_case_of_the_local_part() {
        assert!(email_matches("Joe@Example.com", "Joe@example.com"));
        assert!(!email_matches("joe@example.com", "Joe@example.com"));
    }

    #[test]
    fn values_with_special_characters_are_quoted_and_control_characters_escaped() {
        for (value, expected) in [
            ("plain", "plain"),
            ("Foo, Inc.", "\"Foo, Inc.\""),
            ("Zażółć", "Zażółć"),
            ("a\nLOG3[1]: forged", "a\\0ALOG3[1]: forged"),
            ("a\"b\\c", "a\\\"b\\\\c"),
        ] {
            let mut text = String::new();
            push_value(&mut text, value);
            assert_eq!(text, expected);
        }
    }
}
