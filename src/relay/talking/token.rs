//! A dialogue that waits for a token. Never in here: a token that is kept.

use super::Talking;
use crate::helper::TokenAnswer;

impl Talking {
    /// Takes the answer to question `id`; `None`: the keeper is gone, and another must be asked.
    pub(crate) fn token(&mut self, _id: u64, _answer: Option<TokenAnswer>) {}
}
