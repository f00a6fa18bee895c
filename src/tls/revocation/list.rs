//! One revocation list (RFC 5280, section 5), of either version, taken apart once so that a handshake
//! looks up a number and no more. Never in here: a signature that is taken for good without its key.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use rustls::crypto::WebPkiSupportedAlgorithms;
use x509_parser::asn1_rs::Oid;
use x509_parser::extensions::AuthorityKeyIdentifier;
use x509_parser::objects::{oid_registry, oid2sn};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::points::Scope;
use crate::tls::der::{self, Element, OBJECT_IDENTIFIER, SEQUENCE};
use crate::tls::self_signed;
use crate::tls::{canonical, signatures};

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, the list's extensions
const EXTENSIONS: u8 = 0xa0;

/// 2.5.29, and which of it
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
const DELTA_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
const ISSUING_POINT: &[u8] = &[0x55, 0x1d, 28];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 35];

/// removeFromCRL (section 5.3.1): the certificate is good again.
const REMOVED: u8 = 8;

/// A list.
#[derive(Debug)]
pub(crate) struct List {
    der: Vec<u8>,
    /// Where in `der` the part is that its signature covers.
    signed: Range<usize>,
    /// An AlgorithmIdentifier's content.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    /// Without the SEQUENCE around it, as it is written.
    name: Vec<u8>,
    /// In canonical form.
    pub(super) issuer: Vec<u8>,
    /// In seconds since 1970, and so is `next`.
    pub(super) this: i64,
    next: Option<i64>,
    authority: Option<Vec<u8>>,
    pub(super) scope: Option<Scope>,
    /// It lists changes to another list.
    delta: bool,
    /// It has a critical extension that is not understood, or one of its entries has.
    pub(super) critical: bool,
    /// Serial numbers, and whether they are revoked still.
    entries: HashMap<Box<[u8]>, bool>,
    /// The key (a subjectPublicKeyInfo) that its signature was found to be by: one signature is checked
    /// once, since that takes the longer the more is in the list.
    signer: OnceLock<Vec<u8>>,
}

/// How a list stands to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    NotYet,
    InForce,
    Over,
}

impl List {
    /// Takes a list apart; `None`: it is damaged.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (list, _) = der::first(der)?;
        let parts = (list.tag == SEQUENCE).then(|| der::all(list.content))??;
        let [signed, algorithm, signature] = <[_; 3]>::try_from(parts).ok()?;
        // The signature starts with the number of unused bits.
        let (0, signature_value) = signature.content.split_first()? else {
            return None;
        };
        if signed.tag != SEQUENCE || algorithm.tag != SEQUENCE || signature.tag != BIT_STRING {
            return None;
        }
        let body = Body::read(&signed, &algorithm)?;
        let head = list.whole.len() - list.content.len();
        let mut list = Self {
            der: list.whole.to_vec(),
            signed: head..head + signed.whole.len(),
            algorithm: algorithm.content.to_vec(),
            signature: signature_value.to_vec(),
            name: body.issuer.content.to_vec(),
            issuer: canonical::name(body.issuer.whole)?,
            this: time(&body.this)?,
            next: match &body.next {
                Some(next) => Some(time(next)?),
                None => None,
            },
            authority: None,
            scope: None,
            delta: false,
            critical: false,
            entries: HashMap::new(),
            signer: OnceLock::new(),
        };
        list.add_entries(body.entries)?;
        list.add_extensions(body.extensions)?;
        Some(list)
    }

    /// The whole of it.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// The issuer's name as it is written, without the SEQUENCE around it.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The number in the names of a folder's files.
    pub(crate) fn hash(&self) -> u32 {
        canonical::hash(&self.issuer)
    }

    /// How it stands to a moment, in seconds since 1970.
    pub(super) fn age(&self, now: i64) -> Age {
        match self.next {
            _ if self.this > now => Age::NotYet,
            Some(next) if next <= now => Age::Over,
            _ => Age::InForce,
        }
    }

    /// Whether it says nothing by itself, as stunnel uses lists: it is about changes, about other authorities'
    /// certificates, or about some reasons alone.
    pub(super) fn is_part(&self) -> bool {
        self.delta || self.scope.as_ref().is_some_and(|scope| scope.partial)
    }

    /// Whether nothing in it points to another key of its issuer than this certificate's.
    pub(super) fn may_be_of(&self, issuer: &X509Certificate<'_>) -> bool {
        self.authority.as_ref().is_none_or(|value| {
            let authority = AuthorityKeyIdentifier::from_der(value);
            authority.is_ok_and(|(_, authority)| self_signed::is_of(&authority, issuer))
        })
    }

    /// Whether it is signed by the key of this certificate.
    pub(super) fn is_signed_by(
        &self,
        issuer: &X509Certificate<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        let key = issuer.public_key().raw;
        if self.signer.get().is_some_and(|signer| signer == key) {
            return true;
        }
        let signed = self.der.get(self.signed.clone()).unwrap_or_default();
        let good = signatures::is_by(
            issuer.public_key(),
            signed,
            (&self.algorithm, &self.signature),
            algorithms,
        );
        if good {
            let _ = self.signer.set(key.to_vec());
        }
        good
    }

    /// Whether its signature can be checked by the key of this certificate.
    pub(super) fn can_be_checked(
        &self,
        issuer: &X509Certificate<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        signatures::can_tell(issuer, &self.algorithm, algorithms)
    }

    /// What it is signed with, for messages.
    pub(super) fn algorithm(&self) -> String {
        let id = der::first(&self.algorithm).map_or(&[][..], |(id, _)| id.content);
        let id = Oid::new(Cow::Borrowed(id));
        let name = oid2sn(&id, oid_registry());
        name.map_or_else(|_| id.to_id_string(), str::to_owned)
    }

    /// Whether a key was found that signed it.
    #[cfg(test)]
    pub(super) fn is_checked(&self) -> bool {
        self.signer.get().is_some()
    }

    /// Whether a serial number is revoked.
    pub(super) fn revokes(&self, serial: &[u8]) -> bool {
        self.entries.get(shortest(serial)) == Some(&true)
    }

    fn add_entries(&mut self, entries: &[u8]) -> Option<()> {
        let entries = der::all(entries)?;
        self.entries.reserve(entries.len());
        for entry in entries {
            let parts = (entry.tag == SEQUENCE).then(|| der::all(entry.content))??;
            let (serial, date, extensions) = match &parts[..] {
                [serial, date] => (serial, date, &[][..]),
                [serial, date, extensions] if extensions.tag == SEQUENCE => {
                    (serial, date, extensions.content)
                }
                _ => return None,
            };
            if serial.tag != INTEGER || !is_time(date) {
                return None;
            }
            let mut revoked = true;
            for extension in extensions_of(extensions)? {
                if extension.id == REASON_CODE {
                    revoked = der::only(extension.value, ENUMERATED)? != [REMOVED];
                }
                // The issuer of an entry matters in a list of several issuers, which is not used; here
                // the entry counts, whatever it says.
                self.critical |= extension.critical && extension.id != CERTIFICATE_ISSUER;
            }
            let serial = Box::from(shortest(serial.content));
            *self.entries.entry(serial).or_insert(false) |= revoked;
        }
        Some(())
    }

    fn add_extensions(&mut self, extensions: &[u8]) -> Option<()> {
        let mut numbered = false;
        for extension in extensions_of(extensions)? {
            match extension.id {
                ISSUING_POINT => {
                    self.scope = Some(Scope::read(extension.value, &self.issuer)?);
                }
                AUTHORITY_KEY => {
                    AuthorityKeyIdentifier::from_der(extension.value).ok()?;
                    self.authority = Some(extension.value.to_vec());
                }
                DELTA_INDICATOR => self.delta = true,
                CRL_NUMBER => {
                    numbered = true;
                    self.critical |= extension.critical;
                }
                _ => self.critical |= extension.critical,
            }
        }
        // A list of changes without a number belongs to nothing.
        (!self.delta || numbered).then_some(())
    }
}

/// The fields of the signed part.
struct Body<'a> {
    issuer: Element<'a>,
    this: Element<'a>,
    next: Option<Element<'a>>,
    entries: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Body<'a> {
    fn read(signed: &Element<'a>, algorithm: &Element<'a>) -> Option<Self> {
        let fields = der::all(signed.content)?;
        let fields = match fields.split_first()? {
            // The version; without one it is the first.
            (version, fields) if version.tag == INTEGER => fields,
            _ => &fields[..],
        };
        let [inner, issuer, this, rest @ ..] = fields else {
            return None;
        };
        // Section 5.1.1.2
        if inner.whole != algorithm.whole || !is_time(this) {
            return None;
        }
        let (next, rest) = match rest {
            [next, rest @ ..] if is_time(next) => (Some(*next), rest),
            _ => (None, rest),
        };
        let (entries, rest) = match rest {
            [entries, rest @ ..] if entries.tag == SEQUENCE => (entries.content, rest),
            _ => (&[][..], rest),
        };
        let extensions = match rest {
            [] => &[][..],
            [extensions] if extensions.tag == EXTENSIONS => {
                der::only(extensions.content, SEQUENCE)?
            }
            _ => return None,
        };
        Some(Self {
            issuer: *issuer,
            this: *this,
            next,
            entries,
            extensions,
        })
    }
}

struct Extension<'a> {
    id: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

fn extensions_of(extensions: &[u8]) -> Option<Vec<Extension<'_>>> {
    let extensions = der::all(extensions)?;
    extensions.iter().map(extension).collect()
}

fn extension<'a>(extension: &Element<'a>) -> Option<Extension<'a>> {
    let parts = (extension.tag == SEQUENCE).then(|| der::all(extension.content))??;
    let (id, critical, value) = match &parts[..] {
        [id, value] => (id, false, value),
        [id, critical, value] if critical.tag == BOOLEAN => (id, critical.content != [0], value),
        _ => return None,
    };
    (id.tag == OBJECT_IDENTIFIER && value.tag == OCTET_STRING).then_some(Extension {
        id: id.content,
        critical,
        value: value.content,
    })
}

fn is_time(element: &Element<'_>) -> bool {
    matches!(element.tag, UTC_TIME | GENERALIZED_TIME)
}

/// In seconds since 1970.
fn time(element: &Element<'_>) -> Option<i64> {
    let (_, time) = ASN1Time::from_der(element.whole).ok()?;
    Some(time.timestamp())
}

/// A number without the bytes that say nothing, so that it is found however it is written.
fn shortest(mut number: &[u8]) -> &[u8] {
    while let [0 | 0xff, next, ..] = number
        && (number[0] ^ next) & 0x80 == 0
    {
        number = &number[1..];
    }
    number
}
