//! The options of one service.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::accepted::{self, AcceptTls, Beginning};
use super::admission::{self, Admission};
use super::commands::{self, Decided};
use super::dialogue::{self, DialogueOptions, Protocol};
use super::endpoint::{Endpoint, Ports};
use super::global::PreferChaCha20;
use super::ocsp::{self, Ocsp};
use super::option::{Fault, OptionDef, Scope, given, number, one_of, seconds, yes_no};
use super::program::{self, Front, Program};
use super::sessions::{self, SessionOptions};
use super::socket::{self, SocketOption};
use super::subject::{self, SubjectChecks};
use super::tls_options::{self, TlsFlags};
use super::transparent::{self, Transparent};
use super::value::{Origin, Origins};
use super::versions::Asked;
use super::virtual_hosts::VirtualHost;

/// `failover = rr | prio`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failover {
    /// Start at the next entry each time.
    RoundRobin,
    /// Start at the first entry each time (the default).
    Priority,
}

/// `logId = sequential | unique | thread | process`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogId {
    /// The connection's number, counted over all workers (the default).
    Sequential,
    /// A random identifier, unique over machines.
    Unique,
    /// The relay thread's system thread id.
    Thread,
    /// The worker's process id.
    Process,
}

/// A TLS protocol version adit can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    /// RFC 2246
    V1_0,
    /// RFC 4346
    V1_1,
    /// RFC 5246
    V1_2,
    /// RFC 8446
    V1_3,
}

/// What `verify`, `verifyChain`, `verifyPeer`, `requireCert`, `verifyServer` come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PeerVerification {
    /// Ask the peer for a certificate (server mode; a TLS server always sends one).
    pub request: bool,
    /// A peer without a certificate is refused.
    pub require: bool,
    /// The chain must end at a certificate of CAfile/CApath (verify 2, verifyChain).
    pub chain: bool,
    /// The leaf itself must be in CAfile/CApath (verify 3 and 4, verifyPeer).
    pub peer: bool,
    /// verifyServer: the system's roots unless CAfile/CApath is given, and the name in `sni` or `connect`.
    pub server: bool,
}

/// The waiting times of the relay, as in stunnel(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// Waiting for expected data (handshake, dialogue). Default 300 s.
    pub busy: Duration,
    /// Waiting for close_notify. Default 60 s.
    pub close: Duration,
    /// Waiting to connect. Default 10 s.
    pub connect: Duration,
    /// An idle connection is ended after this. Default 43200 s.
    pub idle: Duration,
    /// Waiting for one OCSP responder. Default 5 s.
    pub ocsp: Duration,
}

/// `securityLevel`: OpenSSL's levels (SSL_CTX_set_security_level(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum SecurityLevel {
    /// Any key.
    Zero,
    /// 80 bits of security.
    One,
    /// 112 bits.
    #[default]
    Two,
    /// 128 bits; forward secrecy, TLS 1.1 and later, no session tickets.
    Three,
}

impl SecurityLevel {
    /// The smallest RSA key, in bits.
    pub(crate) fn smallest_rsa(self) -> usize {
        match self {
            SecurityLevel::Zero => 0,
            SecurityLevel::One => 1024,
            SecurityLevel::Two => 2048,
            SecurityLevel::Three => 3072,
        }
    }
}

impl std::fmt::Display for SecurityLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (*self as u8).fmt(f)
    }
}

/// Reads `securityLevel`.
fn security_level(value: &str) -> Result<SecurityLevel, Fault> {
    match number(value, 0..=5)? {
        0 => Ok(SecurityLevel::Zero),
        1 => Ok(SecurityLevel::One),
        2 => Ok(SecurityLevel::Two),
        3 => Ok(SecurityLevel::Three),
        level => {
            let why = match level {
                4 => "it wants signatures with SHA-384 all the way up, and RSA keys of 7680 bits",
                _ => "it wants key exchanges on P-521, and RSA keys of 15360 bits",
            };
            let fault = Fault::new(format!(
                "adit cannot keep to `securityLevel = {level}`: {why}"
            ));
            Err(fault.help("0 to 3 are served; 2 is the default"))
        }
    }
}

/// The options of one TLS end of a service. Only `tls` reads them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TlsOptions {
    /// Certificate chain, PEM, or PKCS#12 with the key in it.
    pub cert: Option<PathBuf>,
    /// Private key, PEM or PKCS#12; default: the file of `cert`.
    pub key: Option<PathBuf>,
    /// Pass phrases for the key, one a line.
    pub key_password_file: Option<PathBuf>,
    /// Trusted certificates, one file.
    pub ca_file: Option<PathBuf>,
    /// Trusted certificates, a folder.
    pub ca_path: Option<PathBuf>,
    /// Revocation lists, one file.
    pub crl_file: Option<PathBuf>,
    /// Revocation lists, a folder.
    pub crl_path: Option<PathBuf>,
    /// What is asked of the peer's certificate.
    pub verification: PeerVerification,
    /// Server mode: a client whose certificate is missing or not valid is let in, and told apart (`redirect`).
    pub redirects: bool,
    /// What responders are asked about it.
    pub ocsp: Ocsp,
    /// What it must have in it.
    pub subject: SubjectChecks,
    /// Client mode: the name to send. `None`: the host of `connect`; `Some("")`: send none.
    pub sni: Option<String>,
    /// Client mode: the host of the first `connect` (`localhost` where it has none, nothing for a
    /// Unix socket), for verifyServer, and for SNI where `sni` is not given.
    pub connect_host: Option<String>,
    /// Lowest version spoken, what `options = NO_TLSv1_2` and its like say included. Default TLS 1.2.
    pub version_min: Option<TlsVersion>,
    /// Highest version spoken, what `options = NO_TLSv1_3` says included. Default TLS 1.3.
    pub version_max: Option<TlsVersion>,
    /// TLS 1.2 suites, an OpenSSL cipher list.
    pub ciphers: Option<String>,
    /// TLS 1.3 suites, colon separated.
    pub ciphersuites: Option<String>,
    /// Groups, colon separated, OpenSSL's names.
    pub curves: Option<String>,
    /// Pre-shared keys.
    pub psk_secrets: Option<PathBuf>,
    /// Client mode: the identity to show. `None`: the first in the file.
    pub psk_identity: Option<String>,
    /// Which peers' keys are taken.
    pub security_level: SecurityLevel,
    /// How sessions are resumed.
    pub sessions: SessionOptions,
    /// `options = NO_TICKET`
    pub no_ticket: bool,
    /// `options = DISABLE_TLSEXT_CA_NAMES`: clients are not told which authorities are trusted.
    pub no_ca_names: bool,
    /// `options = CIPHER_SERVER_PREFERENCE`: our order rules.
    pub server_preference: bool,
    /// Server mode: the protocols of ALPN; a client that offers others alone is refused.
    pub alpn: &'static [&'static str],
    /// Server mode: what a client shows in its handshake is kept for the dialogue with the server.
    pub introduces: bool,
    /// The global option: which cipher comes first without `ciphersuites` or `ciphers`.
    pub prefer_chacha20: PreferChaCha20,
}

/// One `[section]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// The section's name.
    pub name: String,
    /// Addresses to accept on.
    pub accept: Vec<Endpoint>,
    /// Addresses to connect to.
    pub connect: Vec<Endpoint>,
    /// Server mode: addresses to connect clients to that show no valid certificate. Empty: they are refused.
    pub redirect: Vec<Endpoint>,
    /// The program behind it; or, as [`Front::Program`], before it.
    pub program: Option<Box<Program>>,
    /// Where its clients come from.
    pub front: Front,
    /// Client mode: plain front, TLS back. Otherwise TLS front, plain back.
    pub client: bool,
    /// The order in which `connect` is tried.
    pub failover: Failover,
    /// Resolve `connect` at each connection.
    pub delay: bool,
    /// Source address for connecting.
    pub local: Option<String>,
    /// Which addresses are the client's.
    pub transparent: Transparent,
    /// setsockopt calls.
    pub socket: Vec<SocketOption>,
    /// Pass an RST on as an RST. Default yes.
    pub reset: bool,
    /// What stands in a log line's brackets.
    pub log_id: LogId,
    /// Highest level this service logs; the global one unless given.
    pub debug: u8,
    /// Waiting times.
    pub timeouts: Timeouts,
    /// The dialogue before TLS.
    pub protocol: Option<Protocol>,
    /// What it is told.
    pub dialogue: DialogueOptions,
    /// Owner of a Unix accept socket; as stunnel, the global `setuid` unless the section has its own.
    pub setuid: Option<String>,
    /// Group of a Unix accept socket; as with `setuid`.
    pub setgid: Option<String>,
    /// Clients may come from anywhere: TLS below 1.2 is served to them, and so is a plain listener.
    pub accept_anywhere: bool,
    /// Which clients it takes.
    pub admission: Admission,
    /// TLS on the end that `client` says.
    pub tls: TlsOptions,
    /// `acceptTLS` in client mode: TLS on accepted connections as well.
    pub accept_tls: Option<Box<AcceptTls>>,
    /// `sni` in server mode: it accepts nothing itself, and its primary service hands it clients.
    pub virtual_host: Option<VirtualHost>,
    /// The indices of the services that it is the primary of, in the order of the file.
    pub secondaries: Vec<usize>,
    /// What a secondary one has of it.
    pub asked: Asked,
    /// Where each option that was given was written, by its canonical name; `""` is the section line.
    pub origins: Origins,
}

impl Service {
    /// TLS on accepted connections, if it is there.
    pub(crate) fn accepted_tls(&self) -> Option<&TlsOptions> {
        match self.client {
            true => self.accept_tls.as_deref().map(|accept| &accept.tls),
            false => Some(&self.tls),
        }
    }

    /// How TLS begins on accepted connections, if it is there; in server mode a dialogue may come before it.
    pub(crate) fn beginning(&self) -> Option<Beginning> {
        match self.client {
            true => self.accept_tls.as_deref().map(|accept| accept.beginning),
            false => Some(Beginning::AtOnce),
        }
    }

    /// TLS on the connections to `connect`, if it is there.
    pub(crate) fn connected_tls(&self) -> Option<&TlsOptions> {
        self.client.then_some(&self.tls)
    }

    /// The protocol in which something is said to the server first within TLS, before the client is heard.
    pub(crate) fn begins_within_tls(&self) -> Option<Protocol> {
        let begins = |protocol: &Protocol| match protocol {
            Protocol::Smtp => self.dialogue.account().is_some(),
            Protocol::Socks => true,
            _ => false,
        };
        let protocol = self.protocol.filter(|_| self.client);
        protocol.filter(begins)
    }

    /// Server mode: the dialogue that comes before TLS.
    pub(crate) fn dialogue_before_tls(&self) -> Option<Protocol> {
        let before = |protocol: &Protocol| !matches!(protocol, Protocol::Socks | Protocol::Proxy);
        self.protocol.filter(before).filter(|_| !self.client)
    }

    /// The same, if it is held with a server that is connected by then.
    pub(crate) fn connects_before_tls(&self) -> bool {
        self.dialogue_before_tls()
            .is_some_and(|protocol| !protocol.opens_alone())
    }

    /// Whether it accepts on a socket that systemd passes.
    pub(crate) fn takes_passed_socket(&self) -> bool {
        self.accept.is_empty() && self.virtual_host.is_none() && self.front == Front::Listener
    }

    /// What was decided beyond what its options ask for holds for its secondary services as well; `lowest` was
    /// the lowest version before.
    pub(super) fn hold_secondaries_to(&mut self, lowest: Option<TlsVersion>) {
        let tls = &self.tls;
        if tls.version_min != lowest {
            self.asked.min = tls.version_min;
        }
        if tls.no_ticket {
            self.asked.flags = self.asked.flags.with(TlsFlags::NO_TICKET);
        }
    }

    /// The TLS of both ends, as far as it is there.
    pub(crate) fn each_tls(&self) -> impl Iterator<Item = &TlsOptions> {
        self.accepted_tls().into_iter().chain(self.connected_tls())
    }
}

/// A service while its options are read: what is before the first section is one too, and each
/// section begins as a copy of it.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) service: Service,
    /// What `acceptTLS` and its like say.
    pub(super) accept: accepted::Given,
    /// What `acceptFrom` and its like say.
    pub(super) admission: admission::Given,
    /// What `exec` and its like say.
    pub(super) program: program::Given,
    /// This is the part before the first section.
    pub(super) defaults: bool,
    /// What this system calls its ports.
    pub(super) ports: Ports,
    /// What the section itself gave, and did not inherit.
    pub(super) own: BTreeSet<&'static str>,
    /// Options that unknown names were probably meant to be: they count as given.
    pub(super) meant: BTreeSet<&'static str>,
    /// Options that adit does not serve, given with a value.
    pub(super) asked: BTreeSet<&'static str>,
    /// Those that may ask for nothing, with their values: only the whole service tells.
    pub(super) undecided: Vec<(&'static OptionDef, String, Origin)>,
    /// What `config` says.
    pub(super) commands: commands::Said,
    /// `options` that were set, and those taken back.
    pub(super) flags: TlsFlags,
    pub(super) flags_cleared: TlsFlags,
    /// These three, as they stand before the first section.
    pub(super) general: (commands::Said, TlsFlags, TlsFlags),
}

impl Draft {
    /// Before the defaults of the table are put in.
    pub(super) fn blank() -> Self {
        let service = Service {
            name: String::new(),
            accept: Vec::new(),
            connect: Vec::new(),
            redirect: Vec::new(),
            program: None,
            front: Front::Listener,
            client: false,
            failover: Failover::Priority,
            delay: false,
            local: None,
            transparent: Transparent::default(),
            socket: Vec::new(),
            reset: true,
            log_id: LogId::Sequential,
            debug: 0,
            timeouts: Timeouts {
                busy: Duration::ZERO,
                close: Duration::ZERO,
                connect: Duration::ZERO,
                idle: Duration::ZERO,
                ocsp: Duration::ZERO,
            },
            protocol: None,
            dialogue: DialogueOptions::default(),
            setuid: None,
            setgid: None,
            accept_anywhere: false,
            admission: Admission::default(),
            tls: TlsOptions::default(),
            accept_tls: None,
            virtual_host: None,
            secondaries: Vec::new(),
            asked: Asked::default(),
            origins: Origins::new(),
        };
        Draft {
            service,
            accept: accepted::Given::default(),
            admission: admission::Given::default(),
            program: program::Given::default(),
            defaults: true,
            ports: |_| None,
            own: BTreeSet::new(),
            meant: BTreeSet::new(),
            asked: BTreeSet::new(),
            undecided: Vec::new(),
            commands: commands::Said::default(),
            flags: TlsFlags::default(),
            flags_cleared: TlsFlags::default(),
            general: Default::default(),
        }
    }

    /// What a section begins with, where this is what stands before the first one.
    pub(super) fn for_section(&self) -> Self {
        let mut draft = self.clone();
        draft.defaults = false;
        draft.general = (
            std::mem::take(&mut draft.commands),
            std::mem::take(&mut draft.flags),
            std::mem::take(&mut draft.flags_cleared),
        );
        draft
    }

    /// What the section itself decides.
    fn decides(&self) -> Decided {
        let own = |names: &[&str]| names.iter().any(|name| self.own.contains(name));
        let said = self.commands.decides();
        Decided {
            min: said.min || own(&["sslVersion", "sslVersionMin"]),
            max: said.max || own(&["sslVersion", "sslVersionMax"]),
            ciphers: said.ciphers || own(&["ciphers"]),
            ciphersuites: said.ciphersuites || own(&["ciphersuites"]),
            curves: said.curves || own(&["curves"]),
            flags: said.flags.with(self.flags).with(self.flags_cleared),
        }
    }

    /// Puts what `config` and `options` say, here and before the first section, in its place. Returns the
    /// flags that hold, and what the section itself decides.
    pub(super) fn apply_commands(&mut self) -> (TlsFlags, Decided) {
        let decided = self.decides();
        let (commands, set, cleared) = std::mem::take(&mut self.general);
        let cleared = cleared.with(self.flags_cleared);
        let flags = set.with(self.flags).without(cleared);
        let commands = std::mem::take(&mut self.commands).over(commands);
        (commands.apply(&mut self.service, flags), decided)
    }
}

#[cfg(test)]
impl Service {
    /// Gives a client service TLS with its clients, from the first byte.
    pub(crate) fn accept_tls_at_once(&mut self, tls: TlsOptions) {
        let beginning = Beginning::AtOnce;
        self.accept_tls = Some(Box::new(AcceptTls { tls, beginning }));
    }

    /// One of which nothing is configured, for tests that need some service.
    pub(crate) fn blank() -> Service {
        Draft::blank().service
    }
}

/// `verify = LEVEL`, as stunnel takes it apart.
fn verify_level(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let level = number(value, 0..=4).map_err(|_| {
        Fault::new("Bad verify level").help("0 to 4; better: verifyChain, verifyPeer")
    })?;
    let verification = &mut draft.service.tls.verification;
    verification.request = true;
    verification.require = level >= 2;
    verification.chain = (1..=3).contains(&level);
    verification.peer = level >= 3;
    Ok(())
}

/// `verifyChain`, `verifyPeer`, `requireCert` ask for a certificate along with what they say; `no`
/// takes back only what they say, as in stunnel.
fn verify_flag(
    draft: &mut Draft,
    value: &str,
    flag: fn(&mut PeerVerification) -> &mut bool,
) -> Result<(), Fault> {
    let on = yes_no(value)?;
    let verification = &mut draft.service.tls.verification;
    if on {
        verification.request = true;
        verification.require = true;
    }
    *flag(verification) = on;
    Ok(())
}

/// The value, unless it is empty.
fn filled(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

/// A value that has nothing but a place to go to.
macro_rules! store {
    ($draft:ident . $($field:ident).+ = $value:expr) => {{
        $draft.service.$($field).+ = $value;
        Ok(())
    }};
}

const fn option(name: &'static str, syntax: &'static str, doc: &'static str) -> OptionDef {
    OptionDef::new(name, Scope::Service, syntax, doc)
}

/// The table of the options of a service.
#[rustfmt::skip]
pub(super) static OPTIONS: &[OptionDef] = &[
    option("accept", "[HOST:]PORT | /PATH", "address to accept connections on, or a Unix socket")
        .example("accept = 127.0.0.1:2110").unless_given("none; every service needs one").repeatable()
        .service(|draft, value| { let address = Endpoint::parse(value, true, draft.ports)?; draft.service.accept.push(address); Ok(()) }),
    option("acceptAnywhere", "yes | no", "clients may come from anywhere: no warning of a plain `accept`, old TLS on public addresses")
        .example("acceptAnywhere = yes").defaults(&["no"]).own()
        .service(|draft, value| store!(draft.accept_anywhere = yes_no(value)?)),
    option("acceptCAfile", "FILE", "with `acceptTLS`: file of certificates that clients are verified by")
        .example("acceptCAfile = /etc/adit/lan-ca.crt").unless_given("none").own().service(accepted::set_ca_file),
    option("acceptCert", "FILE", "with `acceptTLS`: certificate chain for clients, our own certificate first; or PKCS#12")
        .example("acceptCert = /etc/adit/lan.crt").unless_given("none; `acceptTLS` needs one").own().service(accepted::set_cert),
    option("acceptCiphers", "CIPHER_LIST", "with `acceptTLS`: cipher suites up to TLS 1.2 for clients, in OpenSSL's words")
        .example("acceptCiphers = ECDHE+AESGCM").unless_given("all that are served, see `preferChaCha20`").own().service(accepted::set_ciphers),
    option("acceptFrom", "NETWORKS", "addresses and networks that clients may come from, parted by commas")
        .example("acceptFrom = 192.0.2.0/24, 2001:db8::/32").unless_given("anywhere").repeatable().own().service(admission::set_accept),
    option("acceptKey", "FILE", "private key of `acceptCert`, PEM or PKCS#12; unless given, it is in the same file")
        .example("acceptKey = /etc/adit/lan.key").unless_given("the file of `acceptCert`").own().service(accepted::set_key),
    option("acceptProtocol", "smtp | pop3 | imap", "with `acceptTLS`: clients may start TLS by STARTTLS of this protocol")
        .example("acceptProtocol = smtp").unless_given("`auto` goes by `protocol` or by the port in `connect`; `yes` offers none").own().service(accepted::set_protocol),
    option("acceptSSLVersionMin", "TLSv1 | TLSv1.1 | TLSv1.2 | TLSv1.3", "with `acceptTLS`: lowest TLS version for clients")
        .example("acceptSSLVersionMin = TLSv1").unless_given("TLSv1.2").own().service(accepted::set_version_min),
    option("acceptTLS", "no | yes | auto", "client mode: the client speaks TLS too, each side in its own way; `auto`: as the client does")
        .example("acceptTLS = yes").defaults(&["no"]).own().service(accepted::set_wish),
    option("acceptVerifyChain", "yes | no", "with `acceptTLS`: a client's chain must end at a certificate of `acceptCAfile`")
        .example("acceptVerifyChain = yes").defaults(&["no"]).own().service(accepted::set_verify_chain),
    option("acceptVerifyPeer", "yes | no", "with `acceptTLS`: a client's own certificate must be in `acceptCAfile`")
        .example("acceptVerifyPeer = yes").defaults(&["no"]).own().service(accepted::set_verify_peer),
    option("CAfile", "FILE", "file of trusted certificates")
        .example("CAfile = /etc/adit/partners.pem").unless_given("none").empty_is_none()
        .service(|draft, value| store!(draft.tls.ca_file = filled(value).map(Into::into))),
    option("CApath", "DIRECTORY", "folder of trusted certificates, named by their hashes")
        .example("CApath = /etc/ssl/certs").unless_given("none").empty_is_none()
        .service(|draft, value| store!(draft.tls.ca_path = filled(value).map(Into::into))),
    option("cert", "FILE", "certificate chain, our own first, or PKCS#12 with the key; a server staples its OCSP answer")
        .example("cert = /etc/adit/mail.example.com.crt").unless_given("none; a server needs one")
        .service(|draft, value| store!(draft.tls.cert = Some(given(value)?.into()))),
    option("checkCN", "NAME", "common name that the peer's certificate must have as its last; or as the other checks say")
        .example("checkCN = backup").unless_given("any").repeatable().own().service(subject::add_common_name),
    option("checkEmail", "EMAIL", "mail address that the peer's certificate must have")
        .example("checkEmail = operator@example.com").unless_given("any").repeatable().service(subject::add_email),
    option("checkHost", "HOST", "host name that the peer's certificate must have")
        .example("checkHost = mail.example.com").unless_given("any").repeatable().service(subject::add_host),
    option("checkIP", "IP", "address that the peer's certificate must have")
        .example("checkIP = 192.0.2.25").unless_given("any").repeatable().service(subject::add_ip),
    option("checkOU", "NAME", "organizational unit that the peer's certificate must have")
        .example("checkOU = backups").unless_given("any").repeatable().own().service(subject::add_unit),
    option("checkPin", "sha256//BASE64[;...]", "hash of the public key that the peer must have, as in `curl --pinnedpubkey`")
        .example("checkPin = sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=").unless_given("any").repeatable().own().service(subject::add_pin),
    option("checkURI", "URI", "URI that the peer's certificate must have, as a SPIFFE ID; the whole is compared")
        .example("checkURI = spiffe://example.org/mail").unless_given("any").repeatable().own().service(subject::add_uri),
    option("ciphers", "CIPHER_LIST", "cipher suites of TLS 1.2, in OpenSSL's words")
        .example("ciphers = ECDHE+AESGCM").unless_given("all that are served, see `preferChaCha20`")
        .service(|draft, value| store!(draft.tls.ciphers = Some(given(value)?))),
    option("ciphersuites", "CIPHERSUITES_LIST", "cipher suites of TLS 1.3")
        .example("ciphersuites = TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256").unless_given("all, see `preferChaCha20`")
        .service(|draft, value| store!(draft.tls.ciphersuites = Some(given(value)?))),
    option("client", "yes | no", "client mode: the remote side speaks TLS")
        .example("client = yes").defaults(&["no"])
        .service(|draft, value| store!(draft.client = yes_no(value)?)),
    option("config", "COMMAND:VALUE", "OpenSSL's MinProtocol, MaxProtocol, Protocol, CipherString, Ciphersuites, Groups, Options")
        .example("config = MinProtocol:TLSv1.3").unless_given("none").repeatable().service(commands::set),
    option("connect", "[HOST:]PORT | /PATH", "address to connect to, or a Unix socket")
        .example("connect = pop.example.com:995").unless_given("none; every service needs one").repeatable()
        .service(|draft, value| { let address = Endpoint::parse(value, false, draft.ports)?; draft.service.connect.push(address); Ok(()) }),
    option("CRLfile", "FILE", "revocation lists (PEM) that verified peers are looked up in")
        .example("CRLfile = /etc/adit/partners.crl").unless_given("none").empty_is_none()
        .service(|draft, value| store!(draft.tls.crl_file = filled(value).map(Into::into))),
    option("CRLpath", "DIRECTORY", "folder of revocation lists, named by their issuers' hashes, read at a start or reload")
        .example("CRLpath = /etc/adit/crls").unless_given("none").empty_is_none()
        .service(|draft, value| store!(draft.tls.crl_path = filled(value).map(Into::into))),
    option("curves", "LIST", "groups of the key exchange")
        .example("curves = X25519MLKEM768:X25519:P-256").unless_given("all that are served, X25519MLKEM768 first")
        .service(|draft, value| store!(draft.tls.curves = Some(given(value)?))),
    option("delay", "yes | no", "resolve `connect` at each connection")
        .example("delay = yes").defaults(&["no"])
        .service(|draft, value| store!(draft.delay = yes_no(value)?)),
    option("denyFrom", "NETWORKS", "addresses and networks that no client may come from, whatever `acceptFrom` says")
        .example("denyFrom = 198.51.100.0/24").unless_given("none").repeatable().own().service(admission::set_deny),
    option("exec", "PATH", "program behind the service, as inetd starts one; with `connect` and no `accept`, before it")
        .example("exec = /usr/sbin/in.fingerd").unless_given("none")
        .service(|draft, value| { draft.program.path = Some(given(value)?.into()); Ok(()) }),
    option("execArgs", "$0 $1 $2 ...", "arguments of `exec`, its name first; blanks part them, and quotes mean nothing")
        .example("execArgs = in.fingerd -w").unless_given("the path in `exec`")
        .service(program::set_args),
    option("failover", "rr | prio", "order in which several `connect` are tried")
        .example("failover = rr").defaults(&["prio"])
        .service(|draft, value| store!(draft.failover = one_of(value, &[
            ("rr", Failover::RoundRobin), ("prio", Failover::Priority),
        ])?)),
    option("ident", "USERNAME", "the user that a client's connection must belong to, as its machine says (IDENT, RFC 1413)")
        .example("ident = mail").unless_given("none is asked for").service(admission::set_ident),
    option("key", "FILE", "private key of `cert`, PEM or PKCS#12; unless given, it is in the same file")
        .example("key = /etc/adit/mail.example.com.key").unless_given("the file of `cert`")
        .service(|draft, value| store!(draft.tls.key = Some(given(value)?.into()))),
    option("keyPasswordFile", "FILE", "file with the pass phrase of an encrypted key; several, one a line, are tried in turn")
        .example("keyPasswordFile = /etc/adit/mail.example.com.pass").unless_given("asked for at a start on a terminal").own()
        .service(|draft, value| store!(draft.tls.key_password_file = Some(given(value)?.into()))),
    option("libwrap", "yes | no", "ask /etc/hosts.allow and /etc/hosts.deny, by the service's name, whether a client may connect")
        .example("libwrap = yes").defaults(&["no"]).service(admission::set_libwrap),
    option("local", "HOST", "source address for connecting")
        .example("local = 192.0.2.7").unless_given("the system chooses")
        .service(|draft, value| store!(draft.local = Some(given(value)?))),
    option("logId", "sequential | unique | thread | process", "what names a connection in the log")
        .example("logId = unique").defaults(&["sequential"])
        .service(|draft, value| store!(draft.log_id = one_of(value, &[
            ("sequential", LogId::Sequential), ("unique", LogId::Unique),
            ("thread", LogId::Thread), ("process", LogId::Process),
        ])?)),
    option("OCSP", "URL", "OCSP responder to ask about the peer's certificate; with `verifyChain` or `verifyServer`")
        .example("OCSP = http://ocsp.example.com/").unless_given("none").empty_is_none()
        .service(ocsp::set_url),
    option("OCSPaia", "yes | no", "ask the OCSP responders that the peer's certificates name")
        .example("OCSPaia = yes").defaults(&["no"])
        .service(|draft, value| store!(draft.tls.ocsp.aia = yes_no(value)?)),
    option("OCSPflag", "OCSP_FLAG", "NOINTERN: the issuer itself must answer; OpenSSL's other words change nothing")
        .example("OCSPflag = NOINTERN").unless_given("none").repeatable()
        .service(ocsp::set_flag),
    option("OCSPnonce", "yes | no", "each OCSP answer must be fresh; public responders give no such")
        .example("OCSPnonce = yes").defaults(&["no"])
        .service(|draft, value| store!(draft.tls.ocsp.nonce = yes_no(value)?)),
    option("OCSPrequire", "yes | no", "refuse a peer unless a responder gives a conclusive answer")
        .example("OCSPrequire = no").defaults(&["yes"])
        .service(|draft, value| store!(draft.tls.ocsp.require = yes_no(value)?)),
    option("options", "SSL_OPTIONS", "option of the TLS library in OpenSSL's words; `-` takes it back")
        .example("options = NO_TLSv1_2").unless_given("none").repeatable()
        .service(|draft, value| tls_options::set(&mut draft.flags, &mut draft.flags_cleared, value)),
    option("protocol", "PROTOCOL", "the dialogue before TLS, or first within it: one of those under \"Dialogues\"")
        .example("protocol = smtp").unless_given("none: TLS from the first byte")
        .service(|draft, value| store!(draft.protocol = Some(dialogue::protocol(value)?))),
    option("protocolAuthentication", "basic | ntlm | plain | login", "client mode: how to log in; `basic` or `ntlm` at the proxy of `connect`, the others by SMTP")
        .example("protocolAuthentication = login").unless_given("connect: basic; smtp: plain").service(dialogue::set_authentication),
    option("protocolDomain", "DOMAIN", "protocol = connect, `protocolAuthentication = ntlm`: the domain of `protocolUsername`")
        .example("protocolDomain = OFFICE").unless_given("none").service(dialogue::set_domain),
    option("protocolHeader", "HEADER", "client mode, protocol = connect: an extra header line for the request")
        .example("protocolHeader = User-Agent: adit").unless_given("none").repeatable().secret().service(dialogue::set_header),
    option("protocolHost", "HOST | HOST:PORT", "client mode: the name for EHLO (smtp), or the server behind the proxy (connect, socks)")
        .example("protocolHost = www.example.com:443").unless_given("smtp: localhost; connect needs it; socks: where the client wanted to go before it was redirected (iptables)").empty_is_none().service(dialogue::set_host),
    option("protocolPassword", "PASSWORD", "client mode, protocol = connect or smtp: the password of `protocolUsername`")
        .example("protocolPassword = correct horse").unless_given("no login").secret().service(dialogue::set_password),
    option("protocolUsername", "USERNAME", "client mode, protocol = connect or smtp: the user name to log in with")
        .example("protocolUsername = office").unless_given("no login").service(dialogue::set_username),
    option("proxyVersion", "1 | 2", "protocol = proxy: the header's version; 2 also tells of the client's TLS and certificate")
        .example("proxyVersion = 2").defaults(&["1"]).own().service(dialogue::set_proxy_version),
    option("PSKidentity", "IDENTITY", "client mode: the identity in the file of `PSKsecrets` to show to the server")
        .example("PSKidentity = office").unless_given("the first one in the file")
        .service(|draft, value| store!(draft.tls.psk_identity = Some(value.to_owned()))),
    option("PSKsecrets", "FILE", "pre-shared keys for TLS 1.3: `IDENTITY:KEY` a line, hexadecimal or text; without resumption")
        .example("PSKsecrets = /etc/adit/psk.txt").unless_given("none")
        .service(|draft, value| store!(draft.tls.psk_secrets = Some(given(value)?.into()))),
    option("pty", "yes | no", "a pseudoterminal for the program of `exec`")
        .example("pty = yes").defaults(&["no"])
        .service(|draft, value| { draft.program.pty = yes_no(value)?; Ok(()) }),
    option("redirect", "[HOST:]PORT", "server mode: where clients without a valid certificate are connected to")
        .example("redirect = 127.0.0.1:8080").unless_given("they are refused").repeatable()
        .service(|draft, value| { let address = Endpoint::parse(value, true, draft.ports)?; draft.service.redirect.push(address); Ok(()) }),
    option("requireCert", "yes | no", "refuse a peer without a certificate")
        .example("requireCert = yes").defaults(&["no"])
        .service(|draft, value| verify_flag(draft, value, |verification| &mut verification.require)),
    option("reset", "yes | no", "pass a reset on as a reset")
        .example("reset = no").defaults(&["yes"])
        .service(|draft, value| store!(draft.reset = yes_no(value)?)),
    option("retry", "yes | no | MILLISECONDS", "start `exec` with `connect` again, this long after its session; yes: 1000")
        .example("retry = 5000").defaults(&["no"])
        .service(|draft, value| { draft.program.retry = program::retry(value)?; Ok(()) }),
    option("securityLevel", "0 | 1 | 2 | 3", "2: RSA of 2048 bits; 3: 3072, forward secrecy; with old TLS also 1: 1024; 0: any, SHA-1")
        .example("securityLevel = 1").defaults(&["2"])
        .service(|draft, value| store!(draft.tls.security_level = security_level(value)?)),
    option("sessionCacheSize", "NUM_ENTRIES", "sessions to keep by their identifier, for clients without tickets; 0: as many as fit")
        .example("sessionCacheSize = 1000").unless_given("as many as fit: 2048 in all services, 4096 in those with old TLS")
        .service(sessions::set_cache_size),
    option("sessionCacheTimeout", "SECONDS", "time for which a session can be resumed")
        .example("sessionCacheTimeout = 300").unless_given("six to twelve hours, as the keys for tickets last")
        .service(sessions::set_lifetime),
    option("sessionResume", "yes | no", "resume sessions")
        .example("sessionResume = no").defaults(&["yes"]).service(sessions::set_resume),
    option("sni", "SERVER_NAME | SERVICE:PATTERN", "name to send; server mode: serves clients of SERVICE that ask for such a name")
        .example("sni = mail.example.com").unless_given("the host in `connect`; in server mode none")
        .service(|draft, value| store!(draft.tls.sni = Some(value.to_owned()))),
    option("socket", "a|l|r:OPTION=VALUE[:VALUE]", "socket option of the accepting, local or remote socket")
        .example("socket = r:SO_KEEPALIVE=yes").repeatable()
        .defaults(&["a:SO_REUSEADDR=yes", "l:TCP_NODELAY=yes", "r:TCP_NODELAY=yes"])
        .service(|draft, value| socket::set(&mut draft.service.socket, value)),
    option("sslVersion", "TLSv1 | TLSv1.1 | TLSv1.2 | TLSv1.3 | all", "the one TLS version to speak")
        .example("sslVersion = TLSv1.3").unless_given("what sslVersionMin and sslVersionMax say")
        .service(|draft, value| {
            let version = tls_options::version(value)?;
            draft.service.tls.version_min = version;
            draft.service.tls.version_max = version;
            Ok(())
        }),
    option("sslVersionMax", "TLSv1 | TLSv1.1 | TLSv1.2 | TLSv1.3 | all", "highest TLS version to speak")
        .example("sslVersionMax = TLSv1.3").defaults(&["all"])
        .service(|draft, value| store!(draft.tls.version_max = tls_options::version(value)?)),
    option("sslVersionMin", "TLSv1 | TLSv1.1 | TLSv1.2 | TLSv1.3 | all", "lowest TLS version to speak; `all`: TLSv1.2")
        .example("sslVersionMin = TLSv1.3").defaults(&["all"])
        .service(|draft, value| {
            draft.service.tls.version_min = tls_options::version_min(value)?;
            match tls_options::is_broken(value) {
                true => Err(tls_options::never_spoken(value)),
                false => Ok(()),
            }
        }),
    option("ticketKeySecret", "SECRET", "secret of the keys for tickets, 16 or 32 bytes in hexadecimal, for servers that share them")
        .example("ticketKeySecret = WHAT `openssl rand -hex 32` SAYS").unless_given("drawn at the start, together with ticketMacSecret").secret()
        .service(sessions::set_ticket_key),
    option("ticketMacSecret", "SECRET", "the second such secret; both are given together")
        .example("ticketMacSecret = WHAT IT SAYS THE NEXT TIME").unless_given("drawn at the start").secret()
        .service(sessions::set_ticket_mac),
    option("TIMEOUTbusy", "SECONDS", "time to wait for expected data")
        .example("TIMEOUTbusy = 60").defaults(&["300"])
        .service(|draft, value| seconds(&mut draft.service.timeouts.busy, value)),
    option("TIMEOUTclose", "SECONDS", "time to wait for close_notify")
        .example("TIMEOUTclose = 10").defaults(&["60"])
        .service(|draft, value| seconds(&mut draft.service.timeouts.close, value)),
    option("TIMEOUTconnect", "SECONDS", "time to wait for a connection")
        .example("TIMEOUTconnect = 5").defaults(&["10"])
        .service(|draft, value| seconds(&mut draft.service.timeouts.connect, value)),
    option("TIMEOUTidle", "SECONDS", "time after which an idle connection ends")
        .example("TIMEOUTidle = 3600").defaults(&["43200"])
        .service(|draft, value| seconds(&mut draft.service.timeouts.idle, value)),
    option("TIMEOUTocsp", "SECONDS", "time to wait for an OCSP responder")
        .example("TIMEOUTocsp = 10").defaults(&["5"])
        .service(|draft, value| seconds(&mut draft.service.timeouts.ocsp, value)),
    option("transparent", "none | source | destination | both", "connect from the client's address, to where it wanted to go, or both")
        .example("transparent = source").defaults(&["none"])
        .service(transparent::set),
    option("verify", "LEVEL", "0 to 4: obsolete, see verifyChain and verifyPeer")
        .example("verify = 2").unless_given("no verification")
        .service(verify_level),
    option("verifyChain", "yes | no", "the peer's chain must end at a trusted certificate")
        .example("verifyChain = yes").defaults(&["no"])
        .service(|draft, value| verify_flag(draft, value, |verification| &mut verification.chain)),
    option("verifyPeer", "yes | no", "the peer's own certificate must be among the trusted ones")
        .example("verifyPeer = yes").defaults(&["no"])
        .service(|draft, value| verify_flag(draft, value, |verification| &mut verification.peer)),
    option("verifyServer", "yes | no", "client mode: verify as a browser does, with the system's roots and the name")
        .example("verifyServer = yes").defaults(&["no"]).own()
        .service(|draft, value| store!(draft.tls.verification.server = yes_no(value)?)),
];
