//! What a provider has for an address: its servers, the user names, what is to be known. Never in here: a
//! server that neither a password nor a token opens, or TLS that is left out.

use std::fmt;

use super::address::{Address, is_host};
use crate::cli::providers::{Login, Mail, Password, Provider, Server, Sourced, Tls, User};
use crate::oauth::provider::Provider as TokenServer;

/// The servers for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    /// Whose they are.
    pub title: String,
    /// One for each protocol that there is.
    pub servers: Vec<(Mail, Server)>,
    pub user: User,
    /// Those that are of use to a program that knows passwords alone; none if that is not known.
    pub passwords: Vec<Password>,
    /// Who signs the account in, where adit logs in by OAuth2.
    pub tokens: Option<TokenServer>,
    /// What to switch on or to know.
    pub note: &'static str,
    /// What does not work, and what no source confirms, in sentences.
    pub caveats: Vec<String>,
}

impl Offer {
    /// What the table says.
    ///
    /// # Errors
    /// The provider takes no password at all.
    pub(super) fn of_provider(found: Sourced<&'static Provider>) -> Result<Offer, NoPassword> {
        let provider = found.value;
        let tokens = tokens(provider);
        let opens = |server: &Server| match tokens {
            Some(_) => server.logins.contains(&Login::OAuth2),
            None => server.takes_passwords(),
        };
        let (mut servers, mut doubtful, mut caveats) = (Vec::new(), Vec::new(), Vec::new());
        let mut without = Vec::new();
        for mail in Mail::ALL {
            let all = provider.servers(mail);
            match all.iter().find(|server| opens(&server.value)) {
                Some(server) => {
                    servers.push((mail, server.value.clone()));
                    if !server.sourced {
                        doubtful.push(mail.name());
                    }
                }
                None if !all.is_empty() => without.push(mail.name()),
                None => {}
            }
        }
        if servers.is_empty() {
            return Err(NoPassword(provider));
        }
        if !without.is_empty() {
            caveats.push(format!(
                "No {}: {} takes OAuth2 alone there, and `adit login` does not know where its tokens are had.",
                without.join(" and no "),
                provider.name
            ));
        }
        let challenged = servers
            .iter()
            .filter(|(_, server)| tokens.is_none() && !server.logins.contains(&Login::Plain));
        let challenged: Vec<_> = challenged.map(|(mail, _)| mail.name()).collect();
        if !challenged.is_empty() {
            caveats.push(format!(
                "For {} the provider is listed with CRAM-MD5 (\"encrypted password\") alone: adit logs in so, and the \
                 program as ever.",
                challenged.join(" and ")
            ));
        }
        if !doubtful.is_empty() {
            caveats.push(format!(
                "No source confirms the servers for {}: compare them with the provider's own page.",
                doubtful.join(" and ")
            ));
        }
        if !found.sourced || !provider.user.sourced || !provider.passwords.sourced {
            caveats.push(
                "No source confirms the domain, the user name or the kind of password: look at the provider's own \
                 page."
                    .to_owned(),
            );
        }
        let passwords = provider.passwords.value.iter().copied();
        let of_use = |it: &Password| tokens.is_none() && *it != Password::OAuth2;
        Ok(Offer {
            title: provider.name.to_owned(),
            servers,
            user: provider.user.value,
            passwords: passwords.filter(of_use).collect(),
            tokens,
            note: provider.note,
            caveats,
        })
    }

    /// Servers that were named by hand, or by DNS.
    pub(super) fn of_servers(address: &Address, servers: Vec<(Mail, Server)>) -> Offer {
        Offer {
            title: address.domain().to_owned(),
            servers,
            user: User::Address,
            passwords: Vec::new(),
            tokens: None,
            note: "",
            caveats: Vec::new(),
        }
    }

    /// How adit logs in at one of its servers, if not as the program does.
    pub(super) fn login(&self, server: &Server) -> Option<&'static str> {
        match self.tokens {
            Some(_) => Some("oauth2"),
            None => (!server.logins.contains(&Login::Plain)).then_some("translate"),
        }
    }

    pub(super) fn mails(&self) -> Vec<Mail> {
        self.servers.iter().map(|(mail, _)| *mail).collect()
    }

    pub(super) fn has(&self, mail: Mail) -> bool {
        self.servers.iter().any(|(known, _)| *known == mail)
    }
}

/// Who gives tokens for a provider's addresses, if a password does not do: for all its servers then, so that the program
/// has one password.
fn tokens(provider: &Provider) -> Option<TokenServer> {
    let by_tokens_alone = Mail::ALL.iter().any(|mail| {
        let servers = provider.servers(*mail);
        let mut values = servers.iter().map(|server| &server.value);
        !servers.is_empty() && !values.any(Server::takes_passwords)
    });
    let found = by_tokens_alone.then(|| TokenServer::of_mail(provider.id));
    found.flatten()
}

/// A provider that takes OAuth2 alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoPassword(&'static Provider);

impl fmt::Display for NoPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} takes OAuth2 alone, for sending and for fetching, and `adit login` does not know where its tokens are \
             had. No app password helps. Nothing was written (write services with `login = oauth2` yourself, and sign in \
             by `adit login --token-url`; the servers: `adit providers {}`)",
            self.0.name, self.0.id
        )
    }
}

/// A server that is named by `--smtp` and its like: `HOST:PORT`, and `:tls` or
/// `:starttls` behind it where the port does not say.
///
/// # Errors
/// What is wrong, and what would be right.
pub(in crate::cli) fn by_hand(text: &str) -> Result<Server, String> {
    let mut parts = text.split(':');
    let (host, port, tls) = (parts.next(), parts.next(), parts.next());
    let (Some(host), Some(port), None) = (host, port, parts.next()) else {
        return Err(format!(
            "'{text}' is not HOST:PORT, as mail.example.com:465"
        ));
    };
    if !is_host(host) && !is_local(host) {
        return Err(format!(
            "'{host}' is no host name: the server's certificate is made out to one, as mail.example.com"
        ));
    }
    let port: u16 = match port.parse() {
        Ok(port) if port > 0 => port,
        _ => return Err(format!("'{port}' is no port: 1 to 65535")),
    };
    let tls = match (tls, port) {
        (Some("tls"), _) | (None, 465 | 993 | 995) => Tls::AtOnce,
        (Some("starttls"), _) | (None, 25 | 110 | 143 | 587) => Tls::Starttls,
        (None, _) => {
            return Err(format!(
                "port {port} does not say how TLS begins: {text}:tls from the first byte, or {text}:starttls"
            ));
        }
        (Some(other), _) => return Err(format!("'{other}': there are tls and starttls")),
    };
    Ok(served_by(host, port, tls))
}

/// A server that nothing else is known of.
pub(super) fn served_by(host: &str, port: u16, tls: Tls) -> Server {
    Server {
        host: host.to_ascii_lowercase(),
        port,
        tls,
        logins: vec![Login::Plain],
    }
}

/// A name without a dot, as in a LAN.
fn is_local(host: &str) -> bool {
    is_host(&format!("{host}.lan")) && host.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str) -> Result<Offer, NoPassword> {
        Offer::of_provider(Sourced {
            value: Provider::with_id(id).unwrap(),
            sourced: true,
        })
    }

    #[test]
    fn the_best_server_for_passwords_is_taken() {
        let offer = of("gmx-de").unwrap();
        assert_eq!(offer.mails(), Mail::ALL);
        assert!(
            offer
                .servers
                .iter()
                .all(|(_, server)| server.tls == Tls::AtOnce)
        );
        assert!(offer.caveats.is_empty());
    }

    #[test]
    fn where_one_server_takes_tokens_alone_all_are_opened_by_them() {
        for id in ["outlook", "office365"] {
            let offer = of(id).unwrap();
            assert_eq!(offer.mails(), Mail::ALL);
            assert_eq!(offer.tokens.unwrap().id, "microsoft");
            let logins = offer.servers.iter().map(|(_, server)| offer.login(server));
            assert!(logins.into_iter().all(|login| login == Some("oauth2")));
            assert!(offer.passwords.is_empty() && offer.caveats.is_empty());
        }
        assert_eq!(of("gmail").unwrap().tokens, None);
    }

    #[test]
    fn a_provider_whose_tokens_nothing_gives_is_refused_in_words() {
        let mut provider = Provider::with_id("outlook").unwrap().clone();
        provider.id = "other";
        let found = Sourced {
            value: &*Box::leak(Box::new(provider)),
            sourced: true,
        };
        let error = Offer::of_provider(found).unwrap_err().to_string();
        assert!(error.contains("takes OAuth2 alone"), "{error}");
    }

    #[test]
    fn doubts_are_told() {
        for (id, part) in [
            ("freenet", "No source confirms the servers for POP3"),
            ("fastweb", "CRAM-MD5"),
            ("optus", "the user name"),
        ] {
            let caveats = of(id).unwrap().caveats.join(" ");
            assert!(caveats.contains(part), "{id}: {caveats}");
        }
    }

    #[test]
    fn the_port_says_how_tls_begins_unless_the_word_does() {
        for (text, tls) in [
            ("m.example.com:465", Tls::AtOnce),
            ("m.example.com:587", Tls::Starttls),
            ("m.example.com:587:tls", Tls::AtOnce),
            ("nas:2525:starttls", Tls::Starttls),
        ] {
            assert_eq!(by_hand(text).unwrap().tls, tls, "{text}");
        }
        for (text, part) in [
            ("m.example.com", "HOST:PORT"),
            ("m.example.com:2525", "2525:tls"),
            ("m.example.com:465:ssl", "there are tls and starttls"),
            ("m.example.com:0", "no port"),
            ("192.0.2.1:465", "no host name"),
            ("a b:465", "no host name"),
            ("::1:465", "HOST:PORT"),
        ] {
            let error = by_hand(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
