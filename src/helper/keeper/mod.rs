//! The keeper process: keeps the tokens of mail accounts that were signed in by OAuth2 (`login = oauth2`), and gives
//! workers access tokens for the local password. It alone can open the accounts' files, and asks token servers and nothing
//! else. Never in here: a refresh token on the way to another process.
//!
//! [`server`] is its threads' work, [`accounts`] what they share, [`guesses`] how wrong passwords are slowed.

mod accounts;
mod client;
mod guesses;
mod message;
mod question;
mod server;

use std::io;

use super::{Kind, Life, Role};
use crate::config::Secret;
use crate::oauth::store::Store;
use crate::sandbox;
pub(crate) use client::Client;
#[cfg(fuzzing)]
pub(crate) use message::fuzz;
pub(crate) use question::{Question, Token, TokenAnswer};

/// The process's part of a helper's life.
pub(crate) const ROLE: Role = Role {
    kind: Kind::Keeper,
    life: Life::Keeping(sandbox::keeper, server::serve),
};

/// Has a token as a session would, in this process, and says what came: `Err` if none.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn try_out(
    store: Store,
    account: &str,
    password: Secret,
) -> io::Result<Result<String, String>> {
    let accounts = server::accounts(store)?;
    let answer = accounts.answer(&Question {
        account: account.to_owned(),
        password,
        client: None,
        refused: None,
    });
    Ok(match answer {
        TokenAnswer::Granted(token) => {
            Ok(format!("the token server gives a token for {}", token.user))
        }
        TokenAnswer::WrongPassword => {
            Err("that is not the local password of this account".to_owned())
        }
        TokenAnswer::NotSignedIn => Err(format!("{account} is not signed in: `adit login --list`")),
        TokenAnswer::SignInAgain(words) => {
            Err(format!("{words}: sign in again, `adit login {account}`"))
        }
        TokenAnswer::Away(words) => Err(words),
    })
}
