//! rustls and s2n-tls behind one small face. Nothing outside this folder names either.
//! Never in here: a socket, or a wait.
//!
//! * `face`: a handshake and a stream, by whichever library;
//! * `backend`: which library serves an end, and why;
//! * `s2n`: s2n-tls, for what is older than rustls serves; `armour` hands it keys;
//! * `context`: from a service's options to configurations, with `keys` (files, also encrypted),
//!   `ciphers`, `cipher_list`, `cipher_order`, `schemes`;
//! * `handshake`: rustls' unbuffered connection, until its secrets are known, which `key_block` derives once;
//! * `stream`, `record`: the established connection, in place and without a buffer;
//! * `verification`, `trust`, `settings`, `holder`, `self_signed`, `path`, `climb`, `twin`, `key_kinds`,
//!   `canonical`, `der`, `signatures`, `old_signatures`, `level`, `names`, `notes`: the peer's certificate, and what
//!   the log says about it; `revocation`: the lists that it is looked up in;
//! * `ocsp`: whether a responder has anything against it;
//! * `psk`: identities and pre-shared keys;
//! * `tickets`, `sessions`: resumption, whichever worker gets the connection;
//! * `outward`: a blocking connection to a server that adit itself asks;
//! * `hello`: what a client offers, before rustls sees it;
//! * `failure`, `rejection`, `alerts`, `blame`, `suites`, `age`: why it failed, which side is at fault, and
//!   what to do.
#![deny(unsafe_code)]

mod age;
mod alerts;
mod armour;
mod backend;
mod blame;
mod canonical;
mod cipher_list;
mod cipher_order;
mod ciphers;
mod client_sessions;
mod climb;
mod context;
pub(crate) mod demo;
mod der;
mod face;
mod failure;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod handshake;
pub(crate) mod hello;
mod hkdf;
mod holder;
mod key_block;
mod key_kinds;
mod keys;
mod level;
mod names;
mod notes;
mod ocsp;
mod old_signatures;
pub(crate) mod outward;
mod path;
pub(crate) mod probe;
mod psk;
mod record;
mod rejection;
mod revocation;
mod s2n;
mod schemes;
mod self_signed;
mod sessions;
mod settings;
mod signatures;
mod stream;
mod subject;
pub(crate) mod suited;
pub(crate) mod suites;
mod tickets;
mod trust;
mod twin;
mod verification;

#[cfg(fuzzing)]
pub(crate) use ocsp::fuzz as ocsp_fuzz;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

#[expect(
    unused_imports,
    reason = "`adit check --route` and old workers come next"
)]
pub(crate) use backend::{Backend, Choice};
pub(crate) use cipher_order::CipherOrder;
use context::Identity;
pub(crate) use context::{Context, Wanted};
pub(crate) use face::{Handshake, Step, Stream};
pub(crate) use failure::Failure;
pub(crate) use keys::{PassPhrases, end_that_is_near, locked_file};
use ocsp::Staples;
pub(crate) use ocsp::{Inquiry, Seen, Staple, State as StapleState, Turn};
pub(crate) use revocation::SharedLists;
pub(crate) use stream::Decrypted;

use aws_lc_rs::digest;
use zeroize::{Zeroize, Zeroizing};

use crate::config::{Forgotten, SessionOptions, Severity};
use crate::ipc::shared::SharedWords;

/// Made once by the supervisor, before any fork, and shared by every generation, so that sessions
/// resume in every worker, and after a reload; and so that what responders have said is asked once. Holds no
/// private key.
#[derive(Clone)]
pub(crate) struct Resumption {
    /// Of services that rustls serves; the other secret follows from this one, and not the other way round.
    modern: Part,
    /// Of services with old TLS.
    old: Part,
    /// What is stapled. No secret: clients are shown it.
    staples: Staples,
}

/// What the sessions of one kind of service are opened by.
#[derive(Clone)]
struct Part {
    ticket_secret: [u8; 32],
    sessions: SharedWords,
}

impl Part {
    /// The secret that the keys for tickets are made from, and what they are bound to: the secrets that the
    /// configuration gives, or else the one that was drawn.
    ///
    /// # Errors
    /// The secrets were forgotten.
    fn tickets(
        &self,
        options: &SessionOptions,
        identity: Identity,
    ) -> Result<(Zeroizing<[u8; 32]>, [u8; 32]), Problem> {
        let secrets = options.ticket_secrets().map_err(|Forgotten| {
            let text =
                "this process has forgotten the secrets of tickets: that is a fault of adit's";
            Problem::error("ticketKeySecret", text.to_owned())
        })?;
        let Some(secrets) = secrets else {
            return Ok((Zeroizing::new(self.ticket_secret), identity.own));
        };
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"adit, tickets by secrets of the configuration");
        for secret in &secrets {
            hash.update(&(secret.len() as u64).to_be_bytes());
            hash.update(secret);
        }
        Ok((finished(hash), identity.shared))
    }

    fn forget(&mut self) -> io::Result<()> {
        self.ticket_secret.zeroize();
        self.sessions = SharedWords::new(1)?;
        Ok(())
    }
}

impl Resumption {
    /// Draws the secret and maps the session caches.
    ///
    /// # Errors
    /// No memory, no randomness.
    pub(crate) fn new() -> io::Result<Self> {
        let [modern, old] = sessions::WORDS;
        let sessions = [SharedWords::new(modern)?, SharedWords::new(old)?];
        Ok(Self::of(draw()?, sessions, Staples::new()?))
    }

    /// As [`Resumption::new`], with descriptors that keep the caches and what is stapled across an exec.
    ///
    /// # Errors
    /// No memory, no randomness, no descriptors left.
    pub(crate) fn transferable() -> io::Result<(Self, [OwnedFd; 2])> {
        let (sessions, descriptor) = SharedWords::transferable_parts(sessions::WORDS)?;
        let (staples, stapled) = Staples::transferable()?;
        let this = Self::of(draw()?, sessions, staples);
        Ok((this, [descriptor, stapled]))
    }

    /// The secret, the caches and what is stapled of the program before an exec; one that had nothing of the kind
    /// hands over no `staples`. Gives the memory of these.
    ///
    /// # Errors
    /// The caches have another size; no memory.
    pub(crate) fn taken_over(
        ticket_secret: [u8; 32],
        descriptor: &OwnedFd,
        staples: Option<OwnedFd>,
    ) -> io::Result<(Self, OwnedFd)> {
        let sessions = SharedWords::taken_over_parts(descriptor, sessions::WORDS)?;
        let known = staples.and_then(|memory| Some((Staples::taken_over(&memory).ok()?, memory)));
        let (staples, memory) = match known {
            Some(known) => known,
            // Responders are asked again.
            None => Staples::transferable()?,
        };
        Ok((Self::of(ticket_secret, sessions, staples), memory))
    }

    fn of(ticket_secret: [u8; 32], [modern, old]: [SharedWords; 2], staples: Staples) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"adit, tickets of old TLS");
        hash.update(&ticket_secret);
        Self {
            modern: Part {
                ticket_secret,
                sessions: modern,
            },
            old: Part {
                ticket_secret: *finished(hash),
                sessions: old,
            },
            staples,
        }
    }

    /// What is known of a certificate that is shown, by its slot's number.
    pub(crate) fn stapled(&self, slot: usize) -> Option<Seen> {
        self.staples.see(slot)
    }

    /// Forgets the secrets and unmaps the caches and what is stapled, in a process that must know none of them.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        self.staples = Staples::new()?;
        self.forget_modern()?;
        self.forget_old()
    }

    /// The same for what is of services that rustls serves, in a process that serves old TLS.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn forget_modern(&mut self) -> io::Result<()> {
        self.modern.forget()
    }

    /// The same for what is of services with old TLS, in a process that serves none.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn forget_old(&mut self) -> io::Result<()> {
        self.old.forget()
    }

    /// The secret behind the ticket keys, to be handed only to the next program of this process.
    pub(crate) fn ticket_secret(&self) -> [u8; 32] {
        self.modern.ticket_secret
    }
}

/// Starts what serves old TLS (see [`Backend::S2n`]), in a process that has such a service: while it is
/// root, before its jail, since it reads files; and before its second thread, so that it does not read the
/// system's certificates. A later call does nothing.
///
/// # Errors
/// The library cannot start.
pub(crate) fn prepare_old() -> io::Result<()> {
    s2n::start()
}

/// What SHA-256 comes to.
fn finished(hash: digest::Context) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(hash.finish().as_ref());
    bytes
}

fn draw() -> io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(secret)
}

impl fmt::Debug for Resumption {
    /// Shows nothing: it is all secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resumption")
    }
}
/// A file or an option that cannot be used, or a warning about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Whether it stops the service.
    pub severity: Severity,
    /// Canonical name of the option it is about (`key`); its origin is in `Service::origins`.
    pub option: &'static str,
    /// What is wrong, naming the file, and what would be right.
    pub text: String,
}

impl Problem {
    fn error(option: &'static str, text: String) -> Self {
        Self {
            severity: Severity::Error,
            option,
            text,
        }
    }

    fn warning(option: &'static str, text: String) -> Self {
        Self {
            severity: Severity::Warning,
            option,
            text,
        }
    }

    fn note(option: &'static str, text: String) -> Self {
        Self {
            severity: Severity::Note,
            option,
            text,
        }
    }
}

/// What a client shows of itself in a handshake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Introduction {
    /// The name that it asked for (SNI).
    pub server_name: Option<String>,
    /// What was agreed on by ALPN.
    pub alpn: Option<Vec<u8>>,
    /// Its certificate, shown in this handshake or in the one whose session goes on, DER.
    pub certificate: Option<Vec<u8>>,
}

impl Introduction {
    /// The common name in its certificate.
    pub(crate) fn common_name(&self) -> Option<String> {
        self.certificate.as_deref().and_then(names::common_name)
    }

    /// Subject and issuer of its certificate, as OpenSSL writes them on one line.
    pub(crate) fn subject_and_issuer(&self) -> Option<(String, String)> {
        let certificate = self.certificate.as_deref();
        certificate.and_then(names::subject_and_issuer)
    }
}

/// The result of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// `TLSv1.3`
    pub version: &'static str,
    /// OpenSSL's name of the suite.
    pub suite: &'static str,
    /// The size of its key, in bits.
    pub bits: u16,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The group of the key exchange, `X25519MLKEM768`; `None` without one.
    pub group: Option<&'static str>,
    /// The service has `redirect`, and the client has shown no valid certificate.
    pub redirected: bool,
}
