//! The table of mail providers, as it is built in. Never in here: a provider that is known to the code alone.
#![forbid(unsafe_code)]

use std::sync::LazyLock;

/// The text; its head describes the fields.
const TEXT: &str = include_str!("providers.tsv");

/// Every provider, in the order of the text.
static PROVIDERS: LazyLock<Vec<Provider>> = LazyLock::new(|| {
    // A test reads every line.
    rows().filter_map(|row| Provider::read(row).ok()).collect()
});

/// A provider of mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provider {
    /// What `--provider` takes.
    pub id: &'static str,
    /// What its customers call it.
    pub name: &'static str,
    /// The domains of its addresses.
    pub domains: Vec<Sourced<&'static str>>,
    /// Where it is fetched from by IMAP; the best server first.
    pub imap: Vec<Sourced<Server>>,
    /// As `imap`, by POP3.
    pub pop3: Vec<Sourced<Server>>,
    /// Where it is sent to.
    pub smtp: Vec<Sourced<Server>>,
    /// The user name.
    pub user: Sourced<User>,
    /// The passwords that it takes, the best first.
    pub passwords: Sourced<Vec<Password>>,
    /// What to switch on or to know.
    pub note: &'static str,
    /// Where all this is from.
    pub source: &'static str,
}

/// A value, and whether there is a source for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sourced<T> {
    pub value: T,
    pub sourced: bool,
}

/// A server for mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub logins: Vec<Login>,
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// With the first byte (RFC 8314).
    AtOnce,
    /// By STARTTLS or STLS.
    Starttls,
}

/// How a program logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// PLAIN, LOGIN, or USER and PASS.
    Plain,
    /// CRAM-MD5 (RFC 2195).
    CramMd5,
    /// XOAUTH2 or OAUTHBEARER (RFC 7628).
    OAuth2,
}

/// The user name that a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// The address.
    Address,
    /// What is before its `@`.
    LocalPart,
    /// What is before its `@` for IMAP and POP3, the address for SMTP.
    LocalPartButForSmtp,
}

/// A secret that a provider takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Password {
    /// The account's.
    Account,
    /// A second one, made on the web.
    App,
    /// None: a token (RFC 6749).
    OAuth2,
}

/// A protocol of mail, in the order in which people ask for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mail {
    Smtp,
    Pop3,
    Imap,
}

impl Mail {
    pub(crate) const ALL: [Mail; 3] = [Mail::Smtp, Mail::Pop3, Mail::Imap];

    /// As `protocol` writes it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Mail::Smtp => "smtp",
            Mail::Pop3 => "pop3",
            Mail::Imap => "imap",
        }
    }

    /// As people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mail::Smtp => "SMTP",
            Mail::Pop3 => "POP3",
            Mail::Imap => "IMAP",
        }
    }
}

impl Server {
    /// Whether a password lets a program in.
    pub(crate) fn takes_passwords(&self) -> bool {
        self.logins.iter().any(|login| *login != Login::OAuth2)
    }
}

impl User {
    /// The user name of this address, which has an `@`.
    pub(crate) fn of(self, address: &str, mail: Mail) -> &str {
        let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
        match (self, mail) {
            (User::Address, _) | (User::LocalPartButForSmtp, Mail::Smtp) => address,
            _ => local,
        }
    }
}

impl Provider {
    /// All of them.
    pub(crate) fn all() -> &'static [Provider] {
        &PROVIDERS
    }

    /// The one with this id.
    pub(crate) fn with_id(id: &str) -> Option<&'static Provider> {
        Self::all().iter().find(|provider| provider.id == id)
    }

    /// The one of the addresses in this domain, and whether there is a source for that.
    pub(crate) fn of_domain(domain: &str) -> Option<Sourced<&'static Provider>> {
        Self::all().iter().find_map(|provider| {
            let mut domains = provider.domains.iter();
            let known = domains.find(|known| known.value.eq_ignore_ascii_case(domain))?;
            let sourced = known.sourced;
            Some(Sourced {
                value: provider,
                sourced,
            })
        })
    }

    /// The one that has this server.
    pub(crate) fn of_host(host: &str) -> Option<&'static Provider> {
        Self::all().iter().find(|provider| {
            let mut servers = Mail::ALL
                .into_iter()
                .flat_map(|mail| provider.servers(mail));
            servers.any(|server| server.value.host.eq_ignore_ascii_case(host))
        })
    }

    /// Its servers for a protocol, the best first.
    pub(crate) fn servers(&self, mail: Mail) -> &[Sourced<Server>] {
        match mail {
            Mail::Smtp => &self.smtp,
            Mail::Pop3 => &self.pop3,
            Mail::Imap => &self.imap,
        }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(row: &'static str) -> Result<Provider, String> {
        let fields: Vec<&str> = row.split('\t').collect();
        let [
            id,
            name,
            domains,
            imap,
            pop3,
            smtp,
            user,
            passwords,
            note,
            source,
        ] = fields[..]
        else {
            return Err(format!("{} fields, not 10: {row}", fields.len()));
        };
        let (user, passwords) = (marked(user), marked(passwords));
        let kinds = passwords.value.split('|').map(password);
        Ok(Provider {
            id,
            name,
            domains: domains.split(',').map(marked).collect(),
            imap: servers(imap)?,
            pop3: servers(pop3)?,
            smtp: servers(smtp)?,
            user: user.try_map(self::user)?,
            passwords: Sourced {
                value: kinds.collect::<Result<_, _>>()?,
                sourced: passwords.sourced,
            },
            note,
            source,
        })
    }
}

impl<T> Sourced<T> {
    fn try_map<U>(self, read: impl Fn(T) -> Result<U, String>) -> Result<Sourced<U>, String> {
        Ok(Sourced {
            value: read(self.value)?,
            sourced: self.sourced,
        })
    }
}

fn rows() -> impl Iterator<Item = &'static str> {
    let lines = TEXT.lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A `?` at the end says that there is no source.
fn marked(text: &'static str) -> Sourced<&'static str> {
    match text.strip_suffix('?') {
        Some(value) => Sourced {
            value,
            sourced: false,
        },
        None => Sourced {
            value: text,
            sourced: true,
        },
    }
}

fn servers(text: &'static str) -> Result<Vec<Sourced<Server>>, String> {
    match text {
        "-" => Ok(Vec::new()),
        text => text
            .split(';')
            .map(|text| marked(text).try_map(server))
            .collect(),
    }
}

fn server(text: &str) -> Result<Server, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [host, port, tls, logins] = parts[..] else {
        return Err(format!("not host:port:tls:login: {text}"));
    };
    let tls = match tls {
        "ssl" => Tls::AtOnce,
        "starttls" => Tls::Starttls,
        _ => return Err(format!("neither ssl nor starttls: {text}")),
    };
    let logins = logins.split('+').map(|login| match login {
        "plain" => Ok(Login::Plain),
        "cram-md5" => Ok(Login::CramMd5),
        "oauth2" => Ok(Login::OAuth2),
        _ => Err(format!("no login: {text}")),
    });
    Ok(Server {
        host: host.to_owned(),
        port: port.parse().map_err(|_| format!("no port: {text}"))?,
        tls,
        logins: logins.collect::<Result<_, _>>()?,
    })
}

fn user(text: &str) -> Result<User, String> {
    match text {
        "full address" => Ok(User::Address),
        "local part" => Ok(User::LocalPart),
        "imap: local part; smtp: full address" => Ok(User::LocalPartButForSmtp),
        _ => Err(format!("no user name: {text}")),
    }
}

fn password(text: &str) -> Result<Password, String> {
    match text {
        "password" => Ok(Password::Account),
        "app-password" => Ok(Password::App),
        "oauth2" => Ok(Password::OAuth2),
        _ => Err(format!("no password: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_line_is_read_and_names_where_it_is_from() {
        let mut ids = BTreeSet::new();
        for row in rows() {
            let provider = Provider::read(row).unwrap_or_else(|error| panic!("{error}"));
            let id = provider.id;
            assert!(ids.insert(id), "{id} twice");
            let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
            assert!(id.bytes().all(known), "{id}");
            assert!(
                !provider.name.is_empty() && !provider.source.is_empty(),
                "{id}"
            );
            assert!(
                provider.note.is_empty() || provider.note.ends_with('.'),
                "{id}"
            );
            assert!(
                !provider.note.contains('?'),
                "{id}: a doubt belongs behind its value"
            );
            // Words that only a published list or a page of the provider's deserves.
            let sourced = |servers: &[Sourced<Server>]| servers.iter().all(|it| it.sourced);
            if provider.source.contains("no provider page") {
                let all = Mail::ALL
                    .iter()
                    .all(|mail| sourced(provider.servers(*mail)));
                assert!(!all, "{id}: no source, and no `?`");
            }
        }
        assert!(ids.len() >= 79);
        assert_eq!(ids.len(), Provider::all().len());
    }

    #[test]
    fn no_domain_is_in_two_lines() {
        let mut had = BTreeSet::new();
        for provider in Provider::all() {
            for domain in &provider.domains {
                let domain = domain.value;
                assert!(had.insert(domain), "{domain} twice");
                let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
                assert!(
                    domain.bytes().all(known) && domain.contains('.'),
                    "{domain}"
                );
                assert_eq!(Provider::of_domain(domain).unwrap().value, provider);
            }
        }
    }

    #[test]
    fn every_server_has_tls_and_a_port_for_it() {
        for provider in Provider::all() {
            let id = provider.id;
            assert!(!provider.smtp.is_empty(), "{id} sends nothing");
            assert!(
                !provider.imap.is_empty() || !provider.pop3.is_empty(),
                "{id}"
            );
            for mail in Mail::ALL {
                let servers = provider.servers(mail);
                let mut seen = BTreeSet::new();
                for Sourced { value: server, .. } in servers {
                    let plausible = match (mail, server.tls) {
                        // `adit check` knows it too (config/first_byte.rs).
                        (Mail::Smtp, Tls::AtOnce) if id == "spectrum" => server.port == 587,
                        (Mail::Smtp, Tls::AtOnce) => server.port == 465,
                        (Mail::Smtp, Tls::Starttls) => server.port == 587,
                        (Mail::Pop3, Tls::AtOnce) => server.port == 995,
                        (Mail::Pop3, Tls::Starttls) => server.port == 110,
                        (Mail::Imap, Tls::AtOnce) => server.port == 993,
                        (Mail::Imap, Tls::Starttls) => server.port == 143,
                    };
                    assert!(plausible, "{id}: {server:?}");
                    assert!(server.host.contains('.'), "{id}: {server:?}");
                    assert!(seen.insert((&server.host, server.port)), "{id}: {server:?}");
                }
                let oauth2 = [Password::OAuth2].as_slice();
                let passwords = provider.passwords.value.as_slice() != oauth2;
                let takes = servers.iter().any(|server| server.value.takes_passwords());
                assert!(passwords || !takes, "{id}: which password?");
            }
        }
    }

    #[test]
    fn a_provider_is_known_by_its_server() {
        let id = |host| Provider::of_host(host).map(|provider| provider.id);
        assert_eq!(id("SMTP.gmail.com"), Some("gmail"));
        assert_eq!(id("pop3.web.de"), Some("webde"));
        assert_eq!(id("mail.example"), None);
    }

    /// It stands in one line of a reply: RFC 5321, section 4.5.3.1.5.
    #[test]
    fn notes_are_short_and_ascii() {
        for Provider { id, note, name, .. } in Provider::all() {
            let visible = |byte: u8| matches!(byte, b' '..=b'~');
            assert!(note.len() <= 160 && note.bytes().all(visible), "{id}");
            assert!(name.len() <= 40, "{id}");
        }
    }

    #[test]
    fn user_names_are_made_of_the_address() {
        for (user, mail, name) in [
            (User::Address, Mail::Pop3, "a.b@c.de"),
            (User::LocalPart, Mail::Smtp, "a.b"),
            (User::LocalPartButForSmtp, Mail::Imap, "a.b"),
            (User::LocalPartButForSmtp, Mail::Smtp, "a.b@c.de"),
        ] {
            assert_eq!(user.of("a.b@c.de", mail), name);
        }
    }
}
