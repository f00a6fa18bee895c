//! What s2n-tls calls back for a connection: its bytes, and what it has to tell.

use std::ffi::{c_int, c_void};
use std::ptr;

use s2n_tls_sys as sys;
use zeroize::Zeroizing;

use super::{bytes, done};

/// What a call reads from and writes to. The pointers are set only during a call.
pub(super) struct Wires {
    pub(super) input: *const u8,
    pub(super) input_left: usize,
    pub(super) room: *mut u8,
    pub(super) room_left: usize,
    /// What had no room.
    pub(super) spill: Vec<u8>,
    /// s2n's place for the verdict about the peer's chain, once that has come.
    pub(super) waits_for_verdict: *mut sys::s2n_cert_validation_info,
    /// A client's: tickets of TLS 1.3 that came.
    pub(super) tickets: Vec<Zeroizing<Vec<u8>>>,
    /// A client's: the server's handshake traffic secret of TLS 1.3 (RFC 8446, section 7.1).
    pub(super) server_secret: Zeroizing<Vec<u8>>,
}

pub(super) unsafe extern "C" fn read(wires: *mut c_void, place: *mut u8, wanted: u32) -> c_int {
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

pub(super) unsafe extern "C" fn write(wires: *mut c_void, from: *const u8, length: u32) -> c_int {
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

pub(super) type Judge = unsafe extern "C" fn(
    *mut sys::s2n_connection,
    *mut sys::s2n_cert_validation_info,
    *mut c_void,
) -> c_int;

/// Leaves the verdict to the caller of `negotiate`, outside of C.
pub(super) unsafe extern "C" fn chain_came(
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

pub(super) type TicketCame = unsafe extern "C" fn(
    *mut sys::s2n_connection,
    *mut c_void,
    *mut sys::s2n_session_ticket,
) -> c_int;

/// Copies a ticket.
pub(super) unsafe extern "C" fn ticket_came(
    connection: *mut sys::s2n_connection,
    _context: *mut c_void,
    ticket: *mut sys::s2n_session_ticket,
) -> c_int {
    let mut length = 0;
    // SAFETY: the ticket is s2n's for the time of the call, the place as long as is said; the wires as in
    // `chain_came`.
    unsafe {
        if done(sys::s2n_session_ticket_get_data_len(
            ticket,
            &raw mut length,
        ))
        .is_err()
        {
            return sys::s2n_status_code::FAILURE;
        }
        let mut copied = Zeroizing::new(vec![0; length]);
        if done(sys::s2n_session_ticket_get_data(
            ticket,
            length,
            copied.as_mut_ptr(),
        ))
        .is_err()
        {
            return sys::s2n_status_code::FAILURE;
        }
        let wires = sys::s2n_connection_get_ctx(connection).cast::<Wires>();
        let tickets = &mut (*wires).tickets;
        if tickets.len() < MAX_TICKETS {
            tickets.push(copied);
        }
    }
    sys::s2n_status_code::SUCCESS
}

/// More tickets at a time than a server has a use for.
const MAX_TICKETS: usize = 8;

pub(super) type SecretMade =
    unsafe extern "C" fn(*mut c_void, *mut sys::s2n_connection, *mut u8, usize) -> c_int;

/// Keeps one of the secrets that s2n tells in the words of NSS' key log: label, random, secret.
pub(super) unsafe extern "C" fn secret_made(
    _context: *mut c_void,
    connection: *mut sys::s2n_connection,
    line: *mut u8,
    length: usize,
) -> c_int {
    // SAFETY: the line is s2n's for the time of the call; the wires as in `chain_came`.
    unsafe {
        let line = bytes(line.cast(), length as u64);
        if let Some(rest) = line.strip_prefix(b"SERVER_HANDSHAKE_TRAFFIC_SECRET ")
            && let Some(secret) = rest.rsplit(|byte| *byte == b' ').next()
        {
            let wires = sys::s2n_connection_get_ctx(connection).cast::<Wires>();
            let (pairs, _) = secret.as_chunks::<2>();
            let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
            let mut secret = Zeroizing::new(Vec::with_capacity(pairs.len()));
            secret.extend(
                pairs
                    .iter()
                    .map(|[high, low]| digit(*high) << 4 | digit(*low)),
            );
            (*wires).server_secret = secret;
        }
    }
    sys::s2n_status_code::SUCCESS
}
