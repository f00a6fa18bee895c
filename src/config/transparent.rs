//! `transparent`: whose address the server sees, and who says where a client is connected to. Never in here: a
//! socket, or what an address is worth.

use std::collections::BTreeSet;

use super::checks::{Faults, Meant};
use super::diagnostic::Severity;
use super::endpoint::Endpoint;
use super::option::{Fault, one_of};
use super::program::Front;
use super::service::{Draft, Service};

/// `transparent = none | source | destination | both`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Transparent {
    /// The server is connected to from the client's address.
    pub source: bool,
    /// The client is connected to where it wanted to go before netfilter sent it here.
    pub destination: bool,
}

/// Reads `transparent`, in stunnel's words, the old ones too.
pub(super) fn set(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let of = |source, destination| Transparent {
        source,
        destination,
    };
    let words = [
        ("none", of(false, false)),
        ("source", of(true, false)),
        ("destination", of(false, true)),
        ("both", of(true, true)),
        ("yes", of(true, false)),
        ("no", of(false, false)),
    ];
    let read = one_of(value, &words);
    match read {
        Ok(transparent) => draft.service.transparent = transparent,
        // It may stand for an endpoint, of which nothing is said then.
        Err(_) => drop(draft.meant.insert("transparent")),
    }
    read.map(drop)
}

/// Refuses it where there is no such address.
pub(super) fn limit(
    service: &Service,
    own: &BTreeSet<&'static str>,
    meant: &Meant,
    faults: &mut Faults,
) {
    let Transparent {
        source,
        destination,
    } = service.transparent;
    if !source && !destination {
        return;
    }
    let unix = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Unix(_));
    if service.front == Front::Program {
        let text =
            "`transparent` has no client: `exec` with `connect` is a program that adit starts";
        let help = "leave it out, or accept clients: `accept = [HOST:]PORT`";
        faults.error("transparent", text, help);
    } else if service.accept.iter().any(unix) && !service.balancers.have_unix() {
        let text =
            "`transparent` needs clients with an address, and those of a Unix socket have none";
        let help = "leave it out, or accept at a port: `accept = [HOST:]PORT`";
        faults.error("transparent", text, help);
    }
    if destination && service.admission.ident.is_some() {
        let text = "`ident` refuses clients here: their machines know the connection by the address that they wanted to \
             reach, from which adit cannot ask";
        let help = "leave out `ident`, or `transparent = destination`";
        faults.push(Severity::Warning, "transparent", text, help);
    }
    if !source {
        if service.delay && service.redirect.is_empty() && own.contains("delay") {
            let text = "`delay` has no effect with `transparent = destination`";
            faults.add("delay", None, Fault::note(text));
        }
        return;
    }
    let connects_to = service.connect.iter().chain(&service.redirect);
    let alone = service.program.is_some() && service.front != Front::Program;
    // With `destination` besides it is told that an endpoint is one too many.
    if alone && !destination && !meant.contains("exec") {
        let text = "`transparent = source` is not served with `exec`: stunnel loads a library of its own into the \
             program (libstunnel.so), and adit loads nothing into programs";
        let help = "leave it out: REMOTE_HOST and REMOTE_PORT tell the program who its client is";
        faults.error("transparent", text, help);
    } else if connects_to.into_iter().any(unix) {
        let text =
            "`transparent = source` has no effect on a Unix socket: a server there sees no address";
        let help =
            "leave it out, or connect to a port; `protocol = proxy` tells the address on either";
        faults.error("transparent", text, help);
    }
    if service.local.is_some() && own.contains("local") {
        let text = "`local` has no effect with `transparent = source`, as with stunnel";
        faults.add("local", None, Fault::note(text));
    }
}
