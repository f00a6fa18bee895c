//! What a service wants to know about the certificates of its peers, and what can be said within the
//! handshake: by what the server stapled, and by what is known from before. What must be asked for is an
//! [`Inquiry`]. The course and the words are those of stunnel (ocsp.c). Never in here: a wait.

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};
use x509_parser::time::ASN1Time;

use super::inquiry::{Inquiry, Question};
use super::known::Known;
use super::response;
use super::subject::Subject;
use super::{Doubt, Refusal, Status, Terms, Told, reason};
use crate::config::Ocsp;

/// The most responders of one certificate that are asked.
const MAX_RESPONDERS: usize = 4;
/// The longest URL of a responder, in bytes.
const MAX_URL: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(in crate::tls) struct Checks {
    wanted: Ocsp,
    /// Whether the peer is the server, which may staple.
    peer_serves: bool,
    pub(super) terms: Terms,
    known: Known,
}

/// A certificate that is refused.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tls) struct Refused {
    /// How far it is above the peer's own.
    pub(in crate::tls) depth: usize,
    /// For the log.
    pub(in crate::tls) name: String,
    pub(in crate::tls) why: Refusal,
}

/// URLs, and whether each was configured.
type Responders = Vec<(bool, String)>;

/// Takes a line and its level.
pub(super) type Say<'a> = &'a mut dyn FnMut(u8, String);

impl Checks {
    pub(in crate::tls) fn new(
        wanted: &Ocsp,
        peer_serves: bool,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Arc<Self> {
        Arc::new(Self {
            wanted: wanted.clone(),
            peer_serves,
            terms: Terms {
                algorithms,
                delegated: !wanted.no_delegates,
            },
            known: Known::default(),
        })
    }

    /// Judges a chain that was found good: the peer's certificate, and the certificates `above` it, the
    /// authority's last. Says what has to be asked for, if anything.
    ///
    /// # Errors
    /// A certificate is refused.
    pub(in crate::tls) fn look(
        self: &Arc<Self>,
        leaf: &X509Certificate<'_>,
        above: &[Vec<u8>],
        stapled: &[u8],
        now: i64,
        say: Say<'_>,
    ) -> Result<Option<Box<Inquiry>>, Refused> {
        if above.is_empty() {
            say(7, "OCSP: Ignoring the root certificate".into());
            return Ok(None);
        }
        let mut questions = Vec::new();
        for (subject, urls) in self.authorities(above, say) {
            questions.extend(self.question(subject, urls, now, say)?);
        }
        let Some(issuer) = above.first() else {
            return Ok(None);
        };
        let subject = Subject::new(0, leaf, issuer);
        if !self.settled_by_staple(&subject, stapled, now, say)? {
            let urls = self.responders_of(leaf, say);
            questions.extend(self.question(subject, urls, now, say)?);
        }
        Ok(self.inquiry(questions))
    }

    /// What has to be asked about a peer whose session is resumed, if anything: it may have been revoked since. What
    /// is known from before is looked at when it would be asked for.
    pub(in crate::tls) fn look_again(
        self: &Arc<Self>,
        leaf: &X509Certificate<'_>,
        above: &[Vec<u8>],
    ) -> Option<Box<Inquiry>> {
        let silent: Say<'_> = &mut |_, _| ();
        let issuer = above.first()?;
        let mut all = self.authorities(above, silent);
        let urls = self.responders_of(leaf, silent);
        all.push((Subject::new(0, leaf, issuer), urls));
        let asked = all.into_iter().filter(|(_, urls)| !urls.is_empty());
        self.inquiry(asked.map(|(one, urls)| Question::new(one, urls)).collect())
    }

    fn inquiry(self: &Arc<Self>, questions: Vec<Question>) -> Option<Box<Inquiry>> {
        (!questions.is_empty()).then(|| Box::new(Inquiry::new(Arc::clone(self), questions)))
    }

    /// The certificates between the peer's and the last, that one's neighbour first, each with its responders.
    fn authorities(&self, above: &[Vec<u8>], say: Say<'_>) -> Vec<(Subject, Responders)> {
        let mut found = Vec::new();
        if !self.wanted.aia {
            return found;
        }
        for (nth, pair) in above.windows(2).enumerate().rev() {
            let [der, issuer] = pair else { continue };
            if let Ok((_, certificate)) = X509Certificate::from_der(der) {
                let subject = Subject::new(nth + 1, &certificate, issuer);
                found.push((subject, responders(&certificate, say)));
            }
        }
        found
    }

    /// Those of the peer's own certificate.
    fn responders_of(&self, leaf: &X509Certificate<'_>, say: Say<'_>) -> Responders {
        let url = self.wanted.url.iter();
        let mut urls: Responders = url.map(|url| (true, url.to_string())).collect();
        if self.wanted.aia {
            urls.extend(responders(leaf, say));
        }
        urls
    }

    /// Whether the server has stapled what settles the matter.
    fn settled_by_staple(
        &self,
        subject: &Subject,
        stapled: &[u8],
        now: i64,
        say: Say<'_>,
    ) -> Result<bool, Refused> {
        if !self.peer_serves {
            return Ok(false);
        }
        if stapled.is_empty() {
            say(6, "OCSP: No OCSP stapling response received".into());
            return Ok(false);
        }
        say(6, "OCSP: OCSP stapling response received".into());
        // A server staples the same one for hours.
        if let Some(told) = self.known.get(subject, stapled, now) {
            say(7, "OCSP: Use the cached OCSP response".into());
            return conclude(subject, &told, say).map(|()| true);
        }
        match self.judge(stapled, subject, None, now, say) {
            Ok(told) => {
                self.known.put(subject, stapled, told, now);
                conclude(subject, &told, say).map(|()| true)
            }
            Err(_) => Ok(false),
        }
    }

    /// What has to be asked about a certificate, unless there is nothing to ask, or it was answered before.
    fn question(
        &self,
        subject: Subject,
        urls: Responders,
        now: i64,
        say: Say<'_>,
    ) -> Result<Option<Question>, Refused> {
        if urls.is_empty() {
            return Ok(None);
        }
        if let Some(told) = self.known(&subject, now) {
            say(7, "OCSP: Use the cached OCSP response".into());
            return conclude(&subject, &told, say).map(|()| None);
        }
        Ok(Some(Question::new(subject, urls)))
    }

    /// What was answered before, unless each answer has to be fresh.
    pub(super) fn known(&self, subject: &Subject, now: i64) -> Option<Told> {
        match self.wanted.nonce {
            true => None,
            false => self.known.get(subject, &[], now),
        }
    }

    /// Judges a response, with stunnel's lines.
    pub(super) fn judge(
        &self,
        response: &[u8],
        subject: &Subject,
        nonce: Option<&[u8]>,
        now: i64,
        say: Say<'_>,
    ) -> Result<Told, Doubt> {
        say(7, "OCSP: Validate the OCSP response".into());
        let told = response::judge(response, subject, nonce, &self.terms, now)
            .inspect_err(|doubt| say(doubt.level(), doubt.to_string()))?;
        let status = match told.status {
            Status::Good => "good",
            Status::Revoked(..) => "revoked",
        };
        say(6, format!("OCSP: Status: {status}"));
        say(6, format!("OCSP: This update: {}", date(told.this_update)));
        if let Some(next) = told.next_update {
            say(6, format!("OCSP: Next update: {}", date(next)));
        }
        match told.status {
            Status::Good => say(5, "OCSP: Certificate accepted".into()),
            Status::Revoked(since, why) => {
                let why = why.map(|number| format!(": {number}: {}", reason(number)));
                let why = why.unwrap_or_default();
                say(3, format!("OCSP: Certificate revoked{why}"));
                say(5, format!("OCSP: Revoked at: {}", date(since)));
            }
        }
        Ok(told)
    }

    /// Keeps a responder's answer for the next connections.
    pub(super) fn keep(&self, subject: &Subject, told: Told, now: i64) {
        if !self.wanted.nonce {
            self.known.put(subject, &[], told, now);
        }
    }

    pub(super) fn wants_nonce(&self) -> bool {
        self.wanted.nonce
    }

    pub(super) fn requires(&self) -> bool {
        self.wanted.require
    }

    pub(super) fn peer_serves(&self) -> bool {
        self.peer_serves
    }
}

/// What a status that settles the matter comes to.
pub(super) fn conclude(subject: &Subject, told: &Told, say: Say<'_>) -> Result<(), Refused> {
    match told.status {
        Status::Good => {
            say(5, "OCSP: Accepted (good)".into());
            Ok(())
        }
        Status::Revoked(..) => {
            say(3, "OCSP: Rejected (revoked)".into());
            Err(Refused {
                depth: subject.depth,
                name: subject.name.clone(),
                why: Refusal::Revoked,
            })
        }
    }
}

/// The responders that a certificate names, none of them configured.
pub(super) fn responders(certificate: &X509Certificate<'_>, say: Say<'_>) -> Responders {
    /// 1.3.6.1.5.5.7.48.1
    const OCSP: &str = "1.3.6.1.5.5.7.48.1";
    let mut urls = Vec::new();
    for extension in certificate.iter_extensions() {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else {
            continue;
        };
        for place in &access.accessdescs {
            if let GeneralName::URI(url) = place.access_location
                && place.access_method.to_id_string() == OCSP
                && url.len() <= MAX_URL
                && url.bytes().all(|byte| byte.is_ascii_graphic())
                && urls.len() < MAX_RESPONDERS
            {
                urls.push((false, url.to_owned()));
            }
        }
    }
    if urls.is_empty() {
        say(6, "OCSP: No AIA responder URL".into());
    }
    urls
}

/// For the log, as OpenSSL writes it: `Jan  1 00:00:00 2026 GMT`.
pub(super) fn date(seconds: i64) -> String {
    let text = ASN1Time::from_timestamp(seconds).map(|time| time.to_string());
    text.map_or_else(|_| "?".into(), |text| text.replace("+00:00", "GMT"))
}
