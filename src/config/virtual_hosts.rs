//! `sni = SERVICE:PATTERN` in server mode: a secondary service, which accepts nothing itself. Its primary
//! service hands it the clients that ask for a name of that pattern. Never in here: a client's name, which
//! `relay::hosts` looks up.

use std::collections::BTreeSet;

use super::checks::{Faults, Meant};
use super::commands::Decided;
use super::diagnostic::Severity;
use super::endpoint::Endpoint;
use super::service::Service;
use super::tls_options::TlsFlags;

/// What makes a service a secondary one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VirtualHost {
    /// The index of its primary service, which stands above it.
    pub primary: usize,
    /// A name, or an asterisk and what a name ends with.
    pub pattern: String,
    /// Where its primary accepts.
    pub accept: Vec<Endpoint>,
}

/// The other sections of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sections<'a> {
    /// The services above.
    pub(super) above: &'a [Service],
    /// The names of all sections, in their order.
    pub(super) names: &'a [&'a str],
}

/// Finds the primary service of a secondary one, and makes it one. As in stunnel, it has to stand above.
pub(super) fn attach<'a>(
    service: &mut Service,
    sections: Sections<'a>,
    meant: &Meant,
    faults: &mut Faults,
) -> Option<&'a Service> {
    if service.client || meant.contains("client") {
        return None;
    }
    let given = service.tls.sni.take()?;
    let Some((name, pattern)) = given.split_once(':') else {
        faults.error(
            "sni",
            "Invalid SNI parameter format",
            "in server mode `sni = SERVICE:PATTERN` makes this the service for clients that ask SERVICE for \
             such a name, as `sni = https:*.example.com`; in client mode it is the name to send",
        );
        return None;
    };
    let found = sections.above.iter().position(|other| other.name == name);
    let Some((index, primary)) = found.map(|index| (index, &sections.above[index])) else {
        let help = missing(name, service, sections);
        faults.error("sni", "SNI section name not found", &help);
        return None;
    };
    if primary.client {
        faults.error(
            "sni",
            "SNI primary service is a TLS client",
            &format!(
                "only a server knows which name a client asks for: [{name}] has `client = yes`"
            ),
        );
        return None;
    }
    if let Some(host) = &primary.virtual_host {
        let first = sections
            .above
            .get(host.primary)
            .map_or("", |first| &first.name);
        faults.error(
            "sni",
            &format!("[{name}] is a secondary service itself, which no client asks for a name"),
            &format!("name the service that accepts: `sni = {first}:{pattern}`"),
        );
        return None;
    }
    if !service.accept.is_empty() {
        faults.error(
            "accept",
            "Each service must define two endpoints",
            "`sni = SERVICE:PATTERN` stands in the place of `accept`: leave one of them out",
        );
    }
    judge(pattern, index, sections.above, faults);
    service.virtual_host = Some(VirtualHost {
        primary: index,
        pattern: pattern.to_owned(),
        accept: primary.accept.clone(),
    });
    dialogues(service, primary, meant, faults);
    Some(primary)
}

/// Why there is no primary service of that name above.
fn missing(name: &str, service: &Service, sections: Sections<'_>) -> String {
    if name == service.name {
        return "a service cannot be its own primary: name the one that accepts".to_owned();
    }
    match sections.names.contains(&name) {
        true => {
            format!(
                "[{name}] stands below: a primary service has to stand above its secondary ones"
            )
        }
        false => format!(
            "there is no section [{name}]; what stands before the colon is the section that accepts"
        ),
    }
}

/// Warns of a pattern that no client can ask for, or that leaves nothing to this service.
fn judge(pattern: &str, primary: usize, above: &[Service], faults: &mut Faults) {
    let (ending, wild) = match pattern.strip_prefix('*') {
        Some(ending) => (ending, true),
        None => (pattern, false),
    };
    let in_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if ending.is_empty() && !wild || !ending.bytes().all(in_names) || ending.ends_with('.') {
        faults.push(
            Severity::Warning,
            "sni",
            &format!("no client asks for a name of the pattern `{pattern}`"),
            "a pattern is a host name, as mail.example.com, or an asterisk and the end of one, as *.example.com",
        );
    }
    let hosts = above.iter().filter_map(|other| {
        let host = other.virtual_host.as_ref()?;
        (host.primary == primary).then_some((&other.name, &host.pattern))
    });
    for (name, first) in hosts {
        if covers(first, pattern) {
            faults.push(
                Severity::Warning,
                "sni",
                &format!("[{name}] stands above with the pattern `{first}`, so this service gets no client"),
                "the first pattern that matches counts: let the narrower one stand first",
            );
            return;
        }
    }
}

/// Whether each name of the second pattern is one of the first, too.
fn covers(first: &str, second: &str) -> bool {
    let (first, second) = (first.to_ascii_lowercase(), second.to_ascii_lowercase());
    match first.strip_prefix('*') {
        Some(ending) => second.trim_start_matches('*').ends_with(ending),
        None => first == second,
    }
}

/// A dialogue before TLS is over when the client asks for a name, and it is the primary's, with what remains of
/// it within TLS; so is the connection that it is held with.
fn dialogues(service: &mut Service, primary: &Service, meant: &Meant, faults: &mut Faults) {
    if meant.contains("protocol") || service.protocol.is_none() && service.origins.has("protocol") {
        return;
    }
    let first = primary.dialogue_before_tls();
    service.protocol = service.protocol.or(first);
    let own = service.dialogue_before_tls();
    if own.is_some() && own != first {
        faults.error(
            "protocol",
            &format!(
                "this dialogue comes before TLS, so it is that of [{}], which has another",
                primary.name
            ),
            "give both the same `protocol`",
        );
    } else if let Some(protocol) = service.protocol.filter(|_| own.is_none())
        && primary.connects_before_tls()
    {
        faults.error(
            "protocol",
            &format!(
                "`protocol = {}` begins when the server is connected, and [{}] has spoken with it before TLS",
                protocol.name(),
                primary.name
            ),
            "leave `protocol` out here, or there",
        );
    } else if primary.connects_before_tls() && service.connect != primary.connect {
        faults.push(
            Severity::Warning,
            "connect",
            &format!(
                "`connect` has no effect: with its `protocol`, [{}] connects before TLS, and so before the \
                 client asks for a name",
                primary.name
            ),
            "the certificate and what is asked of the client's are this service's",
        );
    }
}

/// Options that a handshake of stunnel takes from the primary service: here they are so where the section
/// does not decide otherwise. Returns the flags that hold; `flags` are the section's.
pub(super) fn inherit(
    service: &mut Service,
    primary: &Service,
    decided: Decided,
    flags: TlsFlags,
    own: &BTreeSet<&'static str>,
) -> TlsFlags {
    let (tls, theirs) = (&mut service.tls, &primary.tls);
    if !decided.min {
        tls.version_min = primary.asked.min;
    }
    if !decided.max {
        tls.version_max = primary.asked.max;
    }
    if !decided.ciphers {
        tls.ciphers.clone_from(&theirs.ciphers);
    }
    if !decided.ciphersuites {
        tls.ciphersuites.clone_from(&theirs.ciphersuites);
    }
    if !decided.curves {
        tls.curves.clone_from(&theirs.curves);
    }
    if tls.alpn.is_empty() && !own.contains("alpn") {
        // It is how the primary's dialogue begins within TLS.
        tls.alpn.clone_from(&theirs.alpn);
        tls.alpn_is_asked = theirs.alpn_is_asked;
    }
    let says = |name: &str| own.contains(name);
    let (sessions, theirs) = (&mut tls.sessions, &theirs.sessions);
    if !says("sessionResume") {
        sessions.none = theirs.none;
    }
    if !says("sessionCacheSize") {
        sessions.cache_size = theirs.cache_size;
    }
    if !says("sessionCacheTimeout") {
        sessions.lifetime = theirs.lifetime;
    }
    // One alone is an error.
    if !says("ticketKeySecret") && !says("ticketMacSecret") {
        sessions.ticket_key.clone_from(&theirs.ticket_key);
        sessions.ticket_mac.clone_from(&theirs.ticket_mac);
    }
    if !says("acceptAnywhere") {
        service.accept_anywhere = primary.accept_anywhere;
    }
    let inherited = primary.asked.flags.without(decided.flags);
    flags.only(decided.flags).with(inherited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_is_as_narrow() {
        for (first, second, covered) in [
            ("a.example", "A.example", true),
            ("a.example", "b.example", false),
            ("*.example", "a.example", true),
            ("*.EXAMPLE", "*.b.example", true),
            ("*.b.example", "*.example", false),
            ("*.example", "example", false),
            ("*example", "example", true),
            ("*", "a.example", true),
            ("*", "*", true),
            ("a.example", "*.example", false),
        ] {
            assert_eq!(covers(first, second), covered, "{first} {second}");
        }
    }
}
