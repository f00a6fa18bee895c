//! The modern mail server: submission with STARTTLS, and POP3 inside TLS; TLS 1.3 only, on loopback, in
//! threads of this process. It records what it received.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::client::Account;
use super::identity::{HOST, Identity};
use super::wire::Wire;
use crate::tls::demo::{DemoAcceptor, DemoNegotiated, DemoStream};

/// A connection that is silent for this long is given up.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The server's record of one connection.
#[derive(Debug)]
pub(super) struct Seen {
    /// The dialogue before TLS, `C: ...` and `S: ...`.
    pub(super) before_tls: Vec<String>,
    /// The result of the handshake.
    pub(super) negotiated: DemoNegotiated,
    /// Every byte on the wire, both ways, from the handshake on.
    pub(super) on_the_wire: Vec<u8>,
}

/// One connection's record, or why it failed.
pub(super) type Report = (Port, io::Result<Seen>);

/// One of the server's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Submission,
    Pop3s,
}

/// What the server's threads share.
struct Shared {
    acceptor: DemoAcceptor,
    account: Account,
    mailbox: Mutex<Vec<Vec<u8>>>,
    stopping: AtomicBool,
}

/// The running server; its threads end on drop.
pub(super) struct MailServer {
    pub(super) submission: SocketAddr,
    pub(super) pop3s: SocketAddr,
    shared: Arc<Shared>,
    reports: mpsc::Receiver<Report>,
    threads: Vec<JoinHandle<()>>,
}

impl MailServer {
    pub(super) fn start(identity: &Identity, account: Account) -> io::Result<MailServer> {
        let shared = Arc::new(Shared {
            acceptor: DemoAcceptor::new(identity.chain.clone(), identity.key.clone())?,
            account,
            mailbox: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let (sender, reports) = mpsc::channel();
        let submission = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let pop3s = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut server = MailServer {
            submission: submission.local_addr()?,
            pop3s: pop3s.local_addr()?,
            shared: shared.clone(),
            reports,
            threads: Vec::new(),
        };
        for (port, listener) in [(Port::Submission, submission), (Port::Pop3s, pop3s)] {
            let (shared, sender) = (shared.clone(), sender.clone());
            let thread = thread::Builder::new()
                .name(format!("demo {port:?}"))
                .spawn(move || accept(port, &listener, &shared, &sender))?;
            server.threads.push(thread);
        }
        Ok(server)
    }

    /// The next connection's report, in the order in which they ended.
    pub(super) fn report(&self) -> io::Result<Report> {
        self.reports
            .recv_timeout(CONNECTION_TIMEOUT)
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection reached it"))
    }

    /// The mails that the server holds.
    pub(super) fn mailbox(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.mailbox).clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for address in [self.submission, self.pop3s] {
            // This only wakes the thread; if it cannot connect, the thread has already ended.
            let _ = TcpStream::connect(address);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock(mailbox: &Mutex<Vec<Vec<u8>>>) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
    mailbox.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(port: Port, listener: &TcpListener, shared: &Shared, reports: &mpsc::Sender<Report>) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let seen = stream.and_then(|stream| serve(port, stream, shared));
        if reports.send((port, seen)).is_err() {
            return;
        }
    }
}

fn serve(port: Port, stream: TcpStream, shared: &Shared) -> io::Result<Seen> {
    stream.set_read_timeout(Some(CONNECTION_TIMEOUT))?;
    stream.set_write_timeout(Some(CONNECTION_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let mut before_tls = Vec::new();
    let stream = match port {
        Port::Submission => until_starttls(stream, &mut before_tls)?,
        Port::Pop3s => stream,
    };
    let tap = Tap {
        stream,
        heard: Vec::new(),
    };
    let mut wire = Wire::new(shared.acceptor.accept(tap)?);
    match port {
        Port::Submission => submission(&mut wire, shared)?,
        Port::Pop3s => pop3(&mut wire, shared)?,
    }
    let tls: DemoStream<Tap> = wire.into_stream()?;
    let negotiated = tls.negotiated();
    let tap = tls.close()?;
    Ok(Seen {
        before_tls,
        negotiated,
        on_the_wire: tap.heard,
    })
}

/// A socket that records what passes below TLS, as an eavesdropper would see it.
struct Tap {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.heard.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        self.heard.extend_from_slice(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Plain SMTP, of no use except for STARTTLS.
fn until_starttls(stream: TcpStream, said: &mut Vec<String>) -> io::Result<TcpStream> {
    let mut wire = Wire::new(stream);
    let say = |wire: &mut Wire<TcpStream>, line: &str, said: &mut Vec<String>| {
        said.push(format!("S: {line}"));
        wire.send(line)
    };
    say(&mut wire, &format!("220 {HOST} ESMTP adit demo"), said)?;
    loop {
        let line = wire.text()?;
        said.push(format!("C: {line}"));
        match line.split(' ').next().unwrap_or_default() {
            "EHLO" => {
                say(&mut wire, &format!("250-{HOST}"), said)?;
                say(&mut wire, "250 STARTTLS", said)?;
            }
            "STARTTLS" => {
                say(&mut wire, "220 Ready to start TLS", said)?;
                return wire.into_stream();
            }
            _ => say(
                &mut wire,
                "530 5.7.0 Must issue a STARTTLS command first",
                said,
            )?,
        }
    }
}

/// SMTP inside TLS: as much of RFC 5321 and RFC 4954 as a mail program needs.
fn submission<S: Read + Write>(wire: &mut Wire<S>, shared: &Shared) -> io::Result<()> {
    let Account { user, password } = shared.account;
    let plain = crate::base64::encode(format!("\0{user}\0{password}").as_bytes());
    let mut logged_in = false;
    loop {
        let line = wire.text()?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match verb {
            "EHLO" => {
                wire.send(&format!("250-{HOST}"))?;
                wire.send("250-AUTH LOGIN PLAIN")?;
                wire.send("250 8BITMIME")?;
            }
            "AUTH" => {
                logged_in = match rest.split_once(' ').unwrap_or((rest, "")) {
                    ("LOGIN", _) => {
                        wire.send("334 VXNlcm5hbWU6")?;
                        let name = wire.text()?;
                        wire.send("334 UGFzc3dvcmQ6")?;
                        name == crate::base64::encode(user.as_bytes())
                            && wire.text()? == crate::base64::encode(password.as_bytes())
                    }
                    ("PLAIN", token) => token == plain,
                    _ => false,
                };
                wire.send(match logged_in {
                    true => "235 2.7.0 Authentication successful",
                    false => "535 5.7.8 Authentication failed",
                })?;
            }
            "QUIT" => return wire.send(&format!("221 {HOST} closing connection")),
            "MAIL" | "RCPT" if logged_in => wire.send("250 2.1.0 OK")?,
            "DATA" if logged_in => {
                wire.send("354 End data with a dot")?;
                let mail = wire.mail()?;
                lock(&shared.mailbox).push(mail);
                wire.send("250 2.0.0 Mail accepted")?;
            }
            "NOOP" | "RSET" => wire.send("250 2.0.0 OK")?,
            _ => wire.send("530 5.7.0 Authentication required")?,
        }
    }
}

/// POP3 inside TLS, RFC 1939.
fn pop3<S: Read + Write>(wire: &mut Wire<S>, shared: &Shared) -> io::Result<()> {
    let Account { user, password } = shared.account;
    let mut name = String::new();
    let mut logged_in = false;
    let mut deleted = Vec::new();
    wire.send(&format!("+OK {HOST} ready"))?;
    loop {
        let line = wire.text()?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let mails = lock(&shared.mailbox).clone();
        let number = rest
            .parse()
            .ok()
            .and_then(|number: usize| number.checked_sub(1));
        let mail = number.and_then(|index| mails.get(index));
        match (verb, mail) {
            ("USER", _) => {
                name = rest.to_owned();
                wire.send("+OK")?;
            }
            ("PASS", _) => {
                logged_in = name == user && rest == password;
                wire.send(match logged_in {
                    true => "+OK logged in",
                    false => "-ERR no such user, or another password",
                })?;
            }
            ("STAT", _) if logged_in => {
                let size: usize = mails.iter().map(Vec::len).sum();
                wire.send(&format!("+OK {} {size}", mails.len()))?;
            }
            ("RETR", Some(mail)) if logged_in => {
                wire.send(&format!("+OK {} bytes", mail.len()))?;
                wire.send_mail(mail)?;
            }
            ("DELE", Some(_)) if logged_in => {
                deleted.extend(number);
                wire.send("+OK deleted")?;
            }
            ("QUIT", _) => {
                // Only now are deleted mails removed (RFC 1939, section 6).
                let mut index = 0;
                lock(&shared.mailbox).retain(|_| {
                    index += 1;
                    !deleted.contains(&(index - 1))
                });
                return wire.send("+OK bye");
            }
            _ => wire.send("-ERR not here, not now")?,
        }
    }
}
