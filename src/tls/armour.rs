//! DER as PEM (RFC 7468), for a library that takes nothing else. What may be secret is wiped.

use zeroize::Zeroizing;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Bytes in a line of 64 characters.
const LINE: usize = 48;

/// Appends `der` to `pem`, which is as long as it may become from the beginning, so that no copy is left
/// behind where it grew.
pub(super) fn push(pem: &mut Zeroizing<Vec<u8>>, label: &str, der: &[u8]) {
    let lines = der.chunks(LINE);
    let mut longer = Zeroizing::new(Vec::with_capacity(
        pem.len() + 2 * (label.len() + 17) + lines.len() * 65,
    ));
    longer.extend_from_slice(pem);
    longer.extend_from_slice(format!("-----BEGIN {label}-----\n").as_bytes());
    for line in lines {
        for three in line.chunks(3) {
            let mut bits = [0; 4];
            bits[1..=three.len()].copy_from_slice(three);
            let bits = u32::from_be_bytes(bits);
            for nth in 0..4 {
                let digit = (bits >> (18 - 6 * nth)) as usize % 64;
                longer.push(match nth <= three.len() {
                    true => ALPHABET[digit],
                    false => b'=',
                });
            }
        }
        longer.push(b'\n');
    }
    longer.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    *pem = longer;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_can_be_read() {
        for length in [0, 1, 2, 3, 47, 48, 49, 1000] {
            let der: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let mut pem = Zeroizing::new(Vec::new());
            push(&mut pem, "ONE", &der);
            push(&mut pem, "PRIVATE KEY", &der);
            let read = pem::parse_many(&pem[..]).unwrap();
            assert_eq!(read.len(), 2);
            assert!(read.iter().all(|part| part.contents() == der));
            assert_eq!(read[1].tag(), "PRIVATE KEY");
        }
    }
}
