//! `alpn`: the protocols that a client offers within TLS, and of which a server chooses (RFC 7301). Never in here: what a
//! protocol is.

use std::collections::BTreeSet;

use super::dialogue::Protocol;
use super::option::{Fault, parts};
use super::service::{Draft, Service};

/// The longest list in bytes, each name with its length (RFC 7301, section 3.1).
const LONGEST: usize = u16::MAX as usize;

/// What `protocol = pgsql` chooses of unless told otherwise: clients that begin with TLS at once
/// (`sslnegotiation=direct`) offer it, and insist.
const POSTGRESQL: &str = "postgresql";

/// Reads a list, parted by commas, colons or blanks, in the order of preference; an empty one is none.
pub(super) fn set(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let names = parts(value, &[',', ':'])?;
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    if let Some(name) = names.iter().find(|name| !fits(name)) {
        let fault = Fault::new(format!(
            "`{}` is no name of a protocol",
            name.escape_debug()
        ));
        return Err(fault.help("1 to 255 characters of ASCII, as in `alpn = h2, http/1.1`"));
    }
    let mut seen = BTreeSet::new();
    if let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) {
        let fault = Fault::new(format!("`{name}` stands twice in the list"));
        return Err(fault.help("each once, the preferred one first"));
    }
    if names.iter().map(|name| name.len() + 1).sum::<usize>() > LONGEST {
        let fault = Fault::new("the list is longer than TLS has room for");
        return Err(fault.help("fewer names"));
    }
    draft.service.tls.alpn = names;
    Ok(())
}

fn fits(name: &str) -> bool {
    name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What a service has that says nothing of it itself. `given`: it says something, or inherits it.
pub(super) fn finish(service: &mut Service, given: bool) {
    service.tls.alpn_is_asked = !service.tls.alpn.is_empty();
    if !given && service.protocol == Some(Protocol::Pgsql) && !service.client {
        service.tls.alpn = vec![POSTGRESQL.to_owned()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<String, String> {
        let mut draft = Draft::blank();
        match set(&mut draft, value) {
            Ok(()) => Ok(draft.service.tls.alpn.join(" ")),
            Err(fault) => Err(fault.text),
        }
    }

    #[test]
    fn a_list_keeps_its_order() {
        for (value, names) in [
            ("h2,http/1.1", "h2 http/1.1"),
            ("http/1.1:h2", "http/1.1 h2"),
            (" postgresql ", "postgresql"),
            ("a, b  c", "a b c"),
            ("", ""),
        ] {
            assert_eq!(read(value).as_deref(), Ok(names), "{value}");
        }
    }

    #[test]
    fn what_no_peer_could_take_is_refused() {
        let long = "x".repeat(256);
        let many: Vec<String> = (0..10_000).map(|n| format!("p{n:05}x")).collect();
        for (value, part) in [
            (&*long, "no name"),
            ("h\u{fc}", "no name"),
            ("h\u{1}", "no name"),
            ("a,b,a", "stands twice"),
            ("h2,,x", "nothing stands on one side of a `,`"),
            ("h2, ", "nothing stands on one side of a `,`"),
            (":h2", "nothing stands on one side of a `:`"),
            (&many.join(","), "longer than TLS"),
        ] {
            let said = read(value).expect_err("a fault");
            assert!(said.contains(part), "{said}");
        }
    }
}
