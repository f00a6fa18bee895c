//! What a server staples to its certificate: its responder's answer, fetched in the background by one worker for all,
//! and judged by each before a client sees it. Never in here: a wait in a handshake, or a response that is over.

mod board;
mod times;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::der::{self, SEQUENCE};
use super::super::tickets::unix_time;
use super::super::trust::Authority;
use super::checks::{Checks, date, responders};
use super::response::{is_issued, same_name};
use super::subject::{INTEGER, Subject};
use super::{Status, Told};
use crate::config::Ocsp;
use crate::log::Log;
use crate::log_at;
use crate::tls::Problem;
use board::{MAX_RESPONSE, Place};
pub(crate) use board::{Seen, Staples, State};

/// The certificate that a server shows, and what a responder says about it.
#[derive(Debug)]
pub(crate) struct Staple {
    /// The certificate with nothing stapled.
    plain: Arc<CertifiedKey>,
    subject: Subject,
    /// An OCSPRequest.
    request: Vec<u8>,
    responders: Vec<String>,
    /// The certificate says that a client is to take it with a response alone (RFC 7633).
    must: bool,
    checks: Arc<Checks>,
    place: Place,
    /// The number of the response in `place` that was looked at last.
    seen: AtomicU64,
    held: RwLock<Option<Held>>,
}

/// A response that was found good to be stapled.
#[derive(Debug, Clone)]
struct Held {
    /// The certificate, with it.
    key: Arc<CertifiedKey>,
    /// In seconds since 1970.
    until: u64,
}

impl Staple {
    /// For the certificate that is shown; `None`: it names no responder, or its issuer is not at hand, which is told
    /// of where it matters.
    pub(in crate::tls) fn of(
        key: &Arc<CertifiedKey>,
        trusted: &[Authority],
        staples: &Staples,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Self>> {
        let algorithms =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        let checks = Checks::new(&Ocsp::default(), true, algorithms);
        let leaf = key.cert.first()?;
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let must = must_staple(&certificate);
        let urls = responders(&certificate, &mut |_, _| ());
        if urls.is_empty() {
            if must {
                let text = "the certificate demands a stapled OCSP response (must-staple) and names no responder \
                            that gives one: clients that look at it will refuse it";
                problems.push(Problem::warning("cert", text.into()));
            }
            return None;
        }
        let Some(issuer) = issuer(leaf, &certificate, key, trusted, &checks) else {
            let text = "no OCSP response is stapled: the certificate of its issuer is not at hand; append it to \
                        this file";
            problems.push(match must {
                true => Problem::warning("cert", format!("{text}: this certificate demands one")),
                false => Problem::note("cert", text.into()),
            });
            return None;
        };
        let subject = Subject::new(0, &certificate, issuer);
        let request = subject.request(None)?;
        let place = staples.place(tag(&subject)?);
        Some(Arc::new(Self {
            plain: Arc::clone(key),
            subject,
            request,
            responders: urls.into_iter().map(|(_, url)| url).collect(),
            must,
            checks,
            place,
            seen: AtomicU64::new(0),
            held: RwLock::new(None),
        }))
    }

    /// Whether the certificate is to be taken with a response alone.
    pub(in crate::tls) fn is_demanded(&self) -> bool {
        self.must
    }

    /// Whether a response is demanded that has not come, and no responder has been asked for in vain.
    pub(crate) fn is_awaited(&self) -> bool {
        self.must && self.place.until() <= unix_time() && self.place.failures() == 0
    }

    /// Its slot's index, for those that only look.
    pub(crate) fn index(&self) -> usize {
        self.place.index()
    }

    /// The certificate as it is to be shown at `now`, in seconds since 1970: with the response that is to be had
    /// without a wait.
    pub(in crate::tls) fn key(&self, now: u64) -> Arc<CertifiedKey> {
        if self.place.sequence() != self.seen.load(Relaxed) {
            self.take_up(now);
        }
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some(held) if now < held.until => Arc::clone(&held.key),
            _ => Arc::clone(&self.plain),
        }
    }

    /// Takes the response that another worker, or an earlier generation, has put there. One that is of no use leaves
    /// the last one in its place.
    fn take_up(&self, now: u64) {
        let Some((sequence, response)) = self.place.response() else {
            return;
        };
        self.seen.store(sequence, Relaxed);
        if let Ok(told) = self.judge(&response, now, &mut |_, _| ()) {
            let until = times::end(&told, now);
            self.hold(
                response,
                match told.next_update {
                    Some(_) => until,
                    None => until.min(self.place.until()),
                },
            );
        }
    }

    fn hold(&self, response: Vec<u8>, until: u64) {
        let mut key = CertifiedKey::clone(&self.plain);
        key.ocsp = Some(response);
        let key = Arc::new(key);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(Held { key, until });
    }

    /// As a client judges it, without its patience for clocks that differ.
    fn judge(
        &self,
        response: &[u8],
        now: u64,
        say: &mut dyn FnMut(u8, String),
    ) -> Result<Told, String> {
        if response.len() > MAX_RESPONSE {
            return Err(format!(
                "the response has {} bytes, and {MAX_RESPONSE} can be stapled",
                response.len()
            ));
        }
        let at = now as i64;
        let judged = self.checks.judge(response, &self.subject, None, at, say);
        let told = judged.map_err(|doubt| doubt.to_string())?;
        match told.next_update {
            Some(next) if next <= at => Err(super::Doubt::Late.to_string()),
            _ => Ok(told),
        }
    }

    /// In how many seconds a responder is to be asked; `None`: no more.
    pub(crate) fn wait(&self, now: u64) -> Option<u64> {
        self.place.due().map(|due| times::wait(due, now))
    }

    /// Whether to ask now: no other worker does for `patience` seconds.
    pub(crate) fn claim(&self, now: u64, patience: u64) -> bool {
        let due = self.place.due();
        due.is_some_and(|due| times::wait(due, now) == 0 && self.place.claim(due, now + patience))
    }

    /// What to ask the responder of that number, and where; other workers go on waiting for `patience` seconds.
    /// `None`: there are not that many.
    pub(crate) fn ask(
        &self,
        nth: usize,
        now: u64,
        patience: u64,
        log: &Log,
    ) -> Option<(&str, &[u8])> {
        let url = self.responders.get(nth)?;
        self.place.postpone(now + patience);
        log_at!(*log, 6, "OCSP: Connecting the AIA responder \"{url}\"");
        Some((url, &self.request))
    }

    /// Takes what a responder answered.
    ///
    /// # Errors
    /// Why it cannot be stapled.
    pub(crate) fn answer(
        &self,
        answer: Result<Vec<u8>, String>,
        service: &str,
        now: u64,
        log: &Log,
    ) -> Result<(), String> {
        let response = answer?;
        let mut say = |level: u8, line: String| {
            // What it comes to is told below, and what is wrong with it by the caller.
            if level == 7 {
                log_at!(*log, 7, "{line}");
            }
        };
        let told = self.judge(&response, now, &mut say)?;
        let until = times::end(&told, now);
        let state = match told.status {
            Status::Good => State::Good,
            Status::Revoked(..) => State::Revoked,
        };
        self.place.put(&response, state, until);
        self.place.postpone(times::renewal(&told, now));
        let end = date(until as i64);
        match told.status {
            Status::Good => log_at!(
                *log,
                6,
                "Service [{service}]: OCSP stapling: its certificate is good, until {end}"
            ),
            Status::Revoked(since, why) => {
                let why = why.map_or("no reason given", super::reason);
                let since = date(since);
                log_at!(
                    *log,
                    3,
                    "Service [{service}]: OCSP: its certificate is REVOKED since {since} ({why}): clients that look \
                     will refuse it; replace it"
                );
            }
        }
        Ok(())
    }

    /// No responder gave anything that can be stapled, the last one for that reason.
    pub(crate) fn fail(&self, why: &str, service: &str, now: u64, log: &Log) {
        let failures = self.place.fail();
        let until = self.place.until();
        let pause = times::pause(failures, until, now);
        self.place.postpone(now + pause);
        let has = match until > now {
            true => format!("the last one counts until {}", date(until as i64)),
            false => "nothing is stapled".to_owned(),
        };
        // The first is news; so is each where clients refuse the certificate without.
        let level = match failures == 1 || self.must && until <= now {
            true => 4,
            false => 6,
        };
        log_at!(
            *log,
            level,
            "Service [{service}]: OCSP: no response to staple: {why}; {has}; another try in {pause} s"
        );
    }
}

impl ResolvesServerCert for Staple {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key(unix_time()))
    }
}

/// The issuer's certificate: of the chain that is shown, or trusted.
fn issuer<'a>(
    leaf: &CertificateDer<'_>,
    certificate: &X509Certificate<'_>,
    key: &'a CertifiedKey,
    trusted: &'a [Authority],
    checks: &Checks,
) -> Option<&'a [u8]> {
    let chain = key.cert.iter().skip(1);
    let all = chain.chain(trusted.iter().map(|authority| &authority.der));
    let named = all.filter_map(|der| {
        let (_, one) = X509Certificate::from_der(der).ok()?;
        let same = same_name(certificate.issuer().as_raw(), one.subject().as_raw());
        same.then_some((der, one))
    });
    let named: Vec<_> = named.collect();
    let signed = |one: &X509Certificate<'_>| is_issued(leaf, one, &checks.terms) == Some(true);
    let found = named.iter().find(|(_, one)| signed(one));
    // Its signature may be of an age that counts no more.
    let found = found.or_else(|| named.first())?;
    let itself = found.0 == leaf;
    (!itself).then_some(found.0.as_ref())
}

/// Whether a certificate has the feature `status_request` (RFC 7633).
fn must_staple(certificate: &X509Certificate<'_>) -> bool {
    const FEATURES: &str = "1.3.6.1.5.5.7.1.24";
    const STATUS_REQUEST: &[u8] = &[5];
    let mut extensions = certificate.extensions().iter();
    extensions.any(|extension| {
        extension.oid.to_id_string() == FEATURES
            && der::only(extension.value, SEQUENCE)
                .and_then(der::all)
                .is_some_and(|all| {
                    let is = |one: &der::Element<'_>| {
                        one.tag == INTEGER && one.content == STATUS_REQUEST
                    };
                    all.iter().any(is)
                })
    })
}

/// What its slot is found by: not 0.
fn tag(subject: &Subject) -> Option<u64> {
    let hash = digest::digest(&digest::SHA256, &subject.identifier()?);
    let first = hash.as_ref().first_chunk()?;
    Some(u64::from_le_bytes(*first).max(1))
}
