//! Signing in by a code that is typed on any device (RFC 8628). Never in here: a wait that a signal does not end.

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::qr::Picture;
use super::terminal::Interrupts;
use crate::oauth::Secret;
use crate::oauth::answer::{DeviceCode, Refusal, Tokens};
use crate::oauth::ask::{self, Server};
use crate::oauth::form::Form;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What is added to the interval where the server is asked too often (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The client, and where it asks.
pub(super) struct Device<'a> {
    pub code_url: &'a str,
    pub token_url: &'a str,
    pub authorities: Option<&'a str>,
    pub client_id: &'a str,
    pub client_secret: Option<&'a Secret>,
    pub scope: &'a str,
}

impl Device<'_> {
    /// Shows the page and the code, and waits until the person has finished.
    ///
    /// # Errors
    /// Refused, expired, or interrupted.
    pub(super) fn sign_in(&self, interrupts: &Interrupts) -> Result<Tokens, Failure> {
        let form = Form::new()
            .with("client_id", self.client_id)
            .with_some("scope", self.scope);
        let code = ask::device(self.server(self.code_url), &form).map_err(Failure::Refused)?;
        show(&code);
        let form = Form::new()
            .with("grant_type", GRANT)
            .with("device_code", code.code.reveal())
            .with("client_id", self.client_id)
            .with_secret("client_secret", self.client_secret);
        let end = Instant::now() + code.life;
        let mut interval = code.interval.max(Duration::from_secs(1));
        loop {
            interrupts
                .sleep(interval)
                .map_err(|_| Failure::Interrupted)?;
            if Instant::now() >= end {
                return Err(Failure::Refused(Refusal::Expired));
            }
            match ask::tokens(self.server(self.token_url), &form) {
                Ok(tokens) => return Ok(tokens),
                Err(Refusal::Pending) => {}
                Err(Refusal::SlowDown) => interval += SLOWER,
                // RFC 8628, section 3.5: less often after a timeout.
                Err(Refusal::Away(why)) => {
                    println!("  {why}; trying again");
                    interval = (interval * 2).min(Duration::from_mins(1));
                }
                Err(refusal) => return Err(Failure::Refused(refusal)),
            }
        }
    }

    fn server<'a>(&'a self, url: &'a str) -> Server<'a> {
        Server {
            url,
            authorities: self.authorities,
            deadline: Instant::now() + PATIENCE,
        }
    }
}

fn show(code: &DeviceCode) {
    println!("\nOn any device, open   {}", code.page);
    println!("and type the code     {}\n", code.user_code);
    let page = code.page_with_code.as_ref().unwrap_or(&code.page);
    if let Some(picture) = Picture::of(page) {
        println!("{picture}");
    }
    println!(
        "adit waits for {} minutes; Ctrl-C ends it.",
        code.life.as_secs().div_ceil(60)
    );
}
