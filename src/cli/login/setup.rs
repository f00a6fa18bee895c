//! What is to be signed in, and where: from the flags, the table of providers and the address. Never in here: a question to
//! a server.

use std::path::PathBuf;

use super::failure::Failure;
use crate::cli::providers;
use crate::config::HttpUrl;
use crate::oauth::provider::{self, MICROSOFT_APP_SCOPE, Provider};

/// What `adit login NAME` was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SignIn {
    pub name: String,
    pub user: Option<String>,
    pub provider: Option<String>,
    pub flow: Option<Flow>,
    pub client_id: Option<String>,
    pub client_secret_file: Option<PathBuf>,
    pub tenant: Option<String>,
    pub scope: Option<String>,
    pub authorize_url: Option<String>,
    pub token_url: Option<String>,
    pub device_url: Option<String>,
    pub port: Option<u16>,
    pub ca_file: Option<PathBuf>,
    pub password_file: Option<PathBuf>,
}

/// How a token is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// A code is typed on a page, on any device (RFC 8628).
    Device,
    /// A browser on this machine, or an address that is pasted (RFC 8252, RFC 7636).
    Browser,
    /// The client's own secret (RFC 6749, section 4.4).
    Credentials,
}

impl Flow {
    pub(crate) const WORDS: [(&'static str, Flow); 3] = [
        ("device", Flow::Device),
        ("browser", Flow::Browser),
        ("credentials", Flow::Credentials),
    ];
}

/// What is known before the first question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setup {
    pub provider: String,
    pub flow: Flow,
    pub client_id: String,
    pub scope: String,
    pub token_url: String,
    pub device_url: String,
    pub authorize_url: String,
    /// The host of the loopback redirect.
    pub redirect: &'static str,
    /// Further parameters of the authorize address.
    pub more: &'static str,
}

impl Setup {
    /// # Errors
    /// What is missing, or does not fit.
    pub(super) fn of(asked: &SignIn) -> Result<Setup, Failure> {
        let known = provider_of(asked)?;
        let Some(client_id) = asked.client_id.clone() else {
            return Err(Failure::NoClientId(known.map(|known| known.note)));
        };
        let tenant = tenant(asked, known)?;
        let url = |given: &Option<String>, of_table: Option<&str>, flag| {
            let url = given
                .clone()
                .or_else(|| of_table.map(|url| provider::for_tenant(url, tenant)));
            match &url {
                Some(url) if HttpUrl::parse_https(url).is_err() => {
                    Err(Failure::NoUrl(flag, url.clone()))
                }
                _ => Ok(url),
            }
        };
        let token = url(&asked.token_url, known.map(|it| it.token), "--token-url")?;
        let token_url = token.ok_or(Failure::NoProvider)?;
        let device = url(
            &asked.device_url,
            known.and_then(|it| it.device),
            "--device-url",
        )?;
        let authorize = url(
            &asked.authorize_url,
            known.map(|it| it.authorize),
            "--authorize-url",
        )?;
        let flow = match (asked.flow, &device, &authorize) {
            (Some(flow), ..) => flow,
            (None, Some(_), _) => Flow::Device,
            (None, None, Some(_)) => Flow::Browser,
            (None, None, None) => return Err(Failure::NoFlow("--device-url or --authorize-url")),
        };
        match (flow, &device, &authorize, &asked.client_secret_file) {
            (Flow::Device, None, ..) => return Err(Failure::NoFlow("--device-url")),
            (Flow::Browser, _, None, _) => return Err(Failure::NoFlow("--authorize-url")),
            (Flow::Credentials, .., None) => return Err(Failure::NoFlow("--client-secret-file")),
            _ => {}
        }
        let usual = match (flow, known) {
            (Flow::Credentials, Some(known)) if known.has_tenants() => MICROSOFT_APP_SCOPE,
            (_, known) => known.map_or("", |known| known.scope),
        };
        Ok(Setup {
            provider: known.map_or("other", |known| known.id).to_owned(),
            flow,
            client_id,
            scope: asked.scope.clone().unwrap_or_else(|| usual.to_owned()),
            token_url,
            device_url: device.unwrap_or_default(),
            authorize_url: authorize.unwrap_or_default(),
            redirect: known.map_or("127.0.0.1", |known| known.redirect),
            more: known.and_then(|known| known.more).unwrap_or_default(),
        })
    }
}

/// The provider that was named, or that of the address; `None`: a token server by hand.
fn provider_of(asked: &SignIn) -> Result<Option<Provider>, Failure> {
    if let Some(id) = &asked.provider {
        let known = Provider::with_id(id).ok_or_else(|| Failure::UnknownProvider(id.clone()))?;
        return Ok(Some(known));
    }
    if asked.token_url.is_some() {
        return Ok(None);
    }
    let domain = asked.name.rsplit_once('@').map_or("", |(_, domain)| domain);
    Ok(providers::id_of_domain(domain).and_then(Provider::of_mail))
}

fn tenant(asked: &SignIn, known: Option<Provider>) -> Result<&str, Failure> {
    match &asked.tenant {
        Some(tenant) if !provider::is_tenant(tenant) => Err(Failure::NoTenant(tenant.clone())),
        Some(tenant) => Ok(tenant),
        // An app has rights in one tenant.
        None if asked.flow == Some(Flow::Credentials)
            && known.is_some_and(|it| it.has_tenants()) =>
        {
            Err(Failure::TenantNeeded)
        }
        None => Ok("common"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str) -> SignIn {
        SignIn {
            name: name.to_owned(),
            client_id: Some("id".to_owned()),
            ..SignIn::default()
        }
    }

    #[test]
    fn the_address_says_the_provider_and_the_provider_the_flow() {
        for (name, provider, flow) in [
            ("you@outlook.com", "microsoft", Flow::Device),
            ("you@gmail.com", "google", Flow::Browser),
            ("you@fastmail.com", "fastmail", Flow::Browser),
            ("you@yahoo.com", "yahoo", Flow::Browser),
        ] {
            let setup = Setup::of(&asked(name)).unwrap();
            assert_eq!(
                (setup.provider.as_str(), setup.flow),
                (provider, flow),
                "{name}"
            );
        }
        let setup = Setup::of(&asked("you@outlook.com")).unwrap();
        assert!(setup.token_url.contains("/common/"), "{}", setup.token_url);
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_give() {
        let told = |asked: &SignIn| Setup::of(asked).unwrap_err().to_string();
        let own = asked("you@own.example");
        assert!(told(&own).contains("--provider"));
        let no_id = SignIn {
            client_id: None,
            ..asked("you@gmail.com")
        };
        assert!(told(&no_id).contains("seven days"), "{}", told(&no_id));
        let flow = Some(Flow::Credentials);
        let app = SignIn {
            flow,
            provider: Some("microsoft".into()),
            ..own.clone()
        };
        assert!(told(&app).contains("--tenant"));
        let app = SignIn {
            tenant: Some("contoso.example".into()),
            ..app
        };
        assert!(told(&app).contains("--client-secret-file"));
        let app = SignIn {
            client_secret_file: Some("x".into()),
            ..app
        };
        assert_eq!(Setup::of(&app).unwrap().scope, MICROSOFT_APP_SCOPE);
        let device = SignIn {
            flow: Some(Flow::Device),
            ..asked("you@gmail.com")
        };
        assert!(told(&device).contains("--device-url"));
        let plain = SignIn {
            token_url: Some("http://x/".into()),
            ..own
        };
        assert!(told(&plain).contains("https"));
    }
}
