//! What few connections have, beside what each needs. Never in here: a record.

use super::Stream;
use crate::tls::Introduction;
use crate::tls::ocsp::Inquiry;

/// What few connections have.
#[derive(Default)]
pub(super) struct Aside {
    /// What the client showed, where that is asked for.
    pub(super) introduction: Option<Introduction>,
    /// What has to be asked before it may be used.
    inquiry: Option<Box<Inquiry>>,
    /// The protocol that was agreed on by ALPN.
    alpn: Option<Box<[u8]>>,
}

impl Stream {
    /// With what the client showed.
    pub(in crate::tls) fn introduced(mut self, introduction: Option<Introduction>) -> Self {
        if introduction.is_some() {
            self.aside.get_or_insert_default().introduction = introduction;
        }
        self
    }

    /// What the client showed.
    pub(in crate::tls) fn introduction(&self) -> Option<&Introduction> {
        self.aside.as_ref()?.introduction.as_ref()
    }

    /// With the protocol that was agreed on by ALPN.
    pub(in crate::tls) fn speaking(mut self, alpn: Option<Box<[u8]>>) -> Self {
        if alpn.is_some() {
            self.aside.get_or_insert_default().alpn = alpn;
        }
        self
    }

    /// That protocol.
    pub(in crate::tls) fn alpn(&self) -> Option<&[u8]> {
        self.aside.as_ref()?.alpn.as_deref()
    }

    /// It may not be used before this has an answer.
    pub(in crate::tls) fn asking(mut self, inquiry: Option<Box<Inquiry>>) -> Self {
        if inquiry.is_some() {
            self.aside.get_or_insert_default().inquiry = inquiry;
        }
        self
    }

    /// Takes what has to be asked before it may be used.
    pub(in crate::tls) fn inquiry(&mut self) -> Option<Box<Inquiry>> {
        self.aside.as_mut()?.inquiry.take()
    }
}
