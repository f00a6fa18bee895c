//! `OCSP` and its like: what is asked of responders about a peer's certificate.

use std::collections::BTreeSet;

use super::checks::{Faults, Meant};
use super::diagnostic::Severity;
use super::http_url::HttpUrl;
use super::option::{Fault, given};
use super::service::{Draft, Service};

/// What a service wants to know of responders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ocsp {
    /// Asked about the peer's own certificate.
    pub url: Option<HttpUrl>,
    /// Those that certificates name are asked.
    pub aia: bool,
    /// Answers must be fresh.
    pub nonce: bool,
    /// Without a conclusive answer the peer is refused.
    pub require: bool,
    /// `OCSPflag = NOINTERN`: a responder's certificate in its response does not count.
    pub no_delegates: bool,
}

impl Ocsp {
    /// Whether responders are asked at all.
    pub(crate) fn asks(&self) -> bool {
        self.url.is_some() || self.aia
    }
}

/// `OCSP = URL`; nothing takes it back.
pub(super) fn set_url(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.tls.ocsp.url = None;
    if value.is_empty() {
        return Ok(());
    }
    let url = HttpUrl::parse(&given(value)?)
        .map_err(|why| Fault::new(why.to_string()).help("as http://ocsp.example.com:8080/path"))?;
    draft.service.tls.ocsp.url = Some(url);
    Ok(())
}

/// What a flag of OpenSSL's comes to.
enum Meaning {
    NoDelegates,
    /// adit does so anyway, or has no use for it.
    Nothing(&'static str),
    /// It would have anything accepted.
    Unsafe(&'static str),
}

/// OCSP_basic_verify(3).
const FLAGS: &[(&str, Meaning)] = &[
    (
        "NOCERTS",
        Meaning::Nothing("it is for requests that are signed, which adit's are not"),
    ),
    ("NOINTERN", Meaning::NoDelegates),
    (
        "NOSIGS",
        Meaning::Unsafe("anyone on the way could answer in the responder's place"),
    ),
    (
        "NOCHAIN",
        Meaning::Nothing("a responder's certificate must be by the issuer itself"),
    ),
    (
        "NOVERIFY",
        Meaning::Unsafe("anyone on the way could answer in the responder's place"),
    ),
    (
        "NOEXPLICIT",
        Meaning::Nothing("adit trusts no responder but the issuer and those it has delegated"),
    ),
    (
        "NOCASIGN",
        Meaning::Nothing("OpenSSL has no use for it either"),
    ),
    (
        "NODELEGATED",
        Meaning::Nothing(
            "OpenSSL has no use for it either; `NOINTERN` refuses delegated responders",
        ),
    ),
    (
        "NOCHECKS",
        Meaning::Unsafe("the holder of any certificate of the authority could answer"),
    ),
    (
        "TRUSTOTHER",
        Meaning::Nothing("the issuer's own answers count anyway"),
    ),
    ("RESPID_KEY", Meaning::Nothing("it is for responders")),
    ("NOTIME", Meaning::Nothing("it is for responders")),
];

/// `OCSPflag = FLAG`.
pub(super) fn set_flag(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let mut known = FLAGS.iter();
    let Some((name, meaning)) = known.find(|(name, _)| name.eq_ignore_ascii_case(value)) else {
        let names: Vec<&str> = FLAGS.iter().map(|(name, _)| *name).collect();
        return Err(Fault::new("Illegal OCSP flag").help(names.join(", ")));
    };
    match meaning {
        Meaning::NoDelegates => {
            draft.service.tls.ocsp.no_delegates = true;
            Ok(())
        }
        Meaning::Nothing(why) => Err(Fault::note(format!(
            "`OCSPflag = {name}` has no effect: {why}"
        ))),
        Meaning::Unsafe(why) => {
            let fault = Fault::new(format!("adit does not serve `OCSPflag = {name}`: {why}"));
            Err(fault.help(
                "leave it out: answers count by the certificate's issuer, and by responders whose certificate \
                 the issuer gave out for OCSP signing",
            ))
        }
    }
}

/// Looks whether responders can be asked, and what the section itself gives that has no use without them; as a
/// default for every service it counts where it has one.
pub(super) fn limit(
    service: &mut Service,
    own: &BTreeSet<&'static str>,
    meant: &Meant,
    faults: &mut Faults,
) {
    let asks = service.tls.ocsp.asks();
    let asked = asks || meant.contains("OCSP") || meant.contains("OCSPaia");
    // What shows a certificate asks about that one too, for what it staples to it.
    let shows = !service.client || service.accept_tls.is_some();
    for option in ["OCSPnonce", "OCSPrequire", "TIMEOUTocsp"] {
        let asked = asked || shows && option == "TIMEOUTocsp";
        if own.contains(option) && !asked {
            let text = format!("`{option}` has no effect without `OCSP` or `OCSPaia`");
            faults.push(Severity::Note, option, &text, "leave the line out");
        }
    }
    if asks && !service.client {
        // A client has its session before responders have said what they think of it, and would come back by it
        // unasked.
        service.tls.sessions.none = true;
        let options = ["sessionCacheSize", "sessionCacheTimeout", "sessionResume"];
        for option in [&options[..], &["ticketKeySecret", "ticketMacSecret"]].concat() {
            if own.contains(option) {
                let text = format!(
                    "`{option}` has no effect with `OCSP` or `OCSPaia` in server mode: sessions are not resumed"
                );
                let help = "a client that comes back by a session could not be asked about";
                faults.push(Severity::Note, option, &text, help);
            }
        }
    }
    let verification = service.tls.verification;
    let verifies = verification.chain || verification.server;
    let meant_to = ["verify", "verifyChain", "verifyServer"];
    if asks && !verifies && !meant_to.iter().any(|name| meant.contains(name)) {
        let option = match service.tls.ocsp.url {
            Some(_) => "OCSP",
            None => "OCSPaia",
        };
        faults.error(
            option,
            "\"verifyChain\" has to be enabled for OCSP support",
            "`verifyChain = yes`: only of a certificate that is trusted otherwise is it worth asking",
        );
    }
}
