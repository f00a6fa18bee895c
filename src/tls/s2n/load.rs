//! From a service's options to a configuration of s2n-tls. Never in here: a file, which `context` has read
//! before.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::bindings::{Ask, Config, Identity, Policy};
use super::policies::{self, Allowed, Authentication, BadList, TLS13};
use super::psk;
use super::store::{ClientSessions, TicketKeys};
use super::{Context, Role};
use crate::config::{SecurityLevel, SignatureLists, TlsOptions};
use crate::tls::backend::{self, OptionNames, Terms};
use crate::tls::keys::PrivateKey;
use crate::tls::ocsp::Staple;
use crate::tls::psk::PreSharedKeys;
use crate::tls::sessions::SharedSessions;
use crate::tls::tickets::{epoch_for, unix_time};
use crate::tls::verification::Verifier;
use crate::tls::{Problem, Resumption, Wanted, armour, ciphers, context};

/// TLS 1.3 tickets after each handshake, as for rustls.
const TICKETS: u8 = 2;
/// How long a key still seals after its epoch, in seconds: a handshake that began before its end.
const GRACE: u64 = 60 * 60;

/// What `context` has loaded for this end.
pub(crate) struct Parts<'a> {
    pub(crate) options: &'a TlsOptions,
    pub(crate) allowed: Allowed,
    pub(crate) terms: Terms,
    pub(crate) client: bool,
    pub(crate) key: Option<(Arc<CertifiedKey>, PrivateKey)>,
    /// What is stapled to its certificate, if something is.
    pub(crate) staple: Option<Arc<Staple>>,
    pub(crate) psk: Option<PreSharedKeys>,
    pub(crate) verifier: Verifier,
    pub(crate) resumption: &'a Resumption,
    /// A hash over what a resumed session must agree with.
    pub(crate) identity: context::Identity,
}

/// Makes the end ready.
///
/// # Errors
/// A list that nothing serves; s2n does not start, or takes no key of this kind.
pub(crate) fn load(parts: Parts<'_>) -> Result<Arc<Context>, Problem> {
    let Parts {
        options,
        allowed,
        terms,
        client,
        key,
        staple,
        psk,
        verifier,
        resumption,
        identity,
    } = parts;
    let names = terms.names;
    super::start().map_err(|error| Problem::error(names.version_min(), error.to_string()))?;
    let authentication = match &key {
        Some((key, _)) => Some(kind_of(key).ok_or_else(|| {
            let text =
                "with TLS 1.0 and 1.1, with PSKsecrets, and with the suites asked for, only RSA \
                        and ECDSA keys are served: get one of these"
                    .to_owned();
            Problem::error("cert", text)
        })?),
        None => None,
    };
    let keys = (key.as_ref()).map(|(chain, key)| loaded(&chain.cert, key).map(Arc::new));
    let own = keys.transpose().map_err(|name| {
        let text = format!("s2n-tls does not take this certificate and its key ({name})");
        Problem::error("cert", text)
    })?;
    let asked = options.verification;
    let require = asked.require && !options.redirects;
    let ask = match (client, asked.request, require) {
        // A server may ask for one.
        (true, ..) => Ask::Request,
        (false, true, true) => Ask::Require,
        (false, true, false) => Ask::Request,
        (false, false, _) => Ask::No,
    };
    // What a client shows a key with it takes no hybrid group for.
    let hybrids = !(client && psk.is_some());
    let policy = allowed.policy(hybrids).map_err(|name| {
        let text = format!("s2n-tls has no policy of this kind ({name})");
        Problem::error(names.ciphers(), text)
    })?;
    // s2n gives no ticket where a pre-shared key was used.
    let psk_alone = psk.is_some() && (client || key.is_none());
    let stapled = staple.zip(key.map(|(_, private)| private));
    let sessions = &options.sessions;
    let resumes = !psk_alone && !sessions.none && (client || ask == Ask::No);
    let keys = match client {
        true => None,
        false => {
            let (secret, identity) = resumption.old.tickets(sessions, identity)?;
            Some(TicketKeys::new(&secret, &identity))
        }
    };
    let configs = Configs {
        policy: Arc::new(policy),
        own,
        stapled,
        ask,
        tickets: resumes && !options.no_ticket,
        judges: verifier.judges(),
        asks_for_status: verifier.looks_at_status(),
        protocols: options.alpn.clone(),
        store: (!client && resumes).then(|| {
            let words = resumption.old.sessions.clone();
            let store = SharedSessions::of_s2n(words, identity.own);
            Arc::new(store.within(sessions))
        }),
        keys,
        lifetime: sessions.lifetime.map(u64::from),
        made: Mutex::new(None),
    };
    // What s2n refuses is told now.
    configs.current().map_err(|name| {
        let text = format!("s2n-tls refuses what is asked for ({name})");
        Problem::error(names.version_min(), text)
    })?;
    let role = match client {
        true => Role::Client {
            // A resumed session has no certificate to ask responders about.
            sessions: match sessions.none || options.ocsp.asks() {
                true => ClientSessions::none(),
                false => ClientSessions::default(),
            },
            psk,
        },
        false => Role::Server {
            key: authentication,
            psk,
        },
    };
    Ok(Arc::new(Context {
        configs,
        allowed,
        verifier,
        terms,
        role,
    }))
}

/// Versions and suites of an end. What is wrong with the lists goes to `problems`.
pub(crate) fn allowed(wanted: &Wanted<'_>, problems: &mut Vec<Problem>) -> Allowed {
    let (options, names) = (wanted.options(), wanted.option_names());
    let low = backend::lowest(options).into();
    let high = backend::highest(options).into();
    if options.curves.is_some() {
        let text = "curves has no effect here: s2n-tls has P-256, P-384 and P-521";
        problems.push(Problem::note("curves", text.into()));
    }
    if options.signatures != SignatureLists::of_level(options.security_level) {
        let text = "SignatureAlgorithms and ClientSignatureAlgorithms cannot be kept to here: s2n-tls, which serves \
                    TLS below 1.2, its ciphers and pre-shared keys, signs in an order of its own; leave them out, \
                    or have a service of its own for old peers";
        problems.push(Problem::error("config", text.into()));
    }
    if options.psk_secrets.is_some() {
        return psk::allowed(options, wanted.is_client(), (low, high), problems);
    }
    let mut suites = match &options.ciphers {
        None => policies::default_suites(low),
        Some(list) => listed(list, names, problems),
    };
    let level = options.security_level;
    let named = !suites.is_empty();
    suites.retain(|code| of_level(level, *code));
    if named && suites.is_empty() && low < TLS13 {
        problems.push(none_of_level(level, names.ciphers()));
    }
    if high == TLS13 {
        let tls13 = tls13(options, problems);
        if tls13.is_empty() {
            let text = "s2n-tls has none of these, so TLS 1.3 is not spoken; it has \
                        TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
            problems.push(Problem::warning("ciphersuites", text.into()));
        }
        suites.extend(tls13);
    }
    Allowed {
        low,
        high,
        suites,
        level,
    }
}

/// Whether a suite is good enough for `securityLevel`.
pub(super) fn of_level(level: SecurityLevel, code: u16) -> bool {
    policies::find(code).is_some_and(|suite| suite.is_of(level))
}

/// Those of TLS 1.3 that are asked for and good enough.
pub(super) fn tls13(options: &TlsOptions, problems: &mut Vec<Problem>) -> BTreeSet<u16> {
    let level = options.security_level;
    let mut suites = policies::tls13(options.ciphersuites.as_deref());
    let named = !suites.is_empty();
    suites.retain(|code| of_level(level, *code));
    if named && suites.is_empty() {
        problems.push(none_of_level(level, "ciphersuites"));
    }
    suites
}

fn none_of_level(level: SecurityLevel, option: &'static str) -> Problem {
    let (bits, without) = match level > SecurityLevel::Three {
        true => (256, " and without SHA-1"),
        false => (128, ""),
    };
    let text = format!(
        "securityLevel = {level} leaves none of these: it wants suites with ECDHE and keys of {bits} bits{without}"
    );
    Problem::error(option, text)
}

pub(super) fn listed(list: &str, names: OptionNames, problems: &mut Vec<Problem>) -> BTreeSet<u16> {
    let option = names.ciphers();
    match policies::selected(list) {
        Ok(selected) => {
            if !selected.without.is_empty() {
                let without = selected.without.join(", ");
                let text = format!("adit has no suite for {without} of {option}");
                problems.push(Problem::note(option, text));
            }
            selected.codes
        }
        Err(bad) => {
            problems.push(Problem::error(option, refusal(list, bad)));
            BTreeSet::new()
        }
    }
}

fn refusal(list: &str, bad: BadList) -> String {
    match bad {
        BadList::Command(command) => {
            format!("invalid command {command} in a cipher list: a list is as HIGH:!aNULL")
        }
        BadList::Level(level) => ciphers::higher_level(level),
        BadList::Nothing => {
            let advice = match policies::advice_for_rc4(list) {
                Some(advice) => advice.to_owned(),
                None => format!(
                    "for TLS 1.0 to 1.2 it has {}",
                    policies::all_names().join(":")
                ),
            };
            format!("no cipher match: {list:?} selects no suite that adit has; {advice}")
        }
    }
}

/// Whose signature the key makes; `None`: of no use here.
fn kind_of(key: &CertifiedKey) -> Option<Authentication> {
    let (_, certificate) = X509Certificate::from_der(key.cert.first()?).ok()?;
    let algorithm = certificate.public_key().algorithm.algorithm.to_id_string();
    match algorithm.as_str() {
        // rsaEncryption, id-ecPublicKey
        "1.2.840.113549.1.1.1" => Some(Authentication::Rsa),
        "1.2.840.10045.2.1" => Some(Authentication::Ecdsa),
        _ => None,
    }
}

fn loaded(chain: &[CertificateDer<'static>], key: &PrivateKey) -> Result<Identity, &'static str> {
    let mut pem = Zeroizing::default();
    for certificate in chain {
        armour::push(&mut pem, "CERTIFICATE", certificate);
    }
    Identity::new(&mut pem, &mut key.to_pem())
}

/// The configurations of a service: one an epoch, as s2n takes no new key for tickets while connections
/// use one.
pub(super) struct Configs {
    policy: Arc<Policy>,
    /// With nothing stapled.
    own: Option<Arc<Identity>>,
    /// What is stapled, and the key, from which an identity is made for each response: s2n takes none for one that
    /// connections use.
    stapled: Option<(Arc<Staple>, PrivateKey)>,
    ask: Ask,
    tickets: bool,
    /// The peer's chain matters.
    judges: bool,
    /// What the server staples matters.
    asks_for_status: bool,
    /// Of ALPN.
    pub(super) protocols: Vec<String>,
    store: Option<Arc<SharedSessions>>,
    /// A server's.
    keys: Option<TicketKeys>,
    /// For how long sessions are resumed, in seconds, if that is given.
    lifetime: Option<u64>,
    made: Mutex<Option<Made>>,
}

/// A configuration, and what it was made for.
struct Made {
    epoch: u64,
    /// The certificate with its response.
    shown: Option<Arc<CertifiedKey>>,
    config: Arc<Config>,
}

impl Made {
    fn is_for(&self, epoch: u64, shown: Option<&Arc<CertifiedKey>>) -> bool {
        let same = match (&self.shown, shown) {
            (Some(ours), Some(shown)) => Arc::ptr_eq(ours, shown),
            (ours, shown) => ours.is_none() && shown.is_none(),
        };
        same && self.epoch == epoch
    }
}

impl Configs {
    /// This epoch's.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(super) fn current(&self) -> Result<Arc<Config>, &'static str> {
        let epoch = match &self.keys {
            Some(_) => unix_time() / epoch_for(self.lifetime),
            None => 0,
        };
        let shown = self
            .stapled
            .as_ref()
            .map(|(staple, _)| staple.key(unix_time()));
        // A panicked thread left it whole, since it is replaced in one step.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some(made) if made.is_for(epoch, shown.as_ref()) => Ok(Arc::clone(&made.config)),
            _ => {
                let config = Arc::new(self.make(epoch, shown.as_deref())?);
                *made = Some(Made {
                    epoch,
                    shown,
                    config: Arc::clone(&config),
                });
                Ok(config)
            }
        }
    }

    /// What is shown to clients; `None`: no certificate.
    fn identity(
        &self,
        shown: Option<&CertifiedKey>,
    ) -> Result<Option<Arc<Identity>>, &'static str> {
        let Some((shown, (_, private))) = shown.zip(self.stapled.as_ref()) else {
            return Ok(self.own.clone());
        };
        let Some(response) = &shown.ocsp else {
            return Ok(self.own.clone());
        };
        let mut identity = loaded(&shown.cert, private)?;
        identity.staple(response)?;
        Ok(Some(Arc::new(identity)))
    }

    fn make(&self, epoch: u64, shown: Option<&CertifiedKey>) -> Result<Config, &'static str> {
        let mut config = Config::new()?;
        config.set_policy(Arc::clone(&self.policy))?;
        if let Some(own) = self.identity(shown)? {
            config.set_identity(own)?;
        }
        config.ask_for_certificate(self.ask)?;
        config.set_protocols(&self.protocols)?;
        let Some(keys) = &self.keys else {
            if self.tickets {
                config.keep_tickets()?;
            }
            if self.judges {
                config.keep_server_secret()?;
            }
            if self.asks_for_status {
                config.ask_for_status()?;
            }
            return Ok(config);
        };
        if self.tickets {
            config.use_tickets(TICKETS)?;
        }
        config.set_dh_parameters(FFDHE2048)?;
        if let Some(store) = &self.store {
            let store: Arc<SharedSessions> = Arc::clone(store);
            config.use_store(store)?;
            let length = epoch_for(self.lifetime);
            config.set_ticket_times(length + GRACE, length)?;
            if let Some(lifetime) = self.lifetime {
                config.set_session_lifetime(lifetime)?;
            }
            for epoch in [epoch.saturating_sub(1), epoch] {
                let mut made = keys.of(epoch).ok_or("no key for tickets")?;
                // 0 would mean now.
                let since = (epoch * length).max(1);
                config.set_ticket_key(&made.name, &mut made.key, since)?;
            }
        }
        Ok(config)
    }
}

/// RFC 7919, appendix A.1: a group with a safe prime, which no peer has to test.
pub(super) const FFDHE2048: &CStr = c"-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
";
