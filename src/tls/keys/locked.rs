//! Files with a pass phrase: which of those at hand opens one, and what to report if none does.

use std::path::Path;

use pem::Pem;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use zeroize::Zeroizing;

use super::asn1::Elements;
use super::encryption::{PassPhrase, Refusal, Secret, decrypt_pem};
use super::{pkcs12, read, text};
use crate::config::TlsOptions;
use crate::tls::Problem;

/// Pass phrases that were asked for at the program's start. Each is tried with every file, as in
/// stunnel. Wiped on drop.
pub(crate) struct PassPhrases {
    known: Vec<Secret>,
    /// Why the pass phrases were not asked for; a key that stays locked is then a warning, and
    /// otherwise an error.
    unasked: Option<&'static str>,
}

impl PassPhrases {
    /// No pass phrases; a locked key is an error.
    pub(crate) fn none() -> PassPhrases {
        PassPhrases {
            known: Vec::new(),
            unasked: None,
        }
    }

    /// No pass phrases, for this reason: a locked key stays unchecked, with a warning.
    pub(crate) fn unasked(reason: &'static str) -> PassPhrases {
        PassPhrases {
            unasked: Some(reason),
            ..PassPhrases::none()
        }
    }

    /// Adds one.
    pub(crate) fn push(&mut self, phrase: &[u8]) {
        self.known.push(Zeroizing::new(phrase.to_vec()));
    }

    /// Removes the last one.
    pub(crate) fn pop(&mut self) {
        self.known.pop();
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.known.iter().map(|phrase| phrase.as_slice())
    }
}

impl std::fmt::Debug for PassPhrases {
    /// Shows nothing: it is all secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PassPhrases")
    }
}

/// The pass phrases for a service's files: its `keyPasswordFile` first.
pub(super) struct Opener<'a> {
    from_file: Vec<Secret>,
    phrases: &'a PassPhrases,
}

impl<'a> Opener<'a> {
    /// Reads `keyPasswordFile`, with one pass phrase on each line.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn new(
        options: &TlsOptions,
        phrases: &'a PassPhrases,
    ) -> Result<Opener<'a>, Problem> {
        let from_file = match &options.key_password_file {
            None => Vec::new(),
            Some(path) => {
                let text = read("keyPasswordFile", "pass phrase file", path)?;
                let lines = text.split(|byte| *byte == b'\n');
                let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
                let lines = lines.filter(|line| !line.is_empty());
                lines.map(|line| Zeroizing::new(line.to_vec())).collect()
            }
        };
        Ok(Opener { from_file, phrases })
    }

    /// Tries to open something without a pass phrase, then with each.
    pub(super) fn open<T>(
        &self,
        open: impl Fn(PassPhrase<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let from_file = self.from_file.iter().map(|phrase| phrase.as_slice());
        let typed = [&[][..]].into_iter().chain(from_file);
        let typed = typed.chain(self.phrases.iter()).map(PassPhrase::Typed);
        for phrase in [PassPhrase::Absent].into_iter().chain(typed) {
            match open(phrase) {
                Err(Refusal::Locked) => {}
                decided => return decided,
            }
        }
        Err(Refusal::Locked)
    }

    /// The message about a file that could not be opened; `convert` is the OpenSSL command that
    /// converts it.
    pub(super) fn problem(
        &self,
        option: &'static str,
        path: &Path,
        refusal: &Refusal,
        convert: &str,
    ) -> Problem {
        let path = path.display();
        match refusal {
            Refusal::Damaged => Problem::error(option, format!("{path} is damaged")),
            Refusal::Unserved(what) => Problem::error(
                option,
                format!("{path} is encrypted by {what}, which adit does not support: {convert}"),
            ),
            Refusal::UnservedMac(what) => Problem::error(
                option,
                format!("{path} is protected by {what}, which adit does not support: {convert}"),
            ),
            Refusal::Locked => match self.phrases.unasked {
                None => Problem::error(
                    option,
                    format!(
                        "{path} is encrypted, and no pass phrase at hand opens it: start adit on a terminal, \
                         where it asks for one, or put it into a file and name that in keyPasswordFile"
                    ),
                ),
                Some(reason) => Problem::warning(
                    option,
                    format!("{path} is encrypted: the key in it was not checked, because {reason}"),
                ),
            },
        }
    }
}

/// An encrypted private key of a PEM file.
pub(super) struct LockedPem(Pem);

impl LockedPem {
    /// The first one in these bytes, if any.
    pub(super) fn find(bytes: &[u8]) -> Option<LockedPem> {
        let locked = |pem: &Pem| {
            pem.tag() == "ENCRYPTED PRIVATE KEY" || pem.headers().get("DEK-Info").is_some()
        };
        pem::parse_many(text::unmarked(bytes))
            .ok()?
            .into_iter()
            .find(locked)
            .map(LockedPem)
    }

    /// Decrypts it.
    pub(super) fn open(&self, phrase: PassPhrase<'_>) -> Result<PrivateKeyDer<'static>, Refusal> {
        let Some(information) = self.0.headers().get("DEK-Info") else {
            return Ok(pkcs8(pkcs12::open_key(self.0.contents(), phrase)?));
        };
        let mut key = decrypt_pem(information, self.0.contents(), phrase)?;
        if !Elements::of(&key).is_one_sequence() {
            return Err(Refusal::Locked);
        }
        let der = std::mem::take(&mut *key);
        match self.0.tag() {
            "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(der).into()),
            "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(der).into()),
            _ => Err(Refusal::Unserved(
                "OpenSSL's old scheme, for a key other than RSA and EC",
            )),
        }
    }
}

/// A key that was decrypted, or stored unencrypted in a bag.
pub(super) fn pkcs8(mut key: Secret) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(std::mem::take(&mut *key)).into()
}

/// The first of these files with a private key that no pass phrase at hand opens. Files with other
/// faults are skipped: loading reports those.
pub(crate) fn locked_file<'a>(options: &'a TlsOptions, phrases: &PassPhrases) -> Option<&'a Path> {
    let cert = options.cert.as_deref()?;
    let opener = Opener::new(options, phrases).ok()?;
    let state = |path: &Path| {
        let Ok(bytes) = read("key", "private key file", path) else {
            return State::Keyless;
        };
        if pkcs12::is_one(&bytes) {
            return match opener.open(|phrase| pkcs12::open(&bytes, phrase)) {
                Ok(contents) if contents.keys.is_empty() => State::Keyless,
                Err(Refusal::Locked) => State::Locked,
                Ok(_) | Err(_) => State::Whole,
            };
        }
        let locked = LockedPem::find(&bytes).is_some_and(|pem| {
            opener.open(|phrase| pem.open(phrase).map(drop)) == Err(Refusal::Locked)
        });
        match locked {
            true => State::LockedKey,
            false => State::Keyless,
        }
    };
    // As in loading: `key` counts unless a PKCS#12 file has the key.
    match (state(cert), options.key.as_deref()) {
        (State::Locked, _) | (State::LockedKey, None) => Some(cert),
        (State::Whole, _) | (State::Keyless, None) => None,
        (State::LockedKey | State::Keyless, Some(key)) => {
            matches!(state(key), State::Locked | State::LockedKey).then_some(key)
        }
    }
}

/// What the key loader found in a file.
enum State {
    /// PKCS#12 that cannot be opened.
    Locked,
    /// PKCS#12 that settles the matter: it has the key, or is faulty.
    Whole,
    /// PEM with a key that cannot be opened.
    LockedKey,
    /// Anything else: the key is elsewhere, or not encrypted.
    Keyless,
}
