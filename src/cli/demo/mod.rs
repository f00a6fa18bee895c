//! `adit demo`: an old mail program, a modern mail server, and a real adit between them, on loopback;
//! without root, without a network, and without leaving a file.

mod client;
mod identity;
mod instance;
mod server;
mod story;
mod wire;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{Account, Transcript};
use identity::{HOST, Identity};
use instance::{Folder, Instance};
use server::{MailServer, Port, Seen};
use story::{Ports, Story};
use wire::Wire;

const ACCOUNT: Account = Account {
    user: "miner@example.org",
    password: "gallery-level-7",
};
/// A sentence of the mail that must not be readable on the TLS side.
const SENTENCE: &str = "Through the adit go people, water and air.";
/// The mail program gives up after this much silence.
const MAIL_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the demo with this very program and reports what each side carried. It succeeds only if the
/// mail arrived byte for byte and the server was reached in TLS 1.3.
pub fn run() -> ExitCode {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // Without it, an interruption only leaves the temporary folder behind.
        let _ = signal_hook::flag::register(signal, interrupted.clone());
    }
    let outcome = std::env::current_exe()
        .map_err(during("finding this program's own file"))
        .and_then(|binary| play(&binary, &interrupted, &mut io::stdout().lock()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // stderr may be closed; the exit status reports the failure as well.
            let _ = writeln!(io::stderr(), "{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Why the demo failed, with the end of adit's log.
#[derive(Debug)]
struct Failure {
    reason: Reason,
    log: Vec<String>,
}

#[derive(Debug)]
enum Reason {
    /// A step failed, for the reason that the system or the other side gave.
    Step(&'static str, io::Error),
    /// The mail at one place differs from the one that was sent.
    Altered(&'static str),
    /// A connection to the server was older than TLS 1.3.
    NotTls13(String),
    /// A secret was readable on the TLS side.
    Readable(&'static str),
}

fn during(step: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Reason::Step(step, error).into()
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Failure {
        Failure {
            reason,
            log: Vec::new(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("adit demo failed: ")?;
        match &self.reason {
            Reason::Step(step, error) => write!(f, "{step}: {error}")?,
            Reason::Altered(place) => write!(f, "the mail was altered in transit {place}")?,
            Reason::NotTls13(version) => {
                write!(f, "the connection to the server was {version}, not TLS 1.3")?;
            }
            Reason::Readable(what) => write!(f, "{what} was readable in transit to the server")?,
        }
        if !self.log.is_empty() {
            f.write_str("\nThe end of adit's log:")?;
        }
        self.log.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// The whole demo, with `binary` as adit; reports to `out`.
fn play(binary: &Path, interrupted: &AtomicBool, out: &mut dyn Write) -> Result<(), Failure> {
    let folder = Folder::make().map_err(during("making a temporary folder"))?;
    perform(binary, &folder, interrupted, out).map_err(|failure| Failure {
        log: Instance::tail(&folder),
        ..failure
    })
}

fn perform(
    binary: &Path,
    folder: &Folder,
    interrupted: &AtomicBool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let identity = Identity::make()
        .map_err(io::Error::other)
        .map_err(during("making a certificate"))?;
    fs::write(folder.path("ca.pem"), &identity.authority_pem)
        .map_err(during("writing the certificate"))?;
    let server =
        MailServer::start(&identity, ACCOUNT).map_err(during("starting the mail server"))?;

    let configuration = configuration(folder, &server);
    let mut adit = Instance::start(binary, &configuration, folder, interrupted)
        .map_err(during("starting adit"))?;
    adit.wait_until_serving()
        .map_err(during("waiting for adit"))?;
    let ports = Ports {
        smtp: adit
            .port("submission")
            .map_err(during("finding adit's port"))?,
        pop3: adit.port("pop3").map_err(during("finding adit's port"))?,
    };

    let mail = compose();
    let (sending, sent) = send(&server, ports.smtp, &mail)?;
    if interrupted.load(Ordering::Relaxed) {
        let error = io::ErrorKind::Interrupted.into();
        return Err(during("going on")(error));
    }
    let (fetching, got) = fetch(&server, ports.pop3, &mail)?;
    adit.stop().map_err(during("stopping adit"))?;

    let story = Story {
        ports,
        server: &server,
        mail: &mail,
        sending: &sending,
        sent: &sent,
        fetching: &fetching,
        got: &got,
    };
    story.check()?;
    // The output may be closed by now; the result stands.
    let _ = story.tell(out);
    Ok(())
}

/// What a user would write, except for the ports, which the system chooses.
fn configuration(folder: &Folder, server: &MailServer) -> String {
    let authority = folder.path("ca.pem");
    let authority = authority.display();
    format!(
        "foreground = yes\n\
         syslog = no\n\
         debug = 6\n\
         output = {}\n\
         client = yes\n\
         CAfile = {authority}\n\
         verifyChain = yes\n\
         checkHost = {HOST}\n\
         \n\
         [submission]\n\
         accept = 127.0.0.1:0\n\
         connect = {}\n\
         protocol = smtp\n\
         \n\
         [pop3]\n\
         accept = 127.0.0.1:0\n\
         connect = {}\n",
        folder.path("adit.log").display(),
        server.submission,
        server.pop3s,
    )
}

/// A mail with everything that mail programs and relays have got wrong: leading dots, empty lines,
/// eight-bit text, lines without a blank, and a large attachment.
fn compose() -> Vec<u8> {
    let mut attachment = Vec::with_capacity(96 * 1024);
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    while attachment.len() < 96 * 1024 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        attachment.extend_from_slice(&state.to_le_bytes());
    }
    let mut mail = format!(
        "From: An old mail program <{user}>\r\n\
         To: <{user}>\r\n\
         Subject: From the gallery\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\
         \r\n\
         Gl\u{fc}ck auf! {SENTENCE}\r\n\
         .\r\n\
         ..two dots and a line of one, which SMTP must not take for the end\r\n\
         \r\n\
         begin-base64 644 ore\r\n",
        user = ACCOUNT.user,
    );
    for line in attachment.chunks(54) {
        mail += &crate::base64::encode(line);
        mail += "\r\n";
    }
    mail += "====\r\n";
    mail.into_bytes()
}

fn dial(port: u16) -> io::Result<Wire<TcpStream>> {
    let stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), MAIL_TIMEOUT)?;
    stream.set_read_timeout(Some(MAIL_TIMEOUT))?;
    stream.set_write_timeout(Some(MAIL_TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(Wire::new(stream))
}

/// Sends the mail; the server must receive it unaltered.
fn send(server: &MailServer, port: u16, mail: &[u8]) -> Result<(Transcript, Seen), Failure> {
    let mut transcript = Transcript::new();
    dial(port)
        .and_then(|mut wire| client::submit(&mut wire, ACCOUNT, mail, &mut transcript))
        .map_err(during("sending the mail"))?;
    let seen = report(server, Port::Submission)?;
    match server.mailbox() == [mail] {
        true => Ok((transcript, seen)),
        false => Err(Reason::Altered("to the server").into()),
    }
}

/// Fetches the mail, which must be the one that was sent.
fn fetch(server: &MailServer, port: u16, mail: &[u8]) -> Result<(Transcript, Seen), Failure> {
    let mut transcript = Transcript::new();
    let fetched = dial(port)
        .and_then(|mut wire| client::fetch(&mut wire, ACCOUNT, &mut transcript))
        .map_err(during("fetching the mail"))?;
    let seen = report(server, Port::Pop3s)?;
    match fetched == mail {
        true => Ok((transcript, seen)),
        false => Err(Reason::Altered("back to the mail program").into()),
    }
}

/// The server's report about the connection to `port` that has just ended.
fn report(server: &MailServer, port: Port) -> Result<Seen, Failure> {
    let (at, seen) = server
        .report()
        .map_err(during("waiting for the mail server"))?;
    if at != port {
        let error = io::Error::other(format!("{port:?} was expected, {at:?} was used"));
        return Err(during("waiting for the mail server")(error));
    }
    seen.map_err(during("serving the mail program"))
}

#[cfg(test)]
mod tests;
