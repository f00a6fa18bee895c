//! Handshakes and streams, whichever library they are made by. The other rooms meet nothing else of TLS
//! while a connection lives.

use std::ops::Range;

use super::alerts;
use super::failure::Failure;
use super::ocsp::Inquiry;
use super::{Decrypted, Introduction, Negotiated, handshake, s2n, stream};
use crate::log::Log;

/// A handshake under way.
#[derive(Debug)]
pub(crate) enum Handshake {
    Rustls(handshake::Handshake),
    /// Boxed, so that the other is no larger.
    S2n(Box<s2n::Handshake>),
}

/// The state of a handshake.
#[derive(Debug)]
pub(crate) enum Step {
    /// It needs more from the peer.
    More(Handshake),
    /// It is done. The rest of the input is for `Stream::decrypt`.
    Done(Stream),
}

impl Handshake {
    /// A server by any configuration of rustls'.
    #[cfg(test)]
    pub(super) fn of_rustls(config: &std::sync::Arc<rustls::ServerConfig>) -> Self {
        let terms = super::backend::Terms {
            low: super::hello::Version::TLS12,
            high: super::hello::Version::TLS13,
            names: super::backend::OptionNames::Usual,
            introduces: false,
        };
        Handshake::Rustls(handshake::Handshake::accept(config, terms, None).unwrap())
    }

    /// The failure to report when the peer closes its connection now.
    pub(crate) fn vanished(&self) -> Failure {
        match self {
            Handshake::Rustls(handshake) => handshake.vanished(),
            Handshake::S2n(handshake) => handshake.vanished(),
        }
    }

    /// What a handshake that waits for the peer holds, besides its input: at most some bytes more.
    pub(crate) fn held(&self) -> usize {
        match self {
            Handshake::Rustls(_) => handshake::HELD,
            Handshake::S2n(_) => s2n::HELD,
        }
    }

    /// Takes ciphertext from the front of `input` (possibly empty: the client's first flight),
    /// appends what must be sent to `output`, and says how many bytes of `input` were used up; the
    /// rest must be given again, as this call left it, with more behind it. When it is done, the
    /// rest is the stream's: it may be whole records of data already. Logs what verification found.
    /// On an error the alert, if there is one, is in `output`; it waits for the end of [`Failure::blinding`].
    ///
    /// # Errors
    /// The handshake failed; it can be used no more.
    pub(crate) fn step(
        self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        log: &Log,
    ) -> Result<(usize, Step), Failure> {
        match self {
            Handshake::Rustls(handshake) => {
                let (used, turn) = handshake.step(input, output, log)?;
                let step = match turn {
                    handshake::Turn::More(handshake) => Step::More(Handshake::Rustls(handshake)),
                    handshake::Turn::Done(stream) => Step::Done(Stream::Rustls(stream)),
                };
                Ok((used, step))
            }
            Handshake::S2n(handshake) => {
                let (used, turn) = handshake.step(input, output, log)?;
                let step = match turn {
                    s2n::Turn::More(handshake) => Step::More(Handshake::S2n(Box::new(handshake))),
                    s2n::Turn::Done(stream) => Step::Done(Stream::S2n(Box::new(stream))),
                };
                Ok((used, step))
            }
        }
    }
}

/// An established TLS connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Rustls(stream::Stream),
    /// Boxed, so that the other is no larger.
    S2n(Box<s2n::Stream>),
}

impl Stream {
    /// What the handshake came to.
    pub(crate) fn negotiated(&self) -> Negotiated {
        match self {
            Stream::Rustls(stream) => stream.negotiated(),
            Stream::S2n(stream) => stream.negotiated(),
        }
    }

    /// The protocol that was agreed on by ALPN.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Stream::Rustls(stream) => stream.alpn(),
            Stream::S2n(stream) => stream.alpn(),
        }
    }

    /// What the client showed of itself, for a service that passes it on; with s2n-tls, its certificate and protocol.
    pub(crate) fn introduction(&self) -> Option<&Introduction> {
        match self {
            Stream::Rustls(stream) => stream.introduction(),
            Stream::S2n(stream) => stream.introduction(),
        }
    }

    /// Whether the handshake's last flight may wait for payload to go with: with a client the server
    /// begins to carry only when it has it, with a TLS 1.3 server it is tickets. An older server's
    /// is awaited.
    pub(crate) fn last_flight_can_wait(&self) -> bool {
        match self {
            Stream::Rustls(stream) => stream.last_flight_can_wait(),
            Stream::S2n(stream) => stream.last_flight_can_wait(),
        }
    }

    /// Decrypts in place every whole record at the front of `input` and pushes where the plain
    /// bytes lie in it. What TLS itself must send (a key update's answer) is appended to `output`.
    ///
    /// # Errors
    /// A record that is not authentic, a fatal alert; the alert to send is in `output`. It waits for the end of
    /// [`Failure::blinding`].
    pub(crate) fn decrypt(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<Range<usize>>,
        output: &mut Vec<u8>,
    ) -> Result<Decrypted, Failure> {
        match self {
            Stream::Rustls(stream) => stream.decrypt(input, plain, output),
            Stream::S2n(stream) => stream.decrypt(input, plain, output),
        }
    }

    /// Encrypts as much of `plain` as fits into `output`, whole records each, small ones first, and
    /// then of 16 KiB where there is enough. Returns how much of `plain` was taken and how much of
    /// `output` was filled; both are 0 when `output` is too small for a record (some 200 bytes are
    /// always enough for a short one), or after `close_notify`, or after an error.
    ///
    /// # Errors
    /// The key is used up: TLS 1.2 after 2^24 records of AES-GCM, 3DES after 1 GiB.
    pub(crate) fn encrypt(
        &mut self,
        plain: &[u8],
        output: &mut [u8],
    ) -> Result<(usize, usize), Failure> {
        match self {
            Stream::Rustls(stream) => stream.encrypt(plain, output),
            Stream::S2n(stream) => stream.encrypt(plain, output),
        }
    }

    /// Appends a close_notify; the stream encrypts nothing afterwards.
    pub(crate) fn close_notify(&mut self, output: &mut Vec<u8>) {
        match self {
            Stream::Rustls(stream) => stream.close_notify(output),
            Stream::S2n(stream) => stream.close_notify(output),
        }
    }

    /// Takes what has to be asked of others before it may be used, if anything.
    pub(crate) fn inquiry(&mut self) -> Option<Box<Inquiry>> {
        match self {
            Stream::Rustls(stream) => stream.inquiry(),
            Stream::S2n(stream) => stream.inquiry(),
        }
    }

    /// The client's certificate was refused only now, and the client is redirected: it counts as one without.
    pub(crate) fn redirect(&mut self) {
        match self {
            Stream::Rustls(stream) => stream.redirect(),
            Stream::S2n(stream) => stream.redirect(),
        }
    }

    /// Appends the alert for a peer that was refused only now; the stream encrypts nothing afterwards.
    pub(crate) fn refuse(&mut self, why: &Failure, output: &mut Vec<u8>, log: &Log) {
        let alert = why.late_alert();
        crate::debug!(*log, "TLS alert (write): fatal: {}", alerts::name(alert));
        match self {
            Stream::Rustls(stream) => stream.refuse(alert, output),
            Stream::S2n(stream) => stream.refuse(alert, output),
        }
    }

    /// Gives back what memory it holds only to work; it takes it again by itself. For a session that
    /// waits.
    pub(crate) fn rest(&mut self) {
        match self {
            // It holds none.
            Stream::Rustls(_) => {}
            Stream::S2n(stream) => stream.rest(),
        }
    }

    /// rustls' one, for what only it has.
    #[cfg(test)]
    pub(super) fn by_rustls(&mut self) -> &mut stream::Stream {
        match self {
            Stream::Rustls(stream) => stream,
            Stream::S2n(_) => unreachable!("the stream is by s2n-tls"),
        }
    }

    /// s2n's one.
    #[cfg(test)]
    pub(super) fn by_s2n(&mut self) -> &mut s2n::Stream {
        match self {
            Stream::Rustls(_) => unreachable!("the stream is by rustls"),
            Stream::S2n(stream) => stream,
        }
    }
}
