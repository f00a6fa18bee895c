//! What is to be asked of responders before a connection may be used, one question after the other: for each
//! certificate its responders in turn, until one settles the matter. Bytes in, questions out. Never in here: a
//! socket, a clock.

use std::collections::VecDeque;
use std::sync::Arc;

use super::checks::{Checks, Refused, conclude};
use super::subject::{NONCE_LENGTH, Subject};
use super::{Refusal, Told};
use crate::log::Log;
use crate::log_at;
use crate::tls::failure::{During, Failure, Offence};
use crate::tls::rejection::Rejection;

/// See the module.
#[derive(Debug)]
pub(crate) struct Inquiry {
    checks: Arc<Checks>,
    /// The one under way is the first.
    questions: VecDeque<Question>,
    /// The nonce of the request under way.
    nonce: Option<[u8; NONCE_LENGTH]>,
    refused: Option<Refusal>,
}

/// One certificate, and where to ask about it.
#[derive(Debug)]
pub(super) struct Question {
    subject: Subject,
    /// Those that were not asked yet; whether each one was configured.
    responders: VecDeque<(bool, String)>,
}

impl Question {
    pub(super) fn new(subject: Subject, responders: Vec<(bool, String)>) -> Self {
        Self {
            subject,
            responders: responders.into(),
        }
    }
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Post this body to this URL, and give [`Inquiry::answer`] what comes back.
    Ask { url: String, body: Vec<u8> },
    /// Every certificate may be used.
    Accepted,
    /// One may not; the connection ends.
    Refused(Failure),
}

impl Inquiry {
    pub(super) fn new(checks: Arc<Checks>, questions: Vec<Question>) -> Self {
        Self {
            checks,
            questions: questions.into(),
            nonce: None,
            refused: None,
        }
    }

    /// What to do now, at `now` in seconds since 1970. After [`Turn::Ask`] an answer is due.
    pub(crate) fn next(&mut self, now: i64, log: &Log) -> Turn {
        loop {
            if let Some(why) = self.refused {
                return Turn::Refused(self.failure(why));
            }
            let Some(question) = self.questions.front_mut() else {
                return Turn::Accepted;
            };
            // Another connection may have asked meanwhile.
            if let Some(told) = self.checks.known(&question.subject, now) {
                log_at!(*log, 7, "OCSP: Use the cached OCSP response");
                self.settle(&told, log);
                continue;
            }
            let Some((configured, url)) = question.responders.pop_front() else {
                self.leave_open(log);
                continue;
            };
            let whose = if configured { "configured" } else { "AIA" };
            log_at!(*log, 5, "OCSP: Connecting the {whose} responder \"{url}\"");
            self.nonce = None;
            if self.checks.wants_nonce() {
                let mut nonce = [0; NONCE_LENGTH];
                if aws_lc_rs::rand::fill(&mut nonce).is_err() {
                    log_at!(*log, 3, "OCSP: the system gives no random bytes");
                    continue;
                }
                self.nonce = Some(nonce);
            }
            match question.subject.request(self.nonce.as_ref()) {
                Some(body) => return Turn::Ask { url, body },
                None => log_at!(*log, 3, "OCSP: Can't create an OCSP_CERTID object"),
            }
        }
    }

    /// Takes what the responder answered, at `now`, or why nothing came.
    pub(crate) fn answer(&mut self, answer: Result<Vec<u8>, String>, now: i64, log: &Log) {
        let Some(question) = self.questions.front() else {
            return;
        };
        let response = match answer {
            Ok(response) => response,
            Err(why) => {
                log_at!(*log, 3, "OCSP: {why}");
                return;
            }
        };
        log_at!(*log, 7, "OCSP: Response received");
        let nonce = self.nonce.as_ref().map(<[u8; NONCE_LENGTH]>::as_slice);
        let mut say = |level, line: String| log_at!(*log, level, "{line}");
        let told = (self.checks).judge(&response, &question.subject, nonce, now, &mut say);
        if let Ok(told) = told {
            self.checks.keep(&question.subject, told, now);
            self.settle(&told, log);
        }
    }

    fn settle(&mut self, told: &Told, log: &Log) {
        let Some(question) = self.questions.pop_front() else {
            return;
        };
        let mut say = |level, line: String| log_at!(*log, level, "{line}");
        if let Err(Refused { depth, name, why }) = conclude(&question.subject, told, &mut say) {
            log_at!(*log, 4, "Rejected by OCSP at depth={depth}: {name}");
            self.refused = Some(why);
        }
    }

    /// No responder has settled it.
    fn leave_open(&mut self, log: &Log) {
        let Some(question) = self.questions.pop_front() else {
            return;
        };
        if !self.checks.requires() {
            log_at!(*log, 5, "OCSP: Accepted (OCSPrequire = no)");
            return;
        }
        log_at!(*log, 3, "OCSP: Rejected (OCSPrequire = yes)");
        let Subject { depth, name, .. } = &question.subject;
        log_at!(*log, 4, "Rejected by OCSP at depth={depth}: {name}");
        self.refused = Some(Refusal::Unsettled);
    }

    fn failure(&self, why: Refusal) -> Failure {
        let during = match self.checks.peer_serves() {
            true => During::Connect,
            false => During::Accept,
        };
        Failure::new(during, Offence::CertificateRejected(Rejection::Ocsp(why)))
    }
}
