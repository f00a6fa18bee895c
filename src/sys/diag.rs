//! sock_diag(7): what the kernel tells of the TCP sockets of a network namespace. Never in here: what follows
//! from that.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `struct nlmsghdr` of netlink(7).
const HEADER: usize = 16;
/// No answer of the kernel's is longer: it fills a page, or what the reader has room for.
const ANSWER: usize = 32 << 10;

/// A socket to ask by.
///
/// # Errors
/// The kernel has no sock_diag, or a filter refuses it.
pub(crate) fn open() -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    Ok(socket)
}

/// Gives each socket in one of these states (bits, by the number of tcp_states.h) at a port; 0: at any. What is given
/// is a `struct inet_diag_msg` of linux/inet_diag.h.
///
/// # Errors
/// The kernel refuses it. Then the socket is of no more use: the rest of an answer may be in it.
pub(super) fn each(
    socket: &OwnedFd,
    states: u32,
    port: u16,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut answer = vec![0; ANSWER];
    // A listener of both families is asked for by its own, and its clients may be filed under either.
    for family in [libc::AF_INET, libc::AF_INET6] {
        send(
            socket.as_raw_fd(),
            &question(family, states, port),
            MsgFlags::empty(),
        )?;
        loop {
            // A dump is written while it is asked for and while it is read, so there is no waiting for it.
            let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
            if read(answer.get(..length).unwrap_or_default(), &mut take)? {
                break;
            }
        }
    }
    Ok(())
}

/// Gives what is in a datagram; whether it is the last.
fn read(mut datagram: &[u8], take: &mut impl FnMut(&[u8])) -> Result<bool, Errno> {
    while let Some((length, kind)) = header(datagram) {
        if length < HEADER || length > datagram.len() {
            return Err(Errno::EBADMSG);
        }
        let body = &datagram[HEADER..length];
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                let code = body
                    .first_chunk()
                    .map_or(0, |code| i32::from_ne_bytes(*code));
                return Err(Errno::from_raw(code.saturating_neg()));
            }
            _ if kind == BY_FAMILY => take(body),
            _ => {}
        }
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(false)
}

/// The length and the type that stand first in a message.
fn header(message: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(*message.first_chunk()?);
    let kind = u16::from_ne_bytes([*message.get(4)?, *message.get(5)?]);
    Some((usize::try_from(length).ok()?, kind))
}

/// `struct nlmsghdr`, then `struct inet_diag_req_v2`: whatever is at this port and in these states.
fn question(family: libc::c_int, states: u32, port: u16) -> Vec<u8> {
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).unwrap_or_default();
    let mut body = vec![
        u8::try_from(family).unwrap_or_default(),
        libc::IPPROTO_TCP as u8,
        0,
        0,
    ];
    body.extend(states.to_ne_bytes());
    body.extend(port.to_be_bytes());
    // The other port, the addresses and the device: any. No socket's own number.
    body.resize(body.len() + 2 + 16 + 16 + 4, 0);
    body.extend([0xff; 8]);
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    [
        &length.to_ne_bytes()[..],
        &BY_FAMILY.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &[0; 8],
        &body,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_cut_or_an_error_is_one() {
        let mut found = 0;
        let mut take = |_: &[u8]| found += 1;
        let done = [&20_u32.to_ne_bytes()[..], &3_u16.to_ne_bytes(), &[0; 14]].concat();
        assert_eq!(read(&done, &mut take), Ok(true));
        assert_eq!(read(&[], &mut take), Ok(false));
        for length in [0_u32, 15, 21, u32::MAX] {
            let cut = [&length.to_ne_bytes()[..], &done[4..]].concat();
            assert_eq!(read(&cut, &mut take), Err(Errno::EBADMSG), "{length}");
        }
        let refused = [
            &20_u32.to_ne_bytes()[..],
            &2_u16.to_ne_bytes(),
            &[0; 10],
            &(-libc::ENOENT).to_ne_bytes(),
        ];
        assert_eq!(read(&refused.concat(), &mut take), Err(Errno::ENOENT));
        assert_eq!(found, 0);
    }
}
