//! `probe`: how often the servers of a service are looked at. Never in here: a server.

use super::accepted::MailProtocol;
use super::checks::{Faults, Meant};
use super::dialogue::Protocol;
use super::option::{Fault, seconds_or_none};
use super::program::Front;
use super::service::{Draft, Service};

/// Reads `probe`; 0 is never.
pub(super) fn set(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    seconds_or_none(&mut draft.service.probe, value)
}

/// Why the servers of a service cannot be probed, and what to do.
fn obstacle(service: &Service) -> Option<(&'static str, &'static str)> {
    Some(match () {
        () if service.front == Front::Inetd => (
            "`probe` needs an adit that stays: in inetd mode it ends with its connection",
            "leave it out",
        ),
        () if service.connect.is_empty() => (
            "`probe` is for servers that `connect` names",
            "leave it out",
        ),
        () if service.delay => (
            "with `delay = yes` no address is known before there is a connection to it",
            "leave `delay` out: `resolveInterval` follows names as well; or leave `probe` out",
        ),
        () if service.protocol == Some(Protocol::Mysql) => (
            "MySQL and MariaDB count connections without a login as errors, and lock adit's address out after \
             max_connect_errors of them",
            "leave `probe` out",
        ),
        () => return None,
    })
}

/// Refuses `probe` where it cannot be served.
pub(super) fn judge(
    service: &mut Service,
    own: &dyn Fn(&str) -> bool,
    meant: &Meant,
    faults: &mut Faults,
) {
    let unclear = ["connect", "delay", "protocol", "exec", "transparent"];
    if service.probe.is_none() || unclear.iter().any(|option| meant.contains(option)) {
        return;
    }
    if let Some((text, help)) = obstacle(service) {
        service.probe = None;
        // As a default for every service it counts where it has a use.
        if own("probe") {
            faults.error("probe", text, help);
        }
    }
}

impl Service {
    /// The protocol in which its server at that port greets first, before TLS where there is any, or at once within it.
    pub(crate) fn greeted_in(&self, port: Option<u16>) -> Option<Protocol> {
        let greets = |protocol: &Protocol| {
            matches!(
                protocol,
                Protocol::Smtp
                    | Protocol::Pop3
                    | Protocol::Imap
                    | Protocol::Nntp
                    | Protocol::Lmtp
                    | Protocol::Sieve
                    | Protocol::Ftp
            )
        };
        match self.protocol {
            Some(protocol) => Some(protocol).filter(greets),
            None => {
                let within_tls = matches!(port, Some(465 | 993 | 995));
                let by_port = port.filter(|_| within_tls == self.client);
                let mail = self.login.mail.or_else(|| MailProtocol::at(by_port?));
                mail.map(Protocol::from)
            }
        }
    }
}
