//! The options of the dialogue: `protocol`, and what only some protocols have a use for.

use super::alpn;
use super::checks::{Faults, Meant};
use super::diagnostic::Severity;
use super::endpoint::Endpoint;
use super::first_byte;
use super::login;
use super::option::{Fault, given, one_of};
use super::secret::{Held, Secret};
use super::service::{Draft, Service};

/// `protocol = ...`: what is said before TLS, or first within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Smtp,
    Pop3,
    Imap,
    Nntp,
    Socks,
    Connect,
    Proxy,
    Pgsql,
    Ldap,
    Cifs,
    Mysql,
    Lmtp,
    Sieve,
    Ftp,
    Irc,
    Xmpp,
    XmppServer,
}

/// What is served, by the names that `protocol` gives.
const SERVED: &[(&str, Protocol)] = &[
    ("smtp", Protocol::Smtp),
    ("pop3", Protocol::Pop3),
    ("imap", Protocol::Imap),
    ("nntp", Protocol::Nntp),
    ("socks", Protocol::Socks),
    ("connect", Protocol::Connect),
    ("proxy", Protocol::Proxy),
    ("pgsql", Protocol::Pgsql),
    ("ldap", Protocol::Ldap),
    ("cifs", Protocol::Cifs),
    ("mysql", Protocol::Mysql),
    ("lmtp", Protocol::Lmtp),
    ("sieve", Protocol::Sieve),
    ("ftp", Protocol::Ftp),
    ("irc", Protocol::Irc),
    ("xmpp", Protocol::Xmpp),
    ("xmpp-server", Protocol::XmppServer),
];

/// The names of what is served.
#[cfg(test)]
pub(crate) fn protocol_names() -> Vec<&'static str> {
    SERVED.iter().map(|(name, _)| *name).collect()
}

/// stunnel's protocols that adit does not speak: those of one organisation's programs, on Windows.
pub(super) const PROTOCOLS_REFUSED: &[&str] = &["capwin", "capwinctrl"];

impl Protocol {
    /// Whether in server mode the client starts TLS before there is a server.
    pub(crate) fn opens_alone(self) -> bool {
        use Protocol as P;
        matches!(self, P::Pgsql | P::Cifs | P::Irc | P::Xmpp | P::XmppServer)
    }

    /// As `protocol = NAME` gives it.
    pub(crate) fn name(self) -> &'static str {
        let mut served = SERVED.iter();
        let found = served.find(|(_, protocol)| *protocol == self);
        found.map_or("", |(name, _)| name)
    }
}

/// `proxyVersion = ...`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ProxyVersion {
    /// A line of text.
    #[default]
    V1,
    /// Binary, with the client's TLS.
    V2,
}

/// `protocolAuthentication = ...`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// RFC 7617.
    Basic,
    /// MS-NLMP, version 2.
    Ntlm,
    /// RFC 4616.
    Plain,
    /// The same in three steps.
    Login,
    /// RFC 2195.
    CramMd5,
    /// RFC 7677.
    ScramSha256,
}

/// What the dialogue is told, besides `protocol`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DialogueOptions {
    /// SMTP: the name for EHLO; `connect`, `socks`: HOST:PORT behind the proxy.
    pub host: Option<String>,
    /// The way to log in; `None`: the protocol's usual one.
    pub authentication: Option<Authentication>,
    /// The account's name.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Held<Secret>>,
    /// NTLM: the domain that the account belongs to.
    pub domain: Option<String>,
    /// `connect`: lines of the request's head.
    pub headers: Vec<Held<Secret>>,
    /// `proxy`: the version of the header.
    pub proxy_version: ProxyVersion,
}

impl DialogueOptions {
    /// The name and the password, if both are given.
    pub(crate) fn account(&self) -> Option<(&str, Secret)> {
        let password = self.password.as_ref()?.reveal().ok()?;
        Some((self.username.as_deref()?, password))
    }

    /// The lines of `headers`.
    pub(crate) fn header_lines(&self) -> impl Iterator<Item = Secret> {
        self.headers.iter().filter_map(|line| line.reveal().ok())
    }

    fn secrets(&self) -> impl Iterator<Item = &Held<Secret>> {
        self.password.iter().chain(&self.headers)
    }

    /// Forgets the secrets, in a process that must not know them.
    pub(super) fn forget(&self) {
        self.secrets().for_each(Held::forget);
    }

    /// Whether this process has forgotten them, and must not serve with what is left.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.secrets().any(|secret| secret.reveal().is_err())
    }

    /// HOST:PORT in `protocolHost`.
    pub(crate) fn destination(&self) -> Option<(&str, u16)> {
        host_and_port(self.host.as_deref()?)
    }

    /// The server that TLS is spoken with, where `connect` names a proxy in front of it.
    pub(crate) fn behind_proxy(&self, protocol: Option<Protocol>) -> Option<(&str, u16)> {
        match protocol {
            Some(Protocol::Connect) => self.destination(),
            _ => None,
        }
    }
}

/// Takes HOST:PORT apart; the host without brackets.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = match host.strip_prefix('[') {
        Some(inside) => inside.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port != 0)?;
    let fits = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some((bare, port))
}

/// Whether it is one of stunnel's, and none of adit's.
pub(super) fn is_refused(protocol: &str) -> bool {
    PROTOCOLS_REFUSED
        .iter()
        .any(|known| known.eq_ignore_ascii_case(protocol))
}

/// Reads `protocol`.
pub(super) fn protocol(value: &str) -> Result<Protocol, Fault> {
    let names: Vec<&str> = SERVED.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    if is_refused(value) {
        let fault = Fault::new(format!("adit does not serve `protocol = {value}`"));
        return Err(fault.help(format!(
            "it is for the programs of www.capwin.org, on Windows: one connection leaves a password for all others; \
             these are served: {names}"
        )));
    }
    one_of(value, SERVED).map_err(|fault| {
        let meant = fault.help.filter(|help| help.starts_with("did you mean"));
        Fault {
            text: format!("Protocol not supported: `{value}` is not known"),
            help: meant.or(Some(names)),
            ..Fault::new("")
        }
    })
}

/// Reads `protocolAuthentication`.
pub(super) fn set_authentication(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let way = one_of(
        value,
        &[
            ("basic", Authentication::Basic),
            ("ntlm", Authentication::Ntlm),
            ("plain", Authentication::Plain),
            ("login", Authentication::Login),
            ("cram-md5", Authentication::CramMd5),
            ("scram-sha-256", Authentication::ScramSha256),
        ],
    )?;
    draft.service.dialogue.authentication = Some(way);
    Ok(())
}

/// Reads `proxyVersion`.
pub(super) fn set_proxy_version(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let words = [("1", ProxyVersion::V1), ("2", ProxyVersion::V2)];
    draft.service.dialogue.proxy_version = one_of(value, &words)?;
    Ok(())
}

/// Reads `protocolHost`.
pub(super) fn set_host(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.dialogue.host = Some(one_line(value)?).filter(|host| !host.is_empty());
    Ok(())
}

/// Reads `protocolUsername`.
pub(super) fn set_username(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.dialogue.username = Some(one_line(value)?);
    Ok(())
}

/// Reads `protocolDomain`.
pub(super) fn set_domain(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.dialogue.domain = Some(one_line(value)?);
    Ok(())
}

/// Reads `protocolPassword`.
pub(super) fn set_password(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.dialogue.password = Some(Secret::new(one_line(value)?).into());
    Ok(())
}

/// Reads `protocolHeader`.
pub(super) fn set_header(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let line = one_line(&given(value)?)?;
    let name = line.split_once(':').map_or("", |(name, _)| name);
    let is_token = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let fault = Fault::new("this is no header of HTTP");
        return Err(fault.help("as `protocolHeader = Proxy-Connection: keep-alive`"));
    }
    draft
        .service
        .dialogue
        .headers
        .push(Secret::new(line).into());
    Ok(())
}

/// A value that is said as a part of a line: from the environment it might be several.
fn one_line(value: &str) -> Result<String, Fault> {
    match value.chars().any(char::is_control) {
        true => Err(Fault::new("the value has a control character").help("leave it out")),
        false => Ok(value.to_owned()),
    }
}

/// What some protocols alone have a use for, and the modes in which they are served. `own`: what the section
/// itself gave; as a default for every service an option counts where it has a use.
pub(super) fn judge(
    service: &mut Service,
    own: &dyn Fn(&str) -> bool,
    meant: &Meant,
    faults: &mut Faults,
) {
    // A refused `protocol` may have been any, misspelt.
    let unknown = service.protocol.is_none() && service.origins.has("protocol")
        || ["client", "protocol"]
            .iter()
            .any(|option| meant.contains(option));
    if unknown {
        return;
    }
    service.tls.introduces = service.protocol == Some(Protocol::Proxy)
        && service.dialogue.proxy_version == ProxyVersion::V2;
    alpn::finish(service, own("alpn") || !service.tls.alpn.is_empty());
    mode(service, meant, faults);
    uses(service, own, faults);
    account(service, own, meant, faults);
}

/// Whether the protocol is served in this mode, with what it needs.
fn mode(service: &Service, meant: &Meant, faults: &mut Faults) {
    match (service.protocol, service.client) {
        (Some(Protocol::Connect), true) => proxy(service, meant, faults),
        (Some(Protocol::Connect), false) => faults.error(
            "protocol",
            "`protocol = connect` is for client mode",
            "`client = yes`, or a service without `protocol`",
        ),
        (Some(Protocol::Proxy), true) => faults.error(
            "protocol",
            "The 'proxy' protocol is not supported in the client mode",
            "it tells a server behind server mode where the client comes from; leave `protocol` out here",
        ),
        (Some(Protocol::Ldap), false) => faults.error(
            "protocol",
            "The 'ldap' protocol is not supported in the server mode",
            "`client = yes`; LDAP clients reach a server of this mode by ldaps://, without `protocol`",
        ),
        (Some(Protocol::Proxy), false) => {
            let unix = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Unix(_));
            if service.accept.iter().any(unix) && !service.balancers.have_unix() {
                faults.push(
                    Severity::Warning,
                    "accept",
                    "clients of a Unix socket have no address: the server is told `UNKNOWN`, and may refuse it",
                    "an address to accept on, or no `protocol = proxy`",
                );
            }
        }
        (Some(Protocol::Socks), true) if service.dialogue.host.is_some() => {
            if let Some((host, _)) = destination(service, faults)
                && host.len() > u8::MAX.into()
            {
                faults.error(
                    "protocolHost",
                    &format!("SOCKS takes names of 255 bytes at most, and this one has {}", host.len()),
                    "the server's address",
                );
            }
        }
        _ => {}
    }
}

/// What has no use here.
fn uses(service: &Service, own: &dyn Fn(&str) -> bool, faults: &mut Faults) {
    let client = service.protocol.filter(|_| service.client);
    let host = [
        Protocol::Smtp,
        Protocol::Lmtp,
        Protocol::Connect,
        Protocol::Socks,
    ];
    let greets = login::is_asked_for(service) && service.protocol.is_none();
    if own("protocolHost") && !greets && !client.is_some_and(|protocol| host.contains(&protocol)) {
        faults.push(
            Severity::Warning,
            "protocolHost",
            "`protocolHost` has no effect here: it is the EHLO name of `protocol = smtp` and `lmtp`, and the destination of \
             `protocol = connect` and `socks`, with `client = yes`",
            "the name to send in TLS is `sni`",
        );
    }
    if own("protocolHeader") && client != Some(Protocol::Connect) {
        faults.push(
            Severity::Note,
            "protocolHeader",
            "this has no effect: it is for `protocol = connect`",
            "leave it out",
        );
    }
    let ntlm = service.dialogue.authentication == Some(Authentication::Ntlm);
    if own("protocolDomain") && !(client == Some(Protocol::Connect) && ntlm) {
        faults.push(
            Severity::Note,
            "protocolDomain",
            "this has no effect: it is for `protocolAuthentication = ntlm`, with `protocol = connect`",
            "leave it out",
        );
    }
    if own("proxyVersion") && service.protocol != Some(Protocol::Proxy) {
        faults.push(
            Severity::Warning,
            "proxyVersion",
            "`proxyVersion` has no effect without `protocol = proxy`",
            "leave it out",
        );
    }
}

/// What a login has a use for. One needs the name and the password.
fn account(service: &Service, own: &dyn Fn(&str) -> bool, meant: &Meant, faults: &mut Faults) {
    let options = [
        "protocolUsername",
        "protocolPassword",
        "protocolAuthentication",
    ];
    let given = options.into_iter().filter(|option| own(option));
    let client = service.protocol.filter(|_| service.client);
    if login::is_asked_for(service) && client != Some(Protocol::Connect) {
        login::uses(service, own, meant, faults);
        return;
    }
    let half = options.iter().any(|option| meant.contains(option));
    let Some(protocol @ (Protocol::Connect | Protocol::Smtp)) = client else {
        for option in given {
            faults.push(
                Severity::Note,
                option,
                "this has no effect: it is for `protocol = connect`, `smtp`, `imap` and `pop3` with `client = yes`",
                "leave it out",
            );
        }
        return;
    };
    if service.dialogue.account().is_none() && !half {
        for option in given {
            faults.push(
                Severity::Warning,
                option,
                "this has no effect without `protocolUsername` and `protocolPassword`",
                "give both",
            );
        }
        return;
    }
    let usual = match (protocol, service.dialogue.authentication) {
        (Protocol::Connect, Some(Authentication::Basic | Authentication::Ntlm) | None) => None,
        (Protocol::Connect, Some(_)) => Some("basic"),
        // stunnel's default for every protocol.
        (Protocol::Smtp, Some(Authentication::Basic | Authentication::Ntlm)) => Some("plain"),
        _ => None,
    };
    if let Some(usual) = usual.filter(|_| own("protocolAuthentication")) {
        faults.push(
            Severity::Warning,
            "protocolAuthentication",
            &format!("`protocol = {}` logs in by `{usual}`", protocol.name()),
            &format!("`protocolAuthentication = {usual}`"),
        );
    }
    let name = service.dialogue.username.as_deref().unwrap_or_default();
    let ntlm = service.dialogue.authentication == Some(Authentication::Ntlm);
    if protocol == Protocol::Connect && !ntlm && name.contains(':') {
        faults.error(
            "protocolUsername",
            "a name with a colon cannot be told from its password (RFC 7617)",
            "ask the proxy's administrator for another name",
        );
    }
}

/// `protocol = connect`: a way through a proxy.
fn proxy(service: &Service, meant: &Meant, faults: &mut Faults) {
    if service.dialogue.host.is_none() {
        if !meant.contains("protocolHost") {
            faults.error(
                "protocol",
                "protocolHost not specified",
                "`connect` is the proxy, and `protocolHost = HOST:PORT` the server behind it",
            );
        }
        return;
    }
    if let Some((_, port)) = destination(service, faults)
        && let Some(fault) = first_byte::behind_proxy(port)
    {
        faults.add("protocolHost", None, fault);
    }
}

/// `protocolHost` as HOST:PORT.
fn destination<'a>(service: &'a Service, faults: &mut Faults) -> Option<(&'a str, u16)> {
    let destination = service.dialogue.destination();
    if destination.is_none() {
        faults.error(
            "protocolHost",
            "`protocolHost` is not HOST:PORT",
            "it is the server behind the proxy: as `protocolHost = www.example.com:443`",
        );
    }
    destination
}
