//! Line-based dialogues of mail programs and mail servers, before TLS and inside it.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;

use super::peers::{self, Server};
use super::tls;

/// One side of a conversation.
pub struct Lines<S>(pub S);

impl<S: Read + Write> Lines<S> {
    /// Sends exactly this.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("sending");
        self.0.flush().expect("sending");
    }

    /// Reads one line, without its end; `None` if the stream ended before it. Byte by byte, so that
    /// nothing after it is consumed.
    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while let Ok(1) = self.0.read(&mut byte) {
            if byte[0] == b'\n' {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            line.push(byte[0]);
        }
        None
    }

    /// Reads lines until one begins with `start`; fails at the end of the stream.
    #[track_caller]
    pub fn expect(&mut self, start: &str) -> String {
        let mut before = Vec::new();
        while let Some(line) = self.line() {
            if line.starts_with(start) {
                return line;
            }
            before.push(line);
        }
        panic!("the end, and no line beginning with {start:?}; only {before:?}");
    }

    /// Sends a line and reads until one begins with `start`.
    #[track_caller]
    pub fn ask(&mut self, line: &str, start: &str) -> String {
        self.send(&format!("{line}\r\n"));
        self.expect(start)
    }

    /// Reads the rest until the other side closes.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let bytes = peers::read_until_gone(&mut self.0).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What a scripted server saw, by the side of the handshake.
#[derive(Default, Clone)]
pub struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// Adds a note.
    pub fn note(&self, text: impl Into<String>) {
        self.0.lock().expect("no panic").push(text.into());
    }

    /// All notes.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    /// Whether a note contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.all().iter().any(|line| line.contains(text))
    }
}

/// How a protocol asks for TLS, with the server's part.
#[derive(Debug, Clone, Copy)]
pub struct Starttls {
    /// `protocol = …`
    pub name: &'static str,
    /// The server's greeting.
    pub greeting: &'static str,
    /// The client's request, without its tag.
    pub request: &'static str,
    /// The reply that lets TLS begin; `%` is the request's tag.
    pub ready: &'static str,
    /// A reply that refuses it; `%` is the request's tag.
    pub refusal: &'static str,
    /// A command inside TLS, and the start of its answer.
    pub command: (&'static str, &'static str),
}

/// RFC 3207
pub const SMTP: Starttls = Starttls {
    name: "smtp",
    greeting: "220 mail.test ESMTP\r\n",
    request: "STARTTLS",
    ready: "220 ready\r\n",
    refusal: "454 TLS not available\r\n",
    command: ("NOOP", "250"),
};
/// RFC 2595, section 4
pub const POP3: Starttls = Starttls {
    name: "pop3",
    greeting: "+OK mail.test\r\n",
    request: "STLS",
    ready: "+OK begin\r\n",
    refusal: "-ERR no TLS\r\n",
    command: ("NOOP", "+OK"),
};
/// RFC 3501, section 6.2.1
pub const IMAP: Starttls = Starttls {
    name: "imap",
    greeting: "* OK mail.test\r\n",
    request: "STARTTLS",
    ready: "% OK begin\r\n",
    refusal: "% BAD no TLS\r\n",
    command: ("a NOOP", "a OK"),
};
/// RFC 4642
pub const NNTP: Starttls = Starttls {
    name: "nntp",
    greeting: "200 news.test\r\n",
    request: "STARTTLS",
    ready: "382 begin\r\n",
    refusal: "580 no TLS\r\n",
    command: ("DATE", "111"),
};

impl Starttls {
    /// The answer to a command that is not the request for TLS.
    pub fn answer(&self, line: &str) -> String {
        let upper = line.to_ascii_uppercase();
        let tag = line.split(' ').next().unwrap_or_default();
        match self.name {
            "smtp" if upper.starts_with("EHLO") => {
                "250-mail.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n".into()
            }
            "smtp" => "250 ok\r\n".into(),
            "pop3" if upper.starts_with("CAPA") => "+OK\r\nUSER\r\nSTLS\r\n.\r\n".into(),
            "pop3" => "+OK\r\n".into(),
            "nntp" if upper.starts_with("DATE") => "111 20261127090000\r\n".into(),
            "nntp" => "500 what?\r\n".into(),
            _ if upper.contains("CAPABILITY") => {
                format!("* CAPABILITY IMAP4rev1 STARTTLS\r\n{tag} OK done\r\n")
            }
            _ => format!("{tag} OK done\r\n"),
        }
    }

    /// Whether a line is the request for TLS.
    pub fn is_request(&self, line: &str) -> bool {
        let words: Vec<String> = line.split(' ').map(str::to_ascii_uppercase).collect();
        match self.name {
            "imap" => words.len() == 2 && words[1] == self.request,
            _ => words == [self.request],
        }
    }

    fn tagged(&self, reply: &str, line: &str) -> String {
        reply.replacen('%', line.split(' ').next().unwrap_or_default(), 1)
    }

    /// A server that speaks plain until it is asked for TLS, sends `behind` in the same segment after
    /// its go-ahead, and continues inside TLS. `seen` notes `plain: …` and `tls: …`.
    pub fn server(self, config: Arc<ServerConfig>, seen: Seen, behind: &'static str) -> Server {
        Server::start(move |stream| {
            let mut plain = Lines(stream);
            plain.send(self.greeting);
            let request = loop {
                let Some(line) = plain.line() else {
                    return seen.note("plain: gone");
                };
                seen.note(format!("plain: {line}"));
                if self.is_request(&line) {
                    break line;
                }
                plain.send(&self.answer(&line));
            };
            plain.send(&(self.tagged(self.ready, &request) + behind));
            let Ok(stream) = tls::start_server(config.clone(), plain.0) else {
                return seen.note("no handshake");
            };
            let mut inner = Lines(stream);
            while let Some(line) = inner.line() {
                seen.note(format!("tls: {line}"));
                inner.send(&self.answer(&line));
            }
            tls::end(&mut inner.0);
        })
    }

    /// A server that answers the request for TLS with `reply` (`%` is its tag) and then closes.
    pub fn refusing(self, reply: String) -> Server {
        Server::start(move |stream| {
            let mut plain = Lines(stream);
            plain.send(self.greeting);
            while let Some(line) = plain.line() {
                if self.is_request(&line) {
                    let reply = self.tagged(&reply, &line);
                    // The other side may close in the middle of a long one.
                    let _ = plain.0.write_all(reply.as_bytes());
                    let _ = plain.0.shutdown(std::net::Shutdown::Write);
                    plain.rest();
                    return;
                }
                plain.send(&self.answer(&line));
            }
        })
    }

    /// A plain server, as used behind server mode; `seen` notes what it receives.
    pub fn plain_server(self, seen: Seen) -> Server {
        Server::start(move |stream| {
            let mut plain = Lines(stream);
            plain.send(self.greeting);
            while let Some(line) = plain.line() {
                seen.note(line.clone());
                let answer = self.answer(&line);
                if plain.0.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        })
    }
}
