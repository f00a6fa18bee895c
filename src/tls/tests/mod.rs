//! Two ends in one process, over byte queues.

mod distrust;
mod encrypted_keys;
mod folders;
mod handshakes;
mod loading;
mod old;
mod old_advice;
mod old_bulk;
mod old_openssl;
mod old_refusals;
mod old_trust;
mod openssl;
mod paths;
mod psk;
mod resumption;
mod streams;
mod trust;
mod verification;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

use super::{
    Context, Failure, Handshake, Negotiated, PassPhrases, Problem, Resumption, SharedLists, Step,
    Stream, Wanted,
};
use crate::config::{Endpoint, PeerVerification, PreferChaCha20, Service, TlsOptions, TlsVersion};
use crate::log::{Id, Log};

/// Writes nothing: tests read verification's lines from `notes::written`.
const LOG: Log = Log {
    level: 0,
    id: Id::Connection(1),
    from: None,
};

fn service(client: bool, tls: TlsOptions) -> Service {
    Service {
        name: "test".into(),
        connect: vec![Endpoint::Tcp {
            host: Some("mail.example.com".into()),
            port: 1,
        }],
        client,
        debug: 5,
        tls,
        ..Service::blank()
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A temporary folder of certificates.
struct Pki(TempDir);

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn authority(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

fn leaf(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

impl Pki {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Key and certificate in one file, signed by `issuer`.
    fn signed(&self, file: &str, params: &CertificateParams, issuer: &Authority) -> PathBuf {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        self.write(file, &(key.serialize_pem() + &certificate.pem()))
    }

    /// Key and certificate in one file.
    fn self_signed(&self, file: &str, params: &CertificateParams) -> PathBuf {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.write(file, &(key.serialize_pem() + &certificate.pem()))
    }

    fn authority(&self, file: &str, authority: &Authority) -> PathBuf {
        self.write(file, &authority.pem())
    }
}

/// The same order on any processor.
fn aes_first() -> TlsOptions {
    TlsOptions {
        prefer_chacha20: PreferChaCha20::No,
        ..TlsOptions::default()
    }
}

fn server_options(pki: &Pki) -> TlsOptions {
    TlsOptions {
        cert: Some(pki.self_signed("server.pem", &leaf(&["mail.example.com"], "server"))),
        ..aes_first()
    }
}

fn only(version: TlsVersion, options: TlsOptions) -> TlsOptions {
    TlsOptions {
        version_min: Some(version),
        version_max: Some(version),
        ..options
    }
}

/// The end of it that speaks TLS.
fn wanted(service: &Service) -> Wanted<'_> {
    let connected = Wanted::connected(service);
    connected.or(Wanted::accepted(service)).unwrap()
}

fn load(client: bool, options: &TlsOptions, resumption: &Resumption) -> Context {
    Context::load(
        wanted(&service(client, options.clone())),
        None,
        &PassPhrases::none(),
        resumption,
        &mut SharedLists::default(),
        &LOG,
    )
    .unwrap()
    .0
}

fn problems(client: bool, options: TlsOptions) -> Vec<Problem> {
    match Context::load(
        wanted(&service(client, options)),
        None,
        &PassPhrases::none(),
        &Resumption::new().unwrap(),
        &mut SharedLists::default(),
        &LOG,
    ) {
        Ok((_, problems)) | Err(problems) => problems,
    }
}

/// One end of a connection.
enum State {
    Shaking(Handshake),
    Open(Stream),
    Failed(Failure),
}

struct End {
    state: Option<State>,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    plain: Vec<u8>,
    /// The stream had data of its own to send: the answer to a key update.
    answered: bool,
    /// The peer's close_notify came.
    closed: bool,
}

impl End {
    fn begin(context: &Context) -> Self {
        Self {
            state: Some(State::Shaking(
                context.begin(Some("mail.example.com"), &LOG).unwrap(),
            )),
            inbox: Vec::new(),
            outbox: Vec::new(),
            plain: Vec::new(),
            answered: false,
            closed: false,
        }
    }

    /// Works on what is in the inbox.
    fn turn(&mut self) {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let (used, state) = match self.state.take().unwrap() {
            State::Shaking(handshake) => {
                match handshake.step(&mut self.inbox, &mut self.outbox, &LOG) {
                    Ok((used, Step::More(handshake))) => (used, State::Shaking(handshake)),
                    Ok((used, Step::Done(stream))) => {
                        self.inbox.drain(..used);
                        self.state = Some(State::Open(stream));
                        return self.turn();
                    }
                    Err(failure) => (self.inbox.len(), State::Failed(failure)),
                }
            }
            State::Open(mut stream) => {
                let before = self.outbox.len();
                let decrypted = stream.decrypt(&mut self.inbox, &mut ranges, &mut self.outbox);
                self.answered |= self.outbox.len() > before;
                match decrypted {
                    Ok(decrypted) => {
                        self.closed = decrypted.closed;
                        (decrypted.consumed, State::Open(stream))
                    }
                    Err(failure) => (self.inbox.len(), State::Failed(failure)),
                }
            }
            failed @ State::Failed(_) => (self.inbox.len(), failed),
        };
        for range in ranges {
            self.plain.extend_from_slice(&self.inbox[range]);
        }
        self.inbox.drain(..used);
        self.state = Some(state);
    }

    fn stream(&mut self) -> &mut Stream {
        match self.state.as_mut() {
            Some(State::Open(stream)) => stream,
            Some(State::Failed(failure)) => panic!("{failure}"),
            _ => panic!("the handshake is not done"),
        }
    }

    fn failure(&self) -> &Failure {
        match &self.state {
            Some(State::Failed(failure)) => failure,
            _ => panic!("it did not fail"),
        }
    }

    fn negotiated(&mut self) -> Negotiated {
        self.stream().negotiated()
    }

    fn send(&mut self, plain: &[u8]) {
        let mut sealed = vec![0; plain.len() * 2 + 1000];
        let (taken, filled) = self.stream().encrypt(plain, &mut sealed).unwrap();
        assert_eq!(taken, plain.len());
        self.outbox.extend_from_slice(&sealed[..filled]);
    }
}

/// Carries bytes both ways, at most `piece` at a time, until nothing moves.
fn settle(client: &mut End, server: &mut End, piece: usize) {
    client.turn();
    while !(client.outbox.is_empty() && server.outbox.is_empty()) {
        for _ in 0..2 {
            let length = client.outbox.len().min(piece);
            server.inbox.extend(client.outbox.drain(..length));
            if length > 0 {
                server.turn();
            }
            std::mem::swap(client, server);
        }
    }
}

fn shake(client: &Context, server: &Context) -> (End, End) {
    let (mut client, mut server) = (End::begin(client), End::begin(server));
    settle(&mut client, &mut server, usize::MAX);
    (client, server)
}

fn connect(client: &TlsOptions, server: &TlsOptions) -> (End, End) {
    let resumption = Resumption::new().unwrap();
    shake(
        &load(true, client, &resumption),
        &load(false, server, &resumption),
    )
}

fn verify_chain() -> PeerVerification {
    PeerVerification {
        request: true,
        require: true,
        chain: true,
        ..PeerVerification::default()
    }
}

fn verify_peer() -> PeerVerification {
    PeerVerification {
        request: true,
        require: true,
        peer: true,
        ..PeerVerification::default()
    }
}
