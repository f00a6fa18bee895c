//! Signing in by a browser, which comes back to a port of this machine, or whose last address is pasted (RFC 8252). The
//! answer counts only with the state that adit gave, and the code only for the verifier that adit keeps (RFC 7636). Never in
//! here: an answer to another machine.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::terminal::Interrupts;
use crate::base64;
use crate::oauth::Secret;
use crate::oauth::answer::{Refusal, Tokens};
use crate::oauth::ask::{self, Server};
use crate::oauth::form::{self, Form};

/// How long the person has.
const PATIENCE: Duration = Duration::from_mins(15);
/// How long a browser may take for its request, and a token server for an answer.
const SHORT: Duration = Duration::from_secs(20);
/// Longest request or line, in bytes.
const MAX: usize = 16 << 10;

/// The client, and where it signs in.
pub(super) struct Browser<'a> {
    pub authorize_url: &'a str,
    pub token_url: &'a str,
    pub authorities: Option<&'a str>,
    pub client_id: &'a str,
    pub client_secret: Option<&'a Secret>,
    pub scope: &'a str,
    /// The host of the redirect.
    pub redirect: &'a str,
    /// Further parameters, encoded.
    pub more: &'a str,
    /// 0: any.
    pub port: u16,
    /// A hint for the page.
    pub user: &'a str,
}

/// What an address that came back says.
#[derive(Debug, PartialEq, Eq)]
enum Back {
    Code(Zeroizing<String>),
    Refused(String),
    /// It is none of ours.
    Foreign,
}

impl Browser<'_> {
    /// Shows the address, and waits for what comes back.
    ///
    /// # Errors
    /// Refused, too late, or interrupted.
    pub(super) fn sign_in(&self, interrupts: &Interrupts) -> Result<Tokens, Failure> {
        let busy = |error| Failure::Listener(self.port, error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).map_err(busy)?;
        listener.set_nonblocking(true).map_err(busy)?;
        let port = listener.local_addr().map_err(busy)?.port();
        let redirect = format!("http://{}:{port}/", self.redirect);
        let state = random()?;
        let verifier = random()?;
        println!("\nOpen this address in a browser, and sign in:\n");
        println!("{}\n", self.address(&redirect, &state, &verifier));
        println!(
            "If the browser is on another machine, its last page cannot be shown: paste that page's address \
             (http://{}:{port}/...) here. adit waits for {} minutes; Ctrl-C ends it.",
            self.redirect,
            PATIENCE.as_secs() / 60
        );
        let code = wait(&listener, &state, interrupts)?;
        let form = Form::new()
            .with("grant_type", "authorization_code")
            .with("code", &code)
            .with("redirect_uri", &redirect)
            .with("code_verifier", &verifier)
            .with("client_id", self.client_id)
            .with_secret("client_secret", self.client_secret);
        let server = Server {
            url: self.token_url,
            authorities: self.authorities,
            deadline: Instant::now() + SHORT,
        };
        ask::tokens(server, &form).map_err(Failure::Refused)
    }

    fn address(&self, redirect: &str, state: &str, verifier: &str) -> String {
        let challenge = digest(&SHA256, verifier.as_bytes());
        let query = Form::new()
            .with("response_type", "code")
            .with("client_id", self.client_id)
            .with("redirect_uri", redirect)
            .with_some("scope", self.scope)
            .with("state", state)
            .with("code_challenge", &for_url(challenge.as_ref()))
            .with("code_challenge_method", "S256")
            .with("login_hint", self.user);
        let first = if self.authorize_url.contains('?') {
            '&'
        } else {
            '?'
        };
        let more = if self.more.is_empty() { "" } else { "&" };
        format!(
            "{}{first}{}{more}{}",
            self.authorize_url,
            query.text(),
            self.more
        )
    }
}

/// 256 random bits, as an address has them.
fn random() -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| Failure::NoSeal)?;
    Ok(Zeroizing::new(for_url(bytes.as_slice())))
}

/// Base64 as RFC 4648, section 5, has it, without `=`.
fn for_url(bytes: &[u8]) -> String {
    let text = base64::encode(bytes);
    text.trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

/// The code, from the browser or pasted.
fn wait(
    listener: &TcpListener,
    state: &str,
    interrupts: &Interrupts,
) -> Result<Zeroizing<String>, Failure> {
    let end = Instant::now() + PATIENCE;
    let stdin = io::stdin();
    let (mut line, mut typed) = (Zeroizing::new(Vec::new()), true);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Refused(Refusal::Expired));
        }
        let both = [listener.as_fd(), stdin.as_fd()];
        let which = if typed { &both[..] } else { &both[..1] };
        let ready = interrupts
            .wait(which, Some(left))
            .map_err(|_| Failure::Interrupted)?;
        let mut backs = Vec::new();
        if ready.first() == Some(&true)
            && let Ok((stream, _)) = listener.accept()
        {
            backs.push(serve(&stream, state).unwrap_or(Back::Foreign));
        }
        if ready.get(1) == Some(&true) {
            match paste(&mut line, state) {
                Some(more) => backs.extend(more),
                None => typed = false,
            }
        }
        for back in backs {
            match back {
                Back::Code(code) => return Ok(code),
                Back::Refused(words) => return Err(Failure::Refused(Refusal::Denied(words))),
                Back::Foreign => {}
            }
        }
    }
}

/// What the lines say that can be read of standard input now; `None`: it is at its end.
fn paste(line: &mut Zeroizing<Vec<u8>>, state: &str) -> Option<Vec<Back>> {
    let mut buffer = Zeroizing::new([0; 4096]);
    let count = nix::unistd::read(io::stdin(), buffer.as_mut_slice());
    let count = count.ok().filter(|count| *count > 0)?;
    let mut backs = Vec::new();
    for byte in &buffer[..count] {
        match byte {
            b'\n' => {
                let text = Zeroizing::new(String::from_utf8_lossy(line).into_owned());
                line.clear();
                backs.extend(pasted(text.trim(), state));
            }
            // What is longer is no address of ours.
            _ if line.len() == MAX => {}
            byte => line.push(*byte),
        }
    }
    Some(backs)
}

/// `None`: nothing was pasted.
fn pasted(text: &str, state: &str) -> Option<Back> {
    let back = judge(text, state);
    if back == Back::Foreign && !text.is_empty() {
        println!(
            "That is not the address of this sign-in: paste the whole of it, from http:// on."
        );
    }
    (!text.is_empty()).then_some(back)
}

/// Reads a browser's request, and answers it.
fn serve(mut stream: &TcpStream, state: &str) -> io::Result<Back> {
    stream.set_nonblocking(false)?;
    // A browser that says nothing holds up no other for long.
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(SHORT))?;
    let mut heard = Zeroizing::new(Vec::new());
    let mut buffer = Zeroizing::new([0; 4096]);
    while !heard.windows(4).any(|four| four == b"\r\n\r\n") && heard.len() < MAX {
        match stream.read(buffer.as_mut_slice())? {
            0 => break,
            count => heard.extend_from_slice(&buffer[..count]),
        }
    }
    let target = heard.strip_prefix(b"GET ").unwrap_or_default();
    let target = target
        .split(|byte| *byte == b' ')
        .next()
        .unwrap_or_default();
    let back = judge(std::str::from_utf8(target).unwrap_or_default(), state);
    let (status, words) = match &back {
        Back::Code(_) => (
            "200 OK",
            "The sign-in is finished on this side: see what adit says in the terminal.",
        ),
        Back::Refused(_) => (
            "200 OK",
            "The sign-in was refused: see what adit says in the terminal.",
        ),
        Back::Foreign => ("404 Not Found", "This is not the address of a sign-in."),
    };
    let page = format!("<!doctype html><title>adit</title><p>{words}</p>\n");
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )?;
    Ok(back)
}

/// What an address says; only one with our state counts.
fn judge(address: &str, state: &str) -> Back {
    let Some((_, query)) = address.split_once('?') else {
        return Back::Foreign;
    };
    let query = query.split('#').next().unwrap_or_default();
    let theirs = form::value(query, "state").unwrap_or_default();
    if aws_lc_rs::constant_time::verify_slices_are_equal(theirs.as_bytes(), state.as_bytes())
        .is_err()
    {
        return Back::Foreign;
    }
    if let Some(error) = form::value(query, "error") {
        let described = form::value(query, "error_description").unwrap_or_default();
        let words = format!("{} {}", error.as_str(), described.as_str());
        let printable = |c: char| if (' '..='~').contains(&c) { c } else { ' ' };
        return Back::Refused(words.trim().chars().map(printable).take(240).collect());
    }
    match form::value(query, "code").filter(|code| !code.is_empty()) {
        Some(code) => Back::Code(code),
        None => Back::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_with_its_state_alone() {
        let code = |text: &str| Back::Code(Zeroizing::new(text.to_owned()));
        for (address, expected) in [
            ("http://127.0.0.1:1/?code=a%2Fb&state=s", code("a/b")),
            ("/?state=s&code=c&scope=x#part", code("c")),
            ("/?code=c&state=other", Back::Foreign),
            ("/?code=c", Back::Foreign),
            ("/?code=&state=s", Back::Foreign),
            ("/favicon.ico", Back::Foreign),
            ("c", Back::Foreign),
            (
                "/?error=access_denied&error_description=no+%1b%5b&state=s",
                Back::Refused("access_denied no  [".into()),
            ),
            ("/?error=access_denied&state=x", Back::Foreign),
        ] {
            assert_eq!(judge(address, "s"), expected, "{address}");
        }
    }

    #[test]
    fn the_address_has_the_challenge_and_not_the_verifier() {
        let browser = Browser {
            authorize_url: "https://x/auth",
            token_url: "https://x/token",
            authorities: None,
            client_id: "id",
            client_secret: None,
            scope: "a b",
            redirect: "127.0.0.1",
            more: "access_type=offline",
            port: 0,
            user: "you@x",
        };
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let address = browser.address("http://127.0.0.1:5/", "s", verifier);
        assert_eq!(
            address,
            "https://x/auth?response_type=code&client_id=id&redirect_uri=http%3A%2F%2F127.0.0.1%3A5%2F&scope=a%20b\
             &state=s&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256\
             &login_hint=you%40x&access_type=offline"
        );
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
