//! Revocation lists, judged as OpenSSL judges them with X509_V_FLAG_CRL_CHECK, which is what stunnel asks
//! for: a leaf must be in some list's reach; an authority above it need not be, but falls by a list that
//! is at hand. Never in here: a file, or a list from the network.
//!
//! * `list`: one list, taken apart;
//! * `points`: what a list is about;
//! * `load`: from the options to the lists.

mod list;
mod load;
mod points;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use rustls::crypto::WebPkiSupportedAlgorithms;
use x509_parser::prelude::X509Certificate;

use super::canonical;
use super::rejection::Rejection;
use list::Age;
pub(crate) use list::List;
pub(crate) use load::SharedLists;
use points::Point;

/// 2.5.29.31
const DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];

/// All lists of an end, by the canonical form of their issuers.
#[derive(Debug)]
pub(super) struct Lists {
    by_issuer: HashMap<Vec<u8>, Vec<List>>,
    algorithms: WebPkiSupportedAlgorithms,
    /// A hash over all of them, in the order of the files.
    digest: Vec<u8>,
}

/// A list that is about a certificate, as far as can be told without its content.
struct Found<'l, 'c> {
    list: &'l List,
    /// The certificate whose key must have signed it.
    signer: &'c X509Certificate<'c>,
    fit: Fit,
    /// The certificate sends there for some of the reasons alone.
    some_reasons: bool,
}

/// How well a list fits, the most important first: the order of OpenSSL's CRL_SCORE_*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    understood: bool,
    in_scope: bool,
    in_force: bool,
    /// Its signer is the certificate's issuer itself, not another of that name further up.
    by_issuer: bool,
}

impl Lists {
    /// A hash over all of them.
    pub(super) fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// Judges a leaf; `above` are the certificates of its path, its issuer's first; `now` is in seconds since
    /// 1970.
    ///
    /// # Errors
    /// It is revoked, or no list says that it is not.
    pub(super) fn judge(
        &self,
        leaf: &X509Certificate<'_>,
        above: &[X509Certificate<'_>],
        now: i64,
    ) -> Result<(), Rejection> {
        let found = self.best(leaf, above, now, |_, _| true);
        let found = found.ok_or(Rejection::NoList)?;
        let list = found.list;
        if !signs_lists(found.signer) {
            return Err(Rejection::ListSigner);
        }
        if !found.fit.in_scope {
            return Err(Rejection::ListScope);
        }
        match list.age(now) {
            Age::InForce => {}
            Age::NotYet => return Err(Rejection::ListNotYetValid),
            Age::Over => return Err(Rejection::ListExpired),
        }
        if !list.is_signed_by(found.signer, &self.algorithms) {
            return Err(Rejection::ListSignature);
        }
        if list.critical {
            return Err(Rejection::ListExtension);
        }
        if list.revokes(leaf.raw_serial()) {
            return Err(Rejection::Revoked);
        }
        match found.some_reasons {
            true => Err(Rejection::NoList),
            false => Ok(()),
        }
    }

    /// The depth of an authority on a path that a list revokes, whether or not the list is over; `above` as
    /// for `judge`.
    pub(super) fn revoked_authority(
        &self,
        above: &[X509Certificate<'_>],
        now: i64,
    ) -> Option<usize> {
        let is_revoked = |(nth, authority): &(usize, &X509Certificate<'_>)| {
            let issuers = above.get(nth + 1..).unwrap_or_default();
            let serial = authority.raw_serial();
            // Another authority of that name may have a newer list, which says nothing here.
            let counts = |list: &List, signer: &X509Certificate<'_>| {
                signs_lists(signer) && list.is_signed_by(signer, &self.algorithms)
            };
            // First, since to check a signature that is another's takes long for a large list, each time.
            let named = self.best(authority, issuers, now, |list, _| list.revokes(serial));
            let found = named.and_then(|_| self.best(authority, issuers, now, counts));
            found.is_some_and(|found| found.fit.in_scope && found.list.revokes(serial))
        };
        let (nth, _) = above.iter().enumerate().find(is_revoked)?;
        Some(nth + 1)
    }

    /// The list that fits a certificate best, of those that count, by themselves and their signer; of equal
    /// ones the newest.
    fn best<'c>(
        &self,
        certificate: &X509Certificate<'_>,
        above: &'c [X509Certificate<'c>],
        now: i64,
        counts: impl Fn(&List, &X509Certificate<'_>) -> bool,
    ) -> Option<Found<'_, 'c>> {
        let issuer = canonical::name(certificate.issuer().as_raw())?;
        let lists = self.by_issuer.get(&issuer)?;
        let mut extensions = certificate.iter_extensions();
        let points = extensions.find(|one| one.oid.as_bytes() == DISTRIBUTION_POINTS);
        // What cannot be read sends to no list.
        let points = points.map(|one| Point::read_all(one.value, &issuer));
        let points = match &points {
            None => Some(&[][..]),
            Some(points) => points.as_deref(),
        };
        let mut best: Option<Found<'_, 'c>> = None;
        for list in lists {
            if list.is_part() {
                continue;
            }
            let Some((nth, signer)) = signer(list, above) else {
                continue;
            };
            if !counts(list, signer) {
                continue;
            }
            let reach = points.and_then(|points| reach(list, certificate.is_ca(), points));
            let fit = Fit {
                understood: !list.critical,
                in_scope: reach.is_some(),
                in_force: list.age(now) == Age::InForce,
                by_issuer: nth == 0,
            };
            let rank = |found: &Found<'_, '_>| (found.fit, found.list.this);
            if best
                .as_ref()
                .is_none_or(|best| rank(best) < (fit, list.this))
            {
                best = Some(Found {
                    list,
                    signer,
                    fit,
                    some_reasons: reach == Some(Reach::SomeReasons),
                });
            }
        }
        best
    }
}

/// The certificate of a path that has a list's key, and its place; OpenSSL's crl_akid_check.
fn signer<'c>(
    list: &List,
    above: &'c [X509Certificate<'c>],
) -> Option<(usize, &'c X509Certificate<'c>)> {
    let mut candidates = above.iter().enumerate();
    candidates.find(|(nth, one)| {
        let is_named = |one: &X509Certificate<'_>| {
            canonical::name(one.subject().as_raw()).as_ref() == Some(&list.issuer)
        };
        // The first has issued the certificate, whose issuer is the list's.
        (*nth == 0 || is_named(one)) && list.may_be_of(one)
    })
}

/// How far a list is about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    All,
    SomeReasons,
}

/// Whether a list is about a certificate with these distribution points; OpenSSL's crl_crldp_check.
fn reach(list: &List, authority: bool, points: &[Point]) -> Option<Reach> {
    let scope = list.scope.as_ref();
    if scope.is_some_and(|scope| !scope.has_kind(authority)) {
        return None;
    }
    let is_it = |point: &&Point| {
        point.has_issuer(&list.issuer) && scope.is_none_or(|scope| scope.is_at(point))
    };
    match points.iter().find(is_it) {
        Some(point) if !point.all_reasons => Some(Reach::SomeReasons),
        Some(_) => Some(Reach::All),
        None if scope.is_none_or(points::Scope::is_whole) => Some(Reach::All),
        None => None,
    }
}

/// Whether a keyUsage, if present, has cRLSign (RFC 5280, section 4.2.1.3).
fn signs_lists(authority: &X509Certificate<'_>) -> bool {
    match authority.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.crl_sign()),
        Err(_) => false,
    }
}
