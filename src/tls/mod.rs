//! rustls' unbuffered connections behind one small face. Nothing outside this folder names rustls.
//! Never in here: a socket; a wait.
#![forbid(unsafe_code)]

pub mod demo;

use std::fmt;
use std::ops::Range;

use crate::config::Service;
use crate::ipc::scoreboard::HandshakeFailure;
use crate::ipc::shared::SharedWords;
use crate::log::Log;

/// What the supervisor makes once, before any fork, and every generation shares, so that a
/// resumption hits whichever worker answers, and after a reload. Holds no private key.
#[derive(Debug, Clone)]
pub struct Resumption {
    _ticket_secret: [u8; 32],
    _sessions: SharedWords,
}

impl Resumption {
    /// Draws the secret and maps the TLS 1.2 session cache.
    ///
    /// # Errors
    /// No memory, no randomness.
    pub fn new() -> std::io::Result<Self> {
        todo!("tls/")
    }
}

/// The TLS side of one service, ready to use: certificates, keys and trust loaded.
#[derive(Debug)]
pub struct Context {}

impl Context {
    /// Loads what the service names. Runs in the master while it is still root; opens files.
    ///
    /// # Errors
    /// Every problem found, not the first.
    pub fn load(
        service: &Service,
        resumption: &Resumption,
        log: &Log,
    ) -> Result<Context, Vec<Problem>> {
        let _ = (service, resumption, log);
        todo!("tls/")
    }

    /// Begins a handshake, in the role that the service's `client` gives. `upstream` is the host
    /// name of the `connect` entry in use (client mode; the SNI when `sni` is not given).
    ///
    /// # Errors
    /// rustls refuses to begin (no usable suite, and the like).
    pub fn begin(&self, upstream: Option<&str>) -> Result<Handshake, Failure> {
        let _ = upstream;
        todo!("tls/")
    }
}

/// A file or an option that cannot be served, or a warning about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Canonical name of the option it is about (`key`); its origin is in `Service::origins`.
    pub option: &'static str,
    /// What is wrong, naming the file, and what would be right.
    pub text: String,
}

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {}

/// How a handshake stands.
#[derive(Debug)]
pub enum Step {
    /// It wants more from the peer.
    More(Handshake),
    /// It is done. `plain` may already hold ranges of application data.
    Done(Stream),
}

impl Handshake {
    /// Takes ciphertext from the front of `input` (possibly empty: the client's first flight),
    /// appends what must be sent to `output`, and says how many bytes of `input` were used up; the
    /// rest must be given again, with more behind it. Logs what verification found.
    /// On an error the alert, if there is one, is in `output`.
    ///
    /// # Errors
    /// The handshake failed; it can be used no more.
    pub fn step(
        self,
        input: &mut [u8],
        plain: &mut Vec<Range<usize>>,
        output: &mut Vec<u8>,
        log: &Log,
    ) -> Result<(usize, Step), Failure> {
        let _ = (input, plain, output, log);
        todo!("tls/")
    }
}

/// What was negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// `TLSv1.3`
    pub version: &'static str,
    /// OpenSSL's name of the suite.
    pub suite: &'static str,
    /// Strength of its key.
    pub bits: u16,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The group of the key exchange, `X25519MLKEM768`; `None` without one.
    pub group: Option<&'static str>,
}

/// An established TLS connection.
#[derive(Debug)]
pub struct Stream {}

/// What `Stream::decrypt` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decrypted {
    /// Bytes of input used up.
    pub consumed: usize,
    /// The peer's close_notify came: nothing will follow.
    pub closed: bool,
}

impl Stream {
    /// Decrypts in place every whole record at the front of `input` and pushes where the plain
    /// bytes lie in it. What TLS itself must send (a key update's answer) is appended to `output`.
    ///
    /// # Errors
    /// A record that is not authentic, a fatal alert; the alert to send is in `output`.
    pub fn decrypt(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<Range<usize>>,
        output: &mut Vec<u8>,
    ) -> Result<Decrypted, Failure> {
        let _ = (input, plain, output);
        todo!("tls/")
    }

    /// Encrypts as much of `plain` as fits into `output`, whole records each. Returns how much of
    /// `plain` was taken and how much of `output` was filled.
    ///
    /// # Errors
    /// The sequence numbers are used up.
    pub fn encrypt(&mut self, plain: &[u8], output: &mut [u8]) -> Result<(usize, usize), Failure> {
        let _ = (plain, output);
        todo!("tls/")
    }

    /// Appends a close_notify; the stream encrypts nothing afterwards.
    pub fn close_notify(&mut self, output: &mut Vec<u8>) {
        let _ = output;
        todo!("tls/")
    }

    /// What the handshake came to.
    pub fn negotiated(&self) -> Negotiated {
        todo!("tls/")
    }
}

/// Why a handshake or a stream ended. One variant per offence inside; Display is stunnel's words
/// first, then whose fault it is and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {}

impl Failure {
    /// How the scoreboard counts it.
    pub fn kind(&self) -> HandshakeFailure {
        todo!("tls/")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!("tls/")
    }
}
