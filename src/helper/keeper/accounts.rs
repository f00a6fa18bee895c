//! The accounts that are at work: which are open, with which access token, and when it is refreshed. Never in here: two
//! requests for one account at a time, or a token that is used before the one behind it is on the disk.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use super::guesses::{Guessers, Tag};
use super::question::{Question, Token, TokenAnswer, TokenDigest};
use crate::config::Secret;
use crate::oauth::account::{Account, Secrets};
use crate::oauth::answer::{Refusal, Tokens};
use crate::oauth::seal::{Key, Sealed};
use crate::oauth::store::{self, Stamp, Store, StoreError};

/// How long a token server may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);
/// A token is replaced so long before its end, if that is not more than a quarter of its life.
const EARLY: Duration = Duration::from_mins(5);
/// What is told to live shorter is used this long: once, then.
const SHORTEST: Duration = Duration::from_secs(10);
/// A token that was refused and is younger is not replaced again: the fault lies elsewhere.
const FRESH: Duration = Duration::from_mins(1);
/// When it is tried again, after the first failure and at most.
const PAUSES_AWAY: [Duration; 2] = [Duration::from_secs(2), Duration::from_mins(1)];
const PAUSES_REJECTED: [Duration; 2] = [Duration::from_secs(30), Duration::from_mins(15)];

/// Asks a token server, until the deadline.
pub(super) type AskServer =
    dyn Fn(&Account, &Secrets, Instant) -> Result<Tokens, Refusal> + Send + Sync;

/// See the module.
pub(super) struct Accounts {
    store: Store,
    ask: Box<AskServer>,
    /// Passwords are compared by what this makes of them.
    check: hmac::Key,
    by_name: Mutex<HashMap<String, Arc<Slot>>>,
    /// Keys are made one at a time, since each takes memory.
    making: Mutex<()>,
}

/// An account's place.
#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Default)]
struct State {
    file: Option<(Stamp, Arc<Sealed>)>,
    open: Option<Open>,
    guesses: Guessers,
    /// A thread asks the token server.
    asking: bool,
    pause: Option<Pause>,
}

/// What the right password has opened.
#[derive(Clone)]
struct Open {
    key: Key,
    /// The password's.
    tag: Tag,
    secrets: Secrets,
    access: Option<Access>,
    /// Granted, and not on the disk yet: not used before.
    unsaved: Option<Arc<Tokens>>,
}

#[derive(Clone)]
struct Access {
    token: Token,
    got: Instant,
    /// When it is replaced, and when it is no good any more.
    due: Instant,
    ends: Instant,
}

/// After a failure.
struct Pause {
    until: Instant,
    failures: u32,
    answer: TokenAnswer,
}

/// What came of asking.
enum Asked {
    /// The tokens, and what is stored now.
    Got(Arc<Tokens>, Option<(Stamp, Arc<Sealed>)>, Secrets),
    Refused(Refusal),
    /// They are there, and cannot be stored.
    Unsaved(Arc<Tokens>, StoreError),
}

impl Accounts {
    /// The accounts of this folder.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn new(store: Store, ask: Box<AskServer>) -> std::io::Result<Accounts> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(std::io::Error::other)?;
        Ok(Accounts {
            store,
            ask,
            check: hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()),
            by_name: Mutex::default(),
            making: Mutex::default(),
        })
    }

    /// Answers one question. It waits for the token server where it must.
    pub(super) fn answer(&self, question: &Question) -> TokenAnswer {
        let end = Instant::now() + PATIENCE + Duration::from_secs(1);
        let slot = match self.store.stamp(&question.account) {
            Ok(Some(_)) => self.slot(&question.account),
            Ok(None) => {
                self.by_name().remove(&store::key(&question.account));
                return TokenAnswer::NotSignedIn;
            }
            Err(error) => return unusable(&error),
        };
        let mut state = slot.state();
        if let Err(answer) = self.open(&mut state, question) {
            return answer;
        }
        loop {
            let now = Instant::now();
            if let Some(answer) = state.answer(question.refused, now) {
                return answer;
            }
            if state.asking {
                let left = end.saturating_duration_since(now);
                if left.is_zero() {
                    return TokenAnswer::Away("the token server does not answer in time".into());
                }
                let waited = slot.asked.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let (Some((stamp, sealed)), Some(open)) = (state.file.clone(), state.open.clone())
            else {
                return TokenAnswer::Away("the account was changed just now".into());
            };
            state.asking = true;
            drop(state);
            let mut asking = Asking {
                slot: &slot,
                asked: None,
            };
            asking.asked = Some(self.ask(stamp, &sealed, open));
            drop(asking);
            state = slot.state();
        }
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<String, Arc<Slot>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, account: &str) -> Arc<Slot> {
        Arc::clone(self.by_name().entry(store::key(account)).or_default())
    }

    /// Compares the password, by the account's file if it was not opened since the file was changed.
    fn open(&self, state: &mut State, question: &Question) -> Result<(), TokenAnswer> {
        let stamp = self
            .store
            .stamp(&question.account)
            .map_err(|error| unusable(&error))?;
        // The thread that asks may be changing it.
        if !state.asking && state.file.as_ref().map(|(stamp, _)| *stamp) != stamp {
            let read = self
                .store
                .read(&question.account)
                .map_err(|error| unusable(&error))?;
            let (stamp, sealed) = read.ok_or(TokenAnswer::NotSignedIn)?;
            *state = State {
                file: Some((stamp, Arc::new(sealed))),
                ..State::default()
            };
        }
        let now = Instant::now();
        let guesses = state.guesses.of(question.client);
        if let Some(wait) = guesses.wait(now) {
            return Err(TokenAnswer::Away(format!(
                "too many wrong passwords were tried for this account: wait {} seconds",
                wait.as_secs() + 1
            )));
        }
        let tag = self.tag(&question.password);
        let right = match (&state.open, &state.file) {
            (Some(open), _) => hmac::verify(
                &self.check,
                question.password.reveal().as_bytes(),
                &open.tag,
            )
            .is_ok(),
            (None, Some((_, sealed))) if !guesses.knows(&tag) => {
                let opened = self.unlock(sealed, &question.password, tag)?;
                state.open = opened;
                state.open.is_some()
            }
            (None, _) => false,
        };
        if !right {
            state.guesses.of(question.client).count(tag, now);
            return Err(TokenAnswer::WrongPassword);
        }
        state.guesses.trust(question.client);
        Ok(())
    }

    fn unlock(
        &self,
        sealed: &Sealed,
        password: &Secret,
        tag: Tag,
    ) -> Result<Option<Open>, TokenAnswer> {
        let made = {
            let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            sealed.key(password)
        };
        let key = made.map_err(|_| TokenAnswer::Away("no memory to open the account".into()))?;
        let secrets = sealed.open(&key).ok();
        Ok(secrets.map(|secrets| Open {
            key,
            tag,
            secrets,
            access: None,
            unsaved: None,
        }))
    }

    fn tag(&self, password: &Secret) -> Tag {
        let mut tag = [0; 32];
        tag.copy_from_slice(hmac::sign(&self.check, password.reveal().as_bytes()).as_ref());
        tag
    }

    /// Asks the token server, and stores what must not be lost.
    fn ask(&self, stamp: Stamp, sealed: &Sealed, open: Open) -> Asked {
        let tokens = match open.unsaved {
            Some(tokens) => tokens,
            None => match (self.ask)(&sealed.account, &open.secrets, Instant::now() + PATIENCE) {
                Ok(tokens) => Arc::new(tokens),
                Err(refusal) => return Asked::Refused(without(&open.secrets, refusal)),
            },
        };
        let mut secrets = open.secrets;
        let last = secrets.refresh.clone();
        if tokens.refresh.is_none() || tokens.refresh == last || last.is_none() {
            return Asked::Got(tokens, None, secrets);
        }
        secrets.refresh = tokens.refresh.clone();
        let stored = Sealed::seal(sealed.account.clone(), &secrets, &open.key)
            .map_err(|_| StoreError::Broken)
            .and_then(|sealed| Ok((self.store.replace(&sealed, Some(stamp))?, Arc::new(sealed))));
        match stored {
            Ok(file) => Asked::Got(tokens, Some(file), secrets),
            Err(error) => Asked::Unsaved(tokens, error),
        }
    }
}

/// While a thread asks the token server. However it ends, another may then.
struct Asking<'a> {
    slot: &'a Slot,
    asked: Option<Asked>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        // At once: a file that this thread has changed must not be taken for one that another changed.
        let mut state = self.slot.state();
        state.asking = false;
        if let Some(asked) = self.asked.take() {
            state.take(asked);
        }
        drop(state);
        self.slot.asked.notify_all();
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What can be said without the token server.
    fn answer(&self, refused: Option<TokenDigest>, now: Instant) -> Option<TokenAnswer> {
        let access = self.open.as_ref().and_then(|open| open.access.as_ref());
        let pause = self.pause.as_ref().filter(|pause| now < pause.until);
        let Some(access) = access else {
            return pause.map(|pause| pause.answer.clone());
        };
        let is_refused = refused.is_some_and(|refused| refused == access.token.digest());
        let granted = || TokenAnswer::Granted(access.token.clone());
        match pause {
            _ if is_refused && now < access.got + FRESH => Some(TokenAnswer::SignInAgain(
                "the mail server refuses a token that the token server has just given".into(),
            )),
            _ if !is_refused && now < access.due => Some(granted()),
            Some(_) if !is_refused && now < access.ends => Some(granted()),
            Some(pause) => Some(pause.answer.clone()),
            None => None,
        }
    }

    fn take(&mut self, asked: Asked) {
        let now = Instant::now();
        let (Some((_, sealed)), Some(open)) = (&self.file, &mut self.open) else {
            return;
        };
        open.unsaved = None;
        match asked {
            Asked::Got(tokens, file, secrets) => {
                let life = tokens.life.max(SHORTEST);
                let early = EARLY.min(life / 4);
                open.access = Some(Access {
                    token: Token {
                        user: sealed.account.user.clone(),
                        access: tokens.access.clone(),
                    },
                    got: now,
                    due: now + life.saturating_sub(early),
                    ends: now + life,
                });
                open.secrets = secrets;
                self.file = file.or(self.file.take());
                self.pause = None;
            }
            Asked::Refused(refusal) => match refusal {
                Refusal::Rejected(words) | Refusal::Denied(words) => {
                    self.pause(now, PAUSES_REJECTED, TokenAnswer::SignInAgain(words));
                }
                other => self.pause(now, PAUSES_AWAY, TokenAnswer::Away(other.to_string())),
            },
            // It was signed in again, or forgotten: what came belongs to the one before.
            Asked::Unsaved(_, StoreError::Changed) => *self = State::default(),
            Asked::Unsaved(tokens, error) => {
                open.unsaved = Some(tokens);
                let words = format!("the new token cannot be stored: {error}");
                self.pause(now, PAUSES_AWAY, TokenAnswer::Away(words));
            }
        }
    }

    fn pause(&mut self, now: Instant, [first, most]: [Duration; 2], answer: TokenAnswer) {
        let failures = self.pause.as_ref().map_or(0, |pause| pause.failures);
        let pause = first
            .saturating_mul(2_u32.saturating_pow(failures))
            .min(most);
        self.pause = Some(Pause {
            until: now + pause,
            failures: failures.saturating_add(1),
            answer,
        });
    }
}

fn unusable(error: &StoreError) -> TokenAnswer {
    TokenAnswer::Away(format!("the account cannot be read: {error}"))
}

/// A server that says a secret again is not repeated.
fn without(secrets: &Secrets, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Rejected(words) if secrets.are_in(&words) => {
            Refusal::Rejected("the token server takes no more what is stored".into())
        }
        other if secrets.are_in(&other.to_string()) => {
            Refusal::Away("the token server answers with what it must not say".into())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
