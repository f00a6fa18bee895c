//! A handshake under way. A server looks at the whole hello before s2n sees it: what the service does
//! not allow is refused at once, with an alert of our own, since s2n would give an SSLv2-form hello TLS
//! 1.2, and answer what it cannot serve with close_notify. Never in here: output that goes before version
//! and suite were compared with what the service allows.

use std::fmt;
use std::sync::Arc;

use rustls::AlertDescription;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::bindings::{Connection, Stop};
use super::chain::{self, Heard};
use super::halves::{Halves, Traces};
use super::policies::{self, TLS10, TLS13, Unserved};
use super::psk::{self, Refusal};
use super::store::{Peer, deadline};
use super::stream::Stream;
use super::{Context, Role};
use crate::log::Log;
use crate::tls::failure::{During, Failure, Offence, Sides, garbage};
use crate::tls::hello::{self, Fault, Hello, MAX_HELLO, Reading};
use crate::tls::ocsp::Inquiry;
use crate::tls::psk::PreSharedKeys;
use crate::tls::record::{HEADER, MAX_CIPHERTEXT};
use crate::tls::tickets::unix_time;
use crate::tls::verification::end;
use crate::tls::{Introduction, Negotiated, age, alerts, ciphers, notes};

/// A handshake under way.
pub(crate) struct Handshake {
    context: Arc<Context>,
    state: State,
    /// The peer's certificate is compared with it, and a client's sessions are kept under it.
    name: Option<ServerName<'static>>,
    /// What a client has heard of its server.
    heard: Option<Heard>,
    /// A client has offered a session up to TLS 1.2, which is forgotten then: in seconds since 1970.
    offered: Option<u64>,
    /// When the certificate ends by which a client trusts its server, in seconds since 1970.
    ends: Option<u64>,
    /// The client has shown a valid certificate.
    certified: bool,
    /// What the client has shown, for a service that passes it on.
    introduction: Option<Box<Introduction>>,
    /// What is to be asked before the connection may be used.
    inquiry: Option<Box<Inquiry>>,
    traces: Traces,
    received: Kinds,
    sent: Kinds,
}

enum State {
    /// A server without a whole hello: how much of it was whole records when it was last looked at, in
    /// bytes, so that one that comes in small pieces is not read again for each.
    Waits(usize),
    Shakes(Connection),
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("s2n::Handshake")
            .field(&self.during())
            .finish()
    }
}

/// The state of a handshake.
pub(crate) enum Turn {
    More(Handshake),
    Done(Stream),
}

impl Handshake {
    pub(super) fn accept(context: Arc<Context>) -> Self {
        Self {
            context,
            state: State::Waits(0),
            name: None,
            heard: None,
            offered: None,
            ends: None,
            certified: false,
            introduction: None,
            inquiry: None,
            traces: Traces::default(),
            received: Kinds::default(),
            sent: Kinds::default(),
        }
    }

    pub(super) fn connect(
        context: Arc<Context>,
        name: Option<ServerName<'static>>,
        send: bool,
    ) -> Result<Self, Failure> {
        let internal = |error: &str| Failure::new(During::Connect, Offence::Internal(error.into()));
        let highest = context.allowed.high;
        let config = context.configs.current().map_err(internal)?;
        let mut connection = Connection::new(&config, true, highest).map_err(internal)?;
        if let (true, Some(ServerName::DnsName(name))) = (send, &name) {
            connection
                .set_server_name(name.as_ref())
                .map_err(internal)?;
        }
        let mut offered = None;
        if let Role::Client { sessions, psk } = &context.role {
            if let Some(psk) = psk.as_ref().and_then(PreSharedKeys::shows) {
                connection
                    .append_psk(&psk.identity, &psk.key)
                    .map_err(internal)?;
            }
            if let Some(found) = sessions.find(&Peer::of(name.as_ref()), unix_time()) {
                // One that is broken costs a full handshake.
                let _ = connection.resume(&found.session);
                offered = found.until;
            }
        }
        Ok(Self {
            context,
            state: State::Shakes(connection),
            name,
            heard: Some(Heard::default()),
            offered,
            ends: None,
            certified: false,
            introduction: None,
            inquiry: None,
            traces: Traces::default(),
            received: Kinds::default(),
            sent: Kinds::default(),
        })
    }

    fn during(&self) -> During {
        match self.context.is_client() {
            true => During::Connect,
            false => During::Accept,
        }
    }

    /// As the face's `Handshake::vanished`.
    pub(crate) fn vanished(&self) -> Failure {
        if self.offered.is_some() {
            // The server may have stumbled over it.
            self.context.forget(&Peer::of(self.name.as_ref()));
        }
        let (answered, shown) = match &self.state {
            State::Shakes(connection) => (connection.suite().is_some(), self.has_shown(connection)),
            State::Waits(_) => (false, false),
        };
        match self.context.is_client() && !answered && self.context.allowed.high > TLS10 {
            true => Failure::new(During::Connect, Offence::VanishedAtHello),
            false => {
                let names = self.context.terms.names;
                let offence = Offence::Vanished.about_certificate(names, shown);
                Failure::new(self.during(), offence)
            }
        }
    }

    /// Whether a server's certificate went out.
    fn has_shown(&self, connection: &Connection) -> bool {
        !self.context.is_client() && connection.suite().is_some() && !connection.is_resumed()
    }

    /// As the face's `Handshake::step`.
    pub(crate) fn step(
        self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        log: &Log,
    ) -> Result<(usize, Turn), Failure> {
        let during = self.during();
        let offers = self.offered.is_some().then(|| {
            let peer = Peer::of(self.name.as_ref());
            (Arc::clone(&self.context), peer)
        });
        notes::forget();
        let stepped = self.go_on(input, output);
        notes::drain(log);
        stepped.map_err(|broken| {
            if let Some((context, peer)) = offers {
                context.forget(&peer);
            }
            if let Some(alert) = broken.alert {
                crate::debug!(*log, "TLS alert (write): fatal: {}", alerts::name(alert));
            }
            let failure = Failure::new(during, broken.offence).blinded(broken.blinding);
            if let Some(alert) = failure.alert_read() {
                crate::debug!(*log, "TLS alert (read): fatal: {}", alerts::name(alert));
            }
            failure
        })
    }

    fn go_on(mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(usize, Turn), Broken> {
        let mut connection = match std::mem::replace(&mut self.state, State::Waits(0)) {
            State::Shakes(connection) => connection,
            State::Waits(seen) => {
                let whole = whole_records(input);
                let may_be_one = matches!(input, [22, 3, ..] | [0x80..=0xff, _, 1, ..]);
                let admitted = match may_be_one && whole == seen && input.len() < MAX_HELLO {
                    true => None,
                    false => self.admit(input, output)?,
                };
                let Some(connection) = admitted else {
                    self.state = State::Waits(whole);
                    return Ok((0, Turn::More(self)));
                };
                connection
            }
        };
        let start = output.len();
        let mut used = 0;
        loop {
            let whole = whole_records(&input[used..]);
            let before = output.len();
            let earlier = self.received;
            let (more, result) = connection.negotiate(&input[used..used + whole], output);
            self.trace(&input[used..used + more], &output[before..]);
            if let Some(heard) = &mut self.heard {
                let heard = heard.push(&input[used..used + more]);
                heard.map_err(|stop| Broken::by(Offence::from_s2n(stop)))?;
            }
            used += more;
            if let Err(refused) = self.check(&connection) {
                // Of what s2n made of it, nothing has been sent.
                output.truncate(start);
                return Err(refused.sent(&mut connection, output));
            }
            match result {
                Ok(()) => {
                    return self
                        .finish(connection)
                        .map(|stream| (used, Turn::Done(stream)));
                }
                Err(Stop::WantsInput) => {
                    self.state = State::Shakes(connection);
                    return Ok((used, Turn::More(self)));
                }
                Err(Stop::WantsVerdict) => {
                    let Some(stapled) = self.stapled(&connection, &input[used..]) else {
                        self.state = State::Shakes(connection);
                        return Ok((used, Turn::More(self)));
                    };
                    if let Err(refused) = self.judge(&mut connection, stapled) {
                        return Err(refused.sent(&mut connection, output));
                    }
                }
                Err(stop) => {
                    if stop.is_wrong_key()
                        && let Some(refused) = self.wrong_key(&connection, output)
                    {
                        return Err(refused);
                    }
                    let offence = self.explained(stop, input);
                    let shown = self.has_shown(&connection);
                    let offence = offence.about_certificate(self.context.terms.names, shown);
                    return Err(self.broken(offence, earlier, &mut connection, output));
                }
            }
        }
    }

    /// Ends the handshake that s2n has ended, with the alert that is due. `earlier` is what had come before.
    fn broken(
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

    /// A server's connection, once the hello is whole and the service serves such a client.
    fn admit(&self, input: &[u8], output: &mut Vec<u8>) -> Result<Option<Connection>, Broken> {
        let hello = match hello::read(input) {
            Reading::Hello(hello) => hello,
            Reading::Incomplete => return Ok(None),
            Reading::NotTls => {
                // A record of TLS that can be no hello (RFC 8446, section 5; RFC 5246, section 6).
                if let [_, 3, ..] = input {
                    output.extend(alerts::plain(1, AlertDescription::UnexpectedMessage));
                }
                return Err(Broken::by(garbage(input)));
            }
            Reading::Malformed(fault) => {
                let alert = match fault {
                    Fault::OtherMessage => AlertDescription::UnexpectedMessage,
                    _ => AlertDescription::DecodeError,
                };
                output.extend(alerts::plain(1, alert));
                return Err(Broken::by(Offence::Malformed(fault.to_string())).with(alert));
            }
        };
        let begun = self.begin(&hello);
        if let Err(Broken {
            alert: Some(alert), ..
        }) = &begun
        {
            let version = hello.legacy_version.0.clamp(0x0301, 0x0303);
            output.extend(alerts::plain(version as u8, *alert));
        }
        begun.map(Some)
    }

    fn begin(&self, hello: &Hello) -> Result<Connection, Broken> {
        let Context { allowed, terms, .. } = &*self.context;
        let Role::Server { key, psk } = &self.context.role else {
            return Err(Broken::by(Offence::Internal("no server".into())));
        };
        let psk = match psk::serve(allowed, hello, *key, psk.as_ref()) {
            Ok(chosen) => chosen,
            Err(Refusal::Keys(offence, alert)) => return Err(Broken::by(offence).with(alert)),
            Err(Refusal::Unserved(Unserved::Version)) => {
                let mut sides = age::version(hello, *terms);
                if psk.is_some() {
                    sides = psk::explain(sides, allowed, hello);
                }
                return Err(Broken::by(Offence::UnsupportedProtocol(Some(sides)))
                    .with(AlertDescription::ProtocolVersion));
            }
            Err(Refusal::Unserved(Unserved::Suite)) => {
                let sides = self.no_shared_suite(hello);
                return Err(Broken::by(Offence::NoSharedCipher(Some(sides)))
                    .with(AlertDescription::HandshakeFailure));
            }
        };
        // RFC 7507, section 3.
        if hello.fallback && hello.highest_version() < Some(allowed.high.wire()) {
            return Err(Broken::by(Offence::InappropriateFallback)
                .with(AlertDescription::InappropriateFallback));
        }
        let make = || {
            let config = self.context.configs.current()?;
            let mut connection = Connection::new(&config, false, allowed.high)?;
            if let Some(psk) = psk {
                connection.append_psk(&psk.identity, &psk.key)?;
            }
            Ok(connection)
        };
        make().map_err(|error: &str| Broken::by(Offence::Internal(error.into())))
    }

    /// Whether version and suite, once agreed on, are what the service allows.
    fn check(&self, connection: &Connection) -> Result<(), Broken> {
        let allowed = &self.context.allowed;
        let Some(suite) = connection.suite() else {
            return Ok(());
        };
        let version = connection.version();
        if !(allowed.low..=allowed.high).contains(&version) {
            let mut sides = age::chosen_version(version.wire(), self.context.terms);
            if self.shows_key() {
                sides.help =
                    Some("pre-shared keys need TLS 1.3, which the server must speak".into());
            }
            return Err(Broken::by(Offence::UnsupportedProtocol(Some(sides)))
                .with(AlertDescription::ProtocolVersion));
        }
        if !allowed.suites.contains(&suite) {
            let ours = allowed.named();
            let sides = age::chosen_suite(suite, &ours, self.context.terms.names);
            return Err(Broken::by(Offence::NoSharedCipher(Some(sides)))
                .with(AlertDescription::HandshakeFailure));
        }
        Ok(())
    }

    /// Whether a client shows a pre-shared key.
    fn shows_key(&self) -> bool {
        matches!(self.context.role, Role::Client { psk: Some(_), .. })
    }

    /// Whether nothing but that key proves the server. A certificate that is not verified would let anyone
    /// stand in its place.
    fn needs_key(&self) -> bool {
        self.shows_key() && !self.context.verifier.judges()
    }

    /// What a server staples up to TLS 1.2, behind its chain, where it is looked at; `None`: it has not come yet.
    /// s2n tells of it only when the chain was accepted.
    fn stapled(&self, connection: &Connection, ahead: &[u8]) -> Option<Vec<u8>> {
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
    fn judge(&mut self, connection: &mut Connection, stapled: Vec<u8>) -> Result<(), Broken> {
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
    fn wrong_key(&self, connection: &Connection, output: &mut Vec<u8>) -> Option<Broken> {
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

    /// What stopped s2n, with what the two sides have.
    fn explained(&self, stop: Stop, input: &[u8]) -> Offence {
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
    fn no_shared_suite(&self, hello: &Hello) -> Sides {
        let Context { allowed, terms, .. } = &*self.context;
        let ours = age::Ours {
            named: &allowed.named(),
            names: terms.names,
            modern: false,
        };
        age::suites(hello, ours)
    }

    /// Keeps what a half-closed connection needs later.
    fn trace(&mut self, input: &[u8], output: &[u8]) {
        self.received = self.received.and(Kinds::of(input));
        self.sent = self.sent.and(Kinds::of(output));
        let Traces {
            client_random,
            server_random,
            sent,
            received,
        } = &mut self.traces;
        *received = input.last_chunk().copied().or(*received);
        *sent = output.last_chunk().copied().or(*sent);
        // The first message of each side is a hello: behind two headers and a version.
        let first = match self.context.is_client() {
            true => client_random,
            false => server_random,
        };
        if first.is_none() {
            *first = output
                .get(HEADER + 6..)
                .and_then(|rest| rest.first_chunk().copied());
        }
    }

    fn finish(mut self, mut connection: Connection) -> Result<Stream, Broken> {
        let internal = |error: &str| Broken::by(Offence::Internal(error.into()));
        // No certificate has come, or `judge` had refused it; but nothing else must have been taken.
        if self.needs_key() && connection.identity().is_none() {
            return Err(Broken::by(Offence::KeyIgnored));
        }
        let suite = connection.suite().and_then(policies::find);
        let suite = suite.ok_or_else(|| internal("no suite"))?;
        let version = connection.version();
        let negotiated = Negotiated {
            version: version.name(),
            suite: suite.name,
            bits: suite.bits,
            resumed: connection.is_resumed(),
            group: connection.group().map(ciphers::group_by_name),
            // A pre-shared key is proof enough.
            redirected: self.context.verifier.redirects()
                && !self.certified
                && connection.identity().is_none(),
        };
        drop(connection.take_server_secret());
        if let Role::Client { sessions, .. } = &self.context.role
            && version < TLS13
            && let Some(session) = connection.session()
        {
            let resumed = self.offered.filter(|_| negotiated.resumed);
            let until = deadline(unix_time(), resumed, self.ends);
            sessions.keep(Peer::of(self.name.as_ref()), session, until);
        }
        if let (Role::Client { sessions, .. }, Some(ends)) = (&self.context.role, self.ends)
            && version == TLS13
        {
            sessions.bound(Peer::of(self.name.as_ref()), ends, unix_time());
        }
        match &self.heard {
            Some(heard) => self.traces.server_random = heard.random(),
            None => self.traces.client_random = connection.client_random(),
        }
        connection.free_handshake();
        connection.release_buffers();
        let halves = Halves::new(&self.traces, version, suite.code, self.context.is_client());
        let peer = Peer::of(self.name.as_ref());
        let keeps = self
            .context
            .is_client()
            .then(|| (Arc::clone(&self.context), peer));
        let stream = Stream::new(connection, suite.code, negotiated, halves, keeps);
        Ok(stream.introduced(self.introduction).asking(self.inquiry))
    }
}

/// Why a handshake ended.
struct Broken {
    offence: Offence,
    /// To be sent, or sent already.
    alert: Option<AlertDescription>,
    blinding: Option<std::time::Duration>,
}

impl Broken {
    fn by(offence: Offence) -> Self {
        Self {
            offence,
            alert: None,
            blinding: None,
        }
    }

    fn with(self, alert: AlertDescription) -> Self {
        Self {
            alert: Some(alert),
            ..self
        }
    }

    /// Appends the alert. TLS 1.3 has keys by now, which s2n uses for a close_notify alone.
    fn sent(self, connection: &mut Connection, output: &mut Vec<u8>) -> Self {
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

/// Content types of records.
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// The content types of whole records, as a set.
#[derive(Clone, Copy, Default)]
struct Kinds(u32);

impl Kinds {
    fn of(mut records: &[u8]) -> Self {
        let mut kinds = 0;
        while let [kind @ 20..=23, _, _, high, low, rest @ ..] = records {
            kinds |= 1 << kind;
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            records = rest.get(length..).unwrap_or_default();
        }
        Self(kinds)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, kind: u8) -> bool {
        self.0 & (1 << kind) != 0
    }
}

/// How much of the front of `input` is whole records, in bytes: s2n never holds a part of one. What
/// cannot be a record is handed on, for s2n to refuse it.
fn whole_records(input: &[u8]) -> usize {
    let mut length = 0;
    loop {
        let rest = &input[length..];
        let record = match *rest {
            // The form of SSLv2: only the first hello can have it.
            [high @ 0x80..=0xff, low, ..] if length == 0 => {
                2 + usize::from(u16::from_be_bytes([high & 0x7f, low]))
            }
            [_, _, _, high, low, ..] => HEADER + usize::from(u16::from_be_bytes([high, low])),
            _ => return length,
        };
        if record > HEADER + MAX_CIPHERTEXT {
            return input.len();
        }
        if record > rest.len() {
            return length;
        }
        length += record;
    }
}
