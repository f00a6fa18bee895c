//! Locks the secrets of an account under a key that Argon2id makes of the local password (RFC 9106), by AES-256-GCM.
//! The rest of the file is bound to it: with a token server changed it does not open. Never in here: a key in a file.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Secret;
use super::account::{Account, Secrets};
use crate::base64;

/// What a key costs. RFC 9106 would have more memory, and the keeper is to stay small: so more passes, as OWASP weighs the
/// two.
const COST: Cost = Cost {
    kibibytes: 4 << 10,
    passes: 10,
};
/// The longest file, in bytes.
pub(super) const MAX_FILE: usize = 256 << 10;
const SALT: usize = 16;

/// An account as its file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sealed {
    /// The form of this file.
    version: u32,
    pub account: Account,
    cost: Cost,
    /// In Base64, as what follows.
    salt: String,
    nonce: String,
    secrets: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    kibibytes: u32,
    passes: u32,
}

/// What an account is locked with: the password's, for one salt.
#[derive(Clone)]
pub(crate) struct Key {
    bytes: Zeroizing<[u8; 32]>,
    salt: [u8; SALT],
    cost: Cost,
}

/// The password is another, or the file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Locked;

/// The system gave no random bytes, or no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoSeal;

impl Key {
    /// A new one for a password.
    ///
    /// # Errors
    /// See [`NoSeal`].
    pub(crate) fn new(password: &Secret) -> Result<Key, NoSeal> {
        let mut salt = [0; SALT];
        rand::fill(&mut salt).map_err(|_| NoSeal)?;
        Key::derive(password, salt, COST).ok_or(NoSeal)
    }

    fn derive(password: &Secret, salt: [u8; SALT], cost: Cost) -> Option<Key> {
        let params = Params::new(cost.kibibytes, cost.passes, 1, Some(32)).ok()?;
        let mut bytes = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password.reveal().as_bytes(), &salt, bytes.as_mut_slice())
            .ok()?;
        Some(Key { bytes, salt, cost })
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, self.bytes.as_slice()).ok()?;
        Some(LessSafeKey::new(key))
    }
}

impl Sealed {
    /// Locks an account.
    ///
    /// # Errors
    /// See [`NoSeal`].
    pub(crate) fn seal(account: Account, secrets: &Secrets, key: &Key) -> Result<Sealed, NoSeal> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| NoSeal)?;
        let mut sealed = Sealed {
            version: 1,
            account,
            cost: key.cost,
            salt: base64::encode(&key.salt),
            nonce: base64::encode(&nonce),
            secrets: String::new(),
        };
        let mut text = secrets.write().ok_or(NoSeal)?;
        let bound = sealed.bound().ok_or(NoSeal)?;
        let cipher = key.cipher().ok_or(NoSeal)?;
        text.reserve_exact(AES_256_GCM.tag_len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        cipher
            .seal_in_place_append_tag(nonce, Aad::from(bound), &mut *text)
            .map_err(|_| NoSeal)?;
        sealed.secrets = base64::encode(&text);
        Ok(sealed)
    }

    /// The key that the password makes for this file, whether or not it opens it.
    ///
    /// # Errors
    /// See [`NoSeal`].
    pub(crate) fn key(&self, password: &Secret) -> Result<Key, NoSeal> {
        let salt = base64::decode(self.salt.as_bytes()).ok_or(NoSeal)?;
        let salt = salt.as_slice().try_into().map_err(|_| NoSeal)?;
        Key::derive(password, salt, self.cost).ok_or(NoSeal)
    }

    /// The secrets.
    ///
    /// # Errors
    /// See [`Locked`].
    pub(crate) fn open(&self, key: &Key) -> Result<Secrets, Locked> {
        let mut bytes = Zeroizing::new(base64::decode(self.secrets.as_bytes()).ok_or(Locked)?);
        let nonce = base64::decode(self.nonce.as_bytes()).ok_or(Locked)?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| Locked)?;
        let bound = Aad::from(self.bound().ok_or(Locked)?);
        let cipher = key.cipher().ok_or(Locked)?;
        let text = cipher
            .open_in_place(nonce, bound, &mut bytes)
            .map_err(|_| Locked)?;
        Secrets::read(text).ok_or(Locked)
    }

    /// As its file has it.
    pub(super) fn write(&self) -> Option<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self).ok()?;
        text.push(b'\n');
        Some(text)
    }

    /// From a file; `None`: it is none that adit wrote, or it would cost too much to open.
    pub(super) fn read(text: &[u8]) -> Option<Sealed> {
        let sealed: Sealed = serde_json::from_slice(text).ok()?;
        let fits = text.len() <= MAX_FILE
            && sealed.version == 1
            && base64::decode(sealed.salt.as_bytes()).is_some_and(|salt| salt.len() == SALT)
            && (8..=16 << 10).contains(&sealed.cost.kibibytes)
            && (1..=64).contains(&sealed.cost.passes);
        fits.then_some(sealed)
    }

    /// What is not secret, and must not be changed.
    fn bound(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&(self.version, &self.account, &self.cost, &self.salt)).ok()
    }
}

/// Of fuzz/: what is read of a file is written again as the same; with the wrong key it opens to nothing.
#[cfg(fuzzing)]
#[expect(clippy::expect_used, reason = "that is how libFuzzer learns of it")]
pub(crate) fn fuzz(text: &[u8]) {
    let Some(sealed) = Sealed::read(text) else {
        return;
    };
    let again = sealed.write().expect("written");
    assert!(again.len() > MAX_FILE || Sealed::read(&again) == Some(sealed.clone()));
    let key = Key {
        bytes: Zeroizing::new([7; 32]),
        salt: [0; SALT],
        cost: COST,
    };
    assert!(sealed.open(&key).is_err());
}

/// An account of tests.
#[cfg(test)]
pub(crate) fn example() -> Account {
    Account {
        name: "you@example.com".to_owned(),
        user: "you@example.com".to_owned(),
        provider: "other".to_owned(),
        grant: super::account::Grant::RefreshToken,
        token_url: "https://login.example/token".to_owned(),
        client_id: "id".to_owned(),
        scope: "mail".to_owned(),
        authorities: None,
        since: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::example as account;
    use super::*;

    fn secrets() -> Secrets {
        Secrets {
            refresh: Some(Secret::new("1//refresh")),
            client: None,
        }
    }

    #[test]
    fn the_right_password_opens_and_no_other_does() {
        let password = Secret::new("hunter2");
        let key = Key::new(&password).unwrap();
        let sealed = Sealed::seal(account(), &secrets(), &key).unwrap();
        let text = sealed.write().unwrap();
        let shown = String::from_utf8(text.clone()).unwrap() + &format!("{sealed:?}");
        assert!(!shown.contains("1//refresh") && !shown.contains("hunter2"));
        let read = Sealed::read(&text).unwrap();
        assert_eq!(read, sealed);
        let same = read.key(&password).unwrap();
        assert_eq!(read.open(&same), Ok(secrets()));
        let other = read.key(&Secret::new("hunter3")).unwrap();
        assert_eq!(read.open(&other), Err(Locked));
    }

    #[test]
    fn a_file_whose_token_server_was_changed_does_not_open() {
        let key = Key::new(&Secret::new("hunter2")).unwrap();
        let mut sealed = Sealed::seal(account(), &secrets(), &key).unwrap();
        assert!(sealed.open(&key).is_ok());
        sealed.account.token_url = "https://evil.example/token".to_owned();
        assert_eq!(sealed.open(&key), Err(Locked));
    }

    #[test]
    fn what_is_no_such_file_is_refused_and_nothing_costs_too_much() {
        let key = Key::new(&Secret::new("x")).unwrap();
        let text = Sealed::seal(account(), &secrets(), &key)
            .unwrap()
            .write()
            .unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(Sealed::read(text.as_bytes()).is_some());
        for (from, to) in [
            ("\"version\": 1", "\"version\": 2"),
            ("\"kibibytes\": 4096", "\"kibibytes\": 4000000"),
            ("\"passes\": 10", "\"passes\": 4000000"),
            ("\"passes\": 10", "\"passes\": 0"),
            ("\"scope\"", "\"scopes\""),
            ("\"salt\": \"", "\"salt\": \"0000"),
        ] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text, "{from}");
            assert_eq!(Sealed::read(broken.as_bytes()), None, "{to}");
        }
    }
}
