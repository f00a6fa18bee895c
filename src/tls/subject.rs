//! What the peer's certificate must have in it: checkHost and its like, and checkPin, with stunnel's words. Never
//! in here: whether its chain is good, which is asked before.

use aws_lc_rs::digest;
use x509_parser::prelude::X509Certificate;

use super::names;
use super::notes::note;
use super::rejection::Rejection;
use crate::base64;
use crate::config::{Pin, SubjectChecks};

/// One match of checkHost, checkEmail, checkIP, checkURI, checkOU and checkCN is enough, as in stunnel for the first
/// three. A pin is asked for beside them: it would be of no use if a name were enough.
pub(super) fn check(
    checks: &SubjectChecks,
    verifies_server: bool,
    certificate: &X509Certificate<'_>,
) -> Result<(), Rejection> {
    check_names(checks, verifies_server, certificate)?;
    check_key(&checks.pins, certificate)
}

fn check_names(
    checks: &SubjectChecks,
    verifies_server: bool,
    certificate: &X509Certificate<'_>,
) -> Result<(), Rejection> {
    let SubjectChecks {
        hosts,
        addresses,
        emails,
        uris,
        units,
        common_names,
        pins,
    } = checks;
    let texts = [hosts, emails, uris, units, common_names];
    if addresses.is_empty() && texts.iter().all(|list| list.is_empty()) {
        if !verifies_server && pins.is_empty() {
            note(6, "CERT: No subject checks configured".into());
        }
        return Ok(());
    }
    let host = hosts.iter().find_map(|host| {
        let matched = names::matching_host(certificate, host)?;
        Some(format!("Host name \"{host}\" matched with \"{matched}\""))
    });
    let email = || {
        found(emails, "Email address", |one| {
            names::has_email(certificate, one)
        })
    };
    let address = || {
        let mut all = addresses.iter();
        let one = all.find(|one| names::has_ip(certificate, **one))?;
        Some(format!("IP address \"{one}\" matched"))
    };
    let uri = || found(uris, "URI", |one| names::has_uri(certificate, one));
    let unit = || {
        found(units, "Organizational unit", |one| {
            names::has_unit(certificate, one)
        })
    };
    let common_name = || {
        let last = names::last_common_name(certificate);
        found(common_names, "Common name", |one| {
            last.as_deref() == Some(one)
        })
    };
    let matched = host
        .or_else(email)
        .or_else(address)
        .or_else(uri)
        .or_else(unit)
        .or_else(common_name);
    match matched {
        Some(matched) => {
            note(6, format!("CERT: {matched}"));
            Ok(())
        }
        None => {
            note(4, "CERT: Subject checks failed".into());
            Err(Rejection::SubjectChecks)
        }
    }
}

/// The first of `wanted` that the certificate has, in words.
fn found(wanted: &[String], what: &str, has: impl Fn(&str) -> bool) -> Option<String> {
    let one = wanted.iter().find(|one| has(one))?;
    Some(format!("{what} \"{one}\" matched"))
}

fn check_key(pins: &[Pin], certificate: &X509Certificate<'_>) -> Result<(), Rejection> {
    if pins.is_empty() {
        return Ok(());
    }
    let hash = digest::digest(&digest::SHA256, certificate.public_key().raw);
    let hash = base64::encode(hash.as_ref());
    let name = format!("{}{hash}", Pin::PREFIX);
    if pins.iter().any(|pin| pin.hash() == hash) {
        note(6, format!("CERT: Public key \"{name}\" matched"));
        return Ok(());
    }
    note(4, "CERT: Public key checks failed".into());
    Err(Rejection::PublicKey(name))
}
