//! `redirect`: where clients without a valid certificate go. What makes one valid is said elsewhere.

use super::checks::{Faults, Meant};
use super::diagnostic::Severity;
use super::endpoint::Endpoint;
use super::service::Service;

/// Refuses it where no certificate is asked for, or where the server is connected before one can come;
/// the errors are stunnel's.
pub(super) fn limit(
    service: &mut Service,
    primary: Option<&Service>,
    meant: &Meant,
    faults: &mut Faults,
) {
    if service.redirect.is_empty() {
        return;
    }
    service.tls.redirects = true;
    if service.client {
        faults.error(
            "redirect",
            "\"redirect\" is unsupported in client sections",
            "a server redirects clients that do not prove who they are; leave it out, or `client`",
        );
        return;
    }
    let nowhere = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Tcp { port: 0, .. });
    if service.redirect.iter().any(nowhere) {
        faults.push(
            Severity::Warning,
            "redirect",
            "no server is ever at port 0: clients without a valid certificate are let in, and then reset",
            "the port of a server that tells them why; without `redirect` they are refused in the handshake",
        );
    }
    let before = primary.is_some_and(Service::connects_before_tls);
    if (before || service.connects_before_tls()) && !meant.contains("protocol") {
        faults.error(
            "redirect",
            "\"redirect\" is incompatible with the specified protocol negotiation",
            "with this `protocol` the server is connected before the client can show a certificate",
        );
    }
    let asked = service.tls.verification;
    let misspelt = ["verify", "verifyChain", "verifyPeer", "client"];
    let misspelt = misspelt.iter().any(|option| meant.contains(option));
    if !asked.chain && !asked.peer && !misspelt {
        faults.error(
            "redirect",
            "Either \"verifyChain\" or \"verifyPeer\" has to be enabled for \"redirect\" to work",
            "`verifyChain = yes` and `CAfile = FILE` say which certificates are valid",
        );
    }
}
