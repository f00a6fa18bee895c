//! Two C libraries behind safe types. Each call to C is in this folder, and no other unsafe code is in
//! `tls`. Never in here: a decision; a panic that C could be unwound by; s2n's own verification of
//! certificates; a lock of memory (RLIMIT_MEMLOCK may be 0).
//!
//! * here: s2n-tls' start, and its errors;
//! * `config`, `connection`: s2n-tls' two objects; `wires`: what it calls back; `policy`: which suites it
//!   speaks;
//! * `aead`: AWS-LC's records of TLS 1.2 and older, which aws-lc-rs has not; `stitched`: its faster way for
//!   some; `legacy`: what AWS-LC has no records for;
//! * `dhe`: what s2n-tls does wrong.
#![expect(unsafe_code, reason = "calls of C libraries")]

mod aead;
mod config;
mod connection;
mod dhe;
mod legacy;
mod policy;
mod stitched;
mod wires;

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::sync::OnceLock;

use s2n_tls_sys as sys;

pub(in crate::tls::s2n) use aead::{CbcSuite, Digest, Opener, Sealer, prf};
pub(in crate::tls::s2n) use config::{Ask, Config, Identity, SessionStore};
pub(in crate::tls::s2n) use connection::{Connection, LONGEST_SILENCE};
pub(in crate::tls::s2n) use legacy::{MacHash, Rc4, aes_256_cbc};
pub(in crate::tls::s2n) use policy::Policy;

/// Why a call did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls::s2n) enum Stop {
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

impl Stop {
    /// Whether a client names a key, or a ticket, and does not prove to know it.
    pub(in crate::tls::s2n) fn is_wrong_key(self) -> bool {
        let name = "S2N_ERR_BAD_PSK_BINDER";
        matches!(self, Stop::Failed { name: this, .. } if this == name)
    }
}

/// Starts the library, once for a process; a later call gives the first one's answer. It reads files
/// (the system's certificates, unless the variables that name them lead elsewhere, which they do here if
/// nothing else can read them: as long as the process has one thread) and looks at devices, so it comes
/// before the jail.
///
/// # Errors
/// s2n cannot start; its reason.
pub(in crate::tls::s2n) fn start() -> io::Result<()> {
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
        done(sys::s2n_init())?;
        dhe::mend()
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

/// # Safety
/// `start` leads to `length` bytes that stay as they are for as long as the result is used.
unsafe fn bytes<'a>(start: *const c_void, length: u64) -> &'a [u8] {
    match (start.is_null(), usize::try_from(length)) {
        // SAFETY: as above.
        (false, Ok(length)) => unsafe { std::slice::from_raw_parts(start.cast(), length) },
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    /// Unless the compiler is named, s2n-tls-sys takes clang where it finds one, and leaves bitcode that GNU's
    /// linker refuses. It does so for this target alone.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_build_names_its_compiler() {
        let named = option_env!("CC_x86_64_unknown_linux_gnu");
        assert!(named.is_some(), ".cargo/config.toml names it");
    }
}
