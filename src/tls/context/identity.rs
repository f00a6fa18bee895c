//! What a resumed session must agree with, as hashes. Never in here: a secret.

use aws_lc_rs::digest;
use rustls::sign::CertifiedKey;

use super::Wanted;
use crate::tls::finished;
use crate::tls::revocation::Lists;
use crate::tls::trust::Authority;

/// Hashes over what a resumed session must agree with.
#[derive(Debug, Clone, Copy)]
pub(in crate::tls) struct Identity {
    /// What is kept here, and tickets by a secret that was drawn here.
    pub(in crate::tls) own: [u8; 32],
    /// Tickets by secrets that other machines have too.
    pub(in crate::tls) shared: [u8; 32],
}

/// The same for tickets of servers on several machines, which share their secrets: what a client has to
/// prove counts, not the certificate, the files and the addresses of one of them.
pub(super) fn shared_identity(
    wanted: &Wanted<'_>,
    trusted: &[Authority],
    lists: Option<&Lists>,
) -> [u8; 32] {
    let options = wanted.options;
    let asked = (
        &wanted.service.name,
        options.verification,
        options.redirects,
        &options.subject,
    );
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(format!("{asked:?}").as_bytes());
    for authority in trusted {
        for part in [
            &authority.der,
            authority.settings.as_deref().unwrap_or_default(),
        ] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.update(lists.map(Lists::digest).unwrap_or_default());
    *finished(hash)
}

/// A hash over what a resumed session must agree with: a session that was made under other trust, other
/// revocation lists, other checks or another certificate, or in another service, is not taken up again.
pub(super) fn identity(
    wanted: &Wanted<'_>,
    trusted: &[Authority],
    lists: Option<&Lists>,
    key: Option<&CertifiedKey>,
) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(wanted.service.name.as_bytes());
    part(format!("{:?}", wanted.options).as_bytes());
    part(&(trusted.len() as u64).to_be_bytes());
    for authority in trusted {
        part(&authority.der);
        part(authority.settings.as_deref().unwrap_or_default());
    }
    lists.into_iter().for_each(|lists| part(lists.digest()));
    key.into_iter()
        .flat_map(|key| &key.cert)
        .for_each(|der| part(der));
    *finished(hash)
}
