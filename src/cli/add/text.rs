//! The text of a file that `adit add` writes, and what is read of it again. Never in here: a line that another
//! hand wrote.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::digest::{SHA256, digest};

use super::address::{Address, Name};
use super::offer::Offer;
use super::ports::Ports;
use crate::cli::providers::{Mail, Tls};

/// How the first line begins; the address is the rest of it.
const MADE: &str = "; Made by: adit add ";
/// How the second line begins; a digest of all other lines is the rest of it.
const SEAL: &str = "; `adit add` changes this file only as long as no other hand has. ";
/// How many bytes of the digest are shown.
const DIGEST: usize = 16;

/// A file of `adit add`, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Whose it is.
    pub address: String,
    /// The ports that programs were told.
    pub ports: Ports,
}

/// Why a text is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    /// `adit add` did not write it.
    Made,
    /// It did, and it was changed.
    Changed,
}

/// The services for an address, which accept on `host` what comes from these networks, if there is a list.
pub(super) fn services(
    address: &Address,
    name: &Name,
    offer: &Offer,
    (host, from): (IpAddr, Option<&str>),
    ports: &Ports,
) -> String {
    let mut body = format!("; {}", offer.title);
    for (mail, server) in &offer.servers {
        let Some(port) = ports.of(*mail) else {
            continue;
        };
        let (word, connect) = (mail.word(), format!("{}:{}", server.host, server.port));
        let accept = SocketAddr::new(host, port);
        let _ = write!(
            body,
            "\n\n[{name}-{word}]\nclient = yes\naccept = {accept}\n"
        );
        if let Some(from) = from {
            let _ = writeln!(body, "acceptFrom = {from}");
        }
        if server.tls == Tls::Starttls {
            let _ = writeln!(body, "protocol = {word}");
        }
        // With `delay` the addresses are looked up at each connection: they change, and the network may come up
        // after adit.
        let _ = write!(body, "connect = {connect}\nverifyServer = yes\ndelay = yes");
        if let Some(login) = offer.login(server) {
            let _ = write!(body, "\nlogin = {login}");
        }
    }
    body.push('\n');
    let made = format!("{MADE}{address}");
    let seal = seal(&made, &body);
    format!("{made}\n{SEAL}{seal}\n{body}")
}

/// Reads such a text again.
///
/// # Errors
/// It is another, or was changed.
pub(super) fn read(text: &str) -> Result<Written, Foreign> {
    let (made, rest) = text.split_once('\n').ok_or(Foreign::Made)?;
    let (second, body) = rest.split_once('\n').ok_or(Foreign::Made)?;
    let address = made.strip_prefix(MADE).ok_or(Foreign::Made)?;
    if second.strip_prefix(SEAL) != Some(&*seal(made, body)) {
        return Err(Foreign::Changed);
    }
    let (mut ports, mut section) = (Ports::default(), None);
    for line in body.lines() {
        if let Some(name) = line.strip_prefix('[') {
            let word = name
                .strip_suffix(']')
                .and_then(|name| name.rsplit('-').next());
            section = Mail::ALL.into_iter().find(|mail| word == Some(mail.word()));
        }
        let port = line
            .strip_prefix("accept = ")
            .and_then(|it| it.rsplit(':').next());
        let port = port.and_then(|port| port.parse().ok());
        if let (Some(mail), Some(port)) = (section, port) {
            ports.set(mail, port);
        }
    }
    Ok(Written {
        address: address.to_owned(),
        ports,
    })
}

fn seal(made: &str, body: &str) -> String {
    let digest = digest(&SHA256, format!("{made}\n{body}").as_bytes());
    let bytes = digest.as_ref().iter().take(DIGEST);
    bytes.fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::providers::{Provider, Sourced};

    fn made() -> (String, Ports) {
        let address = Address::parse("you@tim.it").unwrap();
        let provider = Provider::with_id("tim-it").unwrap();
        let offer = Offer::of_provider(Sourced {
            value: provider,
            sourced: true,
        });
        let mut ports = Ports::default();
        ports.complete("x", &Mail::ALL, |_| true);
        let name = Name::parse("my-pop3").unwrap();
        let text = services(
            &address,
            &name,
            &offer.unwrap(),
            ("fd00::1".parse().unwrap(), Some("fd00::/64")),
            &ports,
        );
        (text, ports)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (text, ports) = made();
        let written = read(&text).unwrap();
        assert_eq!(
            (written.address.as_str(), &written.ports),
            ("you@tim.it", &ports)
        );
        let smtp = ports.of(Mail::Smtp).unwrap();
        let service = format!(
            "[my-pop3-smtp]\nclient = yes\naccept = [fd00::1]:{smtp}\nacceptFrom = fd00::/64\nprotocol = smtp\nconnect = smtp.tim.it:587\n\
             verifyServer = yes\ndelay = yes\n"
        );
        assert!(text.contains(&service), "{text}");
    }

    #[test]
    fn adit_logs_in_where_a_plain_password_is_not_taken() {
        let address = Address::parse("you@earthlink.net").unwrap();
        let offer = Offer::of_provider(Provider::of_domain("earthlink.net").unwrap()).unwrap();
        let mut ports = Ports::default();
        ports.complete("x", &Mail::ALL, |_| true);
        let host = ("127.0.0.1".parse().unwrap(), None);
        let text = services(&address, &address.name(), &offer, host, &ports);
        for (word, translated) in [("smtp", false), ("pop3", true), ("imap", true)] {
            let (_, section) = text.split_once(&format!("-{word}]\n")).unwrap();
            let section = section.split("\n\n").next().unwrap();
            assert_eq!(
                section.contains("\nlogin = translate"),
                translated,
                "{text}"
            );
        }
    }

    #[test]
    fn what_another_hand_wrote_or_changed_is_known() {
        let (text, _) = made();
        for changed in [
            text.replace("verifyServer = yes", "verifyServer = no"),
            text.replace("you@", "your@"),
            format!("{text}\n"),
        ] {
            assert_eq!(read(&changed), Err(Foreign::Changed));
        }
        for other in [
            "",
            "[a]\n",
            "; mine\n[a]\nconnect = 1\n",
            "; Made by: me\n\n",
        ] {
            assert_eq!(read(other), Err(Foreign::Made), "{other}");
        }
    }
}
