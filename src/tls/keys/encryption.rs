//! Decryption by a pass phrase: PKCS#5's scheme 2 (RFC 8018), PKCS#12's own (RFC 7292, appendices B and
//! C), and OpenSSL's for PEM. Old and weak schemes are read as well: the keys are old.

use std::borrow::Cow;
use std::num::NonZeroU32;

use aws_lc_rs::cipher::{self, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{self, digest};
use aws_lc_rs::pbkdf2;
use md5::{Digest, Md5};
use rc2::Rc2;
use rc2::cipher::{Block, BlockCipherDecrypt};
use zeroize::Zeroizing;

use super::asn1::{Damaged, Elements};
use crate::hexadecimal;

/// Bytes that are wiped on drop.
pub(super) type Secret = Zeroizing<Vec<u8>>;

/// The most iterations; this many take seconds, and no program asks for more.
const MAX_ITERATIONS: u32 = if cfg!(fuzzing) { 2048 } else { 10_000_000 };

/// Why something encrypted cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is malformed.
    Damaged,
    /// The pass phrase is wrong.
    Locked,
    /// adit does not support its encryption; the name of that, if known.
    Unserved(&'static str),
    /// adit does not support its MAC; the name of that, if known.
    UnservedMac(&'static str),
}

impl From<Damaged> for Refusal {
    fn from(_: Damaged) -> Refusal {
        Refusal::Damaged
    }
}

/// A pass phrase to try.
#[derive(Debug, Clone, Copy)]
pub(super) enum PassPhrase<'a> {
    /// None, which in PKCS#12 is not the same as an empty one.
    Absent,
    /// As it was typed, in UTF-8.
    Typed(&'a [u8]),
}

impl PassPhrase<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            PassPhrase::Absent => &[],
            PassPhrase::Typed(bytes) => bytes,
        }
    }

    /// In UTF-16 with a final zero (RFC 7292, appendix B.1); what is no UTF-8 is taken as Latin-1.
    fn utf16(&self) -> Secret {
        let PassPhrase::Typed(bytes) = self else {
            return Secret::default();
        };
        // No reallocation, which would leave a copy.
        let mut wide = Secret::new(Vec::with_capacity(2 * bytes.len() + 2));
        match std::str::from_utf8(bytes) {
            Ok(text) => wide.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
            Err(_) => wide.extend(bytes.iter().flat_map(|byte| [0, *byte])),
        }
        wide.extend([0, 0]);
        wide
    }
}

/// A block cipher, in CBC mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
    TwoKeyTripleDes,
    /// With keys of this many bits.
    Rc2(usize),
}

impl Cipher {
    fn key_length(self) -> usize {
        match self {
            Cipher::Aes128 | Cipher::TwoKeyTripleDes => 16,
            Cipher::Aes192 | Cipher::TripleDes => 24,
            Cipher::Aes256 => 32,
            Cipher::Rc2(bits) => bits / 8,
        }
    }

    fn block_length(self) -> usize {
        match self {
            Cipher::Aes128 | Cipher::Aes192 | Cipher::Aes256 => 16,
            Cipher::TripleDes | Cipher::TwoKeyTripleDes | Cipher::Rc2(_) => 8,
        }
    }

    /// A wrong padding means a wrong key.
    fn decrypt(self, key: &[u8], iv: &[u8], data: &[u8]) -> Result<Secret, Refusal> {
        let mut data = Secret::new(data.to_vec());
        #[expect(
            deprecated,
            reason = "for encryption; there is no other way to read old keys"
        )]
        let algorithm = match self {
            Cipher::Aes128 => &cipher::AES_128,
            Cipher::Aes192 => &cipher::AES_192,
            Cipher::Aes256 => &cipher::AES_256,
            Cipher::TripleDes => &cipher::DES_EDE3_FOR_LEGACY_USE_ONLY,
            Cipher::TwoKeyTripleDes => &cipher::DES_EDE_FOR_LEGACY_USE_ONLY,
            Cipher::Rc2(bits) => return rc2_cbc(bits, key, iv, data),
        };
        let context = match self.block_length() {
            8 => DecryptionContext::Iv64(iv.try_into().map_err(|_| Refusal::Damaged)?),
            _ => DecryptionContext::Iv128(iv.try_into().map_err(|_| Refusal::Damaged)?),
        };
        let length = UnboundCipherKey::new(algorithm, key)
            .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
            .and_then(|key| Ok(key.decrypt(&mut data, context)?.len()))
            .map_err(|_| Refusal::Locked)?;
        data.truncate(length);
        Ok(data)
    }
}

/// RC2 (RFC 2268) in CBC mode, its padding removed.
fn rc2_cbc(bits: usize, key: &[u8], iv: &[u8], mut data: Secret) -> Result<Secret, Refusal> {
    let cipher = Rc2::new_with_eff_key_len(key, bits);
    let mut before: [u8; 8] = iv.try_into().map_err(|_| Refusal::Damaged)?;
    let (blocks, []) = data.as_chunks_mut::<8>() else {
        return Err(Refusal::Damaged);
    };
    for block in blocks {
        let encrypted = *block;
        let mut decrypted = Block::<Rc2>::from(encrypted);
        cipher.decrypt_block(&mut decrypted);
        for (byte, (plain, chained)) in block.iter_mut().zip(decrypted.iter().zip(before)) {
            *byte = plain ^ chained;
        }
        before = encrypted;
    }
    let padding = usize::from(data.last().copied().unwrap_or_default());
    let length = data.len().checked_sub(padding).ok_or(Refusal::Locked)?;
    let well = (1..=8).contains(&padding)
        && data[length..]
            .iter()
            .all(|byte| usize::from(*byte) == padding);
    data.truncate(length);
    well.then_some(data).ok_or(Refusal::Locked)
}

/// Decrypts `data`; `algorithm` are the elements of its AlgorithmIdentifier.
///
/// # Errors
/// Every [`Refusal`].
pub(super) fn decrypt(
    mut algorithm: Elements<'_>,
    data: &[u8],
    phrase: PassPhrase<'_>,
) -> Result<Secret, Refusal> {
    /// 1.2.840.113549.1.5: PKCS#5
    const PKCS5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5];
    /// 1.2.840.113549.1.12.1: PKCS#12's own
    const PKCS12: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];
    let identifier = algorithm.identifier()?;
    let own = identifier.strip_prefix(PKCS12);
    let cipher = match (identifier.strip_prefix(PKCS5), own) {
        (Some([13]), _) => return scheme2(algorithm.sequence()?, data, phrase),
        (Some(_), _) => return Err(Refusal::Unserved("PKCS#5's first scheme, with MD5 or DES")),
        (_, Some([1 | 2])) => return Err(Refusal::Unserved("RC4")),
        (_, Some([3])) => Cipher::TripleDes,
        (_, Some([4])) => Cipher::TwoKeyTripleDes,
        (_, Some([5])) => Cipher::Rc2(128),
        (_, Some([6])) => Cipher::Rc2(40),
        _ => return Err(Refusal::Unserved("an unknown scheme")),
    };
    let mut parameters = algorithm.sequence()?;
    let salt = parameters.octets()?;
    let times = iterations(parameters.number()?)?.get();
    let derive = |purpose, length| {
        let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
        pkcs12_key(hash, purpose, phrase, &salt, times, length)
    };
    let key = derive(Purpose::Key, cipher.key_length());
    let iv = derive(Purpose::Iv, cipher.block_length());
    cipher.decrypt(&key, &iv, data)
}

/// A damaged count may look like years of work.
fn iterations(count: u32) -> Result<NonZeroU32, Refusal> {
    let count = NonZeroU32::new(count).ok_or(Refusal::Damaged)?;
    match count.get() {
        0..=MAX_ITERATIONS => Ok(count),
        _ => Err(Refusal::Unserved("more than 10000000 iterations")),
    }
}

/// PBES2 (RFC 8018, appendix A.4).
fn scheme2(
    mut parameters: Elements<'_>,
    data: &[u8],
    phrase: PassPhrase<'_>,
) -> Result<Secret, Refusal> {
    let (derivation, mut encryption) = (parameters.sequence()?, parameters.sequence()?);
    let cipher = match encryption.identifier()? {
        // 2.16.840.1.101.3.4.1, NIST's
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2] => Cipher::Aes128,
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 22] => Cipher::Aes192,
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42] => Cipher::Aes256,
        // 1.2.840.113549.3.7
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 3, 7] => Cipher::TripleDes,
        _ => return Err(Refusal::Unserved("a cipher other than AES-CBC and 3DES")),
    };
    let iv = encryption.octets()?;
    let derivation = Pbkdf2::read(derivation)?;
    // The cipher determines the key's length as well.
    let key = derivation.key(phrase, cipher.key_length());
    cipher.decrypt(&key, &iv, data)
}

/// The hash of an HMAC (1.2.840.113549.2, in RFC 8018, appendix B.1); `None` for another.
pub(super) fn hmac_hash(identifier: &[u8]) -> Option<u8> {
    let last = identifier.strip_prefix(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2])?;
    <[u8; 1]>::try_from(last).ok().map(|[hash]| hash)
}

/// PBKDF2 with its parameters (RFC 8018, appendix A.2).
pub(super) struct Pbkdf2<'a> {
    salt: Cow<'a, [u8]>,
    times: NonZeroU32,
    hash: pbkdf2::Algorithm,
    /// The length of its key, if given.
    pub length: Option<u32>,
}

impl<'a> Pbkdf2<'a> {
    /// Reads an AlgorithmIdentifier.
    ///
    /// # Errors
    /// It is another derivation, or damaged.
    pub(super) fn read(mut algorithm: Elements<'a>) -> Result<Self, Refusal> {
        // 1.2.840.113549.1.5.12
        if algorithm.identifier()? != [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12] {
            return Err(Refusal::Unserved("a key derivation other than PBKDF2"));
        }
        let mut parameters = algorithm.sequence()?;
        let salt = parameters.octets()?;
        let times = iterations(parameters.number()?)?;
        let length = parameters.optional_number()?;
        let hash = match parameters.optional_sequence()? {
            None => pbkdf2::PBKDF2_HMAC_SHA1,
            Some(mut hash) => match hmac_hash(hash.identifier()?) {
                Some(7) => pbkdf2::PBKDF2_HMAC_SHA1,
                Some(9) => pbkdf2::PBKDF2_HMAC_SHA256,
                Some(10) => pbkdf2::PBKDF2_HMAC_SHA384,
                Some(11) => pbkdf2::PBKDF2_HMAC_SHA512,
                _ => return Err(Refusal::Unserved("PBKDF2 with an uncommon hash")),
            },
        };
        Ok(Self {
            salt,
            times,
            hash,
            length,
        })
    }

    /// A key of `length` bytes.
    pub(super) fn key(&self, phrase: PassPhrase<'_>, length: usize) -> Secret {
        let mut key = Secret::new(vec![0; length]);
        pbkdf2::derive(self.hash, self.times, &self.salt, phrase.bytes(), &mut key);
        key
    }
}

/// What a key is for (RFC 7292, appendix B.3).
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// To decrypt.
    Key = 1,
    /// To start a chain of blocks.
    Iv = 2,
    /// To authenticate.
    Mac = 3,
}

/// PKCS#12's key derivation (RFC 7292, appendix B.2).
pub(super) fn pkcs12_key(
    hash: &'static digest::Algorithm,
    purpose: Purpose,
    phrase: PassPhrase<'_>,
    salt: &[u8],
    times: u32,
    length: usize,
) -> Secret {
    let block = hash.block_len();
    let filled = |part: &[u8]| {
        let length = part.len().div_ceil(block) * block;
        Secret::new(part.iter().copied().cycle().take(length).collect())
    };
    let (salt, phrase) = (filled(salt), filled(&phrase.utf16()));
    let mut input = Secret::new([salt.as_slice(), &phrase].concat());
    let mut key = Secret::new(Vec::with_capacity(length + hash.output_len()));
    loop {
        let mut context = digest::Context::new(hash);
        context.update(&vec![purpose as u8; block]);
        context.update(&input);
        let mut output = context.finish();
        for _ in 1..times {
            output = digest(hash, output.as_ref());
        }
        key.extend_from_slice(output.as_ref());
        if key.len() >= length {
            key.truncate(length);
            return key;
        }
        // Each block of the input grows by the output, repeated, and by 1.
        for part in input.chunks_mut(block) {
            let mut carry = 1;
            let added = output.as_ref().iter().cycle().take(block);
            let added: Vec<u8> = added.copied().collect();
            for (byte, added) in part.iter_mut().zip(added).rev() {
                carry += u16::from(*byte) + u16::from(added);
                *byte = carry as u8;
                carry >>= 8;
            }
        }
    }
}

/// Decrypts a PEM body according to its `DEK-Info`, with OpenSSL's key derivation for it
/// (EVP_BytesToKey(3) with MD5, one round).
///
/// # Errors
/// Every [`Refusal`].
pub(super) fn decrypt_pem(
    information: &str,
    data: &[u8],
    phrase: PassPhrase<'_>,
) -> Result<Secret, Refusal> {
    let (name, iv) = information.split_once(',').ok_or(Refusal::Damaged)?;
    let cipher = match name.trim() {
        "AES-128-CBC" => Cipher::Aes128,
        "AES-192-CBC" => Cipher::Aes192,
        "AES-256-CBC" => Cipher::Aes256,
        "DES-EDE3-CBC" => Cipher::TripleDes,
        _ => return Err(Refusal::Unserved("a cipher other than AES-CBC and 3DES")),
    };
    let iv =
        hexadecimal::decode(iv.trim().as_bytes()).filter(|iv| iv.len() == cipher.block_length());
    let iv = iv.ok_or(Refusal::Damaged)?;
    let mut key = Secret::new(Vec::with_capacity(64));
    let mut last = Secret::default();
    while key.len() < cipher.key_length() {
        let mut hash = Md5::new();
        hash.update(&last);
        hash.update(phrase.bytes());
        hash.update(&iv[..8]);
        last = Secret::new(hash.finalize().to_vec());
        key.extend_from_slice(&last);
    }
    key.truncate(cipher.key_length());
    cipher.decrypt(&key, &iv, data)
}
