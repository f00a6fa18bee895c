//! What a worker asks the keeper, and what it is told. Never in here: a refresh token.

use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};

use crate::config::Secret;

/// Longest name of an account, in bytes.
pub(super) const MAX_ACCOUNT: usize = 512;
/// Longest local password, in bytes.
pub(super) const MAX_PASSWORD: usize = 1024;
/// Longest access token, in bytes: Microsoft's may pass 4096.
pub(crate) use crate::oauth::answer::MAX_TOKEN;

/// A session asks for a token to log in with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// As the old program names its user; `adit login` was given the same.
    pub account: String,
    /// What the old program sent as its password.
    pub password: Secret,
    /// The old program's address, if it has one: others' guesses do not keep it waiting.
    pub client: Option<IpAddr>,
    /// The access token that the server has just refused.
    pub refused: Option<TokenDigest>,
}

/// Says which token is meant, and not what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenDigest(pub(super) [u8; 32]);

/// What one logs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// The user for XOAUTH2 and OAUTHBEARER, which may be another than the account: a shared mailbox.
    pub user: String,
    pub access: Secret,
}

impl Token {
    /// What [`Question::refused`] names it by.
    pub(crate) fn digest(&self) -> TokenDigest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, self.access.reveal().as_bytes()).as_ref());
        TokenDigest(bytes)
    }
}

/// What became of a question. Words are for the log and for the old program: one line of ASCII, without a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenAnswer {
    /// The password is right.
    Granted(Token),
    /// The password is not the local one of this account.
    WrongPassword,
    /// There is no such account: `adit login NAME` makes it.
    NotSignedIn,
    /// The provider takes what is stored no more: `adit login NAME` again. What it says.
    SignInAgain(String),
    /// It may go later: the token server is away, or too many wrong passwords came. Why.
    Away(String),
}
