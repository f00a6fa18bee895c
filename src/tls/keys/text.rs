//! PEM as OpenSSL reads it: with a byte-order mark, under each of the three labels for certificates,
//! between text and other sections; and revocation lists.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error, PemObject};

use crate::tls::der;
use crate::tls::revocation::List;
use crate::tls::trust::Authority;

const MARK: &[u8] = b"\xef\xbb\xbf";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// The label of a section that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Certificate,
    /// Its older name.
    X509,
    /// Written by `openssl x509 -trustout`: the certificate, and what it is trusted for.
    Trusted,
    /// A revocation list.
    List,
}

impl Label {
    fn of(line: &[u8], before: &[u8]) -> Option<Self> {
        match line.trim_ascii_end().strip_prefix(before)? {
            b"CERTIFICATE-----" => Some(Label::Certificate),
            b"X509 CERTIFICATE-----" => Some(Label::X509),
            b"TRUSTED CERTIFICATE-----" => Some(Label::Trusted),
            b"X509 CRL-----" => Some(Label::List),
            _ => None,
        }
    }
}

/// The bytes after a byte-order mark.
pub(super) fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
}

/// Every certificate of a text, and every faulty section with such a label, in order.
pub(super) fn certificates(text: &[u8]) -> Vec<Result<Authority, Error>> {
    let sections = sections(text).into_iter();
    let certificates = sections.filter(|(label, _)| *label != Label::List);
    certificates
        .map(|(label, section)| certificate(&section, label == Label::Trusted))
        .collect()
}

/// Every revocation list of a text, in order; `None` for a damaged one.
pub(super) fn lists(text: &[u8]) -> Vec<Option<List>> {
    let sections = sections(text).into_iter();
    let lists = sections.filter(|(label, _)| *label == Label::List);
    lists
        .map(|(_, section)| List::read(&CertificateDer::from_pem_slice(&section).ok()?))
        .collect()
}

/// The sections of a text that have a label of ours, in the form that rustls reads as a certificate; one
/// that is not closed by its own label has no end.
fn sections(text: &[u8]) -> Vec<(Label, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open: Option<(Label, Vec<u8>)> = None;
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = unmarked(line);
        if line.starts_with(BEGIN) {
            found.extend(open.take());
            open = Label::of(line, BEGIN)
                .map(|label| (label, section(b"-----BEGIN CERTIFICATE-----")));
        } else if let Some((label, section)) = &mut open {
            match Label::of(line, END) {
                Some(end) if end == *label => {
                    section.extend_from_slice(b"-----END CERTIFICATE-----\n");
                    found.extend(open.take());
                }
                _ => {
                    section.extend_from_slice(line);
                    section.push(b'\n');
                }
            }
        }
    }
    found.extend(open);
    found
}

fn section(begin: &[u8]) -> Vec<u8> {
    [begin, b"\n"].concat()
}

/// Reads one section. After the certificate there are trust settings or, as in OpenSSL, nothing.
fn certificate(section: &[u8], has_settings: bool) -> Result<Authority, Error> {
    let bytes = CertificateDer::from_pem_slice(section)?;
    Ok(match der::first(&bytes) {
        Some((certificate, rest)) => Authority {
            der: certificate.whole.to_vec().into(),
            settings: has_settings.then(|| rest.to_vec()),
        },
        None => Authority {
            der: bytes,
            settings: None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "MAMCAQE=";

    fn pem(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn each_label_is_read_in_its_place_and_others_are_gone_past() {
        let text = [
            pem("X509 CERTIFICATE", BODY),
            "text\n".into(),
            pem("PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\n????"),
            pem("TRUSTED CERTIFICATE", "MAMCAQEwAA=="),
            pem("CERTIFICATE", BODY),
            pem("X509 CRL", BODY),
        ]
        .concat();
        for text in [
            text.clone(),
            text.replace('\n', "\r\n"),
            text.replace("-----\n", "-----  \n"),
            text.replace("-----BEGIN", "\u{feff}-----BEGIN"),
        ] {
            let found: Result<Vec<_>, _> = certificates(text.as_bytes()).into_iter().collect();
            let found = found.unwrap();
            assert!(
                found.iter().all(|one| *one.der == [0x30, 3, 2, 1, 1]),
                "{text}"
            );
            let settings: Vec<_> = found.into_iter().map(|one| one.settings).collect();
            assert_eq!(settings, [None, Some(vec![0x30, 0]), None], "{text}");
        }
    }

    #[test]
    fn what_is_damaged_is_told_and_what_is_behind_it_is_read() {
        for damaged in [
            pem("CERTIFICATE", "????"),
            format!("-----BEGIN CERTIFICATE-----\n{BODY}\n"),
            format!("-----BEGIN CERTIFICATE-----\n{BODY}\n-----END X509 CERTIFICATE-----\n"),
        ] {
            let text = damaged + &pem("CERTIFICATE", BODY);
            let found = certificates(text.as_bytes());
            assert_eq!(found.len(), 2, "{text}");
            assert!(found[0].is_err() && found[1].is_ok(), "{text}");
        }
        let text = format!("-----BEGIN CERTIFICATE-----\n{BODY}");
        assert!(matches!(&certificates(text.as_bytes())[..], [Err(_)]));
        assert!(certificates(format!(" {}", pem("CERTIFICATE", BODY)).as_bytes()).is_empty());
    }
}
