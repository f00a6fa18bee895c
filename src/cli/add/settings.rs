//! What to type into the old program, field by field, in its own words. Never in here: a password.

use std::fmt;
use std::net::IpAddr;

use super::address::Address;
use super::offer::Offer;
use super::ports::Ports;
use crate::cli::providers::{Mail, Password};

/// The program whose words are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cli) enum Reader {
    /// Outlook Express 6, and what came after it: Windows Mail, Outlook of that time.
    #[default]
    OutlookExpress,
    /// A printer, a scanner, a till: it sends alone.
    Printer,
    /// Thunderbird, SeaMonkey, Netscape.
    Thunderbird,
}

impl Reader {
    /// What `--for` takes.
    pub(in crate::cli) const WORDS: [(&str, Reader); 3] = [
        ("outlook-express", Reader::OutlookExpress),
        ("printer", Reader::Printer),
        ("thunderbird", Reader::Thunderbird),
    ];

    /// The one of this word.
    pub(in crate::cli) fn of(word: &str) -> Option<Reader> {
        let mut words = Self::WORDS.iter();
        words
            .find(|(known, _)| *known == word)
            .map(|(_, reader)| *reader)
    }
}

/// What the program is told.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    pub(super) reader: Reader,
    pub(super) address: &'a Address,
    pub(super) offer: &'a Offer,
    pub(super) host: IpAddr,
    /// Where clients may come from.
    pub(super) from: Option<&'a str>,
    pub(super) ports: &'a Ports,
    /// The services demand TLS from the first byte: the configuration's defaults have `acceptTLS = yes`.
    pub(super) tls: bool,
    /// The command that signs the account in, where adit logs in by OAuth2.
    pub(super) sign_in: Option<String>,
}

impl fmt::Display for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reader {
            Reader::OutlookExpress => self.outlook_express(f)?,
            Reader::Printer => self.printer(f)?,
            Reader::Thunderbird => self.thunderbird(f)?,
        }
        self.remarks(f)
    }
}

/// A field and what belongs in it.
fn field(f: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {name:<50} {value}")
}

impl Settings<'_> {
    fn outlook_express(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "In Outlook Express: Tools, Accounts, Mail, Properties (after Add, Mail for a new one).\n"
        )?;
        writeln!(f, "General")?;
        field(f, "E-mail address:", self.address)?;
        writeln!(f, "Servers")?;
        let incoming = self.incoming();
        if let Some((mail, _)) = incoming {
            field(f, "My incoming mail server is a ... server", mail.name())?;
            field(f, &format!("Incoming mail ({}):", mail.name()), self.host)?;
        }
        if self.offer.has(Mail::Smtp) {
            field(f, "Outgoing mail (SMTP):", self.host)?;
        }
        let user = self.user(incoming.map_or(Mail::Smtp, |(mail, _)| mail));
        field(f, "Account name:", user)?;
        field(f, "Password:", self.password())?;
        field(f, "Log on using Secure Password Authentication", "off")?;
        if self.offer.has(Mail::Smtp) {
            field(f, "My server requires authentication", "on")?;
            match self.user(Mail::Smtp) {
                smtp if smtp == user && incoming.is_some() => {
                    field(
                        f,
                        "  Settings...",
                        "Use same settings as my incoming mail server",
                    )?;
                }
                smtp => {
                    field(f, "  Settings..., Log on using, Account name:", smtp)?;
                    field(f, "  Password:", self.password())?;
                }
            }
        }
        self.advanced(f, incoming.map(|(mail, _)| mail))?;
        if let (Some((Mail::Pop3, _)), Some(port)) = (incoming, self.port(Mail::Imap)) {
            writeln!(f, "As an IMAP account instead")?;
            field(f, "My incoming mail server is a ... server", "IMAP")?;
            field(f, "Incoming mail (IMAP), on the page Advanced:", port)?;
            if self.user(Mail::Imap) != user {
                field(f, "Account name:", self.user(Mail::Imap))?;
            }
        }
        Ok(())
    }

    /// The page with the ports.
    fn advanced(&self, f: &mut fmt::Formatter<'_>, incoming: Option<Mail>) -> fmt::Result {
        writeln!(f, "Advanced")?;
        let ssl = if self.tls { "on" } else { "off" };
        for (mail, name) in [(Some(Mail::Smtp), "Outgoing"), (incoming, "Incoming")] {
            if let Some((mail, port)) = mail.and_then(|mail| Some((mail, self.port(mail)?))) {
                field(f, &format!("{name} mail ({}):", mail.name()), port)?;
                field(f, "  This server requires a secure connection (SSL)", ssl)?;
            }
        }
        Ok(())
    }

    fn printer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "In the printer's web page, below Scan to E-mail or SMTP:\n"
        )?;
        let Some(port) = self.port(Mail::Smtp) else {
            return writeln!(f, "  (this provider has no server for sending here)");
        };
        field(f, "SMTP server:", self.host)?;
        field(f, "SMTP port:", port)?;
        field(
            f,
            "Encryption, SSL/TLS, STARTTLS:",
            if self.tls { "SSL/TLS" } else { "off" },
        )?;
        field(f, "SMTP authentication:", "on (LOGIN or PLAIN)")?;
        field(f, "User name:", self.user(Mail::Smtp))?;
        field(f, "Password:", self.password())?;
        field(f, "Sender, From, device's e-mail address:", self.address)?;
        writeln!(
            f,
            "\nMost providers refuse a sender other than your own address."
        )
    }

    fn thunderbird(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "In Thunderbird: Account Settings; for a new account \"Configure manually\"."
        )?;
        let security = if self.tls { "SSL/TLS" } else { "None" };
        let method = match self.tls {
            true => "Normal password",
            // It is "Password, transmitted insecurely" that concerns the way to adit alone.
            false => "Password, transmitted insecurely",
        };
        for mail in [Mail::Imap, Mail::Pop3, Mail::Smtp] {
            let Some(port) = self.port(mail) else {
                continue;
            };
            match mail {
                Mail::Smtp => writeln!(f, "\nOutgoing Server (SMTP)")?,
                _ => writeln!(f, "\nServer Settings ({})", mail.name())?,
            }
            field(f, "Server Name:", self.host)?;
            field(f, "Port:", port)?;
            field(f, "User Name:", self.user(mail))?;
            field(f, "Connection security:", security)?;
            field(f, "Authentication method:", method)?;
        }
        writeln!(f)?;
        field(f, "Password, when it asks:", self.password())
    }

    fn remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.offer.note.is_empty() {
            writeln!(f, "\nThe provider: {}", self.offer.note)?;
        }
        if let (Some(command), Some(tokens)) = (&self.sign_in, self.offer.tokens) {
            writeln!(
                f,
                "\nSign in first. That asks for a password of your choice, which the program sends to adit, and never for \
                 the provider's:\n\n    {command}\n\nID is that of a client which you register yourself. {}",
                tokens.note
            )?;
        }
        if let [Password::App] = self.offer.passwords[..] {
            let text = "It refuses the account's own password: an app password is a second one, made on its web pages.";
            writeln!(f, "\n{text}")?;
        }
        for caveat in &self.offer.caveats {
            writeln!(f, "\n{caveat}")?;
        }
        if self.host.is_loopback() {
            return writeln!(
                f,
                "\nOnly programs on this machine reach {}. For one on another, add --listen with this machine's \
                 address on the LAN.",
                self.host
            );
        }
        if let Some(from) = self.from {
            writeln!(
                f,
                "\nPrograms at {from} are let in. If it is one machine alone, add --from with its address."
            )?;
        }
        match self.tls {
            true => Ok(()),
            false => writeln!(
                f,
                "\nWhat passes between the program and {} is not encrypted, the password neither: let no stranger into \
                 that LAN, and keep these ports off the internet.",
                self.host
            ),
        }
    }

    /// POP3 before IMAP: every old program has it.
    fn incoming(&self) -> Option<(Mail, u16)> {
        [Mail::Pop3, Mail::Imap]
            .into_iter()
            .find_map(|mail| Some((mail, self.port(mail)?)))
    }

    fn port(&self, mail: Mail) -> Option<u16> {
        self.offer.has(mail).then(|| self.ports.of(mail)).flatten()
    }

    fn user(&self, mail: Mail) -> &str {
        self.offer.user.of(self.address.as_str(), mail)
    }

    fn password(&self) -> &'static str {
        match self.offer.passwords[..] {
            _ if self.offer.tokens.is_some() => "the one that you give to `adit login`",
            [] | [Password::OAuth2, ..] => "the one that the provider wants",
            [Password::Account, ..] => "the account's",
            [Password::App, ..] => "the app password",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::providers::{Provider, Sourced};

    fn told(id: &str, reader: Reader, host: &str, tls: bool) -> String {
        let address = Address::parse("a.b@example.com").unwrap();
        let provider = Provider::with_id(id).unwrap();
        let offer = Offer::of_provider(Sourced {
            value: provider,
            sourced: true,
        });
        let offer = offer.unwrap();
        let mut ports = Ports::default();
        for (mail, port) in Mail::ALL.into_iter().zip([14587, 14110, 14143]) {
            ports.set(mail, port);
        }
        let text = Settings {
            reader,
            address: &address,
            offer: &offer,
            host: host.parse().unwrap(),
            from: Some("192.168.1.0/24"),
            ports: &ports,
            tls,
            sign_in: offer.tokens.map(|_| "adit login NAME".to_owned()),
        };
        // Columns do not matter here.
        let text = text.to_string();
        let lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    fn has(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn outlook_express_is_told_each_field() {
        let text = told("gmx-de", Reader::OutlookExpress, "127.0.0.1", false);
        has(
            &text,
            &[
                "My incoming mail server is a ... server POP3\n",
                "Incoming mail (POP3): 127.0.0.1\nOutgoing mail (SMTP): 127.0.0.1\nAccount name: a.b@example.com\n",
                "My server requires authentication on\nSettings... Use same settings as my incoming mail server\n",
                "Advanced\nOutgoing mail (SMTP): 14587\nThis server requires a secure connection (SSL) off\n",
                "Incoming mail (POP3): 14110\nThis server requires a secure connection (SSL) off\n",
                "Incoming mail (IMAP), on the page Advanced: 14143\n",
                "The provider: Switch on POP3/IMAP in the web settings first",
                "add --listen",
            ],
        );
        let text = told("icloud", Reader::OutlookExpress, "192.168.1.5", true);
        has(
            &text,
            &[
                "server IMAP\n",
                "Account name: a.b\nPassword: the app password\n",
                "Settings..., Log on using, Account name: a.b@example.com\n",
                "This server requires a secure connection (SSL) on\n",
            ],
        );
        assert!(
            !text.contains("POP3)") && !text.contains("not encrypted"),
            "{text}"
        );
    }

    #[test]
    fn a_printer_sends_alone_and_thunderbird_has_its_own_words() {
        let text = told("webde", Reader::Printer, "192.168.1.5", false);
        has(
            &text,
            &[
                "SMTP server: 192.168.1.5\nSMTP port: 14587\n",
                "User name: a.b\n",
                "Programs at 192.168.1.0/24 are let in",
                "is not encrypted",
            ],
        );
        assert!(!text.contains("14110"), "{text}");
        let text = told("webde", Reader::Thunderbird, "127.0.0.1", false);
        has(
            &text,
            &[
                "Server Settings (IMAP)\nServer Name: 127.0.0.1\nPort: 14143\nUser Name: a.b\n",
                "Connection security: None\nAuthentication method: Password, transmitted insecurely\n",
                "Outgoing Server (SMTP)\n",
            ],
        );
    }

    #[test]
    fn a_sign_in_is_told_where_a_token_takes_the_passwords_place() {
        let text = told("office365", Reader::OutlookExpress, "127.0.0.1", false);
        has(
            &text,
            &[
                "Incoming mail (POP3): 127.0.0.1\n",
                "Account name: a.b@example.com\nPassword: the one that you give to `adit login`\n",
                "Sign in first. ",
                "\nadit login NAME\n",
                "ID is that of a client which you register yourself. Register an app at entra.microsoft.com",
            ],
        );
        let text = told("gmail", Reader::OutlookExpress, "127.0.0.1", false);
        assert!(!text.contains("Sign in"), "{text}");
    }
}
