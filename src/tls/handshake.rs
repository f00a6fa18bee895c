//! A handshake under way: rustls' unbuffered connection, fed one record at a time, so that it
//! never sees a byte of what comes behind the handshake; that is for the stream.

mod driving;

use std::fmt;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::UnbufferedServerConnection;
use rustls::{AlertDescription, ClientConfig, Error, HandshakeKind, ProtocolVersion, ServerConfig};

use driving::{Broken, Peer, Progress, drive};

use super::backend::Terms;
use super::failure::{During, Failure, Offence};
use super::hello::{self, Arriving, Hello, Reading, Version};
use super::key_block::{KeyBlock, Remembering};
use super::ocsp::Inquiry;
use super::record::HEADER;
use super::stream::Stream;
use super::verification::Verifier;
use super::{Introduction, Negotiated, age, alerts, ciphers, notes, suites};
use crate::log::Log;

/// The most input that a handshake leaves over to be given again, in bytes, but for the record that
/// is coming in: one message (64 KiB for rustls) in records that need not be tiny.
pub(super) const MAX_HANDSHAKE_INPUT: usize = 128 << 10;

/// What one of them holds, in bytes, once the client's hello is answered.
pub(super) const HELD: usize = 6 << 10;

/// A handshake under way.
pub(crate) struct Handshake {
    connection: Connection,
    progress: Progress,
    /// How the peer's first record began, to tell what it is when it is no TLS.
    opening: [u8; HEADER],
    /// For the suites that we have.
    provider: Arc<CryptoProvider>,
    terms: Terms,
    extras: Option<Box<Extras>>,
}

/// What few handshakes need; boxed, so that the others are no larger.
#[derive(Default)]
struct Extras {
    /// The name that the client asked for, where that is asked for.
    server_name: Option<String>,
    arriving: Arriving,
    /// Judges clients that are let in whatever they show (`redirect`), and servers whose sessions are resumed where
    /// responders are asked.
    judge: Option<Arc<Verifier>>,
    /// What has to be asked about the peer's certificate.
    inquiry: Option<Box<Inquiry>>,
    /// The keys of TLS 1.2, once they are derived.
    keys: Option<KeyBlock>,
}

/// The state of a handshake.
pub(crate) enum Turn {
    More(Handshake),
    Done(Stream),
}

/// Boxed: 1 to 2 KiB that live only as long as the handshake.
enum Connection {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handshake").field(&self.during()).finish()
    }
}

impl Handshake {
    pub(super) fn accept(
        config: &Arc<ServerConfig>,
        terms: Terms,
        judge: Option<Arc<Verifier>>,
    ) -> Result<Self, Failure> {
        let needed = terms.introduces || judge.is_some();
        UnbufferedServerConnection::new(config.clone())
            .map(|connection| {
                let provider = config.crypto_provider().clone();
                let extras = || {
                    Box::new(Extras {
                        judge,
                        ..Extras::default()
                    })
                };
                Self {
                    extras: needed.then(extras),
                    ..Self::new(Connection::Server(Box::new(connection)), provider, terms)
                }
            })
            .map_err(|error| Failure::new(During::Accept, Offence::from_rustls(error, &[])))
    }

    pub(super) fn connect(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
        terms: Terms,
        judge: Option<Arc<Verifier>>,
    ) -> Result<Self, Failure> {
        UnbufferedClientConnection::new(config.clone(), name)
            .map(|connection| {
                let provider = config.crypto_provider().clone();
                let extras = |judge| {
                    Box::new(Extras {
                        judge: Some(judge),
                        ..Extras::default()
                    })
                };
                Self {
                    extras: judge.map(extras),
                    ..Self::new(Connection::Client(Box::new(connection)), provider, terms)
                }
            })
            .map_err(|error| Failure::new(During::Connect, Offence::from_rustls(error, &[])))
    }

    fn new(connection: Connection, provider: Arc<CryptoProvider>, terms: Terms) -> Self {
        Self {
            connection,
            progress: Progress::default(),
            opening: [0; HEADER],
            provider,
            terms,
            extras: None,
        }
    }

    pub(super) fn during(&self) -> During {
        match self.connection {
            Connection::Server(_) => During::Accept,
            Connection::Client(_) => During::Connect,
        }
    }

    /// As the face's `Handshake::vanished`.
    pub(super) fn vanished(&self) -> Failure {
        let offence = Offence::Vanished.about_certificate(self.terms.names, self.has_shown());
        Failure::new(self.during(), offence)
    }

    /// Whether a server's certificate went out.
    fn has_shown(&self) -> bool {
        match &self.connection {
            Connection::Server(connection) => {
                connection.negotiated_cipher_suite().is_some()
                    && connection.handshake_kind() != Some(HandshakeKind::Resumed)
            }
            Connection::Client(_) => false,
        }
    }

    fn is_tls12(&self) -> bool {
        let version = match &self.connection {
            Connection::Server(connection) => connection.protocol_version(),
            Connection::Client(connection) => connection.protocol_version(),
        };
        version == Some(ProtocolVersion::TLSv1_2)
    }

    /// As the face's `Handshake::step`.
    pub(super) fn step(
        mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        log: &Log,
    ) -> Result<(usize, Turn), Failure> {
        if self.opening == [0; HEADER]
            && let Some(opening) = input.first_chunk()
        {
            self.opening = *opening;
        }
        if self.terms.introduces
            && let Some(extras) = &mut self.extras
            && extras.server_name.is_none()
            && extras.arriving.is_worth_reading(input)
            && let Reading::Hello(hello) = hello::read(input)
        {
            extras.server_name = hello.server_name;
        }
        let during = self.during();
        let start = output.len();
        notes::forget();
        let extras = self.extras.as_mut();
        let remembered = Remembering::from(extras.and_then(|extras| extras.keys.take()));
        let driven = match &mut self.connection {
            Connection::Server(connection) => {
                drive(&mut **connection, input, &mut self.progress, output)
            }
            Connection::Client(connection) => {
                drive(&mut **connection, input, &mut self.progress, output)
            }
        };
        notes::drain(log);
        self.keep_inquiry();
        let (used, established) = driven.map_err(|broken| {
            let error = match broken {
                Broken::Closed => return self.vanished(),
                Broken::By(error) => error,
            };
            if let Error::InvalidCertificate(why) = &error {
                let alert = alerts::name(AlertDescription::from(why.clone()));
                crate::debug!(*log, "TLS alert (write): fatal: {alert}");
            }
            let offence = self.offence(error.clone(), input);
            if let Some(alert) = self.better_alert(&error, &offence, input) {
                alerts::correct(output, alert);
            }
            let failure = Failure::new(during, offence);
            if let Some(alert) = failure.alert_read() {
                crate::debug!(*log, "TLS alert (read): fatal: {}", alerts::name(alert));
            }
            failure
        })?;
        if self.falls_back(input) {
            // Of what rustls made of it, nothing has been sent.
            output.truncate(start);
            output.extend(alerts::plain(3, AlertDescription::InappropriateFallback));
            return Err(Failure::new(during, Offence::InappropriateFallback));
        }
        if !established {
            if let Some(keys) = remembered.keys() {
                self.extras.get_or_insert_default().keys = Some(keys);
            }
            return Ok((used, Turn::More(self)));
        }
        let redirected = self.is_redirected(log);
        self.keep_inquiry();
        self.ask_again(log)?;
        let stream = self
            .into_stream(redirected)
            .map_err(|error| Failure::new(during, Offence::from_rustls(error, &[])))?;
        Ok((used, Turn::Done(stream)))
    }

    /// What an error amounts to; `input` is what it was found in.
    fn offence(&self, error: Error, input: &[u8]) -> Offence {
        let offence = match (&error, notes::verdict()) {
            (Error::InvalidCertificate(_), Some(offence)) => return offence,
            _ => Offence::from_rustls(error, &self.opening),
        };
        let ours = || suites::of(&self.provider.cipher_suites);
        match (&offence, &self.connection) {
            (
                Offence::NoSharedCipher(_)
                | Offence::NoSharedGroup
                | Offence::UnsupportedProtocol(_),
                Connection::Server(_),
            ) => {
                let Reading::Hello(hello) = hello::read(input) else {
                    return offence;
                };
                // rustls looks at signature algorithms before the version, and at groups before suites: a
                // client without ECDHE sends none.
                if hello.highest_version() < Some(self.terms.low) {
                    return Offence::UnsupportedProtocol(Some(age::version(&hello, self.terms)));
                }
                let shares = ours().any(|suite| hello.suites.contains(&u16::from(suite)));
                if shares && !matches!(offence, Offence::NoSharedCipher(_)) {
                    return offence;
                }
                let ours = age::Ours {
                    named: &suites::named(ours()),
                    names: self.terms.names,
                    modern: true,
                };
                Offence::NoSharedCipher(Some(age::suites(&hello, ours)))
            }
            (Offence::NoSharedProtocol(_), Connection::Server(_)) => match hello::read(input) {
                Reading::Hello(hello) => Offence::NoSharedProtocol(hello.protocols.join(", ")),
                _ => offence,
            },
            // An old server takes its own version, whatever ours are.
            (Offence::UnsupportedProtocol(None), Connection::Client(_)) => {
                let Some(chosen) = chosen_version(input) else {
                    return offence;
                };
                Offence::UnsupportedProtocol(Some(age::chosen_version(chosen, self.terms)))
            }
            // The server's answer to the hello.
            (
                Offence::AlertReceived(
                    alert
                    @ (AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion),
                ),
                Connection::Client(connection),
            ) if connection.negotiated_cipher_suite().is_none() => {
                let ours: Vec<_> = ours().collect();
                let sides = age::refused(*alert, &ours, true, self.terms);
                Offence::HelloRefused(*alert, sides)
            }
            _ => offence.about_certificate(self.terms.names, self.has_shown()),
        }
    }

    /// The alert that is due before there are keys, where rustls sends another.
    fn better_alert(
        &self,
        error: &Error,
        offence: &Offence,
        input: &[u8],
    ) -> Option<AlertDescription> {
        use rustls::{PeerIncompatible as Incompatible, PeerMisbehaved as Misbehaved};
        let serves = matches!(self.connection, Connection::Server(_));
        match error {
            // TLS 1.2 has no alert of its own for it (RFC 5246, section 7.4.6).
            Error::NoCertificatesPresented if serves && self.is_tls12() => {
                Some(AlertDescription::HandshakeFailure)
            }
            Error::PeerIncompatible(_)
                if serves && matches!(offence, Offence::UnsupportedProtocol(Some(_))) =>
            {
                Some(AlertDescription::ProtocolVersion)
            }
            // RFC 8446, section 9.2.
            Error::PeerIncompatible(
                Incompatible::SignatureAlgorithmsExtensionRequired
                | Incompatible::NamedGroupsExtensionRequired
                | Incompatible::KeyShareExtensionRequired,
            ) if serves && self.tls13_hello(input).is_some() => {
                Some(AlertDescription::MissingExtension)
            }
            // The same: rustls takes groups that are not named for groups that it does not know.
            Error::PeerIncompatible(Incompatible::NoKxGroupsInCommon)
                if serves
                    && self
                        .tls13_hello(input)
                        .is_some_and(|hello| hello.groups.is_none()) =>
            {
                Some(AlertDescription::MissingExtension)
            }
            // RFC 8446, section 4.1.3.
            Error::PeerMisbehaved(Misbehaved::SelectedUnofferedCipherSuite) => {
                Some(AlertDescription::IllegalParameter)
            }
            // In supported_versions, which an old server does not know (RFC 8446, section 4.2.1).
            Error::PeerIncompatible(Incompatible::ServerDoesNotSupportTls12Or13)
                if !serves && chosen_version(input) == Some(Version::TLS12) =>
            {
                Some(AlertDescription::IllegalParameter)
            }
            _ => None,
        }
    }

    /// The hello, where it and the service both have TLS 1.3.
    fn tls13_hello(&self, input: &[u8]) -> Option<Hello> {
        let Reading::Hello(hello) = hello::read(input) else {
            return None;
        };
        let both =
            self.terms.high >= Version::TLS13 && hello.highest_version() >= Some(Version::TLS13);
        both.then_some(*hello)
    }

    /// Whether a client tries an older version again though both sides have a later one (RFC 7507, section 3).
    fn falls_back(&self, input: &[u8]) -> bool {
        const HELLO: u8 = 1;
        matches!(self.connection, Connection::Server(_))
            && matches!(input, [22, 3, _, _, _, HELLO, ..])
            && self.terms.high >= Version::TLS13
            && self.is_tls12()
            && matches!(hello::read(input), Reading::Hello(hello) if hello.fallback)
    }

    /// Whether this is a client to be redirected. What it showed when its session began counts also where it
    /// resumes it.
    fn is_redirected(&self, log: &Log) -> bool {
        let judge = self
            .extras
            .as_ref()
            .and_then(|extras| extras.judge.as_ref());
        let (Some(judge), Connection::Server(connection)) = (judge, &self.connection) else {
            return false;
        };
        let chain = connection.peer_certificates().unwrap_or_default();
        let valid = chain.split_first().is_some_and(|(leaf, above)| {
            let verdict = judge.verify(leaf, above, None, &[], UnixTime::now());
            verdict.is_ok()
        });
        match connection.handshake_kind() {
            // That was told before.
            Some(HandshakeKind::Resumed) => notes::forget(),
            _ => notes::drain(log),
        }
        !valid
    }

    /// Has responders asked about a server whose session was resumed: it may have been revoked since.
    fn ask_again(&mut self, log: &Log) -> Result<(), Failure> {
        if let (Some(extras), Connection::Client(connection)) = (&mut self.extras, &self.connection)
            && connection.handshake_kind() == Some(HandshakeKind::Resumed)
            && let Some(judge) = &extras.judge
            && let Some((leaf, above)) = connection.peer_certificates().and_then(<[_]>::split_first)
        {
            let asked = judge.ask_again(leaf, above, UnixTime::now());
            notes::drain(log);
            extras.inquiry = asked.map_err(|rejection| {
                Failure::new(During::Connect, Offence::CertificateRejected(rejection))
            })?;
        }
        Ok(())
    }

    /// Keeps what verification wants asked.
    fn keep_inquiry(&mut self) {
        if let Some(inquiry) = notes::inquiry() {
            self.extras.get_or_insert_default().inquiry = Some(inquiry);
        }
    }

    fn into_stream(mut self, redirected: bool) -> Result<Stream, Error> {
        let extras = self.extras.as_mut();
        let inquiry = extras.and_then(|extras| extras.inquiry.take());
        let alpn = match &self.connection {
            Connection::Server(connection) => connection.alpn_protocol(),
            Connection::Client(connection) => connection.alpn_protocol(),
        };
        let alpn = alpn.map(Box::from);
        let stream = match self.connection {
            Connection::Server(connection) => {
                let certificate = || {
                    let chain = connection.peer_certificates()?;
                    Some(chain.first()?.to_vec())
                };
                let introduction = self.terms.introduces.then(|| Introduction {
                    server_name: self.extras.and_then(|extras| extras.server_name),
                    alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
                    // One that is not valid is none.
                    certificate: certificate().filter(|_| !redirected),
                });
                let stream = establish(*connection, self.progress.seen, redirected)?;
                Ok(stream.introduced(introduction))
            }
            Connection::Client(connection) => establish(*connection, self.progress.seen, false),
        };
        stream.map(|stream| stream.asking(inquiry).speaking(alpn))
    }
}

/// The version in a ServerHello at the front of `input`.
fn chosen_version(input: &[u8]) -> Option<Version> {
    match input {
        [22, 3, _, _, _, 2, _, _, _, high, low, ..] => {
            Some(Version(u16::from_be_bytes([*high, *low])))
        }
        _ => None,
    }
}

fn establish<P: Peer>(peer: P, seen: usize, redirected: bool) -> Result<Stream, Error> {
    if seen > 0 {
        // The record that ended the handshake held the beginning of another message.
        return Err(rustls::PeerMisbehaved::KeyEpochWithPendingFragment.into());
    }
    let common = peer.common();
    let suite = common
        .negotiated_cipher_suite()
        .ok_or(Error::HandshakeNotComplete)?;
    let (name, bits) = ciphers::describe(suite.suite());
    let negotiated = Negotiated {
        version: match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        suite: name,
        bits,
        resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        group: common
            .negotiated_key_exchange_group()
            .map(|group| ciphers::group_name(group.name())),
        redirected,
    };
    let (secrets, kernel) = peer.extract()?;
    Stream::new(secrets, kernel, suite, negotiated)
}
