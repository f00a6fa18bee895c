//! Which TCP handshakes are under way at a port, as the kernel tells it: sock_diag(7). Never in here: what follows
//! from that.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// A handshake: both addresses and ports, as sock_diag(7) has them.
pub(crate) type Handshake = [u8; 36];

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `struct nlmsghdr` of netlink(7).
const HEADER: usize = 16;
/// Where in `struct inet_diag_msg` the ports and addresses stand.
const ID: usize = 4;
/// The state SYN_RECV, as a bit.
const SYN_RECV: u32 = 1 << 3;
/// No answer of the kernel's is longer: it fills a page, or what the reader has room for.
const ANSWER: usize = 32 << 10;

/// The handshakes that clients have begun with this port of this network namespace and not yet completed.
///
/// # Errors
/// The kernel has no sock_diag, or a filter refuses it.
pub(crate) fn under_way(port: u16) -> io::Result<HashSet<Handshake>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let mut found = HashSet::new();
    // A listener of both families is asked for by its own, and its clients may be filed under either.
    for family in [libc::AF_INET, libc::AF_INET6] {
        ask(&socket, &question(family, port), &mut found)?;
    }
    Ok(found)
}

fn ask(socket: &OwnedFd, question: &[u8], found: &mut HashSet<Handshake>) -> io::Result<()> {
    send(socket.as_raw_fd(), question, MsgFlags::empty())?;
    let mut answer = vec![0; ANSWER];
    loop {
        // A dump is written while it is asked for and while it is read, so there is no waiting for it.
        let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
        let read = answer.get(..length).unwrap_or_default();
        if take(read, found)? {
            return Ok(());
        }
    }
}

/// Takes the handshakes from a datagram; whether it is the last.
fn take(mut datagram: &[u8], found: &mut HashSet<Handshake>) -> Result<bool, Errno> {
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
            _ if kind == BY_FAMILY => {
                found.extend(body.get(ID..).and_then(|id| id.first_chunk()).copied());
            }
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

/// `struct nlmsghdr`, then `struct inet_diag_req_v2`: whatever is at this port and in this state.
fn question(family: libc::c_int, port: u16) -> Vec<u8> {
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).unwrap_or_default();
    let mut body = vec![
        u8::try_from(family).unwrap_or_default(),
        libc::IPPROTO_TCP as u8,
        0,
        0,
    ];
    body.extend(SYN_RECV.to_ne_bytes());
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
    use std::net::{TcpListener, TcpStream};

    use nix::sys::socket::setsockopt;
    use nix::{setsockopt_impl, sockopt_impl};

    sockopt_impl!(
        /// TCP_DEFER_ACCEPT of tcp(7): a handshake ends with the first data.
        DeferAccept,
        SetOnly,
        libc::IPPROTO_TCP,
        libc::TCP_DEFER_ACCEPT,
        i32
    );

    #[test]
    fn a_handshake_under_way_is_found_by_its_port() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert!(under_way(port).unwrap().is_empty());
            setsockopt(&listener, DeferAccept, &30).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let found = under_way(port).unwrap();
            assert_eq!(found.len(), 1, "{address}");
            let one = found.iter().next().unwrap();
            assert_eq!(one[..2], port.to_be_bytes());
            let own = client.local_addr().unwrap().port();
            assert_eq!(one[2..4], own.to_be_bytes());
            let other = TcpListener::bind(address).unwrap();
            assert!(
                under_way(other.local_addr().unwrap().port())
                    .unwrap()
                    .is_empty()
            );
        }
    }

    #[test]
    fn an_answer_that_is_cut_or_an_error_is_one() {
        let mut found = HashSet::new();
        let done = [&20_u32.to_ne_bytes()[..], &3_u16.to_ne_bytes(), &[0; 14]].concat();
        assert_eq!(take(&done, &mut found), Ok(true));
        assert_eq!(take(&[], &mut found), Ok(false));
        for length in [0_u32, 15, 21, u32::MAX] {
            let cut = [&length.to_ne_bytes()[..], &done[4..]].concat();
            assert_eq!(take(&cut, &mut found), Err(Errno::EBADMSG), "{length}");
        }
        let refused = [
            &20_u32.to_ne_bytes()[..],
            &2_u16.to_ne_bytes(),
            &[0; 10],
            &(-libc::ENOENT).to_ne_bytes(),
        ];
        assert_eq!(take(&refused.concat(), &mut found), Err(Errno::ENOENT));
        let short = [
            &20_u32.to_ne_bytes()[..],
            &BY_FAMILY.to_ne_bytes(),
            &[0; 14],
        ]
        .concat();
        assert_eq!(take(&short, &mut found), Ok(false));
        assert!(found.is_empty());
    }
}
