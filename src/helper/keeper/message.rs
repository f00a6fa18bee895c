//! What goes over a client's socket: one message a packet, integers little endian. Both sides check all of it.
//!
//! ```text
//! question  id u64 | length of account u16 | account | length of password u16 | password
//!                  | client's address as IPv6, 16 bytes, 0 without one | nothing, or digest
//! answer    id u64 | 0 u8 | length of user u16 | user | access token
//!                  | 1 u8 or 2 u8
//!                  | 3 u8 or 4 u8 | words
//! ```

use std::net::{IpAddr, Ipv6Addr};

use super::question::{
    MAX_ACCOUNT, MAX_PASSWORD, MAX_TOKEN, Question, Token, TokenAnswer, TokenDigest,
};
use crate::config::Secret;
use crate::helper::asker::Answer;

/// Longest words, in bytes; longer ones are cut.
const MAX_WORDS: usize = 512;
/// Longest question as a packet, and one more byte, so that one that was cut shows.
pub(super) const MAX_QUESTION: usize = 8 + 2 + MAX_ACCOUNT + 2 + MAX_PASSWORD + 16 + 32 + 1;

/// Whether it may be asked at all. What is longer is no account that `adit login` makes.
pub(super) fn may_ask(account: &str, password: &str) -> bool {
    (1..=MAX_ACCOUNT).contains(&account.len()) && password.len() <= MAX_PASSWORD
}

/// As a packet. Account and password must satisfy [`may_ask`].
pub(super) fn encode(id: u64, question: &Question) -> Vec<u8> {
    // At once as long as it gets: what grows leaves copies behind.
    let mut packet = Vec::with_capacity(MAX_QUESTION);
    packet.extend(id.to_le_bytes());
    put(&mut packet, &question.account);
    put(&mut packet, question.password.reveal());
    let client = match question.client {
        Some(IpAddr::V4(client)) => client.to_ipv6_mapped(),
        Some(IpAddr::V6(client)) => client,
        None => Ipv6Addr::UNSPECIFIED,
    };
    packet.extend(client.octets());
    packet.extend(question.refused.iter().flat_map(|digest| digest.0));
    packet
}

/// From a packet; `None` if it is not one.
pub(super) fn decode(packet: &[u8]) -> Option<(u64, Question)> {
    let (id, rest) = packet.split_first_chunk()?;
    let (account, rest) = take(rest)?;
    let (password, rest) = take(rest)?;
    let (client, rest) = rest.split_first_chunk::<16>()?;
    let client = Some(Ipv6Addr::from(*client)).filter(|client| !client.is_unspecified());
    let refused = match rest {
        [] => None,
        digest => Some(TokenDigest(digest.try_into().ok()?)),
    };
    may_ask(account, password).then(|| {
        let question = Question {
            account: account.to_owned(),
            password: Secret::new(password),
            client: client.map(|client| IpAddr::V6(client).to_canonical()),
            refused,
        };
        (u64::from_le_bytes(*id), question)
    })
}

fn put(packet: &mut Vec<u8>, text: &str) {
    packet.extend(u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
    packet.extend(text.as_bytes());
}

fn take(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

impl Answer for TokenAnswer {
    const MAX_PACKET: usize = 8 + 1 + 2 + MAX_ACCOUNT + MAX_TOKEN + 1;
    const SECRET: bool = true;

    fn encode(&self, id: u64) -> Vec<u8> {
        let (kind, words) = match self {
            TokenAnswer::Granted(token) => return granted(id, token),
            TokenAnswer::WrongPassword => (1, ""),
            TokenAnswer::NotSignedIn => (2, ""),
            TokenAnswer::SignInAgain(words) => (3, words.as_str()),
            TokenAnswer::Away(words) => (4, words.as_str()),
        };
        let words = &words.as_bytes()[..words.floor_char_boundary(MAX_WORDS)];
        [&id.to_le_bytes(), &[kind][..], words].concat()
    }

    fn decode(packet: &[u8]) -> Option<(u64, Self)> {
        let (id, rest) = packet.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let words = || {
            let words = std::str::from_utf8(rest).ok()?;
            (words.len() <= MAX_WORDS).then(|| words.to_owned())
        };
        let answer = match kind {
            0 => {
                let (user, access) = take(rest)?;
                let access = std::str::from_utf8(access).ok()?;
                let fits = user.len() <= MAX_ACCOUNT && (1..=MAX_TOKEN).contains(&access.len());
                TokenAnswer::Granted(fits.then(|| Token {
                    user: user.to_owned(),
                    access: Secret::new(access),
                })?)
            }
            1 if rest.is_empty() => TokenAnswer::WrongPassword,
            2 if rest.is_empty() => TokenAnswer::NotSignedIn,
            3 => TokenAnswer::SignInAgain(words()?),
            4 => TokenAnswer::Away(words()?),
            _ => return None,
        };
        Some((u64::from_le_bytes(*id), answer))
    }
}

fn granted(id: u64, token: &Token) -> Vec<u8> {
    let access = token.access.reveal();
    let mut packet = Vec::with_capacity(8 + 1 + 2 + token.user.len() + access.len());
    packet.extend(id.to_le_bytes());
    packet.push(0);
    put(&mut packet, &token.user);
    packet.extend(access.as_bytes());
    packet
}

/// Of fuzz/: what is read of a packet is written again as the same.
#[cfg(fuzzing)]
pub(crate) fn fuzz(packet: &[u8]) {
    if let Some((id, question)) = decode(packet) {
        assert_eq!(encode(id, &question), packet);
    }
    if let Some((id, answer)) = TokenAnswer::decode(packet) {
        assert_eq!(answer.encode(id), packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(user: &str, access: &str) -> Token {
        Token {
            user: user.to_owned(),
            access: Secret::new(access),
        }
    }

    #[test]
    fn what_is_said_is_heard() {
        let digest = token("", "ya29").digest();
        for (account, password, client, refused) in [
            ("you@example.com", "hunter2", None, None),
            ("\u{fc}", "", "192.0.2.7".parse().ok(), Some(digest)),
            (
                &"a".repeat(MAX_ACCOUNT),
                &"p".repeat(MAX_PASSWORD),
                "2001:db8::1".parse().ok(),
                Some(digest),
            ),
        ] {
            let question = Question {
                account: account.to_owned(),
                password: Secret::new(password),
                client,
                refused,
            };
            let packet = encode(7, &question);
            assert!(packet.len() < MAX_QUESTION);
            assert_eq!(decode(&packet), Some((7, question)));
        }
        let longest = token(&"u".repeat(MAX_ACCOUNT), &"t".repeat(MAX_TOKEN));
        for answer in [
            TokenAnswer::Granted(token("you@example.com", "ya29")),
            TokenAnswer::Granted(longest),
            TokenAnswer::WrongPassword,
            TokenAnswer::NotSignedIn,
            TokenAnswer::SignInAgain("invalid_grant".to_owned()),
            TokenAnswer::Away(String::new()),
        ] {
            let packet = answer.encode(u64::MAX);
            assert!(packet.len() < TokenAnswer::MAX_PACKET);
            assert_eq!(TokenAnswer::decode(&packet), Some((u64::MAX, answer)));
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let question = Question {
            account: "you".to_owned(),
            password: Secret::new("hunter2"),
            client: None,
            refused: None,
        };
        let shown = format!(
            "{question:?} {:?}",
            TokenAnswer::Granted(token("you", "ya29"))
        );
        assert!(
            !shown.contains("hunter2") && !shown.contains("ya29"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_too_long_is_cut_and_nonsense_is_refused() {
        let long = TokenAnswer::Away("\u{e4}".repeat(MAX_WORDS));
        assert!(TokenAnswer::decode(&long.encode(1)).is_some());
        for packet in [
            &b""[..],
            &[0; 8],
            &[0; 9],
            // A user, and no token.
            &[0; 11],
            &[1; 10],
            &[5; 9],
            &[[3; 9].as_slice(), &[0xff]].concat(),
        ] {
            assert_eq!(TokenAnswer::decode(packet), None, "{packet:?}");
        }
        for packet in [
            &b""[..],
            &[0; 12],
            &[[0; 8].as_slice(), b"\x01\0a\0\0", &[0; 15]].concat(),
            &[[0; 8].as_slice(), b"\x01\0a\0\0", &[0; 16 + 31]].concat(),
            &[[0; 8].as_slice(), b"\x01\0\xff\0\0"].concat(),
            &[[0; 8].as_slice(), b"\x02\0a\0\0"].concat(),
        ] {
            assert_eq!(decode(packet), None, "{packet:?}");
        }
    }
}
