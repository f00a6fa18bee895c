//! From the options to the lists of an end, and what there is to say about them at the start. Runs while
//! still root; never in here: a peer.

use std::collections::HashMap;
use std::path::Path;

use aws_lc_rs::digest;
use rustls::crypto::WebPkiSupportedAlgorithms;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::list::Age;
use super::{List, Lists};
use crate::config::TlsOptions;
use crate::log::Log;
use crate::tls::trust::Trust;
use crate::tls::{Problem, keys, names, tickets};

impl Lists {
    /// Reads what CRLfile and CRLpath name. `None`: nothing, or what goes to `problems`.
    pub(in crate::tls) fn load(
        options: &TlsOptions,
        jail: Option<&Path>,
        log: &Log,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        match keys::revocation_lists(options, jail, problems) {
            Ok(files) => {
                let files = files?;
                for path in files.loaded {
                    crate::debug!(*log, "Loaded {} revocation lookup file", path.display());
                }
                let provider = rustls::crypto::aws_lc_rs::default_provider();
                let algorithms = provider.signature_verification_algorithms;
                Some(Lists::new(files.lists, algorithms))
            }
            Err(more) => {
                problems.extend(more);
                None
            }
        }
    }

    pub(in crate::tls) fn new(lists: Vec<List>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut by_issuer: HashMap<_, Vec<List>> = HashMap::new();
        for list in lists {
            hash.update(list.der());
            by_issuer.entry(list.issuer.clone()).or_default().push(list);
        }
        Self {
            by_issuer,
            algorithms,
            digest: hash.finish().as_ref().to_vec(),
        }
    }

    /// Checks the signatures that the trusted authorities made, so that no handshake has to, and tells the
    /// lists that refuse every peer.
    pub(in crate::tls) fn remarks(&self, options: &TlsOptions, trust: &Trust) -> Vec<Problem> {
        let option = match &options.crl_file {
            Some(_) => "CRLfile",
            None => "CRLpath",
        };
        let now = tickets::unix_time() as i64;
        let remarks = self.by_issuer.values().flat_map(|lists| {
            let forged = lists.iter().filter(|list| !self.is_of_its_issuer(list, trust));
            let forged = forged.map(|list| {
                format!(
                    "the revocation list of {} is damaged, or by another authority of that name: its signature \
                     is not by the key in CAfile or CApath",
                    names::of_content(list.name())
                )
            });
            forged.chain(over(lists, now))
        });
        let remarks = remarks.map(|text| Problem::warning(option, text));
        remarks.collect()
    }

    /// Whether it is signed by a trusted authority, unless none has its issuer's name and key identifier.
    fn is_of_its_issuer(&self, list: &List, trust: &Trust) -> bool {
        let authorities = trust.of_canonical_name(&list.issuer);
        let authorities =
            authorities.filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1));
        let mut authorities = authorities.filter(|one| list.may_be_of(one)).peekable();
        authorities.peek().is_none()
            || authorities.any(|one| list.is_signed_by(&one, &self.algorithms))
    }
}

/// What is wrong with the times of an issuer's lists, none of which is in force.
fn over(lists: &[List], now: i64) -> Option<String> {
    let newest = lists.iter().max_by_key(|list| list.this)?;
    if lists.iter().any(|list| list.age(now) == Age::InForce) {
        return None;
    }
    let what = match newest.age(now) {
        Age::NotYet => "is not yet valid: check the clock",
        Age::InForce | Age::Over => "has expired: get its new one",
    };
    let issuer = names::of_content(newest.name());
    let text = format!(
        "the revocation list of {issuer} {what}; until then no certificate of it is accepted"
    );
    Some(text)
}
