//! `sni` of a client: the name of one host, or an error that says what it is instead. TLS would
//! leave a wrong one out, and the server would answer with the certificate of another host.

use std::net::IpAddr;

use super::option::Fault;

/// Longest label, and longest name (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;
const NAME_MAX: usize = 253;

/// What is to be said of a name to send.
pub(super) fn judge(name: &str) -> Option<Fault> {
    let bracketed = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if name.is_empty() {
        return None;
    }
    if bracketed.unwrap_or(name).parse::<IpAddr>().is_ok() {
        return Some(match bracketed {
            Some(address) => Fault::new("an address in `sni` has no brackets")
                .help(format!("write `sni = {address}`")),
            None => Fault::note("an address is no server name: none is sent (RFC 6066)"),
        });
    }
    if let Some(without_dot) = name.strip_suffix('.')
        && is_name(without_dot)
    {
        return Some(Fault::note("the final dot of `sni` is not sent (RFC 6066)"));
    }
    (!is_name(name)).then(|| wrong(name))
}

/// Whether TLS takes it for a name: labels of letters, digits, `-` and `_`, the last no number.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= NAME_MAX
        && name.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a wrong name is instead.
fn wrong(name: &str) -> Fault {
    let fault = Fault::new(format!("`{name}` is no server name"));
    let instead = |meant: &str, help: String| match is_name(meant) {
        true => Some(help + &format!(": write `sni = {meant}`")),
        false => None,
    };
    if let Some((_, rest)) = name.split_once("://") {
        let end = rest.find(['/', ':', '?', '#']).unwrap_or(rest.len());
        let help = instead(&rest[..end], "it is a URL, not a host".to_owned());
        return fault.help(help.unwrap_or_else(|| "write the host alone".to_owned()));
    }
    let help = if let Some((before, after)) = name.rsplit_once(':') {
        let port = !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit());
        match port {
            true => instead(before, "a port belongs to `connect`".to_owned()),
            false => instead(after, "write the host alone".to_owned()),
        }
    } else if let Some(domain) = name.strip_prefix("*.") {
        Some(format!(
            "a client asks for one host: write its whole name, as `sni = mail.{domain}`"
        ))
    } else if let Some((host, _)) = name.split_once([' ', '\t']) {
        let help = "a name has no blank, and comments stand on lines of their own";
        instead(host, help.to_owned())
    } else if !name.is_ascii() {
        Some("write the form that DNS has of it, which begins with xn--".to_owned())
    } else if name.len() > NAME_MAX {
        Some(format!("a name has at most {NAME_MAX} characters"))
    } else if name.split('.').any(|label| label.len() > LABEL_MAX) {
        Some(format!("between dots are at most {LABEL_MAX} characters"))
    } else {
        None
    };
    fault.help(help.unwrap_or_else(|| {
        "write the host's name, as `sni = mail.example.com`; an empty `sni =` sends none".to_owned()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Severity;
    use rustls::pki_types::ServerName;

    #[test]
    fn a_name_is_what_tls_sends_and_all_else_an_error_or_a_note() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = "abcdefgh.".repeat(30) + "example";
        for (name, severity, words) in [
            ("", None, ""),
            ("mail.example.com", None, ""),
            ("localhost", None, ""),
            ("A-1.b_c.EXAMPLE", None, ""),
            ("xn--bcher-kva.example", None, ""),
            (
                "127.0.0.1",
                Some(Severity::Note),
                "an address is no server name",
            ),
            (
                "2001:db8::1",
                Some(Severity::Note),
                "an address is no server name",
            ),
            ("mail.example.com.", Some(Severity::Note), "the final dot"),
            ("[::1]", Some(Severity::Error), "write `sni = ::1`"),
            (
                "h.example:993",
                Some(Severity::Error),
                "a port belongs to `connect`: write `sni = h.example`",
            ),
            (
                "https:h.example",
                Some(Severity::Error),
                "write `sni = h.example`",
            ),
            (
                "https://h.example/",
                Some(Severity::Error),
                "a URL, not a host: write `sni = h.example`",
            ),
            (
                "https://h.example:8443",
                Some(Severity::Error),
                "write `sni = h.example`",
            ),
            (
                "*.example.com",
                Some(Severity::Error),
                "as `sni = mail.example.com`",
            ),
            (
                "h.example # mail",
                Some(Severity::Error),
                "write `sni = h.example`",
            ),
            ("a b", Some(Severity::Error), "a name has no blank"),
            (
                "10.0.0.1:443",
                Some(Severity::Error),
                "write the host's name",
            ),
            (
                "b\u{fc}cher.example",
                Some(Severity::Error),
                "begins with xn--",
            ),
            ("-a.example", Some(Severity::Error), "write the host's name"),
            ("a..example", Some(Severity::Error), "write the host's name"),
            (".example", Some(Severity::Error), "write the host's name"),
            (".", Some(Severity::Error), "write the host's name"),
            ("1234", Some(Severity::Error), "write the host's name"),
            ("1.2.3", Some(Severity::Error), "write the host's name"),
            ("a,b", Some(Severity::Error), "write the host's name"),
            (&long, Some(Severity::Error), "at most 63"),
            (&longer, Some(Severity::Error), "at most 253"),
        ] {
            let said = judge(name);
            let text = format!("{said:?}");
            assert_eq!(said.map(|fault| fault.severity), severity, "{name}: {text}");
            assert!(text.contains(words), "{name}: {text}");
            // An error is what TLS would leave out without a word.
            let sent = ServerName::try_from(name).is_ok();
            let right = severity != Some(Severity::Error);
            assert_eq!(sent, right && !name.is_empty(), "{name}");
        }
    }
}
