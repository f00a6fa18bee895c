//! The keeper process: keeps the tokens of mail accounts that were signed in by OAuth2 (`login = oauth2`), and gives
//! workers access tokens for the local password. Never in here: a refresh token on the way to another process.
#![expect(
    dead_code,
    unused_imports,
    reason = "what asks and what answers follow"
)]

mod client;
mod message;
mod question;

pub(crate) use client::Client;
pub(crate) use question::{MAX_TOKEN, Question, Token, TokenAnswer, TokenDigest};
