//! What a connection came to, and what goes beside it. Never in here: a record.

use super::Stream;
use crate::tls::ocsp::Inquiry;
use crate::tls::{Introduction, Negotiated};

impl Stream {
    /// With what the client showed.
    pub(in crate::tls::s2n) fn introduced(
        mut self,
        introduction: Option<Box<Introduction>>,
    ) -> Self {
        self.introduction = introduction;
        self
    }

    /// The same, which may not be used before this has an answer.
    pub(in crate::tls::s2n) fn asking(mut self, inquiry: Option<Box<Inquiry>>) -> Self {
        self.inquiry = inquiry;
        self
    }

    /// Takes what has to be asked before it may be used.
    pub(crate) fn inquiry(&mut self) -> Option<Box<Inquiry>> {
        self.inquiry.take()
    }

    /// The certificate that the client showed counts no more (`redirect`).
    pub(crate) fn redirect(&mut self) {
        self.negotiated.redirected = true;
        if let Some(introduction) = &mut self.introduction {
            introduction.certificate = None;
        }
    }

    /// What the client showed.
    pub(crate) fn introduction(&self) -> Option<&Introduction> {
        self.introduction.as_deref()
    }

    /// The protocol that was agreed on by ALPN.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.connection.protocol()
    }

    pub(crate) fn negotiated(&self) -> Negotiated {
        self.negotiated.clone()
    }
}
