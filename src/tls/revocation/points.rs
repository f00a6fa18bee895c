//! Distribution points: the certificates that a list is about, and the lists that a certificate is to be
//! looked up in (RFC 5280, sections 5.2.5 and 4.2.1.13). Never in here: the fetching of a list.

use crate::tls::canonical;
use crate::tls::der::{self, Element, SEQUENCE, SET};

/// `[0]`, `[1]`, `[2]` with elements in them, and without
const INNER_0: u8 = 0xa0;
const INNER_1: u8 = 0xa1;
const INNER_2: u8 = 0xa2;
const PLAIN_1: u8 = 0x81;
const PLAIN_2: u8 = 0x82;
const PLAIN_3: u8 = 0x83;
const PLAIN_4: u8 = 0x84;
const PLAIN_5: u8 = 0x85;
/// A directoryName among general names.
const DIRECTORY_NAME: u8 = 0xa4;
/// Every reason that there is (section 4.2.1.13), in the first and the second byte.
const ALL_REASONS: [u8; 2] = [0x7f, 0x80];

/// A name of a distribution point, as names are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// In canonical form.
    Directory(Vec<u8>),
    /// As it is encoded.
    Other(Vec<u8>),
}

/// An issuingDistributionPoint: what a list is about.
#[derive(Debug, Default)]
pub(super) struct Scope {
    names: Option<Vec<Name>>,
    only_users: bool,
    only_authorities: bool,
    only_attributes: bool,
    /// It has certificates of other authorities, or is about some reasons alone.
    pub(super) partial: bool,
}

impl Scope {
    /// Reads the extension's value; `issuer` is the list's, in canonical form.
    pub(super) fn read(value: &[u8], issuer: &[u8]) -> Option<Self> {
        let mut scope = Scope::default();
        for part in der::all(der::only(value, SEQUENCE)?)? {
            match part.tag {
                INNER_0 => scope.names = Some(point_names(part.content, issuer)?),
                PLAIN_1 => scope.only_users = boolean(&part)?,
                PLAIN_2 => scope.only_authorities = boolean(&part)?,
                PLAIN_3 => scope.partial = true,
                PLAIN_4 => scope.partial |= boolean(&part)?,
                PLAIN_5 => scope.only_attributes = boolean(&part)?,
                _ => return None,
            }
        }
        let kinds = [
            scope.only_users,
            scope.only_authorities,
            scope.only_attributes,
        ];
        // A list is about one kind at most.
        (kinds.into_iter().filter(|only| *only).count() <= 1).then_some(scope)
    }

    /// Whether an authority's certificate, or another one, is among what it is about.
    pub(super) fn has_kind(&self, authority: bool) -> bool {
        let other = match authority {
            true => self.only_users,
            false => self.only_authorities,
        };
        !self.only_attributes && !other
    }

    /// Whether it is about all certificates of its kind.
    pub(super) fn is_whole(&self) -> bool {
        self.names.is_none()
    }

    /// Whether one of its names is one of the point's; what has no name has any.
    pub(super) fn is_at(&self, point: &Point) -> bool {
        match (&self.names, &point.names) {
            (Some(own), Some(theirs)) => own.iter().any(|name| theirs.contains(name)),
            _ => true,
        }
    }
}

/// One of a certificate's cRLDistributionPoints.
#[derive(Debug)]
pub(super) struct Point {
    names: Option<Vec<Name>>,
    /// Other issuers of its list.
    issuers: Option<Vec<Name>>,
    /// Its list is about every reason.
    pub(super) all_reasons: bool,
}

impl Point {
    /// Reads the extension's value; `issuer` is the certificate's, in canonical form.
    pub(super) fn read_all(value: &[u8], issuer: &[u8]) -> Option<Vec<Self>> {
        let points = der::all(der::only(value, SEQUENCE)?)?;
        points.iter().map(|one| Self::read(one, issuer)).collect()
    }

    fn read(point: &Element<'_>, issuer: &[u8]) -> Option<Self> {
        if point.tag != SEQUENCE {
            return None;
        }
        let parts = der::all(point.content)?;
        let part = |tag| parts.iter().find(|part| part.tag == tag);
        let known = |part: &Element<'_>| matches!(part.tag, INNER_0 | PLAIN_1 | INNER_2);
        if !parts.iter().all(known) {
            return None;
        }
        let issuers = match part(INNER_2) {
            Some(part) => Some(names(part.content)?),
            None => None,
        };
        let own = part(INNER_0);
        // A relative name is one below the list's issuer.
        let base = issuers.iter().flatten().find_map(|name| match name {
            Name::Directory(name) => Some(&name[..]),
            Name::Other(_) => None,
        });
        let base = base.unwrap_or(issuer);
        let own = match own {
            Some(own) => Some(point_names(own.content, base)?),
            None => None,
        };
        Some(Self {
            names: own,
            issuers,
            all_reasons: part(PLAIN_1).is_none_or(|part| has_all_reasons(part.content)),
        })
    }

    /// Whether its list is one of this issuer, which issued the certificate.
    pub(super) fn has_issuer(&self, issuer: &[u8]) -> bool {
        let is_it = |name: &Name| matches!(name, Name::Directory(name) if name == issuer);
        let mut issuers = self.issuers.iter().flatten();
        self.issuers.is_none() || issuers.any(is_it)
    }
}

/// A DistributionPointName: full names, or the last part of one.
fn point_names(content: &[u8], issuer: &[u8]) -> Option<Vec<Name>> {
    let (name, rest) = der::first(content)?;
    match name.tag {
        _ if !rest.is_empty() => None,
        INNER_0 => names(name.content),
        INNER_1 => {
            let last = der::element(SEQUENCE, &der::element(SET, name.content));
            let whole = [issuer, &canonical::name(&last)?].concat();
            Some(vec![Name::Directory(whole)])
        }
        _ => None,
    }
}

/// General names.
fn names(content: &[u8]) -> Option<Vec<Name>> {
    let names = der::all(content)?;
    let names = names.iter().map(|name| match name.tag {
        DIRECTORY_NAME => canonical::name(name.content).map(Name::Directory),
        _ => Some(Name::Other(name.whole.to_vec())),
    });
    names.collect()
}

fn boolean(element: &Element<'_>) -> Option<bool> {
    match element.content {
        [byte] => Some(*byte != 0),
        _ => None,
    }
}

fn has_all_reasons(bits: &[u8]) -> bool {
    // A BIT STRING starts with the number of unused bits.
    let bytes = bits.get(1..).unwrap_or_default();
    let has = |at: usize, all: u8| bytes.get(at).is_some_and(|byte| byte & all == all);
    has(0, ALL_REASONS[0]) && has(1, ALL_REASONS[1])
}
