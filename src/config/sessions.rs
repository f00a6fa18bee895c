//! How sessions are resumed: `sessionResume`, `sessionCacheSize`, `sessionCacheTimeout`, `ticketKeySecret`,
//! `ticketMacSecret`. Never in here: a secret in a message.

use zeroize::Zeroizing;

use crate::hexadecimal;

use super::checks::Faults;
use super::diagnostic::Severity;
use super::option::{Fault, number, yes_no};
use super::secret::{Forgotten, Held};
use super::service::{Draft, Service};

/// The longest that a session may be resumed, in seconds: a week (RFC 8446, section 4.6.1).
pub(crate) const LONGEST: u32 = 7 * 24 * 3600;

/// How the sessions of an end are resumed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SessionOptions {
    /// `sessionResume = no`
    pub none: bool,
    /// For how long, in seconds, at most [`LONGEST`]; `None`: as long as the keys for tickets last.
    pub lifetime: Option<u32>,
    /// How many are kept by their identifier; `None`, and 0: as many as fit.
    pub cache_size: Option<u32>,
    /// What the keys for tickets are made from, both together; other machines have them too.
    pub ticket_key: Option<Held<Zeroizing<Vec<u8>>>>,
    pub ticket_mac: Option<Held<Zeroizing<Vec<u8>>>>,
}

impl SessionOptions {
    /// What the keys for tickets are made from; `None`: that is drawn.
    ///
    /// # Errors
    /// It was forgotten.
    pub(crate) fn ticket_secrets(&self) -> Result<Option<[Zeroizing<Vec<u8>>; 2]>, Forgotten> {
        let Some((key, mac)) = self.ticket_key.as_ref().zip(self.ticket_mac.as_ref()) else {
            return Ok(None);
        };
        Ok(Some([key.reveal()?, mac.reveal()?]))
    }

    /// Forgets the secrets, in a process that must not know them.
    pub(crate) fn forget(&self) {
        let both = [&self.ticket_key, &self.ticket_mac];
        both.into_iter().flatten().for_each(Held::forget);
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
fn secret(name: &str, value: &str) -> Result<Held<Zeroizing<Vec<u8>>>, Fault> {
    let help = "`openssl rand -hex 32` makes one";
    let Some(bytes) = hexadecimal::decode_with_colons(value.as_bytes()) else {
        let text = format!("Required {name} is 16 or 32 byte hexadecimal key");
        return Err(Fault::new(text).help(help));
    };
    match bytes.len() {
        16 | 32 => Ok(Held::new(bytes)),
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
    without_use(service, &own, faults);
    // A secondary service has its primary's, which is told already.
    if let [one] = given[..]
        && (service.virtual_host.is_none() || own(one))
    {
        faults.error(
            one,
            "\"ticketKeySecret\" and \"ticketMacSecret\" must be set together",
            "`openssl rand -hex 32` makes the other one",
        );
    }
}

/// Notes what has no effect where sessions, or their tickets, are switched off.
fn without_use(service: &Service, own: &impl Fn(&str) -> bool, faults: &mut Faults) {
    let Some(tls) = service.accepted_tls() else {
        return;
    };
    let secrets = ["ticketKeySecret", "ticketMacSecret"];
    let all = [["sessionCacheSize", "sessionCacheTimeout"], secrets];
    let (options, why, help): (&[[&'static str; 2]], _, _) =
        match (tls.sessions.none, tls.no_ticket) {
            (true, _) => (
                &all,
                "`sessionResume = no` resumes no session",
                "leave it out, or `sessionResume`",
            ),
            (false, true) => (
                &[secrets],
                "`NO_TICKET` makes no tickets",
                "leave it out, or have tickets by `options = -NO_TICKET`",
            ),
            (false, false) => return,
        };
    for option in options.iter().flatten().filter(|option| own(option)) {
        let text = format!("`{option}` has no effect: {why}");
        faults.push(Severity::Note, option, &text, help);
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
            assert_eq!(*read(text).unwrap().reveal().unwrap(), bytes, "{text}");
        }
        let long = read(&plain.repeat(2)).unwrap().reveal().unwrap();
        assert_eq!(long.len(), 32);
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
    fn what_was_forgotten_is_never_a_secret() {
        let secret = || secret("ticketKeySecret", &"ab".repeat(16)).ok();
        let sessions = SessionOptions {
            ticket_key: secret(),
            ticket_mac: secret(),
            ..SessionOptions::default()
        };
        assert!(sessions.ticket_secrets().unwrap().is_some());
        sessions.forget();
        assert_eq!(sessions.ticket_secrets(), Err(Forgotten));
        assert_eq!(SessionOptions::default().ticket_secrets(), Ok(None));
    }
}
