//! `acceptTLS` and its like: TLS with the clients of client mode.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::checks::{Faults, Meant};
use super::diagnostic::Severity;
use super::dialogue::{self, Protocol};
use super::endpoint::Endpoint;
use super::option::{Fault, given, one_of, yes_no};
use super::service::{Draft, PeerVerification, Service, TlsOptions, TlsVersion};
use super::tls_options::version_name;
use super::versions::LOWEST;

/// A protocol of mail programs, in which a client may ask for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MailProtocol {
    /// STARTTLS of RFC 3207.
    Smtp,
    /// STLS of RFC 2595.
    Pop3,
    /// STARTTLS of RFC 9051.
    Imap,
}

impl From<MailProtocol> for Protocol {
    fn from(protocol: MailProtocol) -> Protocol {
        match protocol {
            MailProtocol::Smtp => Protocol::Smtp,
            MailProtocol::Pop3 => Protocol::Pop3,
            MailProtocol::Imap => Protocol::Imap,
        }
    }
}

impl MailProtocol {
    /// The one that `protocol` is.
    pub(crate) fn of(protocol: Protocol) -> Option<Self> {
        match protocol {
            Protocol::Smtp => Some(MailProtocol::Smtp),
            Protocol::Pop3 => Some(MailProtocol::Pop3),
            Protocol::Imap => Some(MailProtocol::Imap),
            _ => None,
        }
    }

    /// The one that servers speak at `port`, within TLS or before it (IANA's registry of ports).
    pub(super) fn at(port: u16) -> Option<Self> {
        match port {
            25 | 465 | 587 => Some(MailProtocol::Smtp),
            110 | 995 => Some(MailProtocol::Pop3),
            143 | 993 => Some(MailProtocol::Imap),
            _ => None,
        }
    }
}

/// How TLS begins with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// From the first byte.
    AtOnce,
    /// From the first byte, or later.
    Received(Reception),
}

/// How a client is received that does not begin with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reception {
    /// It must start TLS by STARTTLS.
    Required(MailProtocol),
    /// It may go on in plain; STARTTLS is offered where the protocol is known.
    Offered(Option<MailProtocol>),
}

/// TLS with the clients of client mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcceptTls {
    /// Certificate, versions and the like.
    pub tls: TlsOptions,
    /// When it begins.
    pub beginning: Beginning,
}

/// `acceptTLS = no | yes | auto`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Wish {
    #[default]
    No,
    Yes,
    Auto,
}

/// What the lines say.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    wish: Wish,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    verification: PeerVerification,
    version_min: Option<TlsVersion>,
    ciphers: Option<String>,
    protocol: Option<MailProtocol>,
}

/// The options that are of no use without `acceptTLS`.
const OPTIONS: [&str; 8] = [
    "acceptCert",
    "acceptKey",
    "acceptCAfile",
    "acceptCiphers",
    "acceptProtocol",
    "acceptSSLVersionMin",
    "acceptVerifyChain",
    "acceptVerifyPeer",
];

/// `acceptTLS`
pub(super) fn set_wish(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let words = [("no", Wish::No), ("yes", Wish::Yes), ("auto", Wish::Auto)];
    draft.accept.wish = one_of(value, &words)?;
    Ok(())
}

/// `acceptCert`
pub(super) fn set_cert(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.accept.cert = Some(given(value)?.into());
    Ok(())
}

/// `acceptKey`
pub(super) fn set_key(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.accept.key = Some(given(value)?.into());
    Ok(())
}

/// `acceptCAfile`
pub(super) fn set_ca_file(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.accept.ca_file = Some(given(value)?.into());
    Ok(())
}

/// `acceptCiphers`
pub(super) fn set_ciphers(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.accept.ciphers = Some(given(value)?);
    Ok(())
}

/// `acceptProtocol`
pub(super) fn set_protocol(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.accept.protocol = Some(mail_protocol("acceptProtocol", value)?);
    Ok(())
}

/// Reads the value of an option that names a protocol of mail.
pub(super) fn mail_protocol(option: &str, value: &str) -> Result<MailProtocol, Fault> {
    // No misspelling of another one.
    let other = match dialogue::protocol(value) {
        Ok(known) => MailProtocol::of(known).is_none(),
        Err(_) => dialogue::is_refused(value),
    };
    if other {
        let fault = Fault::new(format!("adit does not serve `{option} = {value}`"));
        return Err(fault.help(match option {
            "loginProtocol" => "adit logs in for programs in smtp, pop3 and imap",
            _ => "STARTTLS is offered in smtp, pop3 and imap; without it TLS begins with the first byte",
        }));
    }
    let all = [MailProtocol::Smtp, MailProtocol::Pop3, MailProtocol::Imap];
    one_of(value, &all.map(|one| (name(one), one)))
}

/// `acceptSSLVersionMin`
pub(super) fn set_version_min(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.accept.version_min = super::tls_options::version(value)?;
    Ok(())
}

/// `acceptVerifyChain`
pub(super) fn set_verify_chain(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.accept.verification.chain = yes_no(value)?;
    Ok(())
}

/// `acceptVerifyPeer`
pub(super) fn set_verify_peer(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.accept.verification.peer = yes_no(value)?;
    Ok(())
}

/// Puts what the lines say into the service. `own`: what the section itself gave; as a default for every
/// service an option counts where it has a use.
pub(super) fn finish(
    service: &mut Service,
    given: Given,
    own: &BTreeSet<&'static str>,
    meant: &Meant,
    faults: &mut Faults,
) {
    if given.wish == Wish::No || !service.client {
        idle(service, &given, own, meant, faults);
        return;
    }
    if given.cert.is_none() && !meant.contains("acceptCert") {
        faults.error(
            "acceptTLS",
            "TLS server needs a certificate",
            "give `acceptCert = FILE` (and `acceptKey = FILE`)",
        );
    }
    let mut verification = given.verification;
    let verifies = verification.chain || verification.peer;
    verification.request = verifies;
    verification.require = verifies;
    if verifies && given.ca_file.is_none() && !meant.contains("acceptCAfile") {
        let option = match verification.chain {
            true => "acceptVerifyChain",
            false => "acceptVerifyPeer",
        };
        faults.error(
            option,
            "\"acceptCAfile\" has to be configured",
            "it names the certificates that clients are verified by: `acceptCAfile = FILE`",
        );
    }
    let beginning = beginning(service, &given, meant, faults);
    other_side(service, meant, faults);
    service.accept_tls = Some(Box::new(AcceptTls {
        tls: TlsOptions {
            cert: given.cert,
            key: given.key,
            key_password_file: service.tls.key_password_file.clone(),
            ca_file: given.ca_file,
            verification,
            version_min: given.version_min,
            ciphers: given.ciphers,
            ..TlsOptions::default()
        },
        beginning,
    }));
}

/// Warns of a lowest version that was probably meant for the clients: it is the server's.
fn other_side(service: &Service, meant: &Meant, faults: &mut Faults) {
    let given = |option: &str| service.origins.has(option) || meant.contains(option);
    let Some(min) = service.tls.version_min.filter(|min| *min < LOWEST) else {
        return;
    };
    let option = ["sslVersionMin", "sslVersion"]
        .into_iter()
        .find(|option| given(option));
    if let (Some(option), false) = (option, given("acceptSSLVersionMin")) {
        let version = version_name(min);
        faults.push(
            Severity::Warning,
            option,
            &format!(
                "`{option} = {version}` is for the server; the lowest version for clients is `acceptSSLVersionMin`, \
                 which is TLSv1.2 here"
            ),
            &format!(
                "old clients: `acceptSSLVersionMin = {version}` in its place; an old server: `acceptSSLVersionMin = \
                 TLSv1.2` besides"
            ),
        );
    }
}

/// Warns of options that have nothing to work on.
fn idle(
    service: &Service,
    given: &Given,
    own: &BTreeSet<&'static str>,
    meant: &Meant,
    faults: &mut Faults,
) {
    if meant.contains("client") || meant.contains("acceptTLS") {
        return;
    }
    let (why, help) = match service.client {
        true => (
            "without `acceptTLS = yes` or `auto`",
            "`acceptTLS = yes` gives clients TLS",
        ),
        false => (
            "in server mode, where clients speak TLS anyway",
            "in server mode the names without `accept` are for clients: `cert`, `key`, `CAfile`",
        ),
    };
    let wish = (given.wish != Wish::No).then_some("acceptTLS");
    for option in wish.into_iter().chain(OPTIONS) {
        if own.contains(option) {
            let text = format!("`{option}` has no effect {why}");
            faults.push(Severity::Warning, option, &text, help);
        }
    }
}

/// When TLS begins, and in which protocol it is offered.
fn beginning(service: &Service, given: &Given, meant: &Meant, faults: &mut Faults) -> Beginning {
    if let (Some(in_front), Some(behind)) = (given.protocol, service.protocol)
        && Protocol::from(in_front) != behind
        // These are between adit and a proxy.
        && !matches!(behind, Protocol::Connect | Protocol::Socks)
        && !meant.contains("protocol")
    {
        faults.error(
            "acceptProtocol",
            "`acceptProtocol` is another protocol than `protocol`",
            "both are what the client and the server speak with each other: give them the same value, or leave one out",
        );
    }
    let implied = spoken(service);
    if let (Some(given), Some(implied), None) = (given.protocol, implied, service.protocol)
        && given != implied
    {
        let (given, implied) = (name(given), name(implied));
        faults.push(
            Severity::Warning,
            "acceptProtocol",
            &format!("`acceptProtocol = {given}`, but `connect` has a port of {implied}"),
            "it is what the client and the server speak with each other",
        );
    }
    Beginning::Received(match (given.wish, given.protocol) {
        (Wish::Auto, given) => Reception::Offered(given.or(implied)),
        (_, Some(protocol)) => Reception::Required(protocol),
        (_, None) => return Beginning::AtOnce,
    })
}

/// As `acceptProtocol` gives it.
fn name(protocol: MailProtocol) -> &'static str {
    match protocol {
        MailProtocol::Smtp => "smtp",
        MailProtocol::Pop3 => "pop3",
        MailProtocol::Imap => "imap",
    }
}

/// The mail protocol that a service's configuration implies: that of `protocol`, or that of the port which
/// it connects to.
pub(super) fn spoken(service: &Service) -> Option<MailProtocol> {
    if let Some(protocol) = service.protocol {
        return MailProtocol::of(protocol);
    }
    let mut ports = service.connect.iter().map(|endpoint| match endpoint {
        Endpoint::Tcp { port, .. } => MailProtocol::at(*port),
        Endpoint::Unix(_) => None,
    });
    let first = ports.next()??;
    ports.all(|port| port == Some(first)).then_some(first)
}
