//! How sessions are resumed: `sessionResume`, `sessionCacheSize`, `sessionCacheTimeout`, `ticketKeySecret`,
//! `ticketMacSecret`. Never in here: a secret in a message.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::{Zeroize, Zeroizing};

use super::checks::Faults;
use super::diagnostic::Severity;
use super::option::{Fault, number, yes_no};
use super::service::{Draft, Service};

/// The longest that a session may be resumed, in seconds: a week (RFC 8446, section 4.6.1).
pub(crate) const LONGEST: u32 = 7 * 24 * 3600;

/// A secret that the configuration gives. Its copies are one, so that a process which must not know it
/// forgets them all.
#[derive(Clone)]
pub(crate) struct Secret(Arc<Mutex<Zeroizing<Vec<u8>>>>);

impl Secret {
    fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(bytes)))
    }

    /// What it is; empty once it was forgotten.
    pub(crate) fn reveal(&self) -> Zeroizing<Vec<u8>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Forgets it, with all its copies.
    fn forget(&self) {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.zeroize();
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.reveal() == other.reveal()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    /// Shows nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How the sessions of an end are resumed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SessionOptions {
    /// `sessionResume = no`
    pub none: bool,
    /// For how long, in seconds, at most [`LONGEST`]; `None`: as long as the keys for tickets last.
    pub lifetime: Option<u32>,
    /// How many are kept by their identifier; `None`, and 0: as many as fit.
    pub cache_size: Option<u32>,
    /// Keys for tickets, which other machines have too: one for secrecy, one against forgery.
    pub ticket_key: Option<Secret>,
    pub ticket_mac: Option<Secret>,
}

impl SessionOptions {
    /// What the keys for tickets are made from; `None`: that is drawn.
    pub(crate) fn ticket_secrets(&self) -> Option<[Zeroizing<Vec<u8>>; 2]> {
        let (key, mac) = self.ticket_key.as_ref().zip(self.ticket_mac.as_ref())?;
        Some([key.reveal(), mac.reveal()])
    }

    /// Forgets the secrets, in a process that must not know them.
    pub(crate) fn forget(&self) {
        let both = [&self.ticket_key, &self.ticket_mac];
        both.into_iter().flatten().for_each(Secret::forget);
    }
}

pub(super) fn set_resume(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.tls.sessions.none = !yes_no(value)?;
    Ok(())
}

pub(super) fn set_cache_size(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let size = number(value, 0..=u32::MAX);
    draft.service.tls.sessions.cache_size = Some(size.map_err(|fault| Fault {
        text: format!("Illegal session cache size: {}", fault.text),
        ..fault
    })?);
    Ok(())
}

pub(super) fn set_lifetime(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let seconds = number(value, 0..=u32::MAX).map_err(|fault| Fault {
        text: format!("Illegal session cache timeout: {}", fault.text),
        ..fault
    })?;
    draft.service.tls.sessions.lifetime = Some(seconds.min(LONGEST));
    match seconds > LONGEST {
        true => Err(Fault::note(format!(
            "a session is resumed for {LONGEST} seconds at most, a week (RFC 8446)"
        ))),
        false => Ok(()),
    }
}

pub(super) fn set_ticket_key(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.tls.sessions.ticket_key = Some(secret("ticketKeySecret", value)?);
    Ok(())
}

pub(super) fn set_ticket_mac(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.tls.sessions.ticket_mac = Some(secret("ticketMacSecret", value)?);
    Ok(())
}

/// Reads a secret, as OPENSSL_hexstr2buf(3) does: pairs of digits, with colons between them or not.
fn secret(name: &str, value: &str) -> Result<Secret, Fault> {
    let help = "`openssl rand -hex 32` makes one";
    let mut bytes = Zeroizing::new(Vec::with_capacity(32));
    for pairs in value.split(':') {
        let (pairs, odd) = pairs.as_bytes().as_chunks();
        for pair in pairs {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            match pair.map(digit) {
                // Two digits of 4 bits each.
                [Some(high), Some(low)] if odd.is_empty() => bytes.push((high << 4 | low) as u8),
                _ => {
                    let text = format!("Required {name} is 16 or 32 byte hexadecimal key");
                    return Err(Fault::new(text).help(help));
                }
            }
        }
        if !odd.is_empty() {
            let text = format!("Required {name} is 16 or 32 byte hexadecimal key");
            return Err(Fault::new(text).help(help));
        }
    }
    match bytes.len() {
        16 | 32 => Ok(Secret::new(bytes)),
        length => {
            let text =
                format!("{name} value has {length} bytes instead of required 16 or 32 bytes");
            Err(Fault::new(text).help(help))
        }
    }
}

/// What the options come to for the service as a whole; `own` are those of the section itself.
pub(super) fn limit(service: &mut Service, own: impl Fn(&str) -> bool, faults: &mut Faults) {
    let sessions = &service.tls.sessions;
    let secrets = [
        ("ticketKeySecret", sessions.ticket_key.is_some()),
        ("ticketMacSecret", sessions.ticket_mac.is_some()),
    ];
    let given: Vec<&'static str> = secrets
        .into_iter()
        .filter(|(_, given)| *given)
        .map(|(name, _)| name)
        .collect();
    if let Some(accept) = service.accept_tls.as_deref_mut() {
        accept.tls.sessions = service.tls.sessions.clone();
    } else if service.client {
        let note = |name: &'static str, text: &str, faults: &mut Faults| {
            if own(name) {
                let help = "sessions are kept, and tickets made, by servers";
                faults.push(Severity::Note, name, text, help);
            }
        };
        for name in given {
            let text = format!("{name} is ignored in the client mode");
            note(name, &text, faults);
        }
        for name in ["sessionCacheSize", "sessionCacheTimeout"] {
            let text = format!("`{name}` has no effect in client mode");
            note(name, &text, faults);
        }
        return;
    }
    if let [one] = given[..] {
        faults.error(
            one,
            "\"ticketKeySecret\" and \"ticketMacSecret\" must be set together",
            "`openssl rand -hex 32` makes the other one",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_16_or_32_bytes_in_hexadecimal() {
        let plain = "000102030405060708090a0B0c0D0e0f";
        let colons = "00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f";
        let read = |text: &str| secret("ticketKeySecret", text);
        let bytes: Vec<u8> = (0..16).collect();
        for text in [plain, colons, "00010203:0405060708090a0b0c0d0e0f"] {
            assert_eq!(*read(text).unwrap().reveal(), bytes, "{text}");
        }
        assert_eq!(read(&plain.repeat(2)).unwrap().reveal().len(), 32);
        for (text, expected) in [
            ("", "has 0 bytes instead of required 16 or 32 bytes"),
            ("00", "ticketKeySecret value has 1 bytes instead of"),
            (&plain.repeat(3), "has 48 bytes"),
            ("0", "Required ticketKeySecret is 16 or 32 byte"),
            ("zz", "Required ticketKeySecret"),
            ("0:0", "Required ticketKeySecret"),
            ("0 1", "Required ticketKeySecret"),
            ("\u{e9}", "Required ticketKeySecret"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.text.contains(expected), "{text}: {}", fault.text);
        }
    }

    #[test]
    fn a_secret_is_never_shown_and_is_forgotten_with_its_copies() {
        let one = secret("ticketKeySecret", &"ab".repeat(16)).unwrap();
        let copy = one.clone();
        assert_eq!(format!("{one:?}"), "Secret");
        assert_eq!(one, copy);
        copy.forget();
        assert!(one.reveal().is_empty());
    }
}
