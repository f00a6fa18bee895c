//! What a peer's certificate is judged by: trusted certificates, and the signatures that are known. Never in
//! here: the judgement itself.

use std::path::Path;

use rustls::crypto::WebPkiSupportedAlgorithms;

use super::Wanted;
use crate::config::TlsOptions;
use crate::log::Log;
use crate::tls::backend::Backend;
use crate::tls::trust::{Authority, Ends, Trust};
use crate::tls::{Problem, keys, old_signatures};

/// What CAfile and CApath hold; for verifyServer without either, the system's roots.
pub(super) fn trusted(
    options: &TlsOptions,
    jail: Option<&Path>,
    problems: &mut Vec<Problem>,
) -> Vec<Authority> {
    let mut certificates = Vec::new();
    let files = options.ca_file.as_deref().map(keys::ca_file);
    let folders = options.ca_path.as_deref();
    let mut notes = Vec::new();
    let folders = folders.map(|path| keys::ca_path(jail, path, &mut notes));
    if verifies(options) {
        problems.append(&mut notes);
    }
    for loaded in [files, folders].into_iter().flatten() {
        match loaded {
            Ok(more) => certificates.extend(more),
            Err(problem) if verifies(options) => problems.push(problem),
            Err(problem) => problems.push(unused(&problem)),
        }
    }
    if options.verification.server && options.ca_file.is_none() && options.ca_path.is_none() {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let reason = found
                .errors
                .first()
                .map_or_else(|| "none is installed".into(), ToString::to_string);
            problems.push(Problem::error(
                "verifyServer",
                format!(
                    "the system has no trusted certificates ({reason}): \
                     install the package ca-certificates, or give CAfile"
                ),
            ));
        }
        certificates.extend(found.certs.into_iter().map(Authority::from));
    }
    certificates
}

pub(super) fn trust_option(options: &TlsOptions) -> &'static str {
    match (&options.ca_file, &options.ca_path) {
        (Some(_), _) => "CAfile",
        (None, Some(_)) => "CApath",
        (None, None) => "verifyServer",
    }
}

/// verifyChain is stunnel's, verifyServer a browser's.
pub(super) fn ends(options: &TlsOptions) -> Ends {
    match options.verification.server && !options.verification.chain {
        true => Ends::Authorities,
        false => Ends::Roots,
    }
}

/// Whether the peer's certificate is judged at all.
fn verifies(options: &TlsOptions) -> bool {
    let asked = options.verification;
    asked.chain || asked.peer || asked.server
}

/// Trusted certificates that cannot be had, and that nothing is judged by.
fn unused(problem: &Problem) -> Problem {
    let text = format!(
        "{}; nothing uses it, as this service verifies no certificate",
        problem.text
    );
    Problem::note(problem.option, text)
}

/// What signatures of revocation lists are checked by: the same as those of certificates.
pub(super) fn algorithms(wanted: &Wanted<'_>) -> WebPkiSupportedAlgorithms {
    let modern = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    match wanted.backend().backend {
        Backend::Rustls => modern,
        Backend::S2n => old_signatures::of_level(wanted.options.security_level, modern),
    }
}

pub(super) fn log_trusted(client: bool, trust: &Trust, log: &Log) {
    // The system's roots are many and known: not one line each.
    if !log.enabled(6) || trust.names().len() > 32 {
        return;
    }
    let whose = if client { "server" } else { "client" };
    for name in trust.names() {
        crate::info!(*log, "Configured trusted {whose} CA: {name}");
    }
}
