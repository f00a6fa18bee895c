//! Records with AES in CBC and SHA-1 whose plaintext is encrypted and authenticated in one pass: a third
//! faster than one after the other. AWS-LC has it for x86-64 with AES instructions alone.

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};

use aws_lc_rs::rand;
use aws_lc_sys as lc;

use super::aead::{Associated, CbcSuite};

const BLOCK: usize = 16;

/// Seals records of one direction.
pub(super) struct Stitched {
    context: NonNull<lc::EVP_CIPHER_CTX>,
    /// Where the next record of TLS 1.0 begins; `None`: each carries its own vector.
    tail: Option<[u8; BLOCK]>,
}

// SAFETY: no thread owns it, and it is used through `&mut` alone.
unsafe impl Send for Stitched {}

impl Stitched {
    /// `None`: not for this suite, or not on this processor.
    pub(super) fn cipher(suite: CbcSuite) -> Option<NonNull<lc::EVP_CIPHER>> {
        // SAFETY: both give the address of a constant, or null.
        let cipher = unsafe {
            match suite {
                CbcSuite::Aes128Sha1 => lc::EVP_aes_128_cbc_hmac_sha1(),
                CbcSuite::Aes256Sha1 => lc::EVP_aes_256_cbc_hmac_sha1(),
                _ => return None,
            }
        };
        NonNull::new(cipher.cast_mut())
    }

    /// As [`Sealer::new`](super::Sealer::new); `None` also where there is no [`Stitched::cipher`].
    pub(super) fn new(suite: CbcSuite, implicit: bool, key: &[u8]) -> Option<Self> {
        let cipher = Self::cipher(suite)?.as_ptr();
        let (mac_length, length, _) = suite.lengths();
        let (mac, rest) = key.split_at_checked(mac_length)?;
        let (key, tail) = rest.split_at_checked(length)?;
        let tail = match implicit {
            true => Some(*tail.first_chunk()?),
            false => None,
        };
        // SAFETY: it needs nothing.
        let context = NonNull::new(unsafe { lc::EVP_CIPHER_CTX_new() })?;
        let this = Self { context, tail };
        // SAFETY: the context is ours. The keys are as long as is said, or as the cipher wants them, and copied;
        // the control does not write to the MAC's.
        let done = unsafe {
            let raw = context.as_ptr();
            lc::EVP_EncryptInit_ex(raw, cipher, ptr::null_mut(), key.as_ptr(), ptr::null()) == 1
                && lc::EVP_CIPHER_CTX_ctrl(
                    raw,
                    lc::EVP_CTRL_AEAD_SET_MAC_KEY,
                    mac_length as c_int,
                    mac.as_ptr().cast_mut().cast::<c_void>(),
                ) == 1
        };
        done.then_some(this)
    }

    /// Seals `plain` into `output`, with its vector where it carries one: how much of that is filled.
    pub(super) fn seal(
        &mut self,
        associated: &Associated,
        plain: &[u8],
        output: &mut [u8],
    ) -> Option<usize> {
        let (begin, explicit) = match self.tail {
            Some(tail) => (tail, 0),
            None => (random()?, BLOCK),
        };
        let length = u16::try_from(explicit + plain.len()).ok()?;
        let output =
            output.get_mut(..usize::from(length) + self.begin(begin, associated, length)?)?;
        let (vector, text) = output.split_at_mut_checked(explicit)?;
        let input = match vector.is_empty() {
            // A copy that bulk is spared.
            true => plain.as_ptr(),
            // The vector is a random block, encrypted as if it were the first one of the text: so it cannot be
            // foretold, whatever the record begins with.
            false => {
                vector.copy_from_slice(&random()?);
                text.get_mut(..plain.len())?.copy_from_slice(plain);
                output.as_ptr()
            }
        };
        let (place, length) = (output.as_mut_ptr(), output.len());
        // SAFETY: the context is ready for a record of this length, MAC and padding with it, and the output has
        // that. Of the input only what the header told is read, since the rest is made in the output; a test has
        // no memory behind it. Input and output are the same place or do not overlap: both are allowed.
        let done = unsafe { lc::EVP_Cipher(self.context.as_ptr(), place, input, length) };
        if let Some(tail) = &mut self.tail {
            *tail = *output.last_chunk()?;
        }
        (done == 1).then_some(length)
    }

    /// Prepares the context for a record of `length` bytes, its vector included: how many more MAC and padding
    /// take.
    fn begin(
        &mut self,
        vector: [u8; BLOCK],
        associated: &Associated,
        length: u16,
    ) -> Option<usize> {
        let mut header = [0; 13];
        header[..11].copy_from_slice(associated);
        header[11..].copy_from_slice(&length.to_be_bytes());
        let raw = self.context.as_ptr();
        // SAFETY: the context has its keys, the vector is a block long, the header as long as is said.
        let added = unsafe {
            let (same, vector) = (ptr::null(), vector.as_ptr());
            if lc::EVP_EncryptInit_ex(raw, ptr::null(), ptr::null_mut(), same, vector) != 1 {
                return None;
            }
            let (name, place) = (lc::EVP_CTRL_AEAD_TLS1_AAD, header.as_mut_ptr());
            lc::EVP_CIPHER_CTX_ctrl(raw, name, header.len() as c_int, place.cast::<c_void>())
        };
        usize::try_from(added).ok().filter(|added| *added > 0)
    }
}

impl Drop for Stitched {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing refers to it any more. It is wiped.
        unsafe { lc::EVP_CIPHER_CTX_free(self.context.as_ptr()) };
    }
}

fn random() -> Option<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    rand::fill(&mut block).ok()?;
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::super::aead::{Opener, Sealer};
    use super::*;

    const SUITES: [(CbcSuite, usize); 2] = [(CbcSuite::Aes128Sha1, 16), (CbcSuite::Aes256Sha1, 32)];
    const TLS10: Associated = [0, 0, 0, 0, 0, 0, 0, 1, 23, 3, 1];
    const TLS11: Associated = [0, 0, 0, 0, 0, 0, 0, 1, 23, 3, 2];

    fn key(cipher: usize, implicit: bool) -> Vec<u8> {
        let tail = if implicit { BLOCK } else { 0 };
        (0..(20 + cipher + tail) as u8).collect()
    }

    #[test]
    fn records_are_those_of_two_passes_bit_by_bit() {
        for (suite, cipher) in SUITES {
            let key = key(cipher, true);
            let Some(mut stitched) = Stitched::new(suite, true, &key) else {
                #[cfg(target_arch = "x86_64")]
                assert!(!std::arch::is_x86_feature_detected!("aes"));
                continue;
            };
            let mut plain_way = Sealer::in_two_passes(suite, true, &key).unwrap();
            for length in [0, 1, 11, 12, 13, 64, 1000, 16384] {
                let plain = vec![b'x'; length];
                let (mut one, mut two) = (vec![0; 17000], vec![0; 17000]);
                let filled = stitched.seal(&TLS10, &plain, &mut one).unwrap();
                let other = plain_way.seal(0, &TLS10, &plain, &mut two).unwrap();
                assert_eq!(filled, other, "{length}");
                assert_eq!(one[..filled], two[..filled], "{length}");
            }
        }
    }

    #[test]
    fn records_with_a_vector_of_their_own_are_opened_and_differ() {
        for (suite, cipher) in SUITES {
            let key = key(cipher, false);
            let Some(mut stitched) = Stitched::new(suite, false, &key) else {
                continue;
            };
            let mut opener = Opener::new(suite, false, &key).unwrap();
            let mut before = Vec::new();
            for length in [0, 5, 16, 16384] {
                let plain = vec![b'y'; length];
                let mut sealed = vec![0; 17000];
                let filled = stitched.seal(&TLS11, &plain, &mut sealed).unwrap();
                let (vector, body) = sealed[..filled].split_at_mut(BLOCK);
                assert_ne!(before, vector);
                before = vector.to_vec();
                assert_eq!(opener.open(vector, &TLS11, body), Some(length));
                assert_eq!(body[..length], plain[..]);
            }
        }
    }

    #[test]
    fn nothing_is_read_in_front_of_the_plaintext_or_behind_it() {
        let page = 1 << 16;
        // SAFETY: memory of our own, at no chosen place, which nothing else refers to; it is as long as is said,
        // and stays until the process ends. Neither its first page nor its third may be touched.
        let middle = unsafe {
            let (flags, access) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_NONE);
            let start = libc::mmap(ptr::null_mut(), 3 * page, access, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            let middle = start.byte_add(page);
            let access = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(middle, page, access), 0);
            std::slice::from_raw_parts_mut(middle.cast::<u8>(), page)
        };
        middle.fill(b'x');
        for (suite, cipher) in SUITES {
            let Some(mut stitched) = Stitched::new(suite, true, &key(cipher, true)) else {
                continue;
            };
            for length in [0, 1, 51, 52, 115, 116, 117, 128, 1350, 16383, 16384] {
                for plain in [&middle[..length], &middle[page - length..]] {
                    assert!(stitched.seal(&TLS10, plain, &mut [0; 17000]).is_some());
                }
            }
        }
    }

    #[test]
    fn what_has_no_room_is_not_sealed() {
        for (suite, cipher) in SUITES {
            if let Some(mut stitched) = Stitched::new(suite, true, &key(cipher, true)) {
                let sealed = stitched.seal(&TLS10, &[b'z'; 100], &mut [0; 127]);
                assert_eq!(sealed, None);
                // A record has 64 KiB at most.
                let sealed = stitched.seal(&TLS10, &[0; 1 << 16], &mut vec![0; 1 << 17]);
                assert_eq!(sealed, None);
            }
        }
    }
}
