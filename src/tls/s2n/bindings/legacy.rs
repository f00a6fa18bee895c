//! What AWS-LC has no records for: RC4 with its MAC, and AES-256 in CBC by itself.

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use aws_lc_sys as lc;

use super::aead::Associated;

/// The hash of a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls::s2n) enum MacHash {
    Md5,
    Sha1,
}

impl MacHash {
    /// The length of the MAC, and of its key, in bytes.
    pub(in crate::tls::s2n) fn length(self) -> usize {
        match self {
            MacHash::Md5 => 16,
            MacHash::Sha1 => 20,
        }
    }
}

/// The longest of them.
const LONGEST: usize = 20;

/// Records with RC4, in one direction: each goes on where the last one ended.
pub(in crate::tls::s2n) struct Rc4 {
    stream: Box<lc::RC4_KEY>,
    mac: NonNull<lc::HMAC_CTX>,
    hash: MacHash,
}

// SAFETY: no thread owns it, and it is used through `&mut` alone.
unsafe impl Send for Rc4 {}

impl Rc4 {
    /// `key` is the MAC's key, then the cipher's.
    pub(in crate::tls::s2n) fn new(hash: MacHash, key: &[u8]) -> Option<Self> {
        let (mac_key, cipher_key) = key.split_at_checked(hash.length())?;
        let mut stream = Box::new(MaybeUninit::<lc::RC4_KEY>::zeroed());
        // SAFETY: the key is as long as is said; it fills all of the place, of which zeros are valid, too. The
        // context is freed by Drop.
        let (stream, mac) = unsafe {
            let length = u32::try_from(cipher_key.len()).ok()?;
            lc::RC4_set_key(stream.as_mut_ptr(), length, cipher_key.as_ptr());
            (stream.assume_init(), NonNull::new(lc::HMAC_CTX_new())?)
        };
        let this = Self { stream, mac, hash };
        // SAFETY: the context is valid, the key as long as is said, the digest a constant.
        let done = unsafe {
            let digest = match hash {
                MacHash::Md5 => lc::EVP_md5(),
                MacHash::Sha1 => lc::EVP_sha1(),
            };
            let key = mac_key.as_ptr().cast();
            lc::HMAC_Init_ex(mac.as_ptr(), key, mac_key.len(), digest, ptr::null_mut())
        };
        (done == 1).then_some(this)
    }

    /// Goes past so many bytes of records, at most some hundreds, that were sealed elsewhere.
    pub(in crate::tls::s2n) fn skip(&mut self, length: usize) {
        self.crypt(&mut vec![0; length]);
    }

    fn crypt(&mut self, data: &mut [u8]) {
        let start = data.as_mut_ptr();
        // SAFETY: the data is as long as is said; input and output are the same, which is allowed.
        unsafe { lc::RC4(&raw mut *self.stream, data.len(), start, start) };
    }

    fn mac(&mut self, associated: &Associated, plain: &[u8]) -> Option<[u8; LONGEST]> {
        let length = u16::try_from(plain.len()).ok()?.to_be_bytes();
        let mut code = [0; LONGEST];
        let mut filled = 0;
        let raw = self.mac.as_ptr();
        // SAFETY: the context is valid and keeps its key; each slice is as long as is said, and the code not
        // longer than its place.
        let done = unsafe {
            lc::HMAC_Init_ex(raw, ptr::null(), 0, ptr::null(), ptr::null_mut()) == 1
                && lc::HMAC_Update(raw, associated.as_ptr(), associated.len()) == 1
                && lc::HMAC_Update(raw, length.as_ptr(), length.len()) == 1
                && lc::HMAC_Update(raw, plain.as_ptr(), plain.len()) == 1
                && lc::HMAC_Final(raw, code.as_mut_ptr(), &raw mut filled) == 1
        };
        (done && filled as usize == self.hash.length()).then_some(code)
    }

    /// Seals `plain` into `output`: how much of that is filled.
    pub(in crate::tls::s2n) fn seal(
        &mut self,
        associated: &Associated,
        plain: &[u8],
        output: &mut [u8],
    ) -> Option<usize> {
        let length = self.hash.length();
        let code = self.mac(associated, plain)?;
        let output = output.get_mut(..plain.len() + length)?;
        let (text, place) = output.split_at_mut(plain.len());
        text.copy_from_slice(plain);
        place.copy_from_slice(&code[..length]);
        self.crypt(output);
        Some(output.len())
    }

    /// Opens `body` in place: how long its plaintext is. `None`: it is not authentic.
    pub(in crate::tls::s2n) fn open(
        &mut self,
        associated: &Associated,
        body: &mut [u8],
    ) -> Option<usize> {
        let plain = body.len().checked_sub(self.hash.length())?;
        self.crypt(body);
        let (text, code) = body.split_at(plain);
        let expected = self.mac(associated, text)?;
        let expected = &expected[..code.len()];
        aws_lc_rs::constant_time::verify_slices_are_equal(code, expected).ok()?;
        Some(plain)
    }
}

impl Drop for Rc4 {
    fn drop(&mut self) {
        // SAFETY: both are ours; freeing overwrites the MAC's key, and this the cipher's.
        unsafe {
            lc::HMAC_CTX_free(self.mac.as_ptr());
            let stream = (&raw mut *self.stream).cast();
            lc::OPENSSL_cleanse(stream, size_of::<lc::RC4_KEY>());
        }
    }
}

/// Encrypts or decrypts whole blocks by AES-256 in CBC, in place. `None`: they are not whole.
pub(in crate::tls::s2n) fn aes_256_cbc(
    encrypts: bool,
    key: &[u8; 32],
    mut vector: [u8; 16],
    blocks: &mut [u8],
) -> Option<()> {
    if !blocks.len().is_multiple_of(vector.len()) {
        return None;
    }
    let mut schedule = MaybeUninit::<lc::AES_KEY>::zeroed();
    let start = blocks.as_mut_ptr();
    // SAFETY: the key has 256 bits; the blocks are whole and as long as is said, input and output the same, which
    // is allowed; the schedule is filled before its use, and overwritten behind it.
    unsafe {
        let set = match encrypts {
            true => lc::AES_set_encrypt_key(key.as_ptr(), 256, schedule.as_mut_ptr()),
            false => lc::AES_set_decrypt_key(key.as_ptr(), 256, schedule.as_mut_ptr()),
        };
        if set == 0 {
            let schedule = schedule.as_ptr();
            let vector = vector.as_mut_ptr();
            lc::AES_cbc_encrypt(
                start,
                start,
                blocks.len(),
                schedule,
                vector,
                encrypts.into(),
            );
        }
        lc::OPENSSL_cleanse(schedule.as_mut_ptr().cast(), size_of::<lc::AES_KEY>());
        (set == 0).then_some(())
    }
}
