//! The secret of a Diffie-Hellman exchange below TLS 1.3, without zeros in front (RFC 5246, section 8.1.2). s2n-tls
//! leaves them there, so that with every other library one handshake of 256 fails ("bad record mac"). Its suites lead
//! to a table of functions for their key exchange: those with DHE are led to one of ours, which differs in one of
//! them. Never in here: another change to s2n.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr;

use s2n_tls_sys as sys;

use super::policy::found;

/// `struct s2n_kex` (tls/s2n_kex.h).
#[repr(C)]
#[derive(Clone, Copy)]
struct KeyExchange {
    is_ephemeral: bool,
    hybrid: [*const c_void; 2],
    functions: [*const c_void; 7],
    prf: Prf,
}

type Prf = unsafe extern "C" fn(*mut sys::s2n_connection, *mut Blob) -> c_int;

// SAFETY: it is only read, and leads to code.
unsafe impl Sync for KeyExchange {}

/// The front of `struct s2n_cipher_suite` (tls/s2n_cipher_suites.h).
#[repr(C)]
struct Suite {
    available: c_uint,
    name: *const c_char,
    iana_name: *const c_char,
    iana_value: [u8; 2],
    key_exchange_alg: *const KeyExchange,
}

/// The front of `struct s2n_blob` (utils/s2n_blob.h).
#[repr(C)]
struct Blob {
    data: *mut u8,
    size: u32,
}

unsafe extern "C" {
    static s2n_dhe: KeyExchange;
    fn s2n_prf_calculate_master_secret(
        connection: *mut sys::s2n_connection,
        premaster: *mut Blob,
    ) -> c_int;
}

/// Every suite of ours with DHE.
const SUITES: [u16; 7] = [0x0016, 0x0033, 0x0039, 0x0067, 0x006b, 0x009e, 0x009f];

/// Leads the suites to a table of ours.
///
/// # Errors
/// s2n has other structures than are declared here.
///
/// # Safety
/// s2n is started, and nothing else uses it yet.
pub(super) unsafe fn mend() -> Result<(), &'static str> {
    const OTHER: &str = "its structures are not those that adit knows";
    // SAFETY: it is a constant of s2n's.
    let theirs = unsafe { s2n_dhe };
    if !ptr::fn_addr_eq(theirs.prf, s2n_prf_calculate_master_secret as Prf) {
        return Err(OTHER);
    }
    let ours: &'static KeyExchange = Box::leak(Box::new(KeyExchange {
        prf: without_zeros,
        ..theirs
    }));
    for code in SUITES {
        let suite = found(code)?.cast::<Suite>().cast_mut();
        // SAFETY: the suite is a variable of s2n's, which it writes to itself as it starts; nothing reads it now.
        // That the place holds the address that it must hold shows that it is the right one.
        unsafe {
            let right = (*suite).iana_value == code.to_be_bytes()
                && (*suite).key_exchange_alg == &raw const s2n_dhe;
            if !right {
                return Err(OTHER);
            }
            (*suite).key_exchange_alg = ours;
        }
    }
    Ok(())
}

/// Takes the zeros away, and goes on as s2n does. The time that it takes tells nothing of use: no key is used for a
/// second exchange (Raccoon needs that).
unsafe extern "C" fn without_zeros(
    connection: *mut sys::s2n_connection,
    premaster: *mut Blob,
) -> c_int {
    // SAFETY: s2n gives both for the time of the call, and the secret is as long as is said.
    unsafe {
        if !(*premaster).data.is_null() {
            let secret =
                std::slice::from_raw_parts_mut((*premaster).data, (*premaster).size as usize);
            (*premaster).size = to_front(secret) as u32;
        }
        s2n_prf_calculate_master_secret(connection, premaster)
    }
}

/// Moves a number to the front of its place: how long it is. Zero stays as it is.
fn to_front(secret: &mut [u8]) -> usize {
    let zeros = secret.iter().take_while(|byte| **byte == 0).count();
    let length = secret.len() - zeros;
    if length == 0 {
        return secret.len();
    }
    secret.copy_within(zeros.., 0);
    secret[length..].fill(0);
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_in_front_go_and_no_others() {
        for (secret, length, left) in [
            ([1, 0, 2, 0], 4, [1, 0, 2, 0]),
            ([0, 1, 0, 2], 3, [1, 0, 2, 0]),
            ([0, 0, 0, 9], 1, [9, 0, 0, 0]),
            ([0, 0, 0, 0], 4, [0, 0, 0, 0]),
        ] {
            let mut place = secret;
            assert_eq!((to_front(&mut place), place), (length, left), "{secret:?}");
        }
    }
}
