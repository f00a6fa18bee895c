//! The same in client mode, where the server has Nagle's algorithm on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, SupportedProtocolVersion};

use super::{OLD, at_once, client_mode, nagle};
use crate::require;
use crate::support::dialogue::{Lines, POP3};
use crate::support::peers::Server;
use crate::support::tls::{self, ServerStream};
use crate::support::{Adit, Certs};

/// When a server wrote its answer.
type Written = Arc<Mutex<Option<Instant>>>;

/// A server with Nagle on: its tickets are in a segment of their own before it answers.
fn serve_with_nagle(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    serve: impl Fn(&mut ServerStream),
) {
    if let Ok(mut stream) = tls::start_server(config.clone(), nagle(stream)) {
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut stream.sock).expect("sending");
        }
        serve(&mut stream);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
}

/// The time from the server's answer to its arrival at a client that has sent `request`.
fn answer_arrives(adit: &Adit, request: &str, written: &Written) -> Duration {
    let mut client = adit.connect("test");
    client.write_all(request.as_bytes()).expect("sending");
    client.read_exact(&mut [0]).expect("an answer");
    since(written)
}

/// The time since it was written.
fn since(written: &Written) -> Duration {
    let note = written.lock().expect("no panic").take();
    note.expect("it has been written").elapsed()
}

fn client_mode_hears(request: &'static str) {
    client_mode_with("", tls::ONLY_13, request);
}

fn client_mode_with(
    more: &str,
    versions: &[&'static SupportedProtocolVersion],
    request: &'static str,
) {
    require!(adit);
    let certs = Certs::new();
    let config = tls::server_config(&certs.server(), versions, None);
    let written = Written::default();
    let note = written.clone();
    let upstream = Server::start(move |stream| {
        serve_with_nagle(stream, &config, |stream| {
            stream
                .read_exact(&mut vec![0; request.len()])
                .expect("a request");
            *note.lock().expect("no panic") = Some(Instant::now());
            stream.write_all(b"x").expect("sending");
        });
    });
    let adit = client_mode(&certs, &upstream, more);
    at_once(|| answer_arrives(&adit, request, &written));
}

#[test]
fn client_mode_hears_the_answer_of_a_server_with_nagle_at_once() {
    client_mode_hears("request");
}

#[test]
fn client_mode_hears_the_greeting_of_a_server_with_nagle_at_once() {
    client_mode_hears("");
}

#[test]
fn client_mode_by_s2n_hears_the_answer_and_the_greeting_of_a_server_with_nagle_at_once() {
    for versions in [tls::ONLY_12, tls::ONLY_13] {
        for request in ["request", ""] {
            client_mode_with(OLD, versions, request);
        }
    }
}

#[test]
fn client_mode_hears_the_answer_of_a_starttls_server_with_nagle_at_once() {
    require!(adit);
    let certs = Certs::new();
    let config = tls::server_config(&certs.server(), tls::ONLY_13, None);
    let written = Written::default();
    let note = written.clone();
    let upstream = Server::start(move |stream| {
        let mut plain = Lines(stream);
        plain.send(POP3.greeting);
        if plain.line().is_none() {
            return;
        }
        plain.send(POP3.ready);
        serve_with_nagle(plain.0, &config, |stream| {
            let mut lines = Lines(stream);
            lines.line().expect("a command");
            *note.lock().expect("no panic") = Some(Instant::now());
            lines.send("+OK\r\n");
        });
    });
    let adit = client_mode(&certs, &upstream, "protocol = pop3\n");
    at_once(|| {
        let mut client = Lines(adit.connect("test"));
        client.expect("+OK");
        // Sent before TLS is up, so that it goes with the end of the handshake, and the answer comes
        // after the tickets.
        client.ask("NOOP", "+OK");
        since(&written)
    });
}
