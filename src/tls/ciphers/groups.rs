//! The groups of a key exchange, by OpenSSL's names. Never in here: a choice of what a handshake shares.

use rustls::NamedGroup;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group as groups;

use super::p521::P521;
use super::{Chosen, named};
use crate::config::SecurityLevel;

/// Groups under OpenSSL's names and aliases.
const GROUPS: [(&[&str], NamedGroup); 8] = [
    (&["X25519MLKEM768"], NamedGroup::X25519MLKEM768),
    (&["SecP256r1MLKEM768"], NamedGroup::secp256r1MLKEM768),
    (&["X25519"], NamedGroup::X25519),
    (&["P-256", "prime256v1", "secp256r1"], NamedGroup::secp256r1),
    (&["P-384", "secp384r1"], NamedGroup::secp384r1),
    (&["P-521", "secp521r1"], NamedGroup::secp521r1),
    (&["MLKEM768"], NamedGroup::MLKEM768),
    (&["MLKEM1024"], NamedGroup::MLKEM1024),
];

/// What OpenSSL has besides, up to 3.6.
#[rustfmt::skip]
const UNSERVED: &[&str] = &[
    "P-224", "secp224r1", "P-192", "prime192v1", "secp192r1", "secp256k1", "X448",
    "brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1",
    "brainpoolP256r1tls13", "brainpoolP384r1tls13", "brainpoolP512r1tls13",
    "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192",
    "MLKEM512", "SecP384r1MLKEM1024", "curveSM2", "curveSM2MLKEM768",
];

fn group(name: NamedGroup) -> Option<&'static dyn SupportedKxGroup> {
    [
        groups::X25519MLKEM768,
        groups::SECP256R1MLKEM768,
        groups::X25519,
        groups::SECP256R1,
        groups::SECP384R1,
        &P521,
        groups::MLKEM768,
        groups::MLKEM1024,
    ]
    .into_iter()
    .find(|group| group.name() == name)
}

/// The groups of a service without `curves`: the post-quantum hybrid first. Where the security level leaves few, P-521
/// is one of them.
pub(in crate::tls) fn default_curves(level: SecurityLevel) -> Vec<&'static dyn SupportedKxGroup> {
    let p521: &dyn SupportedKxGroup = &P521;
    let usual = [
        groups::X25519MLKEM768,
        groups::X25519,
        groups::SECP256R1,
        groups::SECP384R1,
    ];
    let more = (level > SecurityLevel::Three).then_some(p521);
    usual.into_iter().chain(more).collect()
}

/// Reads a list of groups. It may contain the `?`, `*` and `/` of OpenSSL 3.5 (ignore if unknown, send
/// a key share, tuples), but rustls decides which shares it sends.
///
/// # Errors
/// Nothing usable.
pub(in crate::tls) fn curves(list: &str) -> Result<Chosen<&'static dyn SupportedKxGroup>, String> {
    let plain = list.replace('/', ":");
    let chosen = named(&plain, "curves", |name| {
        let name = name.trim_start_matches(['?', '*']);
        let (_, found) = GROUPS
            .iter()
            .find(|(names, _)| names.iter().any(|known| known.eq_ignore_ascii_case(name)))?;
        group(*found)
    });
    let ours = GROUPS.map(|(names, _)| names[0]).join(":");
    let mut chosen =
        chosen.ok_or_else(|| format!("no usable group in {list:?}; adit has {ours}"))?;
    let names = || plain.split(':').map(str::trim);
    let known = |name: &str| {
        let name = name.trim_start_matches('*');
        let has = |known: &&str| known.eq_ignore_ascii_case(name);
        let mut served = GROUPS.iter().flat_map(|(names, _)| names.iter());
        name.is_empty() || name.starts_with('?') || served.any(has) || UNSERVED.iter().any(has)
    };
    if let Some(name) = names().find(|name| !known(name)) {
        let text = format!("{name:?} of curves is no group: separate by colons; adit has {ours}");
        chosen
            .notes
            .retain(|note| !note.contains(&format!("{name:?}")));
        chosen.warning = Some(text);
    }
    Ok(chosen)
}

/// OpenSSL's name of a group.
pub(in crate::tls) fn group_name(group: NamedGroup) -> &'static str {
    GROUPS
        .iter()
        .find(|(_, known)| *known == group)
        .map_or("UNKNOWN", |(names, _)| names[0])
}

/// OpenSSL's name of a group that another library names.
pub(in crate::tls) fn group_by_name(name: &str) -> &'static str {
    let known = GROUPS.iter().map(|(names, _)| *names);
    let mut known = known.filter(|names| names.iter().any(|one| one.eq_ignore_ascii_case(name)));
    known.next().map_or("UNKNOWN", |names| names[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_go_by_every_alias() {
        let chosen = curves("?X25519MLKEM768 / *X25519:prime256v1:secp384r1:P-521:X448").unwrap();
        let found: Vec<_> = chosen.usable.iter().map(|g| group_name(g.name())).collect();
        assert_eq!(
            found,
            ["X25519MLKEM768", "X25519", "P-256", "P-384", "P-521"]
        );
        assert_eq!((chosen.notes.len(), chosen.warning), (1, None));
        let chosen = curves("X25519:,P-256").unwrap();
        let told = chosen.warning.unwrap();
        assert!(told.contains("\",P-256\" of curves is no group"), "{told}");
        assert!(curves("X448:ffdhe2048").is_err());
        assert_eq!(
            default_curves(SecurityLevel::Two)[0].name(),
            NamedGroup::X25519MLKEM768,
            "the hybrid first"
        );
    }

    #[test]
    fn every_group_of_the_table_exists() {
        for (_, name) in GROUPS {
            assert!(group(name).is_some(), "{name:?}");
        }
    }
}
