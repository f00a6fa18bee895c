//! The process's loop, and what it does for a request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket,
};

use super::Key;
use super::message::{Answer, Failure, MAX_MESSAGE, Request, Step};
use crate::helper::Post;
use crate::helper::desk::{Desk, Reply, Source};
use crate::jail::Capable;
use crate::sys::sockopt::{BindAddressNoPort, Transparent, TransparentV6};
use crate::sys::watch::Watch;

/// Ports that only root binds to. One in a client's place might be taken for root's word (rlogin's).
const PRIVILEGED: u16 = 1024;

/// Makes sockets for clients until none is left that could ask.
///
/// # Errors
/// Waiting or the channel fails; there is no key.
pub(super) fn serve(post: Post, _: &Capable) -> io::Result<()> {
    let Some(key) = &post.warrants else {
        return Err(io::Error::other("no key for warrants was given"));
    };
    let watch = Watch::new()?;
    watch.add(&post.leash, Source::Leash)?;
    watch.add(&post.channel, Source::Channel)?;
    let mut desk = Desk::new(MAX_MESSAGE);
    loop {
        for source in watch.wait(None)? {
            match source {
                Source::Leash => return Ok(()),
                Source::Channel => desk.hear(&post.channel, &watch)?,
                Source::Client(number) | Source::Room(number) => {
                    desk.serve(number, &watch, |packet| reply(packet, key));
                }
                Source::Signals => {}
            }
        }
        if desk.is_deserted() {
            return Ok(());
        }
    }
}

/// The answer to a packet; `None` if it is no request.
fn reply(packet: &[u8], key: &Key) -> Option<Reply> {
    let request = Request::decode(packet)?;
    let id = request.id;
    let say = |result| Answer { id, result }.encode();
    Some(match make(&request, key) {
        Ok((socket, has_port)) => {
            let busy = Failure {
                step: Step::Pass,
                errno: Errno::ETOOMANYREFS,
            };
            Reply {
                packet: say(Ok(has_port)),
                passed: Some((socket, say(Err(busy)))),
            }
        }
        Err(failure) => Reply {
            packet: say(Err(failure)),
            passed: None,
        },
    })
}

/// A socket that is bound to the address, and whether it has the port.
fn make(request: &Request, key: &Key) -> Result<(OwnedFd, bool), Failure> {
    let failed = |step| move |errno| Failure { step, errno };
    let address = request.address;
    if !key.covers(address, request.warrant) {
        return Err(failed(Step::Verify)(Errno::EPERM));
    }
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let made = socket(family, SockType::Stream, flags, None).map_err(failed(Step::Socket))?;
    let set = match address.ip() {
        IpAddr::V4(_) => setsockopt(&made, Transparent, &true),
        IpAddr::V6(_) => setsockopt(&made, TransparentV6, &true),
    };
    set.map_err(failed(Step::Option))?;
    if request.keeps_port && address.port() >= PRIVILEGED {
        match bind(made.as_raw_fd(), &SockaddrStorage::from(address)) {
            Ok(()) => return Ok((made, true)),
            Err(Errno::EADDRINUSE) => {}
            Err(errno) => return Err(failed(Step::OriginalPort)(errno)),
        }
    }
    // connect(2) chooses the port then, for each server anew: ip(7). Without it only that is lost.
    let _ = setsockopt(&made, BindAddressNoPort, &true);
    let any = SocketAddr::new(address.ip(), 0);
    bind(made.as_raw_fd(), &SockaddrStorage::from(any)).map_err(failed(Step::AnyPort))?;
    Ok((made, false))
}

#[cfg(test)]
mod tests {
    use super::super::Warrants;
    use super::*;
    use crate::ipc::handoff::Warrant;
    use crate::relay::outbound::local_address;

    fn request(address: &str, warrants: &Warrants) -> Request {
        let address = address.parse().unwrap();
        Request {
            id: 1,
            address,
            keeps_port: false,
            warrant: warrants.issue(address),
        }
    }

    #[test]
    fn an_address_without_a_warrant_is_refused() {
        let warrants = Warrants::draw().unwrap();
        let own = request("127.0.0.1:1", &warrants);
        let errno = Errno::EPERM;
        let refused = Err(Failure {
            step: Step::Verify,
            errno,
        });
        let foreign = Request {
            address: "127.0.0.2:1".parse().unwrap(),
            ..own
        };
        let none = Request {
            warrant: Warrant([0; 16]),
            ..own
        };
        for request in [foreign, none] {
            assert_eq!(
                make(&request, &warrants.key()).map(|(_, port)| port),
                refused
            );
        }
        assert!(reply(b"no request", &warrants.key()).is_none());
    }

    #[test]
    fn a_socket_has_the_address_and_the_port_if_it_is_free_and_no_privileged_one() {
        let warrants = Warrants::draw().unwrap();
        let key = warrants.key();
        let own = request("127.0.0.1:999", &warrants);
        match make(&own, &key) {
            Ok((socket, false)) => {
                assert_eq!(local_address(&socket).unwrap().ip(), own.address.ip());
            }
            Err(failure) if failure.step == Step::Option => {
                return crate::skips::say("without CAP_NET_RAW no socket is transparent");
            }
            other => panic!("{other:?}"),
        }
        let taken = std::net::TcpListener::bind("127.0.0.9:0").unwrap();
        let taken_at = taken.local_addr().unwrap();
        for (address, keeps) in [
            ("127.0.0.1:999".to_owned(), false),
            (taken_at.to_string(), false),
            // A network for documentation: it is no address of this machine.
            ("192.0.2.7:41234".to_owned(), true),
            ("[2001:db8::7]:41234".to_owned(), true),
        ] {
            let wanted = request(&address, &warrants);
            let keeps_port = Request {
                keeps_port: true,
                ..wanted
            };
            let (socket, has_port) = make(&keeps_port, &key).unwrap();
            assert_eq!(has_port, keeps, "{address}");
            let local = local_address(&socket).unwrap();
            assert_eq!(local.ip(), wanted.address.ip());
            assert_eq!(local == wanted.address, keeps, "{address}");
            let (_socket, has_port) = make(&wanted, &key).unwrap();
            assert!(!has_port, "{address}: it was not asked for");
        }
    }
}
