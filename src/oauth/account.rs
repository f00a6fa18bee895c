//! What is kept of an account that was signed in. Never in here: a token that is not a [`Secret`].

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Secret;
use super::form::Form;

/// What may be read by all that may read the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    /// What the old program sends as its user.
    pub name: String,
    /// The user for XOAUTH2 and OAUTHBEARER.
    pub user: String,
    /// The id of a provider, or `other`.
    pub provider: String,
    pub grant: Grant,
    /// Where tokens are had.
    pub token_url: String,
    pub client_id: String,
    pub scope: String,
    /// The authorities that vouch for the token server, in PEM; the system's unless given.
    pub authorities: Option<String>,
    /// When it was signed in, in seconds since 1970.
    pub since: u64,
}

/// How access tokens are had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grant {
    /// For a refresh token, which a person's sign-in gave.
    RefreshToken,
    /// For the client's own secret: no person signs in.
    ClientCredentials,
}

/// What is locked by the local password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Secrets {
    pub refresh: Option<Secret>,
    pub client: Option<Secret>,
}

impl Account {
    /// What is posted for an access token.
    pub(crate) fn form(&self, secrets: &Secrets) -> Form {
        let form = match self.grant {
            Grant::RefreshToken => Form::new()
                .with("grant_type", "refresh_token")
                .with_secret("refresh_token", secrets.refresh.as_ref()),
            Grant::ClientCredentials => Form::new()
                .with("grant_type", "client_credentials")
                .with_some("scope", &self.scope),
        };
        form.with("client_id", &self.client_id)
            .with_secret("client_secret", secrets.client.as_ref())
    }
}

/// As [`Secrets`] stand in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    refresh: Option<Zeroizing<String>>,
    client: Option<Zeroizing<String>>,
}

impl Secrets {
    /// As JSON; `None`: there is no memory.
    pub(super) fn write(&self) -> Option<Zeroizing<Vec<u8>>> {
        let copy = |secret: &Option<Secret>| {
            let secret = secret.as_ref()?;
            Some(Zeroizing::new(secret.reveal().to_owned()))
        };
        let written = Written {
            refresh: copy(&self.refresh),
            client: copy(&self.client),
        };
        // What grows leaves copies behind. A character is six in JSON at most.
        let long = [&self.refresh, &self.client].into_iter().flatten();
        let long: usize = long.map(|secret| secret.reveal().len()).sum();
        let mut text = Zeroizing::new(Vec::with_capacity(64 + 6 * long));
        serde_json::to_writer(&mut *text, &written).ok()?;
        Some(text)
    }

    /// From JSON; `None`: it is none of these.
    pub(super) fn read(text: &[u8]) -> Option<Secrets> {
        let written: Written = serde_json::from_slice(text).ok()?;
        let secret = |text: Option<Zeroizing<String>>| Some(Secret::new(text?.as_str()));
        Some(Secrets {
            refresh: secret(written.refresh),
            client: secret(written.client),
        })
    }

    /// What a foolish server may say back, so that it is found in its words.
    pub(crate) fn are_in(&self, words: &str) -> bool {
        let mut all = [&self.refresh, &self.client].into_iter().flatten();
        all.any(|secret| !secret.reveal().is_empty() && words.contains(secret.reveal()))
    }
}
