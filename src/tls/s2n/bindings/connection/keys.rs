//! Pre-shared keys of a connection. Never in here: which one.

use std::ptr::NonNull;

use s2n_tls_sys as sys;

use super::Connection;
use crate::tls::s2n::bindings::{done, last_error};

impl Connection {
    /// A pre-shared key for TLS 1.3 with SHA-256: what a client offers, or what a server takes where the client
    /// offers it. There is no session to be resumed beside it.
    ///
    /// # Errors
    /// s2n's name of the error: one of both is empty, or too long.
    pub(in crate::tls::s2n) fn append_psk(
        &mut self,
        identity: &[u8],
        key: &[u8],
    ) -> Result<(), &'static str> {
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).map_err(|_| "too long");
        let (identity_length, key_length) = (length(identity)?, length(key)?);
        // SAFETY: it needs nothing.
        let mut psk = NonNull::new(unsafe { sys::s2n_external_psk_new() })
            .ok_or_else(last_error)?
            .as_ptr();
        // SAFETY: both slices are as long as is said, and s2n copies them; so it does with the whole, which is
        // freed here once, overwritten with zeros.
        unsafe {
            let appended = done(sys::s2n_psk_set_identity(
                psk,
                identity.as_ptr(),
                identity_length,
            ))
            .and_then(|()| done(sys::s2n_psk_set_secret(psk, key.as_ptr(), key_length)))
            .and_then(|()| {
                let hmac = sys::s2n_psk_hmac::SHA256;
                done(sys::s2n_psk_set_hmac(psk, hmac))
            })
            .and_then(|()| done(sys::s2n_connection_append_psk(self.raw.as_ptr(), psk)));
            let _ = sys::s2n_psk_free(&raw mut psk);
            appended
        }
    }

    /// The identity whose key the two sides go by; `None`: there is none.
    pub(in crate::tls::s2n) fn identity(&self) -> Option<Vec<u8>> {
        let mut length = 0;
        // SAFETY: both pointers are valid for the call.
        done(unsafe {
            let raw = self.raw.as_ptr();
            sys::s2n_connection_get_negotiated_psk_identity_length(raw, &raw mut length)
        })
        .ok()?;
        let mut identity = vec![0; usize::from(length)];
        // SAFETY: the place is as long as is said.
        done(unsafe {
            sys::s2n_connection_get_negotiated_psk_identity(
                self.raw.as_ptr(),
                identity.as_mut_ptr(),
                length,
            )
        })
        .ok()?;
        (length > 0).then_some(identity)
    }
}
