//! What is said in plain before TLS starts, sans-IO: one file a protocol. No socket, no clock:
//! events in, actions out. Never in here: I/O, TLS.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::config::{Protocol, Service};

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Accepted: the client.
    Front,
    /// Connected: the server.
    Back,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Both ends are connected, in plain; given once, first.
    Start,
    /// Bytes came in from an end.
    Bytes(Side, &'a [u8]),
    /// An end will send no more.
    Eof(Side),
    /// The timer that was asked for ran out.
    Timer,
}

/// What to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Write these bytes to that end.
    Send(Side, Vec<u8>),
    /// Give an `Event::Timer` after this long; a new one replaces it.
    Timer(Duration),
    /// Write a log line (level, text). Never payload.
    Log(u8, String),
}

/// How the dialogue stands after an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    More,
    /// TLS starts now on its side. What was read and not consumed: bytes of the plain side, to be
    /// relayed behind; and of the TLS side only where no plain word was exchanged with it at all
    /// (a client that begins with TLS at once).
    Done {
        /// Left over from the client.
        front: Vec<u8>,
        /// Left over from the server.
        back: Vec<u8>,
    },
}
