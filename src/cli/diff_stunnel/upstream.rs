//! Servers at the addresses that services connect to: they write down what comes, and say a line to what says
//! nothing. Never in here: what that means.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::tls::hello::{self, Reading};

/// A client that is silent for so long waits for its server.
const QUIET: Duration = Duration::from_millis(300);
/// What it hears then, which is a greeting in most protocols that have one.
const GREETING: &[u8] = b"220 adit diff-stunnel\r\n";

/// What came, by address.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<BTreeSet<String>>>);

impl Heard {
    /// Takes what has come since the last time.
    pub(super) fn take(&self) -> BTreeSet<String> {
        match self.0.lock() {
            Ok(mut heard) => std::mem::take(&mut *heard),
            Err(_) => BTreeSet::new(),
        }
    }

    fn add(&self, line: String) {
        if let Ok(mut heard) = self.0.lock() {
            heard.insert(line);
        }
    }

    /// Listens there until this process ends.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(super) fn serve(&self, address: SocketAddr) -> io::Result<()> {
        let listener = TcpListener::bind(address)?;
        let heard = self.clone();
        thread::Builder::new()
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    let heard = heard.clone();
                    // Without a thread the client sees an end.
                    let _ = thread::Builder::new()
                        .spawn(move || heard.add(format!("{address}: {}", hear(stream))));
                }
            })
            .map(drop)
    }
}

/// What a client says first; it is answered, and heard to its end.
fn hear(mut stream: TcpStream) -> String {
    let _ = stream.set_read_timeout(Some(QUIET));
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return "closes without a word".to_owned(),
            Ok(n) => said.extend_from_slice(&buffer[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(_) => return "resets without a word".to_owned(),
        }
        match hello::read(&said) {
            Reading::Incomplete => {}
            Reading::Hello(hello) => {
                let version = hello.highest_version().map(|version| version.to_string());
                let name = hello.server_name.as_deref().unwrap_or("no name");
                let alpn = match hello.protocols.is_empty() {
                    true => String::new(),
                    false => format!(", ALPN {}", hello.protocols.join(" ")),
                };
                return format!("TLS up to {} for {name}{alpn}", version.unwrap_or_default());
            }
            _ => break,
        }
    }
    let _ = stream.write_all(GREETING);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    match said.is_empty() {
        true => "waits for the server's first word".to_owned(),
        // The header of `protocol = proxy` has ports that differ each time.
        false => {
            let text = String::from_utf8_lossy(&said);
            let words: String = text
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .take(60)
                .collect();
            format!("says {words:?} (digits left out)")
        }
    }
}
