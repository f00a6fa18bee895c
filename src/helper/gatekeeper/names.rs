//! The name of a host, which counts only if it has the host's address and is no alias, as for libwrap: an alias may
//! lead into another's domain.
#![expect(unsafe_code, reason = "getnameinfo(3)")]

use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr};

use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::judge::Name;
use crate::helper::resolver::{Want, host};

/// Asks for the name of an address, and for the addresses of that name. Blocks for as long as the system does.
pub(super) fn name(address: IpAddr) -> Name {
    let Some(name) = getnameinfo(address) else {
        return Name::Unknown;
    };
    let want = match address {
        IpAddr::V4(_) => Want::V4,
        IpAddr::V6(_) => Want::V6,
    };
    // A name that reads as an address would be taken for one.
    let Some(host) = host(&name, want) else {
        return Name::Paranoid;
    };
    let is_alias = host
        .name
        .is_some_and(|official| !name.eq_ignore_ascii_case(&official));
    let has_address = host.addresses.iter().any(|(found, _)| *found == address);
    match has_address && (!is_alias || name.eq_ignore_ascii_case("localhost")) {
        true => Name::Known(name),
        false => Name::Paranoid,
    }
}

fn getnameinfo(address: IpAddr) -> Option<String> {
    let address = SockaddrStorage::from(SocketAddr::new(address, 0));
    let mut name = [0_u8; libc::NI_MAXHOST as usize];
    // SAFETY: `address` is initialised and as long as it says; `name` is as long as it says, and there to be
    // written to; no service is asked for.
    let code = unsafe {
        libc::getnameinfo(
            address.as_ptr(),
            address.len(),
            name.as_mut_ptr().cast(),
            name.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    let name = CStr::from_bytes_until_nul(&name).ok()?.to_str().ok()?;
    (code == 0 && !name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_a_name_that_has_its_address() {
        let Name::Known(name) = name("127.0.0.1".parse().unwrap()) else {
            panic!("127.0.0.1 has no name");
        };
        assert!(name.starts_with("localhost"), "{name}");
    }
}
