//! The end of a handshake that fails: why, and the alert that is due. Never in here: output of s2n's that the service does
//! not allow.

use rustls::AlertDescription;

use super::Handshake;
use super::records::{CHANGE_CIPHER_SPEC, DATA, HANDSHAKE, Kinds};
use crate::tls::failure::{Offence, Sides};
use crate::tls::hello::{self, Hello, Reading};
use crate::tls::s2n::bindings::{Connection, Stop};
use crate::tls::s2n::policies::TLS13;
use crate::tls::s2n::{Context, Role};
use crate::tls::{age, alerts};

/// Why a handshake ended.
pub(super) struct Broken {
    pub(super) offence: Offence,
    /// To be sent, or sent already.
    pub(super) alert: Option<AlertDescription>,
    pub(super) blinding: Option<std::time::Duration>,
}

impl Broken {
    pub(super) fn by(offence: Offence) -> Self {
        Self {
            offence,
            alert: None,
            blinding: None,
        }
    }

    pub(super) fn with(self, alert: AlertDescription) -> Self {
        Self {
            alert: Some(alert),
            ..self
        }
    }

    /// Appends the alert. TLS 1.3 has keys by now, which s2n uses for a close_notify alone.
    pub(super) fn sent(self, connection: &mut Connection, output: &mut Vec<u8>) -> Self {
        match self.alert {
            Some(_) if connection.version() == TLS13 && connection.suite().is_some() => {
                connection.close_notify(output);
            }
            Some(alert) => {
                output.extend(alerts::plain(record_version(connection), alert));
            }
            None => {}
        }
        self
    }
}

/// The minor version of records.
fn record_version(connection: &Connection) -> u8 {
    connection.version().wire().0.clamp(0x0301, 0x0303) as u8
}

impl Handshake {
    /// Ends the handshake that s2n has ended, with the alert that is due. `earlier` is what had come before.
    pub(super) fn broken(
        &self,
        offence: Offence,
        earlier: Kinds,
        connection: &mut Connection,
        output: &mut Vec<u8>,
    ) -> Broken {
        let tls13 = connection.version() == TLS13;
        let (plain, secret) = match (tls13, self.context.is_client()) {
            (true, true) => {
                let keyed = !connection.take_server_secret().is_empty();
                let keyed = keyed || earlier.has(HANDSHAKE) || self.received.has(DATA);
                (!keyed, false)
            }
            (true, false) => (!self.sent.has(HANDSHAKE), false),
            (false, _) => {
                let both = self.sent.and(self.received);
                let plain = !self.sent.has(CHANGE_CIPHER_SPEC);
                (plain, both.has(CHANGE_CIPHER_SPEC))
            }
        };
        let alert = offence.own_alert();
        let mut broken = Broken::by(offence);
        // Before anything was decrypted, the time of the end tells nothing.
        if secret || !plain {
            broken.blinding = connection.blinding();
        }
        match alert {
            Some(alert) if plain => {
                broken.alert = Some(alert);
                output.extend(alerts::plain(record_version(connection), alert));
                broken
            }
            _ => broken.sent(connection, output),
        }
    }

    /// What stopped s2n, with what the two sides have.
    pub(super) fn explained(&self, stop: Stop, input: &[u8]) -> Offence {
        let offence = Offence::in_input(stop);
        match (&offence, &self.context.role) {
            (Offence::AlertReceived(alert), _) if self.shows_key() => Offence::KeyRefused(*alert),
            (Offence::AlertReceived(alert), Role::Client { .. })
                if matches!(
                    alert,
                    AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion
                ) =>
            {
                let ours = self.context.allowed.listed();
                let sides = age::refused(*alert, &ours, false, self.context.terms);
                Offence::HelloRefused(*alert, sides)
            }
            (Offence::NoSharedCipher(None), Role::Server { .. }) => match hello::read(input) {
                Reading::Hello(hello) => {
                    Offence::NoSharedCipher(Some(self.no_shared_suite(&hello)))
                }
                _ => offence,
            },
            _ => offence,
        }
    }

    /// Why nothing that a client offers is served.
    pub(super) fn no_shared_suite(&self, hello: &Hello) -> Sides {
        let Context { allowed, terms, .. } = &*self.context;
        let ours = age::Ours {
            named: &allowed.named(),
            names: terms.names,
            modern: false,
        };
        age::suites(hello, ours)
    }
}
