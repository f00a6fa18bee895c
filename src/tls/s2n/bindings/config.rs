//! What the connections of one service have in common.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use s2n_tls_sys as sys;

use super::policy::Policy;
use super::wires::{Judge, SecretMade, TicketCame, chain_came, secret_made, ticket_came};
use super::{bytes, done, last_error};

/// Where sessions are kept between connections, under an identifier that the library makes.
pub(in crate::tls::s2n) trait SessionStore: Send + Sync {
    /// Keeps it, or does not.
    fn put(&self, id: &[u8], session: &[u8]);
    /// Puts the session into `place`, and gives its length; `None`: there is none, or it does not fit.
    fn copy(&self, id: &[u8], place: &mut [u8]) -> Option<usize>;
    /// Forgets it.
    fn remove(&self, id: &[u8]);
}

/// Whether a server asks its clients for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls::s2n) enum Ask {
    No,
    /// It may be absent.
    Request,
    Require,
}

/// A certificate's chain and its key.
pub(in crate::tls::s2n) struct Identity(NonNull<sys::s2n_cert_chain_and_key>);

// SAFETY: nothing changes it once it is made, and no thread owns it.
unsafe impl Send for Identity {}
// SAFETY: as above.
unsafe impl Sync for Identity {}

impl Identity {
    /// Loads a chain and its key, both PEM.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn new(chain: &mut [u8], key: &mut [u8]) -> Result<Self, &'static str> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| "too long");
        let (chain_length, key_length) = (length(chain)?, length(key)?);
        // SAFETY: it needs nothing.
        let made = unsafe { sys::s2n_cert_chain_and_key_new() };
        let this = NonNull::new(made).map(Self).ok_or_else(last_error)?;
        // SAFETY: both slices are as long as is said, and s2n keeps no pointer to them.
        done(unsafe {
            sys::s2n_cert_chain_and_key_load_pem_bytes(
                this.0.as_ptr(),
                chain.as_mut_ptr(),
                chain_length,
                key.as_mut_ptr(),
                key_length,
            )
        })?;
        Ok(this)
    }

    /// Shows this OCSP response with the chain, to clients that ask for one.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn staple(&mut self, response: &[u8]) -> Result<(), &'static str> {
        let length = u32::try_from(response.len()).map_err(|_| "too long")?;
        // SAFETY: no connection uses it yet, since it is borrowed mutably; s2n copies the response.
        done(unsafe {
            sys::s2n_cert_chain_and_key_set_ocsp_data(self.0.as_ptr(), response.as_ptr(), length)
        })
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`; configurations that refer to it hold an Arc of it.
        let _ = unsafe { sys::s2n_cert_chain_and_key_free(self.0.as_ptr()) };
    }
}

/// What all connections of one service have in common. It changes only while nothing else has it.
pub(in crate::tls::s2n) struct Config {
    raw: NonNull<sys::s2n_config>,
    policy: Option<Arc<Policy>>,
    identity: Option<Arc<Identity>>,
    /// Behind a pointer of its own, which s2n keeps.
    store: Option<Box<Arc<dyn SessionStore>>>,
}

// SAFETY: no thread owns a configuration, and s2n only reads it once connections use it: every function
// here that changes one takes `&mut`. What `store` leads to is Send and Sync itself.
unsafe impl Send for Config {}
// SAFETY: as above.
unsafe impl Sync for Config {}

impl Config {
    /// One that verifies nothing by itself and has no certificates: the chain is judged by the caller.
    ///
    /// # Errors
    /// s2n's name of the error: no memory, or it was not started.
    pub(in crate::tls::s2n) fn new() -> Result<Self, &'static str> {
        // SAFETY: it needs nothing.
        let raw = NonNull::new(unsafe { sys::s2n_config_new_minimal() }).ok_or_else(last_error)?;
        let this = Self {
            raw,
            policy: None,
            identity: None,
            store: None,
        };
        let raw = this.raw();
        // SAFETY: the configuration is whole and ours alone; the callback has the type that is asked for.
        unsafe {
            done(sys::s2n_config_disable_x509_verification(raw))?;
            let judge = Some(chain_came as Judge);
            done(sys::s2n_config_set_cert_validation_cb(
                raw,
                judge,
                ptr::null_mut(),
            ))?;
            let ignore = sys::s2n_alert_behavior::IGNORE_WARNINGS;
            done(sys::s2n_config_set_alert_behavior(raw, ignore))?;
        }
        Ok(this)
    }

    pub(super) fn raw(&self) -> *mut sys::s2n_config {
        self.raw.as_ptr()
    }

    /// Which suites its connections speak.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn set_policy(
        &mut self,
        policy: Arc<Policy>,
    ) -> Result<(), &'static str> {
        // SAFETY: the configuration is valid, and keeps the policy for as long as it lives (see Drop); one that
        // was there before is no longer referred to.
        unsafe { policy.apply(self.raw())? };
        self.policy = Some(policy);
        Ok(())
    }

    /// What it shows to peers.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn set_identity(
        &mut self,
        identity: Arc<Identity>,
    ) -> Result<(), &'static str> {
        let raw = self.raw();
        let identity = &*self.identity.insert(identity);
        // SAFETY: s2n keeps a pointer to the identity, which lives as long as this (see Drop).
        done(unsafe { sys::s2n_config_add_cert_chain_and_key_to_store(raw, identity.0.as_ptr()) })
    }

    /// The protocols of ALPN, the preferred one first: a client offers them, a server chooses of them.
    ///
    /// # Errors
    /// s2n's name of the error: one of them is empty, or too long.
    pub(in crate::tls::s2n) fn set_protocols(
        &mut self,
        names: &[String],
    ) -> Result<(), &'static str> {
        for name in names {
            let length = u8::try_from(name.len()).map_err(|_| "too long")?;
            // SAFETY: the name is as long as is said; s2n copies it.
            done(unsafe {
                sys::s2n_config_append_protocol_preference(self.raw(), name.as_ptr(), length)
            })?;
        }
        Ok(())
    }

    /// For suites with DHE; PEM.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn set_dh_parameters(
        &mut self,
        pem: &CStr,
    ) -> Result<(), &'static str> {
        // SAFETY: both pointers are valid for the call.
        done(unsafe { sys::s2n_config_add_dhparams(self.raw(), pem.as_ptr()) })
    }

    /// What a server asks of its clients; a client needs `Request` to answer a server that asks.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn ask_for_certificate(
        &mut self,
        ask: Ask,
    ) -> Result<(), &'static str> {
        let kind = match ask {
            Ask::No => sys::s2n_cert_auth_type::NONE,
            Ask::Request => sys::s2n_cert_auth_type::OPTIONAL,
            Ask::Require => sys::s2n_cert_auth_type::REQUIRED,
        };
        // SAFETY: the configuration is valid.
        done(unsafe { sys::s2n_config_set_client_auth_type(self.raw(), kind) })
    }

    /// Session tickets (RFC 5077, and of TLS 1.3): a server gives them, a client asks for them.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn use_tickets(
        &mut self,
        each_handshake: u8,
    ) -> Result<(), &'static str> {
        // SAFETY: the configuration is valid.
        unsafe {
            done(sys::s2n_config_set_session_tickets_onoff(self.raw(), 1))?;
            done(sys::s2n_config_set_initial_ticket_count(
                self.raw(),
                each_handshake,
            ))
        }
    }

    /// A client asks for tickets, and keeps those of TLS 1.3; see `Connection::take_tickets`.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn keep_tickets(&mut self) -> Result<(), &'static str> {
        let (raw, came) = (self.raw(), Some(ticket_came as TicketCame));
        // SAFETY: the callback has the type that is asked for, and needs no context of its own.
        unsafe {
            done(sys::s2n_config_set_session_tickets_onoff(raw, 1))?;
            done(sys::s2n_config_set_session_ticket_cb(
                raw,
                came,
                ptr::null_mut(),
            ))
        }
    }

    /// A client asks its server to staple an OCSP response, at which s2n does not look by itself.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn ask_for_status(&mut self) -> Result<(), &'static str> {
        let kind = sys::s2n_status_request_type::OCSP;
        // SAFETY: the configuration is valid.
        done(unsafe { sys::s2n_config_set_status_request_type(self.raw(), kind) })
    }

    /// A client keeps the secret that a TLS 1.3 server's certificates are encrypted with; see
    /// `Connection::take_server_secret`.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn keep_server_secret(&mut self) -> Result<(), &'static str> {
        let made = Some(secret_made as SecretMade);
        // SAFETY: as above.
        done(unsafe { sys::s2n_config_set_key_log_cb(self.raw(), made, ptr::null_mut()) })
    }

    /// Sessions by identifier, kept in `store`. The key seals what is put there, and tickets.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn use_store(
        &mut self,
        store: Arc<dyn SessionStore>,
    ) -> Result<(), &'static str> {
        let store = &**self.store.insert(Box::new(store));
        let data = ptr::from_ref(store).cast_mut().cast();
        let raw = self.raw();
        // SAFETY: the callbacks have the types that are asked for, and take `data` for what it is: a
        // pointer to an Arc in a box of this configuration, which lives as long as its connections.
        unsafe {
            done(sys::s2n_config_set_cache_store_callback(
                raw,
                Some(put),
                data,
            ))?;
            done(sys::s2n_config_set_cache_retrieve_callback(
                raw,
                Some(copy),
                data,
            ))?;
            done(sys::s2n_config_set_cache_delete_callback(
                raw,
                Some(remove),
                data,
            ))?;
            done(sys::s2n_config_set_session_cache_onoff(raw, 1))
        }
    }

    /// A key for tickets and stored sessions, in use from `since` (seconds since 1970): it seals for
    /// `seals` seconds and opens for `opens` more.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn set_ticket_key(
        &mut self,
        name: &[u8; 16],
        key: &mut [u8; 32],
        since: u64,
    ) -> Result<(), &'static str> {
        // SAFETY: name and key are as long as is said; s2n copies both.
        done(unsafe {
            sys::s2n_config_add_ticket_crypto_key(
                self.raw(),
                name.as_ptr(),
                name.len() as u32,
                key.as_mut_ptr(),
                key.len() as u32,
                since,
            )
        })
    }

    /// How long sessions are resumed, in seconds.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn set_session_lifetime(
        &mut self,
        seconds: u64,
    ) -> Result<(), &'static str> {
        // SAFETY: the configuration is valid.
        done(unsafe { sys::s2n_config_set_session_state_lifetime(self.raw(), seconds) })
    }

    /// How long keys for tickets seal and open, and then only open, in seconds.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn set_ticket_times(
        &mut self,
        seals: u64,
        opens: u64,
    ) -> Result<(), &'static str> {
        let raw = self.raw();
        // SAFETY: the configuration is valid.
        unsafe {
            done(sys::s2n_config_set_ticket_encrypt_decrypt_key_lifetime(
                raw, seals,
            ))?;
            done(sys::s2n_config_set_ticket_decrypt_key_lifetime(raw, opens))
        }
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: connections hold an Arc of this, so none is left. What it refers to goes after it.
        let _ = unsafe { sys::s2n_config_free(self.raw()) };
    }
}

unsafe extern "C" fn put(
    _connection: *mut sys::s2n_connection,
    data: *mut c_void,
    _seconds: u64,
    key: *const c_void,
    key_length: u64,
    value: *const c_void,
    value_length: u64,
) -> c_int {
    // SAFETY: `data` is what `use_store` gave; key and value are s2n's for the time of the call.
    unsafe {
        let store = &*data.cast::<Arc<dyn SessionStore>>();
        store.put(bytes(key, key_length), bytes(value, value_length));
    }
    sys::s2n_status_code::SUCCESS
}

unsafe extern "C" fn copy(
    _connection: *mut sys::s2n_connection,
    data: *mut c_void,
    key: *const c_void,
    key_length: u64,
    value: *mut c_void,
    value_length: *mut u64,
) -> c_int {
    // SAFETY: `data` is what `use_store` gave; the key is s2n's, the place for the value is as long as it
    // says.
    let found = unsafe {
        let store = &*data.cast::<Arc<dyn SessionStore>>();
        let room = usize::try_from(*value_length).unwrap_or(0);
        let place = std::slice::from_raw_parts_mut(value.cast::<u8>(), room);
        store.copy(bytes(key, key_length), place)
    };
    match found {
        Some(length) => {
            // SAFETY: as above.
            unsafe { *value_length = length as u64 };
            sys::s2n_status_code::SUCCESS
        }
        None => sys::s2n_status_code::FAILURE,
    }
}

unsafe extern "C" fn remove(
    _connection: *mut sys::s2n_connection,
    data: *mut c_void,
    key: *const c_void,
    key_length: u64,
) -> c_int {
    // SAFETY: as in `put`.
    unsafe {
        let store = &*data.cast::<Arc<dyn SessionStore>>();
        store.remove(bytes(key, key_length));
    }
    sys::s2n_status_code::SUCCESS
}
