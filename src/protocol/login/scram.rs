//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's part. Never in here: success without the server's signature.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::private::{Credentials, Private};
use crate::base64;

/// The most rounds that a server may ask for: a thread of adit's works on nothing else meanwhile. This many take some
/// 50 ms; usual are 4096 to 15000.
const ROUNDS_MAX: u32 = 100_000;

/// A part of the exchange that is not as RFC 5802 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A message that cannot be read, or that answers another.
    Malformed,
    /// More than [`ROUNDS_MAX`] rounds.
    Rounds,
    /// The server's signature is wrong: it does not know the password.
    Signature,
}

/// Where the exchange stands.
#[derive(Debug)]
pub(super) enum Scram {
    /// Nothing is said.
    First(Credentials, String),
    /// Waiting for salt and rounds.
    Salt {
        credentials: Credentials,
        header: Private,
        bare: Private,
        nonce: String,
    },
    /// Waiting for the signature, which must be this.
    Signature(Vec<u8>),
    /// The server has proved that it knows the password.
    Proved,
}

impl Scram {
    /// With a nonce of printable ASCII without a comma.
    pub(super) fn new(credentials: Credentials, nonce: String) -> Scram {
        Scram::First(credentials, nonce)
    }

    /// Answers what the server said.
    ///
    /// # Errors
    /// See [`Fault`].
    pub(super) fn answer(self, said: &[u8]) -> Result<(Scram, Private), Fault> {
        match self {
            Scram::First(credentials, nonce) => {
                let header = match &credentials.acts_for {
                    None => Private::of(&[b"n,,"]),
                    Some(other) => Private::of(&[b"n,a=", &sasl_name(other), b","]),
                };
                let name = sasl_name(&credentials.name);
                let bare = Private::of(&[b"n=", &name, b",r=", nonce.as_bytes()]);
                let words = Private::of(&[&header, &bare]);
                let state = Scram::Salt {
                    credentials,
                    header,
                    bare,
                    nonce,
                };
                Ok((state, words))
            }
            Scram::Salt {
                credentials,
                header,
                bare,
                nonce,
            } => {
                let (whole, salt, rounds) = salt_and_rounds(said, &nonce)?;
                let coded = base64::encode(&header);
                let without = Private::of(&[b"c=", coded.as_bytes(), b",r=", whole]);
                let message = Private::of(&[&bare, b",", said, b",", &without]);
                let keys = Keys::new(&credentials.password, &salt, rounds);
                let proof = base64::encode(&keys.proof(&message));
                let words = Private::of(&[&without, b",p=", proof.as_bytes()]);
                let signature = keys.signature(&message);
                Ok((Scram::Signature(signature), words))
            }
            Scram::Signature(awaited) => {
                let coded = said.strip_prefix(b"v=").ok_or(Fault::Signature)?;
                let coded = coded.split(|&byte| byte == b',').next().unwrap_or_default();
                match base64::decode(coded) {
                    Some(signature) if signature == awaited => {
                        Ok((Scram::Proved, Private::default()))
                    }
                    _ => Err(Fault::Signature),
                }
            }
            Scram::Proved => Err(Fault::Malformed),
        }
    }

    pub(super) fn is_proved(&self) -> bool {
        matches!(self, Scram::Proved)
    }
}

/// RFC 5802, section 5.1.
pub(super) fn sasl_name(name: &[u8]) -> Private {
    let mut bytes = Zeroizing::new(Vec::with_capacity(name.len() * 3));
    for &byte in name {
        match byte {
            b'=' => bytes.extend_from_slice(b"=3D"),
            b',' => bytes.extend_from_slice(b"=2C"),
            _ => bytes.push(byte),
        }
    }
    Private::of(&[&bytes])
}

/// The whole nonce, the salt and the number of rounds.
fn salt_and_rounds<'a>(
    said: &'a [u8],
    own: &str,
) -> Result<(&'a [u8], Vec<u8>, NonZeroU32), Fault> {
    let mut parts = said.split(|&byte| byte == b',');
    let mut part = |name: &[u8]| parts.next().and_then(|part| part.strip_prefix(name));
    let nonce = part(b"r=").ok_or(Fault::Malformed)?;
    let salt = part(b"s=").and_then(base64::decode);
    let rounds = part(b"i=").and_then(|digits| std::str::from_utf8(digits).ok());
    let rounds: Option<NonZeroU32> = rounds.and_then(|digits| digits.parse().ok());
    let (Some(salt), Some(rounds)) = (salt, rounds) else {
        return Err(Fault::Malformed);
    };
    let is_longer = nonce.len() > own.len() && nonce.starts_with(own.as_bytes());
    if !is_longer || salt.is_empty() || !nonce.iter().all(u8::is_ascii_graphic) {
        return Err(Fault::Malformed);
    }
    match rounds.get() <= ROUNDS_MAX {
        true => Ok((nonce, salt, rounds)),
        false => Err(Fault::Rounds),
    }
}

/// What the salted password gives.
struct Keys {
    client: Zeroizing<Vec<u8>>,
    server: Zeroizing<Vec<u8>>,
}

impl Keys {
    fn new(password: &[u8], salt: &[u8], rounds: NonZeroU32) -> Keys {
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            rounds,
            salt,
            password,
            &mut *salted,
        );
        Keys {
            client: Zeroizing::new(mac(&*salted, b"Client Key")),
            server: Zeroizing::new(mac(&*salted, b"Server Key")),
        }
    }

    fn proof(&self, message: &[u8]) -> Vec<u8> {
        let stored = digest::digest(&digest::SHA256, &self.client);
        let signature = mac(stored.as_ref(), message);
        let both = self.client.iter().zip(signature);
        both.map(|(key, signed)| key ^ signed).collect()
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        mac(&self.server, message)
    }
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, message).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SALT: &[u8] =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SIGNATURE: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn begun() -> Scram {
        let credentials = Credentials::new(Private::of(&[b"user"]), Private::of(&[b"pencil"]));
        let scram = Scram::new(credentials.unwrap(), NONCE.to_owned());
        let (scram, words) = scram.answer(b"").unwrap();
        assert_eq!(&*words, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        scram
    }

    #[test]
    fn the_exchange_of_rfc_7677() {
        let (scram, words) = begun().answer(SALT).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&words),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(!scram.is_proved());
        let (scram, words) = scram.answer(SIGNATURE).unwrap();
        assert!(scram.is_proved() && words.is_empty());
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        for said in [
            &b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="[..],
            b"v=",
            b"",
            b"e=other-error",
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95A==",
        ] {
            let (scram, _) = begun().answer(SALT).unwrap();
            assert_eq!(scram.answer(said).unwrap_err(), Fault::Signature);
        }
    }

    #[test]
    fn what_is_no_answer_to_ours_is_refused() {
        for said in [
            &b""[..],
            b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=!,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            b"m=x,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        ] {
            assert_eq!(begun().answer(said).unwrap_err(), Fault::Malformed);
        }
        let said = b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000";
        assert_eq!(begun().answer(said).unwrap_err(), Fault::Rounds);
    }

    #[test]
    fn commas_and_equal_signs_in_a_name_are_written_otherwise() {
        assert_eq!(&*sasl_name(b"a,b=c"), b"a=2Cb=3Dc");
    }
}
