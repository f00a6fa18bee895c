//! Port numbers by name: the C library's services, as in /etc/services.
#![expect(unsafe_code, reason = "getaddrinfo(3)")]

use std::ffi::CString;
use std::ptr;

/// The TCP port of a service's name. Asks no name server, since there is no host to look up.
pub(crate) fn tcp(name: &str) -> Option<u16> {
    // getaddrinfo(3) takes numbers too, as strtoul(3) reads them.
    if !name.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    let name = CString::new(name).ok()?;
    // SAFETY: all zeros is a valid addrinfo: integers and null pointers.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = libc::AF_INET;
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_flags = libc::AI_PASSIVE;
    let mut list = ptr::null_mut();
    // getservbyname(3) is not thread-safe, and tests have threads.
    // SAFETY: `name` ends in a NUL, a null host is allowed beside it, and `list` takes a pointer.
    let code = unsafe { libc::getaddrinfo(ptr::null(), name.as_ptr(), &hints, &mut list) };
    if code != 0 || list.is_null() {
        return None;
    }
    // SAFETY: getaddrinfo succeeded and gave an entry, which is not freed yet; its address is a
    // sockaddr_in, as the hints ask for AF_INET.
    let port = unsafe { ptr::read_unaligned((*list).ai_addr.cast::<libc::sockaddr_in>()) }.sin_port;
    // SAFETY: getaddrinfo made `list`, and nothing uses it any more.
    unsafe { libc::freeaddrinfo(list) };
    Some(u16::from_be(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etc_services_has_is_known_and_nothing_else() {
        for name in [
            "",
            "no such service",
            "nosuchservice",
            "a\0b",
            "+5",
            "-1",
            "25",
        ] {
            assert_eq!(tcp(name), None, "{name}");
        }
        let Ok(services) = std::fs::read_to_string("/etc/services") else {
            return;
        };
        let mut known = std::collections::BTreeMap::new();
        for line in services.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, port, aliases @ ..] = &words[..] else {
                continue;
            };
            if let Some(port) = port.strip_suffix("/tcp") {
                // Of several lines, the first one counts.
                for name in std::iter::once(name).chain(aliases) {
                    known.entry(*name).or_insert(port.parse().ok());
                }
            }
        }
        for (name, port) in &known {
            assert_eq!(tcp(name), *port, "{name}");
        }
        assert!(!known.is_empty(), "{services}");
    }
}
