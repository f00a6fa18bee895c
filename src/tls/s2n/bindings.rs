//! s2n-tls behind safe types: the library's start, a configuration, and a connection over memory. Each
//! call to C is in this file. Never in here: a decision; a panic that C could be unwound by; s2n's own
//! verification of certificates; a lock of memory (RLIMIT_MEMLOCK may be 0).
#![expect(unsafe_code, reason = "calls of a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use s2n_tls_sys as sys;

use super::policies::Version;

/// Why a call did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The input is used up.
    WantsInput,
    /// The peer's certificates have come and wait for [`Connection::accept_chain`].
    WantsVerdict,
    /// The connection is closed already.
    Closed,
    /// The peer's fatal alert.
    Alert(u8),
    Failed {
        /// s2n's name of the error, as `S2N_ERR_BAD_MESSAGE`.
        name: &'static str,
        /// It is in what the peer sent.
        by_peer: bool,
    },
}

/// Starts the library, once for a process; a later call gives the first one's answer. It reads files
/// (the system's certificates, unless the variables that name them lead elsewhere, which they do here if
/// nothing else can read them: as long as the process has one thread) and looks at devices, so it comes
/// before the jail.
///
/// # Errors
/// s2n cannot start; its reason.
pub(super) fn start() -> io::Result<()> {
    static STARTED: OnceLock<Result<(), &'static str>> = OnceLock::new();
    let started = STARTED.get_or_init(|| with_certificates_elsewhere(start_library));
    started.map_err(|name| io::Error::other(format!("s2n-tls cannot start: {name}")))
}

fn start_library() -> Result<(), &'static str> {
    // SAFETY: `start` calls this once, before any other function of s2n. The callbacks have the types that
    // are asked for and live as long as the program.
    unsafe {
        done(sys::s2n_mem_set_callbacks(
            Some(nothing),
            Some(nothing),
            Some(allocate),
            Some(release),
        ))?;
        done(sys::s2n_disable_atexit())?;
        done(sys::s2n_init())
    }
}

/// s2n's first, default configuration reads the system's certificates, which nothing here uses: 1.3 MiB.
fn with_certificates_elsewhere<T>(act: impl FnOnce() -> T) -> T {
    const ELSEWHERE: [(&str, &str); 2] = [
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if !matches!(threads, Ok(1)) {
        return act();
    }
    let before = ELSEWHERE.map(|(name, _)| std::env::var_os(name));
    for (name, value) in ELSEWHERE {
        // SAFETY: the process has one thread, which was counted above, so nothing reads the environment now.
        unsafe { std::env::set_var(name, value) };
    }
    let answer = act();
    for ((name, _), value) in ELSEWHERE.iter().zip(before) {
        // SAFETY: as above; s2n starts no thread.
        unsafe {
            match value {
                Some(value) => std::env::set_var(name, value),
                None => std::env::remove_var(name),
            }
        }
    }
    answer
}

unsafe extern "C" fn nothing() -> c_int {
    sys::s2n_status_code::SUCCESS
}

/// Plain memory: s2n's own callbacks would lock it, and align each piece to a page.
unsafe extern "C" fn allocate(place: *mut *mut c_void, wanted: u32, got: *mut u32) -> c_int {
    // SAFETY: malloc(3) takes any size. s2n gives two pointers to where the answer goes.
    unsafe {
        let memory = libc::malloc(wanted as usize);
        if memory.is_null() {
            return sys::s2n_status_code::FAILURE;
        }
        *place = memory;
        *got = wanted;
    }
    sys::s2n_status_code::SUCCESS
}

/// s2n has overwritten it with zeros before.
unsafe extern "C" fn release(memory: *mut c_void, _size: u32) -> c_int {
    // SAFETY: s2n gives back what `allocate` gave it, once.
    unsafe { libc::free(memory) };
    sys::s2n_status_code::SUCCESS
}

/// A result of s2n's usual kind.
fn done(code: c_int) -> Result<(), &'static str> {
    match code >= sys::s2n_status_code::SUCCESS {
        true => Ok(()),
        false => Err(last_error()),
    }
}

fn last_errno() -> c_int {
    // SAFETY: it is this thread's own variable, which lives as long as the thread.
    unsafe { *sys::s2n_errno_location() }
}

/// The name of this thread's last error: it has no address in it, and no secret.
fn last_error() -> &'static str {
    // SAFETY: s2n answers any number with a string of its tables, which ends in a zero.
    let name = unsafe { sys::s2n_strerror_name(last_errno()) };
    if name.is_null() {
        return "unknown error";
    }
    // SAFETY: as above.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().unwrap_or("unknown error")
}

/// Where sessions are kept between connections, under an identifier that the library makes.
pub(super) trait SessionStore: Send + Sync {
    /// Keeps it, or does not.
    fn put(&self, id: &[u8], session: &[u8]);
    /// Puts the session into `place`, and gives its length; `None`: there is none, or it does not fit.
    fn copy(&self, id: &[u8], place: &mut [u8]) -> Option<usize>;
    /// Forgets it.
    fn remove(&self, id: &[u8]);
}

/// Whether a server asks its clients for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    No,
    /// It may be absent.
    Request,
    Require,
}

/// A certificate's chain and its key.
pub(super) struct Identity(NonNull<sys::s2n_cert_chain_and_key>);

// SAFETY: nothing changes it once it is made, and no thread owns it.
unsafe impl Send for Identity {}
// SAFETY: as above.
unsafe impl Sync for Identity {}

impl Identity {
    /// Loads a chain and its key, both PEM.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(super) fn new(chain: &mut [u8], key: &mut [u8]) -> Result<Self, &'static str> {
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
}

impl Drop for Identity {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`; configurations that refer to it hold an Arc of it.
        let _ = unsafe { sys::s2n_cert_chain_and_key_free(self.0.as_ptr()) };
    }
}

/// What all connections of one service have in common. It changes only while nothing else has it.
pub(super) struct Config {
    raw: NonNull<sys::s2n_config>,
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
    pub(super) fn new() -> Result<Self, &'static str> {
        // SAFETY: it needs nothing.
        let raw = NonNull::new(unsafe { sys::s2n_config_new_minimal() }).ok_or_else(last_error)?;
        let this = Self {
            raw,
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

    fn raw(&self) -> *mut sys::s2n_config {
        self.raw.as_ptr()
    }

    /// Takes one of s2n's policies by its name.
    ///
    /// # Errors
    /// s2n's name of the error: it has no such policy.
    pub(super) fn set_policy(&mut self, name: &CStr) -> Result<(), &'static str> {
        // SAFETY: both pointers are valid for the call; s2n looks the name up.
        done(unsafe { sys::s2n_config_set_cipher_preferences(self.raw(), name.as_ptr()) })
    }

    /// What it shows to peers.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(super) fn set_identity(&mut self, identity: Arc<Identity>) -> Result<(), &'static str> {
        let raw = self.raw();
        let identity = &*self.identity.insert(identity);
        // SAFETY: s2n keeps a pointer to the identity, which lives as long as this (see Drop).
        done(unsafe { sys::s2n_config_add_cert_chain_and_key_to_store(raw, identity.0.as_ptr()) })
    }

    /// For suites with DHE; PEM.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(super) fn set_dh_parameters(&mut self, pem: &CStr) -> Result<(), &'static str> {
        // SAFETY: both pointers are valid for the call.
        done(unsafe { sys::s2n_config_add_dhparams(self.raw(), pem.as_ptr()) })
    }

    /// What a server asks of its clients; a client needs `Request` to answer a server that asks.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(super) fn ask_for_certificate(&mut self, ask: Ask) -> Result<(), &'static str> {
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
    pub(super) fn use_tickets(&mut self, each_handshake: u8) -> Result<(), &'static str> {
        // SAFETY: the configuration is valid.
        unsafe {
            done(sys::s2n_config_set_session_tickets_onoff(self.raw(), 1))?;
            done(sys::s2n_config_set_initial_ticket_count(
                self.raw(),
                each_handshake,
            ))
        }
    }

    /// Sessions by identifier, kept in `store`. The key seals what is put there, and tickets.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(super) fn use_store(&mut self, store: Arc<dyn SessionStore>) -> Result<(), &'static str> {
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
    pub(super) fn set_ticket_key(
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

    /// How long keys for tickets seal and open, and then only open, in seconds.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(super) fn set_ticket_times(&mut self, seals: u64, opens: u64) -> Result<(), &'static str> {
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

type Judge = unsafe extern "C" fn(
    *mut sys::s2n_connection,
    *mut sys::s2n_cert_validation_info,
    *mut c_void,
) -> c_int;

/// Leaves the verdict to the caller of `negotiate`, outside of C.
unsafe extern "C" fn chain_came(
    connection: *mut sys::s2n_connection,
    info: *mut sys::s2n_cert_validation_info,
    _context: *mut c_void,
) -> c_int {
    // SAFETY: each connection has its own wires as its context (see `Connection::new`), and nothing else
    // refers to them during a call.
    unsafe {
        let wires = sys::s2n_connection_get_ctx(connection).cast::<Wires>();
        (*wires).waits_for_verdict = info;
    }
    sys::s2n_status_code::SUCCESS
}

/// # Safety
/// `start` leads to `length` bytes that stay as they are for as long as the result is used.
unsafe fn bytes<'a>(start: *const c_void, length: u64) -> &'a [u8] {
    match (start.is_null(), usize::try_from(length)) {
        // SAFETY: as above.
        (false, Ok(length)) => unsafe { std::slice::from_raw_parts(start.cast(), length) },
        _ => &[],
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

/// What a call reads from and writes to. The pointers are set only during a call.
struct Wires {
    input: *const u8,
    input_left: usize,
    room: *mut u8,
    room_left: usize,
    /// What had no room.
    spill: Vec<u8>,
    /// s2n's place for the verdict about the peer's chain, once that has come.
    waits_for_verdict: *mut sys::s2n_cert_validation_info,
}

unsafe extern "C" fn read(wires: *mut c_void, place: *mut u8, wanted: u32) -> c_int {
    // SAFETY: `wires` is this connection's, and only this call refers to it. The input is `input_left`
    // long, the place `wanted`; s2n's buffer is not in the input.
    unsafe {
        let wires = wires.cast::<Wires>();
        let length = (*wires).input_left.min(wanted as usize);
        if length == 0 {
            *libc::__errno_location() = libc::EWOULDBLOCK;
            return sys::s2n_status_code::FAILURE;
        }
        ptr::copy_nonoverlapping((*wires).input, place, length);
        (*wires).input = (*wires).input.add(length);
        (*wires).input_left -= length;
        length as c_int
    }
}

unsafe extern "C" fn write(wires: *mut c_void, from: *const u8, length: u32) -> c_int {
    // SAFETY: as in `read`; the room is `room_left` long, and s2n's buffer is not in it.
    unsafe {
        let wires = wires.cast::<Wires>();
        let length = length as usize;
        let fits = match (*wires).spill.is_empty() {
            true => length.min((*wires).room_left),
            false => 0,
        };
        ptr::copy_nonoverlapping(from, (*wires).room, fits);
        (*wires).room = (*wires).room.add(fits);
        (*wires).room_left -= fits;
        if fits < length {
            let rest = std::slice::from_raw_parts(from.add(fits), length - fits);
            (*wires).spill.extend_from_slice(rest);
        }
        length as c_int
    }
}

unsafe extern "C" {
    /// s2n's own variable (tls/s2n_tls.h), which no function of its interface sets, and which a new
    /// connection takes for its highest version. Only `s2n_connection_new` reads it.
    static mut s2n_highest_protocol_version: u8;
}

/// Held while that variable is written and read.
static MAKING: Mutex<()> = Mutex::new(());

/// One end of a connection. Its bytes come from and go to memory that each call names.
pub(super) struct Connection {
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
    pub(super) fn new(
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

    /// Another policy than the configuration's.
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(super) fn set_policy(&mut self, name: &CStr) -> Result<(), &'static str> {
        // SAFETY: both pointers are valid for the call.
        done(unsafe {
            sys::s2n_connection_set_cipher_preferences(self.raw.as_ptr(), name.as_ptr())
        })
    }

    /// The name that a client sends (SNI).
    ///
    /// # Errors
    /// s2n's name of the error.
    pub(super) fn set_server_name(&mut self, name: &str) -> Result<(), &'static str> {
        let name = CString::new(name).map_err(|_| "a zero in the name")?;
        // SAFETY: both pointers are valid for the call; s2n copies the name.
        done(unsafe { sys::s2n_set_server_name(self.raw.as_ptr(), name.as_ptr()) })
    }

    /// Goes on with the handshake as far as `input` leads, and appends what is to be sent to `output`.
    /// Gives how much of the input was used up, and `Ok` once the handshake is done.
    pub(super) fn negotiate(
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
    /// plaintext, 0 after the peer's close_notify.
    ///
    /// # Errors
    /// `WantsInput`: the record held no data.
    pub(super) fn receive(&mut self, record: &mut [u8], at: usize) -> Result<usize, Stop> {
        let mut blocked = sys::s2n_blocked_status::NOT_BLOCKED;
        let room = record.len().saturating_sub(at);
        let start = record.as_mut_ptr();
        // SAFETY: the record is `record.len()` long; `at` is in it, or `room` is 0. s2n copies the record
        // before it writes plaintext, which is never longer than what it was read from.
        let (code, _) = unsafe {
            let place = start.add(at.min(record.len()));
            self.with_raw_input(start, record.len(), |raw| {
                sys::s2n_recv(raw, place.cast(), room as isize, &raw mut blocked)
            })
        };
        usize::try_from(code).map_err(|_| self.stop(blocked))
    }

    /// Encrypts `plain` into `room`: how many bytes of it are filled. What does not fit is kept and goes
    /// first with the next call, so `room` should be longer than `plain` by as much as records add.
    ///
    /// # Errors
    /// The connection can send nothing more.
    pub(super) fn send(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, Stop> {
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
    pub(super) fn close_notify(&mut self, output: &mut Vec<u8>) {
        let mut blocked = sys::s2n_blocked_status::NOT_BLOCKED;
        // SAFETY: the connection is valid. An error leaves nothing to be sent.
        let _ = unsafe { sys::s2n_shutdown_send(self.raw.as_ptr(), &raw mut blocked) };
        self.flush(output);
    }

    /// Moves what was written without a room.
    pub(super) fn flush(&mut self, output: &mut Vec<u8>) {
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
    pub(super) fn client_chain(&self) -> Option<Vec<u8>> {
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

    /// Lets the handshake go on, the peer's chain being accepted.
    ///
    /// # Errors
    /// s2n's name of the error; no chain waits.
    pub(super) fn accept_chain(&mut self) -> Result<(), &'static str> {
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
    pub(super) fn version(&self) -> Version {
        // SAFETY: the connection is valid.
        let version = unsafe { sys::s2n_connection_get_actual_protocol_version(self.raw.as_ptr()) };
        Version(u8::try_from(version).unwrap_or(0))
    }

    /// The suite agreed on, by its number; `None`: none yet.
    pub(super) fn suite(&self) -> Option<u16> {
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

    /// s2n's name of the key exchange's group; `None` without one.
    pub(super) fn group(&self) -> Option<&'static str> {
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
    pub(super) fn is_resumed(&self) -> bool {
        // SAFETY: the connection is valid.
        unsafe { sys::s2n_connection_is_session_resumed(self.raw.as_ptr()) == 1 }
    }

    /// For how long the connection must stay silent and open after an error, so that its time tells the
    /// peer nothing; `None`: not at all.
    pub(super) fn blinding(&self) -> Option<Duration> {
        // SAFETY: the connection is valid.
        let nanoseconds = unsafe { sys::s2n_connection_get_delay(self.raw.as_ptr()) };
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
    }

    /// What a client resumes by; `None`: there is nothing.
    pub(super) fn session(&self) -> Option<Vec<u8>> {
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
    pub(super) fn resume(&mut self, session: &[u8]) -> Result<(), &'static str> {
        // SAFETY: the slice is as long as is said; s2n copies it.
        done(unsafe {
            sys::s2n_connection_set_session(self.raw.as_ptr(), session.as_ptr(), session.len())
        })
    }

    /// Gives back what only the handshake needs.
    pub(super) fn free_handshake(&mut self) {
        // SAFETY: the connection is valid. An error leaves more memory in use.
        let _ = unsafe { sys::s2n_connection_free_handshake(self.raw.as_ptr()) };
    }

    /// Gives back the buffers, which the next call makes again.
    pub(super) fn release_buffers(&mut self) {
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
