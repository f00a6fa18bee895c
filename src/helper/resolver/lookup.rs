//! getaddrinfo(3) itself.
#![expect(unsafe_code, reason = "getaddrinfo(3)")]

use std::ffi::{CStr, CString};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ptr;

use super::ResolveError;
use super::message::{MAX_ADDRESSES, Want};
use crate::log::Reason;

/// The addresses of `host`, each once, in getaddrinfo's order. Blocks for as long as the
/// system does: half a minute, and more, for a server that is silent.
///
/// `localhost` is both loopback addresses (RFC 6761, section 6.3), whatever /etc/hosts has of it.
pub(crate) fn lookup(host: &str, want: Want) -> Result<Vec<IpAddrScope>, ResolveError> {
    let mut found = getaddrinfo(host, want);
    if is_localhost(host) {
        let mut addresses = found.unwrap_or_default();
        if want != Want::V4 {
            addresses.push((Ipv6Addr::LOCALHOST.into(), 0));
        }
        if want != Want::V6 {
            addresses.push((Ipv4Addr::LOCALHOST.into(), 0));
        }
        found = Ok(addresses);
    }
    let mut unique = Vec::new();
    for address in found? {
        if unique.len() < MAX_ADDRESSES && !unique.contains(&address) {
            unique.push(address);
        }
    }
    Ok(unique)
}

/// A host, as it is known to name servers.
pub(in crate::helper) struct Host {
    /// The name that it has, where the one that was asked for is an alias.
    pub name: Option<String>,
    pub addresses: Vec<IpAddrScope>,
}

/// The host of that name. `None`: there is none, or it is no name but an address, in whatever way that is written.
/// Blocks as [`lookup`].
pub(in crate::helper) fn host(name: &str, want: Want) -> Option<Host> {
    let name = CString::new(name).ok()?;
    match ask(&name, Want::Any, libc::AI_NUMERICHOST) {
        Ok(_) => None,
        Err(_) => ask(&name, want, libc::AI_CANONNAME).ok(),
    }
}

/// An address and, for a link-local one, its interface.
pub(crate) type IpAddrScope = (IpAddr, u32);

/// With a port it is a socket's address.
pub(crate) fn with_port(&(ip, scope): &IpAddrScope, port: u16) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope).into(),
    }
}

fn is_localhost(host: &str) -> bool {
    host.strip_suffix('.')
        .unwrap_or(host)
        .eq_ignore_ascii_case("localhost")
}

fn getaddrinfo(host: &str, want: Want) -> Result<Vec<IpAddrScope>, ResolveError> {
    let failed = |code: i32| ResolveError {
        host: host.to_owned(),
        reason: gai_reason(code),
        answered: is_answer(code),
    };
    let name = CString::new(host).map_err(|_| failed(libc::EAI_NONAME))?;
    // As stunnel: no family that this host has no address of, unless there is nothing else.
    let result = match ask(&name, want, libc::AI_ADDRCONFIG) {
        Err(libc::EAI_NONAME | libc::EAI_NODATA | EAI_ADDRFAMILY) => ask(&name, want, 0),
        other => other,
    };
    match result {
        Ok(host) if host.addresses.is_empty() => Err(failed(libc::EAI_NODATA)),
        Ok(host) => Ok(host.addresses),
        Err(code) => Err(failed(code)),
    }
}

/// Whether an error is what DNS says of a name. Silence, SERVFAIL, REFUSED and whatever is wrong with this machine say
/// nothing of it.
fn is_answer(code: i32) -> bool {
    matches!(code, libc::EAI_NONAME | libc::EAI_NODATA | EAI_ADDRFAMILY)
}

/// netdb.h of glibc; the libc crate leaves it out.
const EAI_ADDRFAMILY: i32 = -9;

/// getaddrinfo's words for an error.
fn gai_reason(code: i32) -> String {
    if code == libc::EAI_SYSTEM {
        return Reason(&io::Error::last_os_error()).to_string();
    }
    // SAFETY: gai_strerror gives a static string for every number.
    let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
    text.to_string_lossy().into_owned()
}

fn ask(name: &CStr, want: Want, flags: i32) -> Result<Host, i32> {
    // SAFETY: all zeroes is a valid addrinfo: null pointers and no preference.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_flags = flags;
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_family = match want {
        Want::Any => libc::AF_UNSPEC,
        Want::V4 => libc::AF_INET,
        Want::V6 => libc::AF_INET6,
    };
    let mut list: *mut libc::addrinfo = ptr::null_mut();
    // SAFETY: `name` ends in NUL, `hints` is initialised, `list` is there to be written to.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &hints, &mut list) };
    if code != 0 {
        return Err(code);
    }
    let mut host = Host {
        name: None,
        addresses: Vec::new(),
    };
    let mut next: *const libc::addrinfo = list;
    // SAFETY: getaddrinfo succeeded, so this is null or points into its list, not yet freed.
    while let Some(entry) = unsafe { next.as_ref() } {
        // The first has the name.
        if !entry.ai_canonname.is_null() {
            // SAFETY: getaddrinfo's, and it ends in NUL.
            let name = unsafe { CStr::from_ptr(entry.ai_canonname) };
            host.name = Some(name.to_string_lossy().into_owned());
        }
        // SAFETY: `entry` is of that list.
        host.addresses.extend(unsafe { address_of(entry) });
        next = entry.ai_next;
    }
    // SAFETY: given back once; nothing refers to it any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(host)
}

/// # Safety
/// `entry` is getaddrinfo's: its address is as long as its family says, or null.
unsafe fn address_of(entry: &libc::addrinfo) -> Option<IpAddrScope> {
    if entry.ai_addr.is_null() {
        return None;
    }
    match entry.ai_family {
        libc::AF_INET => {
            // SAFETY: AF_INET is a sockaddr_in; read unaligned, as no alignment is promised.
            let v4 = unsafe { entry.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            let octets = v4.sin_addr.s_addr.to_ne_bytes();
            Some((Ipv4Addr::from(octets).into(), 0))
        }
        libc::AF_INET6 => {
            // SAFETY: AF_INET6 is a sockaddr_in6; read unaligned, as no alignment is promised.
            let v6 = unsafe { entry.ai_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some((
                Ipv6Addr::from(v6.sin6_addr.s6_addr).into(),
                v6.sin6_scope_id,
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddrScope = (IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    const V6: IpAddrScope = (IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

    #[test]
    fn localhost_is_both_families_once_each() {
        for host in ["localhost", "LOCALHOST", "localhost."] {
            let found = lookup(host, Want::Any).unwrap();
            for address in [V4, V6] {
                assert_eq!(
                    found.iter().filter(|&&each| each == address).count(),
                    1,
                    "{host}"
                );
            }
        }
        let v4 = lookup("localhost", Want::V4).unwrap();
        assert!(v4.contains(&V4) && v4.iter().all(|(ip, _)| ip.is_ipv4()));
        let v6 = lookup("localhost", Want::V6).unwrap();
        assert!(v6.contains(&V6) && v6.iter().all(|(ip, _)| ip.is_ipv6()));
    }

    #[test]
    fn addresses_in_text_need_no_network() {
        assert_eq!(
            lookup("192.0.2.7", Want::Any).unwrap(),
            [("192.0.2.7".parse().unwrap(), 0)]
        );
        let scoped = lookup("fe80::1%lo", Want::Any).unwrap();
        assert_eq!(with_port(&scoped[0], 25).to_string(), "[fe80::1%1]:25");
    }

    #[test]
    fn an_address_is_no_name_of_a_host_however_it_is_written() {
        for address in [
            "192.0.2.7",
            "192.519",
            "0xc0.0.2.7",
            "3221225991",
            "2001:db8::7",
        ] {
            assert!(host(address, Want::Any).is_none(), "{address}");
        }
        let found = host("localhost", Want::V4).unwrap();
        assert!(found.addresses.contains(&V4));
        assert!(found.name.unwrap().starts_with("localhost"));
    }

    #[test]
    fn a_failure_names_the_host_in_getaddrinfos_words() {
        // No address can be had of it, with a network or without one.
        let error = lookup("192.0.2.7", Want::V6).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Error resolving \"192.0.2.7\": Address family for hostname not supported"
        );
    }
}
