//! A service's options to configurations of a library: everything is loaded here, while still root.

mod identity;
mod own;
mod rustls_ends;
mod trusting;
mod wanted;

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

use identity::{identity, shared_identity};
use own::{certified_key, end_of, public_key_of};
use rustls_ends::{accepting, connecting, provider, resolver, versions};
use trusting::{algorithms, ends, log_trusted, trust_option, trusted};

use super::backend::{Backend, Terms};
use super::failure::{During, Failure, Offence};
use super::ocsp::Staple;
use super::revocation::SharedLists;
use super::trust::Trust;
use super::verification::Verifier;
use super::{
    Handshake, PassPhrases, Problem, Resumption, Severity, handshake, level, psk, s2n, schemes,
    sessions,
};
use crate::config::{Front, SecurityLevel, TlsOptions};
use crate::log::Log;
use crate::memory;

pub(super) use identity::Identity;
pub(crate) use wanted::Wanted;

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
        let _wiping = memory::Wiping::begin();
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
        problems.extend(level::too_weak(
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
        let key = match &suites {
            Suites::Rustls(_, versions) => {
                problems.extend(schemes::problems(options, client, key.as_deref(), versions));
                key.map(|key| schemes::keep_to(options, client, key))
            }
            Suites::S2n(_) => key,
        };
        let identity = Identity {
            own: identity(&wanted, &trusted, lists.as_deref(), key.as_deref()),
            shared: shared_identity(&wanted, &trusted, lists.as_deref()),
        };
        few_slots(&wanted, &mut problems);
        let staple = (key.as_ref().filter(|_| !client))
            .and_then(|key| Staple::of(key, &trusted, &resumption.staples, &mut problems));
        if let Some(staple) = &staple {
            crate::debug!(*log, "OCSP: Server OCSP stapling enabled");
            too_late(&wanted, staple, &mut problems);
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
            (Suites::Rustls(..), level) if level >= SecurityLevel::Two => verifier.at_level(level),
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

/// In inetd mode no answer is there in time, since nothing waits for a responder.
fn too_late(wanted: &Wanted<'_>, staple: &Staple, problems: &mut Vec<Problem>) {
    if wanted.service.front == Front::Inetd && staple.is_demanded() {
        let text = "the certificate demands a stapled OCSP response (must-staple), and in inetd mode there is none: \
                    clients that look at it will refuse it; let adit listen itself (`accept`)";
        problems.push(Problem::warning("cert", text.into()));
    }
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
