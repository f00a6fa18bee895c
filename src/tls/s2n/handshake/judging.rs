//! Whether the peer is who it says: its certificates, by adit's own verification, and pre-shared keys. Never in here:
//! s2n's own trust.

use rustls::AlertDescription;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::{Broken, Handshake};
use crate::tls::failure::Offence;
use crate::tls::s2n::Role;
use crate::tls::s2n::bindings::Connection;
use crate::tls::s2n::chain;
use crate::tls::s2n::policies::TLS13;
use crate::tls::verification::end;
use crate::tls::{Introduction, alerts, notes};

impl Handshake {
    /// What a server staples up to TLS 1.2, behind its chain, where it is looked at; `None`: it has not come yet.
    /// s2n tells of it only when the chain was accepted.
    pub(super) fn stapled(&self, connection: &Connection, ahead: &[u8]) -> Option<Vec<u8>> {
        match &self.heard {
            Some(heard)
                if self.context.verifier.looks_at_status() && connection.version() < TLS13 =>
            {
                heard.stapled(ahead)
            }
            _ => Some(Vec::new()),
        }
    }

    /// Judges the peer's chain, which has just come, and lets the handshake go on.
    pub(super) fn judge(
        &mut self,
        connection: &mut Connection,
        stapled: Vec<u8>,
    ) -> Result<(), Broken> {
        let internal = |error: &str| Broken::by(Offence::Internal(error.into()));
        if self.needs_key() {
            return Err(Broken::by(Offence::KeyIgnored).with(AlertDescription::HandshakeFailure));
        }
        let verifier = &self.context.verifier;
        let client_chain = |connection: &mut Connection| {
            let list = connection.client_chain();
            list.and_then(|list| chain::list(&list))
        };
        if !verifier.judges() {
            if self.heard.is_none() && self.context.terms.introduces {
                let chain = client_chain(connection);
                self.introduce(chain.and_then(|chain| chain.into_iter().next()));
            }
            let verifier = &self.context.verifier;
            verifier.note_that_nothing_is_verified();
            return connection.accept_chain().map_err(internal);
        }
        let chain = match &self.heard {
            Some(heard) if connection.version() == TLS13 => {
                let secret = connection.take_server_secret();
                connection
                    .suite()
                    .and_then(|suite| heard.encrypted_chain(&secret, suite))
            }
            Some(heard) => heard.chain().map(|chain| (chain, stapled)),
            None => client_chain(connection).map(|chain| (chain, Vec::new())),
        };
        let (chain, stapled) = chain.ok_or_else(|| internal("a chain that cannot be read"))?;
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        let Some((leaf, above)) = chain.split_first() else {
            return Err(internal("an empty chain"));
        };
        let name = self.name.as_ref();
        match verifier.verify(leaf, above, name, &stapled, UnixTime::now()) {
            Ok(()) => {
                self.inquiry = notes::inquiry();
                self.ends = end(leaf);
                self.certified = true;
                self.introduce(Some(leaf.to_vec()));
                connection.accept_chain().map_err(internal)
            }
            Err(rustls::Error::InvalidCertificate(_)) if verifier.redirects() => {
                connection.accept_chain().map_err(internal)
            }
            Err(rustls::Error::InvalidCertificate(why)) => {
                let alert = AlertDescription::from(why.clone());
                let offence = notes::verdict();
                let offence = offence.unwrap_or_else(|| Offence::UnusableKey(why.to_string()));
                Err(Broken::by(offence).with(alert))
            }
            Err(error) => Err(internal(&error.to_string())),
        }
    }

    /// Notes whose certificate was taken, where that is passed on.
    fn introduce(&mut self, certificate: Option<Vec<u8>>) {
        let introduces = self.context.terms.introduces && !self.context.is_client();
        self.introduction = certificate.filter(|_| introduces).map(|certificate| {
            Box::new(Introduction {
                certificate: Some(certificate),
                ..Introduction::default()
            })
        });
    }

    /// The client does not prove that it knows a key; `None`: it is not about one of ours, but a ticket. s2n
    /// would keep the client waiting, as after a record that cannot be decrypted; but this comparison takes the
    /// same time for any proof, and the client may learn what is wrong (RFC 8446, section 6.2).
    pub(super) fn wrong_key(
        &self,
        connection: &Connection,
        output: &mut Vec<u8>,
    ) -> Option<Broken> {
        let Role::Server {
            psk: Some(keys), ..
        } = &self.context.role
        else {
            return None;
        };
        let key = keys.find(&connection.identity()?)?;
        let alert = AlertDescription::DecryptError;
        output.extend(alerts::plain(3, alert));
        Some(Broken::by(Offence::WrongKey(key.name())).with(alert))
    }
}
