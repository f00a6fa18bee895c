//! A handshake under way. A server looks at the whole hello before s2n sees it: what the service does
//! not allow is refused at once, with an alert of our own, since s2n would give an SSLv2-form hello TLS
//! 1.2, and answer what it cannot serve with close_notify. Never in here: output that goes before version
//! and suite were compared with what the service allows.

mod ending;
mod judging;
mod records;

use std::fmt;
use std::sync::Arc;

use rustls::AlertDescription;
use rustls::pki_types::ServerName;

use ending::Broken;
use records::{Kinds, whole_records};

use super::bindings::{Connection, Stop};
use super::chain::Heard;
use super::halves::{Halves, Traces};
use super::policies::{self, TLS10, TLS13, Unserved};
use super::psk::{self, Refusal};
use super::store::{Peer, deadline};
use super::stream::Stream;
use super::{Context, Role};
use crate::log::Log;
use crate::tls::failure::{During, Failure, Offence, garbage};
use crate::tls::hello::{self, Fault, Hello, MAX_HELLO, Reading};
use crate::tls::ocsp::Inquiry;
use crate::tls::psk::PreSharedKeys;
use crate::tls::record::HEADER;
use crate::tls::tickets::unix_time;
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
        if let Some(offered) = self.shares_no_protocol(hello) {
            return Err(Broken::by(Offence::NoSharedProtocol(offered))
                .with(AlertDescription::NoApplicationProtocol));
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

    /// What a client offers of ALPN, where that is nothing of ours: s2n would go on without (RFC 7301, section 3.2).
    fn shares_no_protocol(&self, hello: &Hello) -> Option<String> {
        let ours = &self.context.configs.protocols;
        // The hello's are escaped.
        let ours: Vec<_> = ours
            .iter()
            .map(|name| name.as_bytes().escape_ascii().to_string())
            .collect();
        let shared = || hello.protocols.iter().any(|name| ours.contains(name));
        let refused = !ours.is_empty() && !hello.protocols.is_empty() && !shared();
        refused.then(|| hello.protocols.join(", "))
    }

    /// Whether version, suite and protocol, once agreed on, are what the service allows.
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
        let mut protocols = self.context.configs.protocols.iter();
        if let Some(chosen) = connection.protocol()
            && !protocols.any(|ours| ours.as_bytes() == chosen)
        {
            // As rustls has it.
            let what = "SelectedUnofferedApplicationProtocol".to_owned();
            let alert = AlertDescription::IllegalParameter;
            return Err(Broken::by(Offence::Misbehaved(what)).with(alert));
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
        if let Some(protocol) = connection.protocol()
            && self.context.terms.introduces
            && !self.context.is_client()
        {
            let shown = self.introduction.get_or_insert_default();
            shown.alpn = Some(protocol.to_vec());
        }
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
