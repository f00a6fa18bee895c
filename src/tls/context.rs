//! A service's options to configurations of a library: everything is loaded here, while still root.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::ServerName;
use rustls::server::{NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::backend::{Backend, OptionNames, Terms};
use super::failure::{During, Failure, Offence};
use super::keys::PrivateKey;
use super::ocsp::Staple;
use super::revocation::{Lists, SharedLists};
use super::sessions::{self, ClientSessions, SharedSessions};
use super::tickets::Tickets;
use super::trust::{Authority, Ends, Trust};
use super::verification::Verifier;
use super::{
    CipherOrder, Handshake, PassPhrases, Problem, Resumption, Severity, ciphers, handshake, keys,
    old_signatures, psk, s2n, signatures,
};
use crate::config::{Endpoint, SecurityLevel, Service, TlsOptions, TlsVersion};
use crate::log::{Id, Log};

/// TLS 1.3 tickets after each handshake. Each resumes once; a mail program opens its next
/// connections while this one lives, so one is too few (OpenSSL sends two as well).
const TICKETS: usize = 2;

/// One end of a service that speaks TLS, as the configuration has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    service: &'a Service,
    options: &'a TlsOptions,
    /// It is the one that connects.
    client: bool,
}

impl<'a> Wanted<'a> {
    /// TLS on accepted connections, if there is to be any.
    pub(crate) fn accepted(service: &'a Service) -> Option<Self> {
        service.accepted_tls().map(|options| Self {
            service,
            options,
            client: false,
        })
    }

    /// TLS on the connections to `connect`, if there is to be any.
    pub(crate) fn connected(service: &'a Service) -> Option<Self> {
        service.connected_tls().map(|options| Self {
            service,
            options,
            client: true,
        })
    }

    /// What is wrong with the files that it names, each by itself; opens them. Keys that take
    /// a pass phrase stay closed. `jail` is the folder of chroot.
    pub(crate) fn look_at_files(&self, jail: Option<&Path>) -> Vec<Problem> {
        let silent = Log {
            level: 0,
            id: Id::Ui,
        };
        let mut problems = Vec::new();
        trusted(self.options, jail, &mut problems);
        let mut lists = SharedLists::default();
        lists.load(self.options, jail, algorithms(self), &silent, &mut problems);
        let unasked = PassPhrases::unasked("there are other errors");
        certified_key(self.options, &unasked, &mut problems, &silent);
        psk::load(self.options, self.client, &mut problems, &silent);
        self.name_options(problems)
    }

    /// The same problems, of the options that this end has: a client's other end has options of its own.
    pub(crate) fn name_options(&self, mut problems: Vec<Problem>) -> Vec<Problem> {
        if self.option_names() == OptionNames::Accepted {
            for problem in &mut problems {
                problem.option = match problem.option {
                    "cert" => "acceptCert",
                    "key" => "acceptKey",
                    "CAfile" => "acceptCAfile",
                    "ciphers" => "acceptCiphers",
                    "sslVersion" | "sslVersionMin" => "acceptSSLVersionMin",
                    "verifyChain" => "acceptVerifyChain",
                    "verifyPeer" => "acceptVerifyPeer",
                    other => other,
                };
            }
        }
        problems
    }

    pub(super) fn options(&self) -> &'a TlsOptions {
        self.options
    }

    pub(super) fn is_client(&self) -> bool {
        self.client
    }

    /// What its options are called.
    pub(super) fn option_names(&self) -> OptionNames {
        match self.service.client && !self.client {
            true => OptionNames::Accepted,
            false => OptionNames::Usual,
        }
    }

    /// Whether every `connect` entry, or `sni`, gives verifyServer something to compare with.
    fn has_name(&self) -> bool {
        let sni = self.options.sni.as_deref();
        let (dialogue, protocol) = (&self.service.dialogue, self.service.protocol);
        sni.is_some_and(|sni| !sni.is_empty())
            // `connect` is the proxy then.
            || dialogue.behind_proxy(protocol).is_some()
            || self
                .service
                .connect
                .iter()
                .all(|endpoint| matches!(endpoint, Endpoint::Tcp { host: Some(_), .. }))
    }
}

/// TLS on one end of a service, ready to use: certificates, keys and trust loaded.
#[derive(Debug)]
pub(crate) struct Context {
    role: Role,
    terms: Terms,
    /// See [`Context::certificate_ends`].
    ends: Option<i64>,
    /// See [`Context::public_key`].
    public_key: Option<[u8; 32]>,
    /// See [`Context::staple`].
    staple: Option<Arc<Staple>>,
}

#[derive(Debug)]
enum Role {
    Server(Serving),
    Client {
        config: Connecting,
        /// As `TlsOptions::sni`.
        sni: Option<String>,
        /// verifyServer: no handshake without a name.
        needs_name: bool,
    },
}

/// What is spoken, by library.
enum Suites {
    Rustls(CryptoProvider, Vec<&'static SupportedProtocolVersion>),
    S2n(s2n::Allowed),
}

#[derive(Debug)]
enum Serving {
    /// And what judges clients that are let in whatever they show.
    Rustls(Arc<ServerConfig>, Option<Arc<Verifier>>),
    S2n(Arc<s2n::Context>),
}

#[derive(Debug)]
enum Connecting {
    /// And what judges servers whose sessions are resumed, where responders are asked.
    Rustls(Arc<ClientConfig>, Option<Arc<Verifier>>),
    S2n(Arc<s2n::Context>),
}

impl Context {
    /// Loads what the service names, beside `lists` that others have named; `jail` is the folder of chroot. Runs in the master while it is still root; opens files.
    /// Gives warnings and notes along with it.
    ///
    /// # Errors
    /// Every problem found, not the first, warnings among them. Where [`PassPhrases::unasked`] leave a
    /// key locked, it may be no more than warnings.
    pub(crate) fn load(
        wanted: Wanted<'_>,
        jail: Option<&Path>,
        phrases: &PassPhrases,
        resumption: &Resumption,
        lists: &mut SharedLists,
        log: &Log,
    ) -> Result<(Context, Vec<Problem>), Vec<Problem>> {
        let Wanted {
            options, client, ..
        } = wanted;
        let mut problems = Vec::new();
        let suites = match wanted.backend().backend {
            Backend::Rustls => {
                let provider = provider(&wanted, &mut problems);
                let versions = versions(options, &provider, &mut problems);
                Suites::Rustls(provider, versions)
            }
            Backend::S2n => Suites::S2n(s2n::allowed(&wanted, &mut problems)),
        };
        let trusted = trusted(options, jail, &mut problems);
        let lists = lists.load(options, jail, algorithms(&wanted), log, &mut problems);
        let key = certified_key(options, phrases, &mut problems, log);
        if client && options.verification.server && !wanted.has_name() {
            problems.push(Problem::error(
                "verifyServer",
                "verifyServer needs a host name: give one in sni, as connect has none".into(),
            ));
        }
        problems.extend(too_small_a_key(
            options,
            key.as_ref().map(|(key, _)| &**key),
        ));
        let psk = psk::load(options, client, &mut problems, log);
        if !client && options.cert.is_none() && options.psk_secrets.is_none() {
            problems.push(Problem::error(
                "cert",
                "TLS server needs a certificate: set cert".into(),
            ));
        }
        // A key that is left unchecked leaves nothing to serve either.
        if failed(&problems) || key.is_none() && options.cert.is_some() {
            return Err(problems);
        }
        let (key, private) = key.unzip();
        let identity = Identity {
            own: identity(&wanted, &trusted, lists.as_deref(), key.as_deref()),
            shared: shared_identity(&wanted, &trusted, lists.as_deref()),
        };
        few_slots(&wanted, &mut problems);
        let staple = (key.as_ref().filter(|_| !client))
            .and_then(|key| Staple::of(key, &trusted, &resumption.staples, &mut problems));
        if staple.is_some() {
            crate::debug!(*log, "OCSP: Server OCSP stapling enabled");
        }
        let (trust, unusable) = Trust::new(trusted, ends(options), client);
        if unusable > 0 {
            problems.push(Problem::note(
                trust_option(options),
                format!("{unusable} trusted certificate(s) cannot be parsed and are left out"),
            ));
        }
        // Nothing in it at all is told elsewhere.
        let empty = trust.names().len() == 0;
        if options.verification.chain && !empty && !trust.ends_paths() {
            problems.push(Problem::warning(
                trust_option(options),
                "verifyChain accepts no peer with it, as with stunnel: each certificate in it was issued \
                 by an authority that is not in it; add the root, which is self-signed"
                    .into(),
            ));
        }
        log_trusted(client, &trust, log);
        let algorithms =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        problems.extend(
            lists
                .iter()
                .flat_map(|lists| lists.remarks(options, &trust)),
        );
        let verifier = Verifier::new(options, client, trust, algorithms).with_lists(lists);
        let verifier = match (&suites, options.security_level) {
            (Suites::S2n(_), level) => verifier.at_level(level),
            (Suites::Rustls(..), level @ (SecurityLevel::Two | SecurityLevel::Three)) => {
                verifier.at_level(level)
            }
            (Suites::Rustls(..), level) => {
                problems.push(Problem::note(
                    "securityLevel",
                    format!(
                        "`securityLevel = {level}` has no effect with TLS by rustls, which takes keys as of level 2; \
                         `sslVersionMin = TLSv1` reaches peers that are older"
                    ),
                ));
                verifier
            }
        };
        let shown = key.as_deref().and_then(|key| key.cert.first());
        let (ends, public_key) = shown.map(|der| (end_of(der), public_key_of(der))).unzip();
        let terms = Terms::of(&wanted);
        let role = match suites {
            Suites::Rustls(provider, versions) if client => {
                connecting(options, provider, &versions, verifier, key)
            }
            Suites::Rustls(provider, versions) => {
                let shown = resolver(key, staple.as_ref());
                accepting(
                    options, provider, &versions, verifier, shown, resumption, identity,
                )
            }
            Suites::S2n(allowed) => {
                let parts = s2n::Parts {
                    options,
                    allowed,
                    terms,
                    client,
                    key: key.zip(private),
                    staple: staple.clone(),
                    psk,
                    verifier,
                    resumption,
                    identity,
                };
                s2n::load(parts).map(|context| match client {
                    true => Role::client(Connecting::S2n(context), options),
                    false => Role::Server(Serving::S2n(context)),
                })
            }
        };
        match role {
            Ok(role) if !failed(&problems) => {
                let context = Context {
                    role,
                    terms,
                    ends: ends.flatten(),
                    public_key: public_key.flatten(),
                    staple,
                };
                Ok((context, problems))
            }
            Ok(_) => Err(problems),
            Err(error) => {
                problems.push(error);
                Err(problems)
            }
        }
    }

    /// When the certificate ends that is shown to peers, in seconds since 1970; `None`: none is.
    pub(crate) fn certificate_ends(&self) -> Option<i64> {
        self.ends
    }

    /// SHA-256 of the SubjectPublicKeyInfo of the certificate that is shown to peers; `None`: none is. Two
    /// services with the same one have the same key.
    pub(crate) fn public_key(&self) -> Option<[u8; 32]> {
        self.public_key
    }

    /// What is stapled to the certificate; `None`: nothing ever is.
    pub(crate) fn staple(&self) -> Option<&Arc<Staple>> {
        self.staple.as_ref()
    }

    /// Whether it serves clients by RSA key exchange: whatever is told of its key then opens connections,
    /// also earlier ones.
    pub(crate) fn exchanges_by_rsa(&self) -> bool {
        match &self.role {
            Role::Server(Serving::S2n(context)) => context.exchanges_by_rsa(),
            Role::Server(Serving::Rustls(..)) | Role::Client { .. } => false,
        }
    }

    /// Begins a handshake, in the role that the service's `client` gives. `upstream` is the host
    /// name of the `connect` entry in use (client mode; the SNI when `sni` is not given), `None`
    /// for a Unix socket.
    ///
    /// # Errors
    /// The library refuses to begin, or there is no name to verify.
    pub(crate) fn begin(&self, upstream: Option<&str>, log: &Log) -> Result<Handshake, Failure> {
        match &self.role {
            Role::Server(Serving::Rustls(config, judge)) => {
                let judge = judge.clone();
                handshake::Handshake::accept(config, self.terms, judge).map(Handshake::Rustls)
            }
            Role::Server(Serving::S2n(context)) => Ok(Handshake::S2n(Box::new(context.accept()))),
            Role::Client {
                config,
                sni,
                needs_name,
            } => {
                let asked = sni.as_deref().filter(|sni| !sni.is_empty()).or(upstream);
                let name = asked.and_then(|name| ServerName::try_from(name.to_owned()).ok());
                if name.is_none() && *needs_name {
                    return Err(Failure::new(During::Connect, Offence::NoServerName));
                }
                let sends = sni.as_deref() != Some("");
                match &name {
                    Some(ServerName::DnsName(name)) if sends => {
                        crate::info!(*log, "SNI: sending servername: {}", name.as_ref());
                    }
                    // An address is no server name (RFC 6066, section 3).
                    _ => crate::info!(*log, "SNI: extension disabled"),
                }
                let (config, judge) = match config {
                    Connecting::Rustls(config, judge) => (config, judge.clone()),
                    Connecting::S2n(context) => {
                        if let Some(identity) = context.shows() {
                            crate::info!(*log, "PSK client configured for identity \"{identity}\"");
                        }
                        let begun = context.connect(name, sends)?;
                        return Ok(Handshake::S2n(Box::new(begun)));
                    }
                };
                // rustls wants some name, to find sessions by; for an address it sends none.
                let name = name.unwrap_or(ServerName::IpAddress(
                    std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED).into(),
                ));
                let begun = handshake::Handshake::connect(config, name, self.terms, judge);
                begun.map(Handshake::Rustls)
            }
        }
    }
}

impl Role {
    fn client(config: Connecting, options: &TlsOptions) -> Self {
        Role::Client {
            config,
            sni: options.sni.clone(),
            needs_name: options.verification.server,
        }
    }
}

/// Hashes over what a resumed session must agree with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    /// What is kept here, and tickets by a secret that was drawn here.
    pub(super) own: [u8; 32],
    /// Tickets by secrets that other machines have too.
    pub(super) shared: [u8; 32],
}

/// Notes where there is no room for as many sessions as are asked for.
fn few_slots(wanted: &Wanted<'_>, problems: &mut Vec<Problem>) {
    let [modern, old] = sessions::KEPT;
    let room = match wanted.backend().backend {
        Backend::Rustls => modern,
        Backend::S2n => old,
    };
    let asked = wanted.options.sessions.cache_size;
    if asked.is_some_and(|asked| asked as usize > room) && !wanted.client {
        let text = format!(
            "no more than {room} sessions are kept, for all services together; tickets, which nearly all \
             clients take, need no room"
        );
        problems.push(Problem::note("sessionCacheSize", text));
    }
}

fn failed(problems: &[Problem]) -> bool {
    problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
}

fn trust_option(options: &TlsOptions) -> &'static str {
    match (&options.ca_file, &options.ca_path) {
        (Some(_), _) => "CAfile",
        (None, Some(_)) => "CApath",
        (None, None) => "verifyServer",
    }
}

/// verifyChain is stunnel's, verifyServer a browser's.
fn ends(options: &TlsOptions) -> Ends {
    match options.verification.server && !options.verification.chain {
        true => Ends::Authorities,
        false => Ends::Roots,
    }
}

/// Suites and groups.
fn provider(wanted: &Wanted<'_>, problems: &mut Vec<Problem>) -> CryptoProvider {
    fn choose<T>(
        option: &'static str,
        list: Option<&str>,
        read: impl Fn(&str) -> Result<ciphers::Chosen<T>, String>,
        default: Vec<T>,
        problems: &mut Vec<Problem>,
    ) -> Vec<T> {
        match list.map(read) {
            None => default,
            Some(Ok(chosen)) => {
                let notes = chosen.notes.into_iter();
                problems.extend(notes.map(|text| Problem::note(option, text)));
                let warning = chosen.warning.into_iter();
                problems.extend(warning.map(|text| Problem::warning(option, text)));
                chosen.usable
            }
            Some(Err(text)) => {
                problems.push(Problem::error(option, text));
                default
            }
        }
    }
    let (options, names) = (wanted.options(), wanted.option_names());
    let order = CipherOrder::of(options.prefer_chacha20);
    let mut cipher_suites = choose(
        "ciphersuites",
        options.ciphersuites.as_deref(),
        ciphers::ciphersuites,
        ciphers::default_ciphersuites(order),
        problems,
    );
    cipher_suites.extend(choose(
        "ciphers",
        options.ciphers.as_deref(),
        |list| ciphers::ciphers(list, names),
        ciphers::default_ciphers(order),
        problems,
    ));
    let kx_groups = choose(
        "curves",
        options.curves.as_deref(),
        ciphers::curves,
        ciphers::default_curves(),
        problems,
    );
    CryptoProvider {
        cipher_suites,
        kx_groups,
        ..rustls::crypto::aws_lc_rs::default_provider()
    }
}

/// Whether a server goes by its own order: its client's would cost it AES without AES instructions. A
/// list that is given for the other TLS version is then gone by in its order too.
fn leads(options: &TlsOptions) -> bool {
    let low = options.version_min.unwrap_or(TlsVersion::V1_2);
    let high = options.version_max.unwrap_or(TlsVersion::V1_3);
    let speaks = |version| (low..=high).contains(&version);
    let unnamed = speaks(TlsVersion::V1_3) && options.ciphersuites.is_none()
        || speaks(TlsVersion::V1_2) && options.ciphers.is_none();
    unnamed && CipherOrder::of(options.prefer_chacha20).chacha20_first
}

/// Those that are asked for and have suites.
fn versions(
    options: &TlsOptions,
    provider: &CryptoProvider,
    problems: &mut Vec<Problem>,
) -> Vec<&'static SupportedProtocolVersion> {
    let low = options.version_min.unwrap_or(TlsVersion::V1_2);
    let high = options.version_max.unwrap_or(TlsVersion::V1_3);
    let has_suites = |version: &SupportedProtocolVersion| {
        let mut suites = provider.cipher_suites.iter();
        suites.any(|suite| suite.version().version == version.version)
    };
    let versions: Vec<_> = [(TlsVersion::V1_3, &TLS13), (TlsVersion::V1_2, &TLS12)]
        .into_iter()
        .filter(|(version, _)| (low..=high).contains(version))
        .map(|(_, version)| version)
        .filter(|version| has_suites(version))
        .collect();
    if versions.is_empty() {
        // That TLS 1.3 is left would be said besides, wrongly.
        problems.retain(|problem| problem.option != "ciphers");
        let text = format!(
            "no cipher match: adit has no suite of this list, and TLS 1.3 is not asked for; it has {}",
            ciphers::names_of_ciphers()
        );
        problems.push(Problem::error("ciphers", text));
    }
    versions
}

/// What CAfile and CApath hold; for verifyServer without either, the system's roots.
fn trusted(
    options: &TlsOptions,
    jail: Option<&Path>,
    problems: &mut Vec<Problem>,
) -> Vec<Authority> {
    let mut certificates = Vec::new();
    let files = options.ca_file.as_deref().map(keys::ca_file);
    let folders = options.ca_path.as_deref();
    let mut notes = Vec::new();
    let folders = folders.map(|path| keys::ca_path(jail, path, &mut notes));
    if verifies(options) {
        problems.append(&mut notes);
    }
    for loaded in [files, folders].into_iter().flatten() {
        match loaded {
            Ok(more) => certificates.extend(more),
            Err(problem) if verifies(options) => problems.push(problem),
            Err(problem) => problems.push(unused(&problem)),
        }
    }
    if options.verification.server && options.ca_file.is_none() && options.ca_path.is_none() {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let reason = found
                .errors
                .first()
                .map_or_else(|| "none is installed".into(), ToString::to_string);
            problems.push(Problem::error(
                "verifyServer",
                format!(
                    "the system has no trusted certificates ({reason}): \
                     install the package ca-certificates, or give CAfile"
                ),
            ));
        }
        certificates.extend(found.certs.into_iter().map(Authority::from));
    }
    certificates
}

/// Whether the peer's certificate is judged at all.
fn verifies(options: &TlsOptions) -> bool {
    let asked = options.verification;
    asked.chain || asked.peer || asked.server
}

/// Trusted certificates that cannot be had, and that nothing is judged by.
fn unused(problem: &Problem) -> Problem {
    let text = format!(
        "{}; nothing uses it, as this service verifies no certificate",
        problem.text
    );
    Problem::note(problem.option, text)
}

/// What signatures of revocation lists are checked by: the same as those of certificates.
fn algorithms(wanted: &Wanted<'_>) -> WebPkiSupportedAlgorithms {
    let modern = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    match wanted.backend().backend {
        Backend::Rustls => modern,
        Backend::S2n => old_signatures::of_level(wanted.options.security_level, modern),
    }
}

fn end_of(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

fn public_key_of(der: &[u8]) -> Option<[u8; 32]> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let hash = digest::digest(&digest::SHA256, certificate.public_key().raw);
    hash.as_ref().try_into().ok()
}

fn certified_key(
    options: &TlsOptions,
    phrases: &PassPhrases,
    problems: &mut Vec<Problem>,
    log: &Log,
) -> Option<(Arc<CertifiedKey>, PrivateKey)> {
    let cert = options.cert.as_deref()?;
    match keys::identity(options, cert, phrases, problems) {
        Ok(found) if found.pkcs12 && found.key_file == cert => {
            let path = cert.display();
            crate::info!(*log, "Certificate and private key loaded from file: {path}");
            Some((found.key, found.private))
        }
        Ok(found) => {
            crate::info!(*log, "Certificate loaded from file: {}", cert.display());
            let path = found.key_file.display();
            crate::info!(*log, "Private key loaded from file: {path}");
            Some((found.key, found.private))
        }
        Err(more) => {
            problems.extend(more);
            None
        }
    }
}

/// What is wrong with our own key at the security level that is asked for.
fn too_small_a_key(options: &TlsOptions, key: Option<&CertifiedKey>) -> Option<Problem> {
    let level = options.security_level;
    if level < SecurityLevel::Three {
        return None;
    }
    let (_, certificate) = X509Certificate::from_der(key?.cert.first()?).ok()?;
    let bits = signatures::smaller_than(level.smallest_rsa(), &certificate)?;
    let text = format!(
        "ee key too small: it has {bits} bits, and `securityLevel = {level}` wants RSA of {} bits, or ECDSA",
        level.smallest_rsa()
    );
    Some(Problem::error("cert", text))
}

fn log_trusted(client: bool, trust: &Trust, log: &Log) {
    // The system's roots are many and known: not one line each.
    if !log.enabled(6) || trust.names().len() > 32 {
        return;
    }
    let whose = if client { "server" } else { "client" };
    for name in trust.names() {
        crate::info!(*log, "Configured trusted {whose} CA: {name}");
    }
}

/// The same for tickets of servers on several machines, which share their secrets: what a client has to
/// prove counts, not the certificate, the files and the addresses of one of them.
fn shared_identity(wanted: &Wanted<'_>, trusted: &[Authority], lists: Option<&Lists>) -> [u8; 32] {
    let options = wanted.options;
    let asked = (
        &wanted.service.name,
        options.verification,
        options.redirects,
        &options.subject,
    );
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(format!("{asked:?}").as_bytes());
    for authority in trusted {
        for part in [
            &authority.der,
            authority.settings.as_deref().unwrap_or_default(),
        ] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.update(lists.map(Lists::digest).unwrap_or_default());
    *super::finished(hash)
}

/// A hash over what a resumed session must agree with: a session that was made under other trust, other
/// revocation lists, other checks or another certificate, or in another service, is not taken up again.
fn identity(
    wanted: &Wanted<'_>,
    trusted: &[Authority],
    lists: Option<&Lists>,
    key: Option<&CertifiedKey>,
) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(wanted.service.name.as_bytes());
    part(format!("{:?}", wanted.options).as_bytes());
    part(&(trusted.len() as u64).to_be_bytes());
    for authority in trusted {
        part(&authority.der);
        part(authority.settings.as_deref().unwrap_or_default());
    }
    lists.into_iter().for_each(|lists| part(lists.digest()));
    key.into_iter()
        .flat_map(|key| &key.cert)
        .for_each(|der| part(der));
    *super::finished(hash)
}

/// What rustls finds wrong with the whole: suites and versions that do not go together.
fn refused(error: rustls::Error) -> Problem {
    Problem::error(
        "sslVersion",
        format!("the TLS versions, ciphers, ciphersuites and curves do not go together: {error}"),
    )
}

fn connecting(
    options: &TlsOptions,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Verifier,
    key: Option<Arc<CertifiedKey>>,
) -> Result<Role, Problem> {
    let verifier = Arc::new(verifier);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Verifier>::clone(&verifier));
    let judge = options.ocsp.asks().then_some(verifier);
    let role = |config| {
        let connecting = Connecting::Rustls(Arc::new(config), judge);
        Ok(Role::client(connecting, options))
    };
    let mut config = match key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = options.sni.as_deref() != Some("");
    config.enable_secret_extraction = true;
    if options.sessions.none {
        config.resumption = rustls::client::Resumption::disabled();
        return role(config);
    }
    let sessions = match options.ocsp.asks() {
        // One of TLS 1.2 is there before responders have said what they think of the server; TLS 1.3 has its
        // tickets after that.
        true => ClientSessions::without_tls12(),
        false => ClientSessions::default(),
    };
    config.resumption = rustls::client::Resumption::store(Arc::new(sessions)).tls12_resumption(
        if options.no_ticket {
            rustls::client::Tls12Resumption::SessionIdOnly
        } else {
            rustls::client::Tls12Resumption::SessionIdOrTickets
        },
    );
    role(config)
}

/// How a server resumes sessions.
fn resume(
    config: &mut ServerConfig,
    options: &TlsOptions,
    resumption: &Resumption,
    identity: Identity,
) -> Result<(), Problem> {
    if options.sessions.none {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        return Ok(());
    }
    config.send_tls13_tickets = TICKETS;
    let sessions = SharedSessions::new(resumption.modern.sessions.clone(), identity.own);
    config.session_storage = Arc::new(sessions.within(&options.sessions));
    if !options.no_ticket {
        let (secret, identity) = resumption.modern.tickets(&options.sessions, identity)?;
        let lifetime = options.sessions.lifetime;
        config.ticketer = Arc::new(Tickets::new(&secret, &identity, lifetime));
    }
    Ok(())
}

/// What a server shows, with what is stapled to it if something is.
fn resolver(
    key: Option<Arc<CertifiedKey>>,
    staple: Option<&Arc<Staple>>,
) -> Option<Arc<dyn ResolvesServerCert>> {
    match staple {
        Some(staple) => Some(Arc::<Staple>::clone(staple)),
        None => Some(Arc::new(SingleCertAndKey::from(key?))),
    }
}

fn accepting(
    options: &TlsOptions,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Verifier,
    shown: Option<Arc<dyn ResolvesServerCert>>,
    resumption: &Resumption,
    identity: Identity,
) -> Result<Role, Problem> {
    let shown = shown
        .ok_or_else(|| Problem::error("cert", "TLS server needs a certificate: set cert".into()))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .map_err(refused)?;
    let verifier = Arc::new(verifier);
    let judge = verifier.redirects().then(|| Arc::clone(&verifier));
    let builder = if options.verification.request {
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_client_cert_verifier(Arc::new(NoClientAuth))
    };
    let mut config = builder.with_cert_resolver(shown);
    config.ignore_client_order = options.server_preference || leads(options);
    config.alpn_protocols = options
        .alpn
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    config.enable_secret_extraction = true;
    resume(&mut config, options, resumption, identity)?;
    Ok(Role::Server(Serving::Rustls(Arc::new(config), judge)))
}
