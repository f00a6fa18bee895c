//! One end of a connection, over memory.

mod keys;

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use s2n_tls_sys as sys;
use zeroize::Zeroizing;

use super::config::Config;
use super::wires::{Wires, read, write};
use super::{Stop, bytes, done, last_errno, last_error};
use crate::tls::s2n::halves::MASTER;
use crate::tls::s2n::policies::Version;

unsafe extern "C" {
    /// s2n's own variable (tls/s2n_tls.h), which no function of its interface sets, and which a new
    /// connection takes for its highest version. Only `s2n_connection_new` reads it.
    static mut s2n_highest_protocol_version: u8;
}

/// The longest time for which s2n wants a connection to stay silent (S2N_DEFAULT_BLINDING_MAX).
pub(in crate::tls::s2n) const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Held while that variable is written and read.
static MAKING: Mutex<()> = Mutex::new(());

/// One end of a connection. Its bytes come from and go to memory that each call names.
pub(in crate::tls::s2n) struct Connection {
    raw: NonNull<sys::s2n_connection>,
    /// From a box; see Drop.
    wires: NonNull<Wires>,
    /// What `raw` refers to.
    _config: Arc<Config>,
}

// SAFETY: s2n binds a connection to no thread, and each of its functions here takes `&mut`, or only reads.
unsafe impl Send for Connection {}

impl Connection {
    /// `highest` is the latest version that it may speak.
    ///
    /// # Errors
    /// s2n's name of the error: no memory.
    pub(in crate::tls::s2n) fn new(
        config: &Arc<Config>,
        client: bool,
        highest: Version,
    ) -> Result<Self, &'static str> {
        let mode = match client {
            true => sys::s2n_mode::CLIENT,
            false => sys::s2n_mode::SERVER,
        };
        let raw = {
            let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: this is the only place that writes the variable or makes a connection, and it holds
            // the lock.
            unsafe {
                (&raw mut s2n_highest_protocol_version).write(highest.0);
                sys::s2n_connection_new(mode)
            }
        };
        let raw = NonNull::new(raw).ok_or_else(last_error)?;
        let wires = Box::new(Wires {
            input: ptr::null(),
            input_left: 0,
            room: ptr::null_mut(),
            room_left: 0,
            spill: Vec::new(),
            waits_for_verdict: ptr::null_mut(),
            tickets: Vec::new(),
            server_secret: Zeroizing::default(),
        });
        let this = Self {
            raw,
            wires: NonNull::from(Box::leak(wires)),
            _config: Arc::clone(config),
        };
        let (raw, wires) = (this.raw.as_ptr(), this.wires.as_ptr().cast::<c_void>());
        // SAFETY: the connection is whole and ours alone. The configuration, the callbacks and what they
        // get live as long as it does (see Drop).
        unsafe {
            done(sys::s2n_connection_set_config(raw, config.raw()))?;
            done(sys::s2n_connection_set_ctx(raw, wires))?;
            done(sys::s2n_connection_set_recv_cb(raw, Some(read)))?;
            done(sys::s2n_connection_set_recv_ctx(raw, wires))?;
            done(sys::s2n_connection_set_send_cb(raw, Some(write)))?;
            done(sys::s2n_connection_set_send_ctx(raw, wires))?;
            // Never a sleep of this thread.
            let blinding = sys::s2n_blinding::SELF_SERVICE_BLINDING;
            done(sys::s2n_connection_set_blinding(raw, blinding))?;
            done(sys::s2n_connection_prefer_throughput(raw))?;
        }
        Ok(this)
    }

    /// The name that a client sends (SNI).
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn set_server_name(&mut self, name: &str) -> Result<(), &'static str> {
        let name = CString::new(name).map_err(|_| "a zero in the name")?;
        // SAFETY: both pointers are valid for the call; s2n copies the name.
        done(unsafe { sys::s2n_set_server_name(self.raw.as_ptr(), name.as_ptr()) })
    }

    /// Goes on with the handshake as far as `input` leads, and appends what is to be sent to `output`.
    /// Gives how much of the input was used up, and `Ok` once the handshake is done.
    pub(in crate::tls::s2n) fn negotiate(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> (usize, Result<(), Stop>) {
        let mut blocked = sys::s2n_blocked_status::NOT_BLOCKED;
        let (code, used) = self.with_input(input, |raw| {
            // SAFETY: the connection is valid, its wires are set.
            unsafe { sys::s2n_negotiate(raw, &raw mut blocked) }
        });
        self.flush(output);
        let result = match code >= 0 {
            true => Ok(()),
            false => Err(self.stop(blocked)),
        };
        (used, result)
    }

    /// Decrypts the whole record in `record`, over its own bytes from `at` on: how many bytes of
    /// plaintext, 0 after the peer's close_notify, and only then.
    ///
    /// # Errors
    /// `WantsInput`: the record held no data. `Failed`: it is no record, or one that s2n refuses.
    pub(in crate::tls::s2n) fn receive(
        &mut self,
        record: &mut [u8],
        at: usize,
    ) -> Result<usize, Stop> {
        let mut blocked = sys::s2n_blocked_status::NOT_BLOCKED;
        let room = record.len().saturating_sub(at);
        // s2n looks at nothing if it is asked for no bytes, and its 0 would mean the end.
        if room == 0 {
            return Err(Stop::Failed {
                name: "an empty record",
                by_peer: true,
            });
        }
        let start = record.as_mut_ptr();
        // SAFETY: the record is `record.len()` long; `at` is in it, or `room` is 0. s2n copies the record
        // before it writes plaintext, which is never longer than what it was read from.
        let (code, _) = unsafe {
            let place = start.add(at.min(record.len()));
            self.with_raw_input(start, record.len(), |raw| {
                sys::s2n_recv(raw, place.cast(), room as isize, &raw mut blocked)
            })
        };
        match usize::try_from(code) {
            Ok(0) if !self.close_notify_came() => Err(Stop::Failed {
                name: "no data, and no close_notify",
                by_peer: false,
            }),
            Ok(data) => Ok(data),
            Err(_) => Err(self.stop(blocked)),
        }
    }

    /// Whether the last alert of the peer was a close_notify (0). s2n keeps the alert that ended a
    /// connection, and answers with -1 if none did.
    fn close_notify_came(&self) -> bool {
        // SAFETY: the connection is valid.
        unsafe { sys::s2n_connection_get_alert(self.raw.as_ptr()) == 0 }
    }

    /// Encrypts `plain` into `room`: how many bytes of it are filled. What does not fit is kept and goes
    /// first with the next call, so `room` should be longer than `plain` by as much as records add.
    ///
    /// # Errors
    /// The connection can send nothing more.
    pub(in crate::tls::s2n) fn send(
        &mut self,
        plain: &[u8],
        room: &mut [u8],
    ) -> Result<usize, Stop> {
        let mut blocked = sys::s2n_blocked_status::NOT_BLOCKED;
        let wires = self.wires.as_ptr();
        // SAFETY: only this connection's callbacks use the wires, during the call; the room is as long as
        // is said. s2n writes all of `plain`, as the write callback never refuses.
        let (code, filled) = unsafe {
            let spill = &mut (*wires).spill;
            let waiting = spill.len().min(room.len());
            room[..waiting].copy_from_slice(&spill[..waiting]);
            spill.drain(..waiting);
            (*wires).room = room[waiting..].as_mut_ptr();
            (*wires).room_left = room.len() - waiting;
            let code = sys::s2n_send(
                self.raw.as_ptr(),
                plain.as_ptr().cast(),
                plain.len() as isize,
                &raw mut blocked,
            );
            let filled = room.len() - (*wires).room_left;
            (*wires).room = ptr::null_mut();
            (*wires).room_left = 0;
            (code, filled)
        };
        match usize::try_from(code) == Ok(plain.len()) {
            true => Ok(filled),
            false => Err(self.stop(blocked)),
        }
    }

    /// Appends a close_notify to `output`, unless an error came before, or one was sent.
    pub(in crate::tls::s2n) fn close_notify(&mut self, output: &mut Vec<u8>) {
        let mut blocked = sys::s2n_blocked_status::NOT_BLOCKED;
        // SAFETY: the connection is valid. An error leaves nothing to be sent.
        let _ = unsafe { sys::s2n_shutdown_send(self.raw.as_ptr(), &raw mut blocked) };
        self.flush(output);
    }

    /// Moves what was written without a room.
    pub(in crate::tls::s2n) fn flush(&mut self, output: &mut Vec<u8>) {
        // SAFETY: no call runs, so nothing else refers to the wires.
        let spill = unsafe { &mut (*self.wires.as_ptr()).spill };
        output.append(spill);
        if spill.capacity() > 0 {
            *spill = Vec::new();
        }
    }

    fn with_input<T>(
        &mut self,
        input: &[u8],
        call: impl FnOnce(*mut sys::s2n_connection) -> T,
    ) -> (T, usize) {
        // SAFETY: the slice is as long as is said, and stays for the time of the call.
        unsafe { self.with_raw_input(input.as_ptr(), input.len(), call) }
    }

    /// # Safety
    /// `input` leads to `length` bytes for the time of the call.
    unsafe fn with_raw_input<T>(
        &mut self,
        input: *const u8,
        length: usize,
        call: impl FnOnce(*mut sys::s2n_connection) -> T,
    ) -> (T, usize) {
        let wires = self.wires.as_ptr();
        // SAFETY: only this connection's callbacks use the wires, during the call.
        unsafe {
            (*wires).input = input;
            (*wires).input_left = length;
            let answer = call(self.raw.as_ptr());
            let used = length - (*wires).input_left;
            (*wires).input = ptr::null();
            (*wires).input_left = 0;
            (answer, used)
        }
    }

    /// What the last error of this thread means.
    fn stop(&self, blocked: sys::s2n_blocked_status::Type) -> Stop {
        // SAFETY: s2n takes any number.
        let kind = unsafe { sys::s2n_error_get_type(last_errno()) };
        match sys::s2n_error_type::Type::try_from(kind) {
            Ok(sys::s2n_error_type::BLOCKED)
                if blocked == sys::s2n_blocked_status::BLOCKED_ON_APPLICATION_INPUT =>
            {
                Stop::WantsVerdict
            }
            Ok(sys::s2n_error_type::BLOCKED) => Stop::WantsInput,
            Ok(sys::s2n_error_type::CLOSED) => Stop::Closed,
            Ok(sys::s2n_error_type::ALERT) => {
                // SAFETY: the connection is valid.
                let alert = unsafe { sys::s2n_connection_get_alert(self.raw.as_ptr()) };
                Stop::Alert(u8::try_from(alert).unwrap_or(0))
            }
            kind => Stop::Failed {
                name: last_error(),
                by_peer: kind == Ok(sys::s2n_error_type::PROTO),
            },
        }
    }

    /// A server's: the list in the client's Certificate message, in the form of TLS 1.2; `None`: there is
    /// none.
    pub(in crate::tls::s2n) fn client_chain(&self) -> Option<Vec<u8>> {
        let (mut start, mut length) = (ptr::null_mut(), 0);
        // SAFETY: all three pointers are valid for the call; what they lead to is copied at once.
        unsafe {
            let raw = self.raw.as_ptr();
            done(sys::s2n_connection_get_client_cert_chain(
                raw,
                &raw mut start,
                &raw mut length,
            ))
            .ok()?;
            Some(bytes(start.cast(), u64::from(length)).to_vec())
        }
    }

    /// A server's: the client's random, as the secret is made with it; `None`: no hello came.
    pub(in crate::tls::s2n) fn client_random(&self) -> Option<[u8; 32]> {
        let mut random = [0; 32];
        // SAFETY: the connection is valid, and the hello a part of it; the place is as long as is said.
        let given = unsafe {
            let hello = sys::s2n_connection_get_client_hello(self.raw.as_ptr());
            done(sys::s2n_client_hello_get_random(
                hello,
                random.as_mut_ptr(),
                32,
            ))
        };
        given.ok().map(|()| random)
    }

    /// The secret of an established connection up to TLS 1.2.
    pub(in crate::tls::s2n) fn master_secret(&self) -> Option<Zeroizing<[u8; MASTER]>> {
        let mut secret = Zeroizing::new([0; MASTER]);
        // SAFETY: the connection is valid; the place is as long as is said.
        done(unsafe {
            sys::s2n_connection_get_master_secret(self.raw.as_ptr(), secret.as_mut_ptr(), MASTER)
        })
        .ok()?;
        Some(secret)
    }

    /// A client's: what TLS 1.3 servers are resumed by, as [`Connection::resume`] takes it.
    pub(in crate::tls::s2n) fn take_tickets(&mut self) -> Vec<Zeroizing<Vec<u8>>> {
        // SAFETY: no call runs, so nothing else refers to the wires.
        unsafe { std::mem::take(&mut (*self.wires.as_ptr()).tickets) }
    }

    /// A client's: the secret that a TLS 1.3 server's certificates are encrypted with; empty before.
    pub(in crate::tls::s2n) fn take_server_secret(&mut self) -> Zeroizing<Vec<u8>> {
        // SAFETY: as above.
        unsafe { std::mem::take(&mut (*self.wires.as_ptr()).server_secret) }
    }

    /// Lets the handshake go on, the peer's chain being accepted.
    ///
    /// # Errors
    /// s2n's name of the error; no chain waits.
    pub(in crate::tls::s2n) fn accept_chain(&mut self) -> Result<(), &'static str> {
        // SAFETY: no call runs, so nothing else refers to the wires.
        let info = unsafe {
            let wires = self.wires.as_ptr();
            std::mem::replace(&mut (*wires).waits_for_verdict, ptr::null_mut())
        };
        if info.is_null() {
            return Err("no chain waits");
        }
        // SAFETY: it is a part of this connection.
        done(unsafe { sys::s2n_cert_validation_accept(info) })
    }

    /// The version agreed on.
    pub(in crate::tls::s2n) fn version(&self) -> Version {
        // SAFETY: the connection is valid.
        let version = unsafe { sys::s2n_connection_get_actual_protocol_version(self.raw.as_ptr()) };
        Version(u8::try_from(version).unwrap_or(0))
    }

    /// The suite agreed on, by its number; `None`: none yet.
    pub(in crate::tls::s2n) fn suite(&self) -> Option<u16> {
        let (mut high, mut low) = (0, 0);
        // SAFETY: all three pointers are valid for the call.
        done(unsafe {
            sys::s2n_connection_get_cipher_iana_value(
                self.raw.as_ptr(),
                &raw mut high,
                &raw mut low,
            )
        })
        .ok()?;
        Some(u16::from_be_bytes([high, low]))
    }

    /// The protocol agreed on by ALPN; `None`: none, or none yet.
    pub(in crate::tls::s2n) fn protocol(&self) -> Option<&[u8]> {
        // SAFETY: the connection is valid; s2n answers with a string in it that ends in a zero, which only `negotiate`
        // changes.
        unsafe {
            let name = sys::s2n_get_application_protocol(self.raw.as_ptr());
            (!name.is_null()).then(|| CStr::from_ptr(name).to_bytes())
        }
    }

    /// s2n's name of the key exchange's group; `None` without one.
    pub(in crate::tls::s2n) fn group(&self) -> Option<&'static str> {
        let mut name: *const c_char = ptr::null();
        // SAFETY: both pointers are valid for the call.
        done(unsafe {
            sys::s2n_connection_get_key_exchange_group(self.raw.as_ptr(), &raw mut name)
        })
        .ok()?;
        // SAFETY: s2n answers with a string of its tables, which ends in a zero.
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_str().ok())?
    }

    /// Whether an earlier session was resumed.
    pub(in crate::tls::s2n) fn is_resumed(&self) -> bool {
        // SAFETY: the connection is valid.
        unsafe { sys::s2n_connection_is_session_resumed(self.raw.as_ptr()) == 1 }
    }

    /// For how long the connection must stay silent and open after an error, so that its time tells the
    /// peer nothing; `None`: not at all.
    pub(in crate::tls::s2n) fn blinding(&self) -> Option<Duration> {
        // SAFETY: the connection is valid.
        let nanoseconds = unsafe { sys::s2n_connection_get_delay(self.raw.as_ptr()) };
        // If its clock fails, s2n answers with the largest number.
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds).min(LONGEST_SILENCE))
    }

    /// What a client resumes by; `None`: there is nothing.
    pub(in crate::tls::s2n) fn session(&self) -> Option<Vec<u8>> {
        // SAFETY: the connection is valid.
        let length = unsafe { sys::s2n_connection_get_session_length(self.raw.as_ptr()) };
        let mut session = vec![0; usize::try_from(length).ok().filter(|length| *length > 0)?];
        // SAFETY: the place is as long as is said.
        let filled = unsafe {
            sys::s2n_connection_get_session(self.raw.as_ptr(), session.as_mut_ptr(), session.len())
        };
        session.truncate(usize::try_from(filled).ok().filter(|length| *length > 0)?);
        Some(session)
    }

    /// Resumes by what [`Connection::session`] gave earlier.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(in crate::tls::s2n) fn resume(&mut self, session: &[u8]) -> Result<(), &'static str> {
        // SAFETY: the slice is as long as is said; s2n copies it.
        done(unsafe {
            sys::s2n_connection_set_session(self.raw.as_ptr(), session.as_ptr(), session.len())
        })
    }

    /// Gives back what only the handshake needs.
    pub(in crate::tls::s2n) fn free_handshake(&mut self) {
        // SAFETY: the connection is valid. An error leaves more memory in use.
        let _ = unsafe { sys::s2n_connection_free_handshake(self.raw.as_ptr()) };
    }

    /// Gives back the buffers, which the next call makes again.
    pub(in crate::tls::s2n) fn release_buffers(&mut self) {
        // SAFETY: as above.
        let _ = unsafe { sys::s2n_connection_release_buffers(self.raw.as_ptr()) };
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: nothing refers to either any more; the connection goes first, as it refers to the wires.
        unsafe {
            let _ = sys::s2n_connection_free(self.raw.as_ptr());
            drop(Box::from_raw(self.wires.as_ptr()));
        }
    }
}
