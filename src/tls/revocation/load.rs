//! From the options to the lists of an end, and what there is to say about them at the start. Runs while
//! still root; never in here: a peer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::WebPkiSupportedAlgorithms;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::list::Age;
use super::{List, Lists};
use crate::config::TlsOptions;
use crate::log::Log;
use crate::tls::trust::Trust;
use crate::tls::{Problem, key_kinds, keys, names, tickets};

/// The lists of one load of a configuration: services that name the same files have one copy of them. Never
/// kept for the next load, which is made since files have changed.
#[derive(Debug, Default)]
pub(crate) struct SharedLists {
    read: Vec<Read>,
}

/// What came of an end's options.
#[derive(Debug)]
struct Read {
    /// CRLfile, CRLpath, CAfile and CApath.
    named: [Option<PathBuf>; 4],
    algorithms: WebPkiSupportedAlgorithms,
    lists: Option<Arc<Lists>>,
    loaded: Vec<PathBuf>,
    problems: Vec<Problem>,
}

impl SharedLists {
    /// What CRLfile and CRLpath name, to be checked by these algorithms; read if that was not done before. `None`:
    /// nothing, or what goes to `problems`. The jail is always the same.
    pub(in crate::tls) fn load(
        &mut self,
        options: &TlsOptions,
        jail: Option<&Path>,
        algorithms: WebPkiSupportedAlgorithms,
        log: &Log,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Lists>> {
        if options.crl_file.is_none() && options.crl_path.is_none() {
            return None;
        }
        let known = self.read.iter().position(|read| {
            read.named == named(options) && ptr::eq(read.algorithms.all, algorithms.all)
        });
        let nth = known.unwrap_or_else(|| {
            self.read.push(Read::new(options, jail, algorithms));
            self.read.len() - 1
        });
        let read = self.read.get(nth)?;
        for path in &read.loaded {
            crate::debug!(*log, "Loaded {} revocation lookup file", path.display());
        }
        problems.extend_from_slice(&read.problems);
        read.lists.clone()
    }
}

impl Read {
    fn new(
        options: &TlsOptions,
        jail: Option<&Path>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        let mut problems = Vec::new();
        let files = keys::revocation_lists(options, jail, &mut problems);
        let files = files.unwrap_or_else(|more| {
            problems.extend(more);
            None
        });
        let (lists, loaded) = files.map(|files| (files.lists, files.loaded)).unzip();
        Self {
            named: named(options),
            algorithms,
            lists: lists.map(|lists| Arc::new(Lists::new(lists, algorithms))),
            loaded: loaded.unwrap_or_default(),
            problems,
        }
    }
}

fn named(options: &TlsOptions) -> [Option<PathBuf>; 4] {
    let TlsOptions {
        crl_file,
        crl_path,
        ca_file,
        ca_path,
        ..
    } = options;
    [crl_file, crl_path, ca_file, ca_path].map(Clone::clone)
}

impl Lists {
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
            let forged = lists.iter().filter_map(|list| self.fault(list, trust));
            forged.chain(over(lists, now))
        });
        let remarks = remarks.map(|text| Problem::warning(option, text));
        remarks.collect()
    }

    /// Why it is not signed by a trusted authority; `None`: it is, or none has its issuer's name and key
    /// identifier.
    fn fault(&self, list: &List, trust: &Trust) -> Option<String> {
        let authorities = trust.of_canonical_name(&list.issuer);
        let authorities =
            authorities.filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1));
        let authorities: Vec<_> = authorities.filter(|one| list.may_be_of(one)).collect();
        let first = authorities.first()?;
        let is_by = |one: &X509Certificate<'_>| list.is_signed_by(one, &self.algorithms);
        if authorities.iter().any(is_by) {
            return None;
        }
        let issuer = names::of_content(list.name());
        let can_tell = |one: &X509Certificate<'_>| list.can_be_checked(one, &self.algorithms);
        Some(
            match (
                authorities.iter().any(can_tell),
                key_kinds::of_certificate(first),
            ) {
                (false, Some(key)) => format!(
                    "the revocation list of {issuer} cannot be checked, so no certificate of it is accepted: \
                 it is signed with {} by {key}; have its authority sign with SHA-256, by RSA of 2048 to 8192 \
                 bits or by ECDSA",
                    list.algorithm()
                ),
                _ => format!(
                    "the revocation list of {issuer} is damaged, or by another authority of that name: its \
                 signature is not by the key in CAfile or CApath"
                ),
            },
        )
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
