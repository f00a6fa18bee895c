//! The way up from a peer's certificate, by names alone, as far as certificates are at hand: it tells which one
//! of them a refusal is about. Never in here: trust.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::canonical;
use super::rejection::Rejection;
use super::revocation::Lists;
use super::self_signed::self_signed;
use super::trust::Trust;

/// More authorities than any path has.
const MAX_DEPTH: usize = 20;

/// The certificates on the way, the peer's own first.
pub(super) struct Climb<'c> {
    all: Vec<X509Certificate<'c>>,
    /// The last one is a trusted one.
    trusted: bool,
}

impl<'c> Climb<'c> {
    /// Goes by trusted certificates first, as OpenSSL does.
    pub(super) fn from(
        leaf: &X509Certificate<'c>,
        sent: &'c [CertificateDer<'_>],
        trust: &'c Trust,
    ) -> Self {
        let parsed = |der: &'c [u8]| Some(X509Certificate::from_der(der).ok()?.1);
        let sent = sent.iter().filter_map(|der| parsed(der));
        let named =
            |one: X509Certificate<'c>| Some((canonical::name(one.subject().as_raw())?, one));
        let mut sent: Vec<_> = sent.filter_map(named).collect();
        let mut climb = Self {
            all: vec![leaf.clone()],
            trusted: false,
        };
        while let Some(last) = climb.all.last()
            && climb.all.len() < MAX_DEPTH
            && !self_signed(last)
            && let Some(issuer) = canonical::name(last.issuer().as_raw())
        {
            let mut trusted = trust.of_canonical_name(&issuer).filter_map(parsed);
            if let Some(next) = trusted.next() {
                drop(trusted);
                climb.all.push(next);
                climb.trusted = true;
            } else if let Some(at) = sent.iter().position(|(name, _)| *name == issuer) {
                climb.all.push(sent.swap_remove(at).1);
                climb.trusted = false;
            } else {
                break;
            }
        }
        climb
    }

    /// Why no trusted authority is found at the end of it, in OpenSSL's words.
    pub(super) fn without_end(&self) -> Rejection {
        let (above, last) = (self.all.len() > 1, self.all.last());
        match (above, last.is_some_and(self_signed), self.trusted) {
            (false, true, _) => Rejection::SelfSigned,
            (true, true, false) => Rejection::SelfSignedAuthority,
            (true, true, true) => Rejection::InvalidAuthority,
            (true, false, true) => Rejection::NoIssuerOfTrusted,
            (_, _, _) => Rejection::UnknownIssuer,
        }
    }

    /// The depth of the one that this is about, and itself.
    pub(super) fn blamed(
        &self,
        rejection: &Rejection,
        lists: Option<&Lists>,
        now: i64,
    ) -> (usize, &X509Certificate<'c>) {
        let last = self.all.len() - 1;
        // OpenSSL looks at dates from the root down.
        let highest =
            |is_it: &dyn Fn(&X509Certificate<'_>) -> bool| self.all.iter().rposition(is_it);
        let depth = match rejection {
            Rejection::UnknownIssuer
            | Rejection::SelfSignedAuthority
            | Rejection::NoIssuerOfTrusted => Some(last),
            Rejection::Expired => highest(&|one| one.validity().not_after.timestamp() < now),
            Rejection::NotYetValid => highest(&|one| one.validity().not_before.timestamp() > now),
            Rejection::InvalidAuthority => {
                let mut above = self.all.iter().skip(1);
                above.position(|one| !one.is_ca()).map(|nth| nth + 1)
            }
            Rejection::AuthorityRevoked => {
                let above = self.all.get(1..).unwrap_or_default();
                lists.and_then(|lists| lists.revoked_authority(above, now))
            }
            _ => None,
        };
        let depth = depth.unwrap_or(0);
        (depth, self.all.get(depth).unwrap_or(&self.all[0]))
    }
}
