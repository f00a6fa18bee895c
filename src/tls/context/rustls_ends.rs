//! A configuration of rustls for one end: its suites and versions, what it shows, and how it resumes. Never in
//! here: a file.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

use super::identity::Identity;
use super::{Connecting, Role, Serving, Wanted};
use crate::config::{TlsOptions, TlsVersion};
use crate::tls::client_sessions::ClientSessions;
use crate::tls::key_block::remembering;
use crate::tls::ocsp::Staple;
use crate::tls::sessions::SharedSessions;
use crate::tls::tickets::Tickets;
use crate::tls::verification::Verifier;
use crate::tls::{CipherOrder, Problem, Resumption, ciphers, level};

/// TLS 1.3 tickets after each handshake. Each resumes once; a mail program opens its next
/// connections while this one lives, so one is too few (OpenSSL sends two as well).
const TICKETS: usize = 2;

/// Suites and groups.
pub(super) fn provider(wanted: &Wanted<'_>, problems: &mut Vec<Problem>) -> CryptoProvider {
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
        ciphers::default_curves(options.security_level),
        problems,
    );
    let mut provider = CryptoProvider {
        cipher_suites: cipher_suites.into_iter().map(remembering).collect(),
        kx_groups,
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    level::restrict(options, names, &mut provider, problems);
    provider
}

/// Those that are asked for and have suites.
pub(super) fn versions(
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

pub(super) fn connecting(
    options: &TlsOptions,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Verifier,
    key: Option<Arc<CertifiedKey>>,
) -> Result<Role, Problem> {
    let sessions = Arc::new(match options.ocsp.asks() {
        // One of TLS 1.2 is there before responders have said what they think of the server; TLS 1.3 has its
        // tickets after that.
        true => ClientSessions::without_tls12(),
        false => ClientSessions::default(),
    });
    let verifier = Arc::new(verifier.bounding(Arc::clone(&sessions)));
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
    config.alpn_protocols = protocols(options);
    config.enable_sni = options.sni.as_deref() != Some("");
    config.enable_secret_extraction = true;
    if options.sessions.none {
        config.resumption = rustls::client::Resumption::disabled();
        return role(config);
    }
    config.resumption =
        rustls::client::Resumption::store(sessions).tls12_resumption(if options.no_ticket {
            rustls::client::Tls12Resumption::SessionIdOnly
        } else {
            rustls::client::Tls12Resumption::SessionIdOrTickets
        });
    role(config)
}

pub(super) fn accepting(
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
    config.alpn_protocols = protocols(options);
    config.enable_secret_extraction = true;
    resume(&mut config, options, resumption, identity)?;
    Ok(Role::Server(Serving::Rustls(Arc::new(config), judge)))
}

/// The names of ALPN as they are sent.
fn protocols(options: &TlsOptions) -> Vec<Vec<u8>> {
    let names = options.alpn.iter();
    names.map(|name| name.as_bytes().to_vec()).collect()
}

/// What a server shows, with what is stapled to it if something is.
pub(super) fn resolver(
    key: Option<Arc<CertifiedKey>>,
    staple: Option<&Arc<Staple>>,
) -> Option<Arc<dyn ResolvesServerCert>> {
    match staple {
        Some(staple) => Some(Arc::<Staple>::clone(staple)),
        None => Some(Arc::new(SingleCertAndKey::from(key?))),
    }
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

/// What rustls finds wrong with the whole: suites and versions that do not go together.
fn refused(error: rustls::Error) -> Problem {
    Problem::error(
        "sslVersion",
        format!("the TLS versions, ciphers, ciphersuites and curves do not go together: {error}"),
    )
}
