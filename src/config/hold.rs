//! `hold`: how long a mail program is held while its server cannot be reached. Never in here: a server that is tried.

use super::accepted::{Beginning, MailProtocol};
use super::checks::{Faults, Meant};
use super::diagnostic::Severity;
use super::dialogue::Protocol;
use super::endpoint::Endpoint;
use super::login;
use super::option::{Fault, seconds_or_none};
use super::service::{Draft, Service};

/// Reads `hold`; 0 is none.
pub(super) fn set(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    seconds_or_none(&mut draft.service.hold, value)
}

/// Why a service cannot hold its programs, and what to do.
fn obstacle(service: &Service) -> Option<(&'static str, &'static str)> {
    let held_from_afar = matches!(service.protocol, None | Some(Protocol::Smtp));
    let mail = login::spoken(service);
    let begins = service.accept_tls.as_deref().map(|accept| accept.beginning);
    Some(match () {
        () if !service.client => (
            "`hold` is for client mode, where the server speaks TLS",
            "`client = yes`, or leave `hold` out",
        ),
        () if mail.is_some_and(|mail| mail != MailProtocol::Smtp) => (
            "`hold` is for mail that is sent: a program that reads mail asks again later by itself",
            "leave `hold` out",
        ),
        () if !held_from_afar => (
            "`hold` is for mail that is sent, and not for this `protocol`",
            "`protocol = smtp`, or leave `hold` out",
        ),
        () if mail.is_none() => (
            "adit cannot tell whether mail is sent here: the port in `connect` is none of mail's",
            "`loginProtocol = smtp`, or leave `hold` out",
        ),
        () if service.program.is_some() && service.connect.is_empty() => (
            "`hold` is for a server that is connected to, and not for a program that is started",
            "leave `hold` out",
        ),
        () if matches!(begins, Some(Beginning::Received(_))) => (
            "`hold` has to greet programs before the server is there, and here some may begin TLS later",
            "`acceptTLS = yes` without `acceptProtocol`, or no `acceptTLS`",
        ),
        () => return None,
    })
}

/// Refuses `hold` where it has no sense.
pub(super) fn judge(
    service: &mut Service,
    own: &dyn Fn(&str) -> bool,
    meant: &Meant,
    faults: &mut Faults,
) {
    let unclear = ["client", "protocol", "login", "loginProtocol", "acceptTLS"];
    if service.hold.is_none() || unclear.iter().any(|option| meant.contains(option)) {
        return;
    }
    if let Some((text, help)) = obstacle(service) {
        service.hold = None;
        // As a default for every service it counts where it has a use.
        if own("hold") {
            faults.error("hold", text, help);
        }
        return;
    }
    let alone = service.login.mail.is_none() && service.dialogue.account().is_none();
    if alone && own("hold") && asks_for_logins(service) {
        faults.push(
            Severity::Warning,
            "hold",
            "a program that is held cannot log in: what the server offers is not known yet, and on this port it asks for a login",
            "`login = translate`: adit takes the login, and makes it when the server is there",
        );
    }
}

/// Whether the server is one for programs that log in (RFC 6409, RFC 8314).
fn asks_for_logins(service: &Service) -> bool {
    service.connect.iter().any(|endpoint| {
        matches!(
            endpoint,
            Endpoint::Tcp {
                port: 465 | 587,
                ..
            }
        )
    })
}
