//! The messages of NTLM (MS-NLMP) that a client needs to log in: version 2 of the answer alone. Never in here: a
//! password, or what is made of one, that outlives its use; DES.

use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use zeroize::Zeroizing;

use super::Fresh;

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";

/// What is negotiated (MS-NLMP, section 2.2.2.5).
mod flags {
    pub(super) const UNICODE: u32 = 1;
    pub(super) const OEM: u32 = 2;
    pub(super) const REQUEST_TARGET: u32 = 4;
    pub(super) const NTLM: u32 = 0x200;
    pub(super) const ALWAYS_SIGN: u32 = 0x8000;
    pub(super) const EXTENDED_SESSION_SECURITY: u32 = 0x8_0000;
    pub(super) const TARGET_INFO: u32 = 0x80_0000;

    /// What we ask for.
    pub(super) const OURS: u32 =
        UNICODE | OEM | REQUEST_TARGET | NTLM | ALWAYS_SIGN | EXTENDED_SESSION_SECURITY;
}

/// Where the contents of AUTHENTICATE begin.
const HEADER: usize = 64;
/// The longest list of what a server tells about itself: names and a time.
const TARGET_INFO_MAX: usize = 4096;
/// Ends that list, and the time of the server in it.
const AV_END: u16 = 0;
const AV_TIMESTAMP: u16 = 7;

/// Whose login it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) domain: &'a str,
    pub(super) name: &'a str,
    pub(super) password: &'a str,
}

/// What a server sends is no CHALLENGE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The first message.
pub(super) fn negotiate() -> Vec<u8> {
    let mut message = SIGNATURE.to_vec();
    message.extend_from_slice(&1_u32.to_le_bytes());
    message.extend_from_slice(&flags::OURS.to_le_bytes());
    // No domain, no workstation.
    message.extend_from_slice(&[0; 16]);
    message
}

/// The answer to a challenge.
///
/// # Errors
/// It is none.
pub(super) fn authenticate(
    challenge: &[u8],
    account: Account<'_>,
    fresh: Fresh,
) -> Result<Vec<u8>, Malformed> {
    let challenge = Challenge::read(challenge)?;
    let key = key(account);
    let (lm, nt) = answers(&*key, &challenge, fresh);
    let ascii = account.domain.is_ascii() && account.name.is_ascii();
    let unicode = challenge.flags & flags::UNICODE != 0 || !ascii;
    let text = |text: &str| match unicode {
        true => utf_16(text).to_vec(),
        false => text.as_bytes().to_vec(),
    };
    let both = flags::OURS | flags::TARGET_INFO;
    let charset = if unicode { flags::UNICODE } else { flags::OEM };
    let agreed = challenge.flags & both & !(flags::UNICODE | flags::OEM) | charset | flags::NTLM;
    let contents = [
        lm.to_vec(),
        nt,
        text(account.domain),
        text(account.name),
        // No workstation, no key for the session.
        Vec::new(),
        Vec::new(),
    ];
    let mut message = SIGNATURE.to_vec();
    message.extend_from_slice(&3_u32.to_le_bytes());
    let mut offset = HEADER;
    for content in &contents {
        let length = u16::try_from(content.len()).map_err(|_| Malformed)?;
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(&length.to_le_bytes());
        let place = u32::try_from(offset).map_err(|_| Malformed)?;
        message.extend_from_slice(&place.to_le_bytes());
        offset += content.len();
    }
    message.extend_from_slice(&agreed.to_le_bytes());
    message.extend(contents.into_iter().flatten());
    Ok(message)
}

/// A server's CHALLENGE (MS-NLMP, section 2.2.1.2).
#[derive(Debug)]
struct Challenge<'a> {
    flags: u32,
    nonce: &'a [u8],
    /// What the server tells about itself, to its end mark; empty in old ones.
    target: &'a [u8],
    /// The time of the server in it.
    time: Option<&'a [u8]>,
}

impl<'a> Challenge<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let rest = message.strip_prefix(SIGNATURE).ok_or(Malformed)?;
        if rest.get(..4) != Some(&[2, 0, 0, 0]) {
            return Err(Malformed);
        }
        let flags = message.get(20..24).and_then(|bytes| bytes.try_into().ok());
        let flags = u32::from_le_bytes(flags.ok_or(Malformed)?);
        let nonce = message.get(24..32).ok_or(Malformed)?;
        let target = match (flags & flags::TARGET_INFO, message.get(40..48)) {
            (0, _) | (_, None) => &[],
            (_, Some(&[low, high, _, _, a, b, c, d])) => {
                let length = usize::from(u16::from_le_bytes([low, high]));
                let start =
                    usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(|_| Malformed)?;
                let end = start.checked_add(length).ok_or(Malformed)?;
                message.get(start..end).ok_or(Malformed)?
            }
            _ => return Err(Malformed),
        };
        if target.len() > TARGET_INFO_MAX {
            return Err(Malformed);
        }
        Ok(Self {
            flags,
            nonce,
            target,
            time: timestamp(target)?,
        })
    }
}

/// The server's time among what it tells about itself.
fn timestamp(target: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let (mut rest, mut time) = (target, None);
    while let [a, b, c, d, behind @ ..] = rest {
        let kind = u16::from_le_bytes([*a, *b]);
        if kind == AV_END {
            return Ok(time);
        }
        let length = usize::from(u16::from_le_bytes([*c, *d]));
        let (value, next) = behind.split_at_checked(length).ok_or(Malformed)?;
        match (kind, length) {
            (AV_TIMESTAMP, 8) => time = Some(value),
            (AV_TIMESTAMP, _) => return Err(Malformed),
            _ => {}
        }
        rest = next;
    }
    match target.is_empty() {
        true => Ok(None),
        false => Err(Malformed),
    }
}

/// LMv2's answer and NTLMv2's (MS-NLMP, section 3.3.2).
fn answers(key: &[u8], challenge: &Challenge<'_>, fresh: Fresh) -> ([u8; 24], Vec<u8>) {
    let own = fresh.time.to_le_bytes();
    let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
    blob.extend_from_slice(challenge.time.unwrap_or(&own));
    blob.extend_from_slice(&fresh.random);
    blob.extend_from_slice(&[0; 4]);
    blob.extend_from_slice(challenge.target);
    blob.extend_from_slice(&[0; 4]);
    let mut nt = mac(key, &[challenge.nonce, &blob]).to_vec();
    nt.append(&mut blob);
    let mut lm = [0; 24];
    // A server that tells the time wants none of the older.
    if challenge.time.is_none() {
        lm[..16].copy_from_slice(&mac(key, &[challenge.nonce, &fresh.random]));
        lm[16..].copy_from_slice(&fresh.random);
    }
    (lm, nt)
}

/// NTOWFv2: what stands for the password.
fn key(account: Account<'_>) -> Zeroizing<[u8; 16]> {
    let hash = Zeroizing::new(<[u8; 16]>::from(Md4::digest(&*utf_16(account.password))));
    let name: String = account.name.chars().map(upper).collect();
    Zeroizing::new(mac(&*hash, &[&*utf_16(&name), &*utf_16(account.domain)]))
}

/// As Windows does, character by character.
fn upper(char: char) -> char {
    let mut upper = char.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => char,
    }
}

fn utf_16(text: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.encode_utf16().flat_map(u16::to_le_bytes).collect())
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    // Only a key of a fixed length may have a wrong one.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else {
        return [0; 16];
    };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Answers any challenge, within what the proxy's names may take.
#[cfg(fuzzing)]
pub(crate) fn fuzz(challenge: &[u8]) {
    let account = Account {
        domain: "OFFICE",
        name: "user",
        password: "password",
    };
    if let Ok(message) = authenticate(challenge, account, Fresh::default()) {
        assert!(message.len() <= HEADER + 24 + 48 + TARGET_INFO_MAX + 2 * "OFFICEuser".len());
        assert!(message.len() > HEADER + 24 + 44 + "OFFICEuser".len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MS-NLMP, section 4.2.1.
    const ACCOUNT: Account<'static> = Account {
        domain: "Domain",
        name: "User",
        password: "Password",
    };
    const FRESH: Fresh = Fresh {
        random: [0xaa; 8],
        time: 0,
        nonce: [0; 18],
    };

    /// The server's names "Domain" and "Server".
    fn target() -> Vec<u8> {
        let mut list = Vec::new();
        for (kind, name) in [(2_u16, "Domain"), (1, "Server")] {
            list.extend_from_slice(&kind.to_le_bytes());
            list.extend_from_slice(&12_u16.to_le_bytes());
            list.extend_from_slice(&utf_16(name));
        }
        list.extend_from_slice(&[0; 4]);
        list
    }

    fn challenge(flags: u32, target: &[u8]) -> Vec<u8> {
        let mut message = SIGNATURE.to_vec();
        message.extend_from_slice(&[2, 0, 0, 0]);
        message.extend_from_slice(&[0, 0, 0, 0, 48, 0, 0, 0]);
        message.extend_from_slice(&flags.to_le_bytes());
        message.extend_from_slice(&[1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        message.extend_from_slice(&[0; 8]);
        let length = u16::try_from(target.len()).unwrap().to_le_bytes();
        message.extend_from_slice(&[length, length].concat());
        message.extend_from_slice(&48_u32.to_le_bytes());
        message.extend_from_slice(target);
        message
    }

    const MODERN: u32 = flags::UNICODE | flags::NTLM | flags::TARGET_INFO;

    #[test]
    fn answers_are_those_of_the_specification() {
        // Section 4.2.4.1.1.
        assert_eq!(
            *key(ACCOUNT),
            [
                0x0c, 0x86, 0x8a, 0x40, 0x3b, 0xfd, 0x7a, 0x93, 0xa3, 0, 0x1e, 0xf2, 0x2e, 0xf0,
                0x2e, 0x3f
            ]
        );
        let message = authenticate(&challenge(MODERN, &target()), ACCOUNT, FRESH).unwrap();
        // Section 4.2.4.2.1: LMv2.
        let lm = [
            0x86, 0xc3, 0x50, 0x97, 0xac, 0x9c, 0xec, 0x10, 0x25, 0x54, 0x76, 0x4a, 0x57, 0xcc,
            0xcc, 0x19,
        ];
        assert_eq!(message[64..80], lm);
        assert_eq!(message[80..88], [0xaa; 8]);
        // Section 4.2.4.2.2: NTLMv2.
        let nt = [
            0x68, 0xcd, 0x0a, 0xb8, 0x51, 0xe5, 0x1c, 0x96, 0xaa, 0xbc, 0x92, 0x7b, 0xeb, 0xef,
            0x6a, 0x1c,
        ];
        assert_eq!(message[88..104], nt);
        assert!(message.ends_with(&utf_16("DomainUser")));
        // What stands where.
        let nt_length = u16::try_from(16 + 28 + target().len() + 4).unwrap();
        assert_eq!(message[20..22], nt_length.to_le_bytes());
        assert_eq!(message[24..28], 88_u32.to_le_bytes());
    }

    #[test]
    fn a_server_that_tells_the_time_is_answered_with_it() {
        let mut told = vec![7, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        told.extend_from_slice(&target());
        let message = authenticate(&challenge(MODERN, &told), ACCOUNT, FRESH).unwrap();
        assert_eq!(message[64..88], [0; 24]);
        assert_eq!(message[112..120], [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn an_old_server_is_answered_in_its_words_and_by_version_2() {
        let old = challenge(flags::OEM | flags::NTLM, &[]);
        let own = Fresh {
            time: 0x0102,
            ..FRESH
        };
        for length in [32, 40, 48] {
            let message = authenticate(&old[..length], ACCOUNT, own).unwrap();
            assert!(message.ends_with(b"DomainUser"));
            assert_eq!(message[112..114], [2, 1]);
            assert_eq!(message[60..64], (flags::OEM | flags::NTLM).to_le_bytes());
        }
        let name = Account {
            name: "Jürgen",
            ..ACCOUNT
        };
        let message = authenticate(&old, name, FRESH).unwrap();
        assert!(message.ends_with(&utf_16("Jürgen")));
        assert_eq!(message[60] & 3, 1);
    }

    #[test]
    fn what_is_no_challenge_is_refused() {
        let good = challenge(MODERN, &target());
        for length in (0..good.len()).filter(|length| !(32..48).contains(length)) {
            assert_eq!(
                authenticate(&good[..length], ACCOUNT, FRESH),
                Err(Malformed),
                "{length} bytes"
            );
        }
        for (place, byte) in [
            (0, b'n'),
            (8, 3),
            (40, 0xff),
            (44, 0xff),
            (47, 0xff),
            (50, 99),
        ] {
            let mut bad = good.clone();
            bad[place] = byte;
            assert_eq!(
                authenticate(&bad, ACCOUNT, FRESH),
                Err(Malformed),
                "{place}"
            );
        }
        for target in [&[7, 0, 4, 0, 1, 2, 3, 4, 0, 0, 0, 0][..], &[1, 0, 0, 0]] {
            assert_eq!(
                authenticate(&challenge(MODERN, target), ACCOUNT, FRESH),
                Err(Malformed)
            );
        }
        let long = [&[1, 0, 0, 16][..], &[0; 4096], &[0; 4]].concat();
        assert_eq!(
            authenticate(&challenge(MODERN, &long), ACCOUNT, FRESH),
            Err(Malformed)
        );
    }
}
