//! What was found out about a program, in words, and the configuration that suits it.
//! Never in here: deciding what suits it; see `fit`.

mod table;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use table::{Table, wrapped};

use super::fit::{self, Fit, Old, Unfit};
use super::hearing::{Finding, Mail, Start};
use crate::cli::ca;
use crate::tls::hello::Hello;

/// As [`Old::weak`] names it.
const RC4: &str = "RC4";
/// What protocols begin with that are none of a mail program, nor of another that adit serves as it is.
const NO_MAIL: [&str; 2] = ["HTTP", "SSH"];

/// A finding about a connection.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) finding: &'a Finding,
    /// Where the program connected to.
    pub(super) at: SocketAddr,
    /// What it was greeted as, or would have been.
    pub(super) mail: Option<Mail>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.finding {
            Finding::Tls(start, hello) => {
                match start {
                    Start::AtOnce => writeln!(f, "It speaks TLS from the first byte.")?,
                    Start::Starttls(mail) => writeln!(
                        f,
                        "It waits for the greeting and then asks for TLS, by {}.",
                        mail.starts_tls()
                    )?,
                }
                writeln!(f)?;
                Table(hello).fmt(f)?;
                writeln!(f)?;
                self.for_tls(f, *start, hello)
            }
            Finding::Unreadable(start, fault) => self.unreadable(f, *start, fault.as_ref()),
            Finding::SpeaksFirst(protocol) => self.speaks_first(f, *protocol),
            Finding::GoesOnInPlain(mail, command) => self.goes_on(f, *mail, *command),
            Finding::Waits => {
                writeln!(
                    f,
                    "It says nothing before the server does: it waits for a greeting, as mail programs do that \
                     speak plain or STARTTLS.\n\
                     Run it again with --protocol smtp, pop3 or imap to greet it so."
                )
            }
            Finding::Nothing => writeln!(f, "It closed without a word."),
        }
    }
}

impl Report<'_> {
    fn for_tls(&self, f: &mut fmt::Formatter<'_>, start: Start, hello: &Hello) -> fmt::Result {
        let old = match fit::fit(hello) {
            Fit::None(why) => return self.unfit(f, start, why),
            Fit::Modern => None,
            Fit::Old(old) => Some(old),
        };
        let (folder, file, made_by) = match &old {
            _ if fit::wants_sha1(hello) => (ca::SHA1_FOLDER, ca::OLD_FILE, made_with_sha1()),
            None => (ca::FOLDER, ca::FILE, "adit ca".to_owned()),
            Some(_) => (
                ca::FOLDER,
                ca::OLD_FILE,
                format!("adit ca --file {}", ca::OLD_FILE),
            ),
        };
        for note in notes(hello, old.as_ref(), self.at.ip(), &made_by) {
            wrapped(f, "", &note)?;
        }
        let weak = old.as_ref().and_then(|old| old.weak);
        if weak == Some(RC4) && !is_private(self.at.ip()) {
            let text = "So no service suits it here: run listen-in again with `--accept` on an address of the LAN, as \
                        192.168.1.5:1465, and let the program connect to that.";
            return wrapped(f, "", text);
        }
        let mut lines = vec!["acceptTLS = yes".to_owned()];
        if let Start::Starttls(mail) = start {
            lines.push(format!("acceptProtocol = {}", mail.name()));
        }
        lines.push(format!("acceptCert = {folder}/{file}"));
        let old = old.unwrap_or_default();
        let version = old.version.map(|it| format!("acceptSSLVersionMin = {it}"));
        let ciphers = old.ciphers.map(|it| format!("acceptCiphers = {it}"));
        lines.extend(version.into_iter().chain(ciphers));
        let mail = match start {
            Start::Starttls(mail) => Some(mail),
            Start::AtOnce => self.mail,
        };
        writeln!(f)?;
        let text = format!("This service suits it; `{made_by}` makes the certificate:");
        wrapped(f, "", &text)?;
        writeln!(f)?;
        self.service(f, mail, &lines)
    }

    fn unfit(&self, f: &mut fmt::Formatter<'_>, start: Start, why: Unfit) -> fmt::Result {
        let text = match why {
            Unfit::Version(Some(version)) => format!(
                "adit does not speak {version}, which is broken. If the program has a setting for TLS 1.0, switch it \
                 on; else let it speak plain:"
            ),
            Unfit::Version(None) => {
                "It offers no version that adit knows. Let it speak plain:".to_owned()
            }
            Unfit::Ecdsa => {
                let text = "It takes certificates with an ECDSA key alone, and `adit ca` makes RSA: give acceptCert one \
                            of another authority, or let the program speak plain:";
                text.to_owned()
            }
            Unfit::Suites => {
                let text = "adit has none of its suites: with an RSA key it serves AES, 3DES and RC4. Let the program speak plain:";
                text.to_owned()
            }
        };
        wrapped(f, "", &text)?;
        writeln!(f)?;
        let mail = match start {
            Start::Starttls(mail) => Some(mail),
            Start::AtOnce => self.mail,
        };
        self.service(f, mail, &[])
    }

    fn unreadable(
        &self,
        f: &mut fmt::Formatter<'_>,
        start: Start,
        fault: Option<&crate::tls::hello::Fault>,
    ) -> fmt::Result {
        let began = match start {
            Start::AtOnce => "It began as TLS does".to_owned(),
            Start::Starttls(mail) => format!("It asked for TLS, by {}", mail.starts_tls()),
        };
        match fault {
            Some(fault) => wrapped(
                f,
                "",
                &format!("{began}, and cannot be understood: {fault}."),
            ),
            None => wrapped(
                f,
                "",
                &format!("{began}, and then sent no whole ClientHello."),
            ),
        }
    }

    fn speaks_first(&self, f: &mut fmt::Formatter<'_>, protocol: Option<&str>) -> fmt::Result {
        match protocol {
            Some(protocol) => writeln!(f, "It speaks first, in plain: {protocol}.")?,
            None => writeln!(
                f,
                "It speaks first, in plain; no protocol that is known here."
            )?,
        }
        if protocol.is_none_or(|protocol| NO_MAIL.iter().any(|other| protocol.starts_with(other))) {
            return writeln!(
                f,
                "This is no mail program, or it has the port of another server in its settings: look at its port."
            );
        }
        writeln!(f, "\nThis service suits it:\n")?;
        let mail = match protocol {
            Some("SMTP") => Some(Mail::Smtp),
            Some("POP3") => Some(Mail::Pop3),
            Some("IMAP") => Some(Mail::Imap),
            _ => None,
        };
        self.service(f, mail, &[])
    }

    fn goes_on(
        &self,
        f: &mut fmt::Formatter<'_>,
        mail: Mail,
        command: Option<&str>,
    ) -> fmt::Result {
        let starts = mail.starts_tls();
        let offered = format!("({starts} was offered)");
        let text = match command {
            Some(command) => format!(
                "It waits for the greeting, does not ask for TLS {offered}, and goes on with {command} in plain."
            ),
            None => format!("It waits for the greeting, and does not ask for TLS {offered}."),
        };
        wrapped(f, "", &text)?;
        writeln!(f, "\nThis service suits it:\n")?;
        self.service(f, Some(mail), &[])
    }

    /// A section to be pasted, with `lines` at its end.
    fn service(
        &self,
        f: &mut fmt::Formatter<'_>,
        mail: Option<Mail>,
        lines: &[String],
    ) -> fmt::Result {
        let (name, server) = upstream(mail, self.at.port());
        writeln!(f, "[{name}]\nclient = yes\naccept = {}", self.at)?;
        writeln!(
            f,
            "# the server that the program means, and its port for TLS"
        )?;
        writeln!(f, "connect = {server}\nverifyServer = yes")?;
        lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        if !lines.is_empty() || self.at.ip().is_loopback() {
            return Ok(());
        }
        writeln!(f)?;
        let text =
            "What the program says to it is not encrypted: let no stranger into that network.";
        wrapped(f, "", text)
    }
}

/// A section's name, and a server as an example, by the protocol or the port's last digits. README's services
/// have the names without "old", and the section may be pasted behind them.
fn upstream(mail: Option<Mail>, port: u16) -> (&'static str, &'static str) {
    match (mail, port % 1000) {
        (Some(Mail::Smtp), _) | (None, 465 | 25 | 587) => ("smtp-old", "smtp.example.com:465"),
        (Some(Mail::Pop3), _) | (None, 995 | 110) => ("pop3-old", "pop.example.com:995"),
        (Some(Mail::Imap), _) | (None, 993 | 143) => ("imap-old", "imap.example.com:993"),
        (None, 636) => ("ldap", "ldap.example.com:636"),
        (None, 443) => ("https", "www.example.com:443"),
        (None, _) => ("program", "server.example.com:443"),
    }
}

/// What a person should know besides.
fn notes(hello: &Hello, old: Option<&Old>, at: IpAddr, made_by: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if hello.fallback {
        notes.push(
            "It has tried a later version before, without success, and says so (TLS_FALLBACK_SCSV): adit refuses \
             that. Run listen-in again for its first try."
                .to_owned(),
        );
    }
    match old.and_then(|old| old.weak) {
        Some(RC4) => notes.push(
            "It offers no better cipher than RC4, which is broken (RFC 7465): adit serves it on loopback and on \
             private addresses only."
                .to_owned(),
        ),
        Some(weak) => notes.push(format!(
            "Its best cipher is {weak}: adit closes such a connection after 1 GiB (RFC 8429), and the program connects again."
        )),
        None => {}
    }
    let version = old.and_then(|old| old.version);
    let served = old.is_none_or(|old| old.weak != Some(RC4));
    if version.is_some() && served && !is_private(at) {
        notes.push(format!(
            "{at} is a public address: below TLS 1.2 adit serves it only with `acceptAnywhere = yes`."
        ));
    }
    let sha1 = fit::wants_sha1(hello);
    if sha1 {
        notes.push(
            "It takes no certificate that is signed with SHA-256, so its authority signs with SHA-1, in a folder of \
             its own."
                .to_owned(),
        );
    } else if version == Some("TLSv1") && hello.extensions.is_empty() {
        let (made_by, folder, file) = (made_with_sha1(), ca::SHA1_FOLDER, ca::OLD_FILE);
        notes.push(format!(
            "If it is older than Windows XP SP3 it knows no SHA-256: then make the certificate by `{made_by}`, and \
             let the service have `acceptCert = {folder}/{file}`."
        ));
    }
    match &hello.server_name {
        Some(name) => notes.push(format!(
            "It asks for {name}: the certificate must be made out to that name, `{made_by} --name {name}`."
        )),
        None => notes.push(format!(
            "It does not say which name it asks for (no SNI): the certificate must have the name or address that \
             stands in the program's settings, `{made_by} --name NAME`."
        )),
    }
    notes
}

/// What makes a certificate for programs that know no SHA-256.
fn made_with_sha1() -> String {
    let (file, folder) = (ca::OLD_FILE, ca::SHA1_FOLDER);
    format!("adit ca --sha1 --file {file} --dir {folder}")
}

/// Loopback, RFC 1918, link-local, RFC 4193.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::fit::tests::hello;
    use super::*;
    use crate::tls::hello::Version;

    #[test]
    fn a_program_with_rc4_alone_has_no_service_on_a_public_address() {
        let finding = |suite| {
            let hello = hello(Version::TLS10, &[suite]);
            Finding::Tls(Start::AtOnce, Box::new(hello))
        };
        for (suite, address, service) in [
            (0x0005, "192.0.2.1:1465", false),
            (0x0005, "192.168.1.5:1465", true),
            (0x000a, "192.0.2.1:1465", true),
        ] {
            let finding = finding(suite);
            let at = address.parse().unwrap();
            let mail = None;
            let report = Report {
                finding: &finding,
                at,
                mail,
            };
            let report = report.to_string();
            assert_eq!(report.contains("[smtp-old]"), service, "{report}");
            let advised = report.contains("an address of the LAN");
            assert_eq!(advised, !service, "{report}");
            let anywhere = report.contains("acceptAnywhere");
            assert_eq!(anywhere, address == "192.0.2.1:1465" && service, "{report}");
        }
    }
}
