//! `adit providers`: the mail providers that `adit add` knows. Never in here: the network.

use std::fmt;
use std::process::ExitCode;

pub(super) use crate::providers::{Login, Mail, Password, Provider, Server, Sourced, Tls, User};

/// Prints the providers whose name or one of whose domains has `word` in it; all of them without one.
pub(super) fn run(word: Option<&str>) -> ExitCode {
    let word = word.map(str::to_lowercase);
    // As typed in an address.
    let wanted = word
        .as_deref()
        .map(|word| word.rsplit('@').next().unwrap_or(word));
    let fits = |provider: &&Provider| wanted.is_none_or(|word| fits(provider, word));
    let found: Vec<&Provider> = Provider::all().iter().filter(fits).collect();
    if found.is_empty() {
        super::complain(format_args!(
            "providers: none has {} in its name or its domains (`adit providers` lists all; `adit add ADDRESS` \
             asks DNS, or takes the servers by --imap, --pop3 and --smtp)",
            wanted.unwrap_or_default()
        ));
        return ExitCode::FAILURE;
    }
    super::print(format_args!("{}", List(&found, wanted)))
}

fn fits(provider: &Provider, word: &str) -> bool {
    provider.id.contains(word)
        || provider.name.to_lowercase().contains(word)
        || provider
            .domains
            .iter()
            .any(|domain| domain.value.contains(word))
}

/// Providers, and the word that was asked for.
struct List<'a>(&'a [&'a Provider], Option<&'a str>);

/// How many domains of a provider are shown.
const DOMAINS: usize = 4;

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut doubt = false;
        for (nth, provider) in self.0.iter().enumerate() {
            if nth > 0 {
                writeln!(f)?;
            }
            writeln!(f, "{} ({})", provider.name, provider.id)?;
            let domains = domains(provider, self.1);
            doubt |= domains.contains('?');
            writeln!(f, "  domains   {domains}")?;
            for mail in Mail::ALL {
                let servers = provider.servers(mail).iter();
                let servers: Vec<String> = servers.map(shown).collect();
                let servers = servers.join(", ");
                doubt |= servers.contains('?');
                let servers = if servers.is_empty() { "none" } else { &servers };
                writeln!(f, "  {:<9} {servers}", mail.name())?;
            }
            let passwords = provider.passwords.value.iter().map(|it| it.name());
            let passwords = passwords.collect::<Vec<_>>().join(" or ");
            let mark = mark(provider.passwords.sourced);
            doubt |= !provider.passwords.sourced;
            writeln!(f, "  password  {passwords}{mark}")?;
            if !provider.note.is_empty() {
                writeln!(f, "  note      {}", provider.note)?;
            }
        }
        if doubt {
            writeln!(
                f,
                "\n?  no source confirms this: look at the provider's own page"
            )?;
        }
        Ok(())
    }
}

/// The provider of the addresses in this domain.
pub(in crate::cli) fn id_of_domain(domain: &str) -> Option<&'static str> {
    Provider::of_domain(domain).map(|provider| provider.value.id)
}

/// Whether there is a provider of this id.
#[cfg(test)]
pub(crate) fn is_known(id: &str) -> bool {
    Provider::with_id(id).is_some()
}

fn mark(sourced: bool) -> &'static str {
    if sourced { "" } else { "?" }
}

/// Its first domains, those with the word before the others.
fn domains(provider: &Provider, word: Option<&str>) -> String {
    let has = |domain: &str| word.is_some_and(|word| domain.contains(word));
    let mut domains: Vec<_> = provider.domains.iter().collect();
    domains.sort_by_key(|domain| !has(domain.value));
    let more = domains.len().saturating_sub(DOMAINS);
    let shown = domains.iter().take(DOMAINS);
    let shown: Vec<String> = shown
        .map(|domain| format!("{}{}", domain.value, mark(domain.sourced)))
        .collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn shown(server: &Sourced<Server>) -> String {
    let Sourced { value, sourced } = server;
    let tls = match value.tls {
        Tls::AtOnce => "",
        Tls::Starttls => " STARTTLS",
    };
    let login = match value.takes_passwords() {
        true => "",
        false => " (OAuth2 alone)",
    };
    let (host, port) = (&value.host, value.port);
    format!("{host}:{port}{tls}{login}{}", mark(*sourced))
}

impl Password {
    /// As people call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Password::Account => "the account's",
            Password::App => "an app password",
            Password::OAuth2 => "OAuth2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_found_by_its_name_its_domain_and_an_address() {
        for word in ["gmail", "googlemail.com", "google"] {
            let found: Vec<_> = Provider::all().iter().filter(|it| fits(it, word)).collect();
            assert!(
                found.iter().any(|provider| provider.id == "gmail"),
                "{word}"
            );
        }
        assert!(!Provider::all().iter().any(|it| fits(it, "no such")));
    }

    #[test]
    fn the_list_shows_servers_notes_and_doubts() {
        let of = |id| Provider::with_id(id).unwrap();
        let text = List(&[of("gmx-de"), of("freenet")], Some("gmx.at")).to_string();
        for part in [
            "GMX (DE/AT/CH) (gmx-de)\n  domains   gmx.at, gmx.net, gmx.de, gmx.ch and 7 more\n",
            "  SMTP      mail.gmx.net:465, mail.gmx.net:587 STARTTLS\n",
            "  POP3      mx.freenet.de:995?\n",
            "\n?  no source",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        let text = List(&[of("icloud")], None).to_string();
        assert!(
            text.contains("  POP3      none\n") && !text.contains('?'),
            "{text}"
        );
    }
}
