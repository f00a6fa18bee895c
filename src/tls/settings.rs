//! Trust settings: written by `openssl x509 -trustout` after a certificate (X509_CERT_AUX), and obeyed
//! as in OpenSSL (X509_check_trust).

use super::der::{self, OBJECT_IDENTIFIER, SEQUENCE};

/// `[0]`, the rejected uses.
const REJECTED: u8 = 0xa0;
/// 1.3.6.1.5.5.7.3.1, serverAuth
const SERVER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
/// 1.3.6.1.5.5.7.3.2, clientAuth
const CLIENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
/// 2.5.29.37.0, anyExtendedKeyUsage
const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0];

/// What the settings say about one use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Silent,
    /// It is trusted, even if another authority issued it.
    Trusted,
    /// It is not to be trusted.
    Rejected,
}

/// What the settings after a certificate say about it as, or above, a server's certificate (`serves`)
/// or a client's. Unreadable settings reject it.
pub(super) fn verdict(settings: &[u8], serves: bool) -> Verdict {
    if settings.is_empty() {
        return Verdict::Silent;
    }
    let Some((trusted, rejected)) = lists(settings) else {
        return Verdict::Rejected;
    };
    let ours = if serves { SERVER } else { CLIENT };
    let names_it = |list: &[&[u8]]| list.iter().any(|one| *one == ours || *one == ANY);
    if names_it(&rejected.unwrap_or_default()) {
        return Verdict::Rejected;
    }
    match trusted {
        None => Verdict::Silent,
        Some(list) if names_it(&list) => Verdict::Trusted,
        Some(_) => Verdict::Rejected,
    }
}

type List<'a> = Option<Vec<&'a [u8]>>;

/// The trusted uses, and the rejected ones.
fn lists(settings: &[u8]) -> Option<(List<'_>, List<'_>)> {
    let (mut trusted, mut rejected) = (None, None);
    for element in der::all(der::only(settings, SEQUENCE)?)? {
        match element.tag {
            SEQUENCE => trusted = Some(list(element.content)?),
            REJECTED => rejected = Some(list(element.content)?),
            // Its name, or its key's identifier.
            _ => {}
        }
    }
    Some((trusted, rejected))
}

fn list(content: &[u8]) -> Option<Vec<&[u8]>> {
    let all = der::all(content)?;
    all.iter()
        .map(|one| (one.tag == OBJECT_IDENTIFIER).then_some(one.content))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_of(tag: u8, uses: &[&[u8]]) -> Vec<u8> {
        let uses = uses.iter().map(|one| der::element(OBJECT_IDENTIFIER, one));
        der::element(tag, &uses.collect::<Vec<_>>().concat())
    }

    #[test]
    fn what_is_rejected_counts_before_what_is_trusted() {
        use Verdict::{Rejected, Silent, Trusted};
        let alias = der::element(0x0c, b"my root");
        for (parts, server, client) in [
            (vec![], Silent, Silent),
            (vec![alias.clone()], Silent, Silent),
            (vec![list_of(SEQUENCE, &[SERVER]), alias], Trusted, Rejected),
            (vec![list_of(SEQUENCE, &[ANY])], Trusted, Trusted),
            (vec![list_of(SEQUENCE, &[SERVER, CLIENT])], Trusted, Trusted),
            (vec![list_of(REJECTED, &[SERVER])], Rejected, Silent),
            (vec![list_of(REJECTED, &[ANY])], Rejected, Rejected),
            (
                vec![list_of(SEQUENCE, &[SERVER]), list_of(REJECTED, &[SERVER])],
                Rejected,
                Rejected,
            ),
        ] {
            let settings = der::element(SEQUENCE, &parts.concat());
            assert_eq!(verdict(&settings, true), server, "{settings:x?}");
            assert_eq!(verdict(&settings, false), client, "{settings:x?}");
        }
        assert_eq!(verdict(&[], true), Silent);
        assert_eq!(verdict(&[1, 2, 3], true), Rejected);
        assert_eq!(verdict(&der::element(SEQUENCE, &[6, 9]), true), Rejected);
    }
}
