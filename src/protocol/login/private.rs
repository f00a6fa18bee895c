//! What a program says to log in: wiped once it is gone. Never in here: a way to show it.

use std::fmt;
use std::ops::Deref;

use zeroize::Zeroizing;

use crate::config::Secret;

/// Bytes of a login. They are not text: old programs write names and passwords in the characters of their country.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Private(Zeroizing<Vec<u8>>);

impl Private {
    /// The pieces, one behind the other.
    pub(super) fn of(pieces: &[&[u8]]) -> Private {
        // Made at once: a buffer that grows leaves copies behind.
        let whole = pieces.iter().map(|piece| piece.len()).sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(whole));
        pieces
            .iter()
            .for_each(|piece| bytes.extend_from_slice(piece));
        Private(bytes)
    }
}

impl From<Vec<u8>> for Private {
    fn from(bytes: Vec<u8>) -> Private {
        Private(Zeroizing::new(bytes))
    }
}

impl From<String> for Private {
    fn from(text: String) -> Private {
        text.into_bytes().into()
    }
}

impl Deref for Private {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// A name and its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) name: Private,
    pub(super) password: Private,
    /// Whose mailbox it is, if not the name's own (RFC 4616, authzid).
    pub(super) acts_for: Option<Private>,
}

impl Credentials {
    /// `None`: there is no name, or a byte that could end a line or a word of a login.
    pub(super) fn new(name: Private, password: Private) -> Option<Credentials> {
        let fits = |words: &Private| !words.iter().any(|byte| b"\0\r\n".contains(byte));
        let good = !name.is_empty() && fits(&name) && fits(&password);
        good.then_some(Credentials {
            name,
            password,
            acts_for: None,
        })
    }

    /// What RFC 4616 has as one message.
    pub(super) fn of_plain(message: &[u8]) -> Option<Credentials> {
        let mut parts = message.splitn(3, |&byte| byte == 0);
        let [acts_for, name, password] = [parts.next()?, parts.next()?, parts.next()?];
        let all = Credentials::new(Private::of(&[name]), Private::of(&[password]))?;
        let other = !acts_for.is_empty() && acts_for != name;
        if other && acts_for.iter().any(|byte| b"\r\n".contains(byte)) {
            return None;
        }
        Some(Credentials {
            acts_for: other.then(|| Private::of(&[acts_for])),
            ..all
        })
    }

    /// The account of the configuration.
    pub(super) fn of_account(name: &str, password: &Secret) -> Option<Credentials> {
        let password = Private::of(&[password.reveal().as_bytes()]);
        Credentials::new(Private::of(&[name.as_bytes()]), password)
    }

    /// Whether both are ASCII that can be seen: then every normalization leaves them as they are.
    pub(super) fn is_simple(&self) -> bool {
        let mut all = self.name.iter().chain(self.password.iter());
        all.all(|byte| matches!(byte, b' '..=b'~'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_taken_apart_as_rfc_4616_says() {
        let (name, password) = (Private::of(&[b"anna"]), Private::of(&[b"a b\xe4"]));
        let own = Credentials::new(name, password).unwrap();
        for message in [&b"\0anna\0a b\xe4"[..], b"anna\0anna\0a b\xe4"] {
            assert_eq!(Credentials::of_plain(message).unwrap(), own);
        }
        let other = Credentials::of_plain(b"info\0anna\0a b\xe4").unwrap();
        assert_eq!(other.acts_for, Some(Private::of(&[b"info"])));
        for bad in [
            &b""[..],
            b"\0anna",
            b"\0\0secret",
            b"\0anna\0a\0b",
            b"\0anna\0a\r\nQUIT",
            b"\0an\nna\0a",
            b"in\nfo\0anna\0a",
        ] {
            assert_eq!(Credentials::of_plain(bad), None);
        }
        assert_eq!(format!("{:?}", own.password), "...");
    }
}
