//! Secrets of the configuration. No log and no message may show one, and a process forgets those of services that it
//! does not serve.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

/// A text that is wiped once it is gone.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::hash::Hash for Secret {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// A secret that a process can forget. Each copy is forgotten by itself, since a process goes on knowing those of
/// the services that it serves, even where all have theirs from one line. `None`: forgotten.
pub(crate) struct Held<T>(Mutex<Option<T>>);

/// A secret is asked for in a process that has forgotten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forgotten;

impl<T: Clone> Held<T> {
    pub(super) fn new(secret: T) -> Self {
        Self(Mutex::new(Some(secret)))
    }

    /// A copy of it.
    ///
    /// # Errors
    /// It was forgotten.
    pub(super) fn reveal(&self) -> Result<T, Forgotten> {
        let secret = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secret.clone().ok_or(Forgotten)
    }

    /// Wipes this copy.
    pub(super) fn forget(&self) {
        let mut secret = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *secret = None;
    }
}

impl From<Secret> for Held<Secret> {
    fn from(secret: Secret) -> Self {
        Self::new(secret)
    }
}

impl<T: Clone> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.reveal().ok()))
    }
}

impl<T: Clone + PartialEq> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.reveal() == other.reveal()
    }
}

impl<T: Clone + Eq> Eq for Held<T> {}

impl<T> fmt::Debug for Held<T> {
    /// Shows nothing, not even whether it is forgotten.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown_and_is_forgotten_without_its_copies() {
        let one = Held::new(Secret::new("hunter2"));
        let copy = one.clone();
        assert_eq!(format!("{one:?} {:?}", one.reveal()), "Secret Ok(...)");
        assert_eq!(one, copy);
        copy.forget();
        assert_eq!(copy.reveal(), Err(Forgotten));
        assert_eq!(format!("{copy:?}"), "Secret");
        assert_eq!(one.reveal().unwrap().reveal(), "hunter2");
    }
}
