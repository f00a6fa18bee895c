//! What a hello says, as a table; and lines that are broken at blanks.

use std::fmt;

use crate::tls::hello::{Form, Hello, Ticket, Version};
use crate::tls::suites;

/// Lines of the report end before this column, where they have blanks.
const WIDTH: usize = 96;

/// Where the values of the table begin.
const INDENT: usize = 22;

/// What a hello says.
pub(super) struct Table<'a>(pub(super) &'a Hello);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hello = self.0;
        row(f, "versions", &versions(hello))?;
        let suites = hello.suites.iter().map(|suite| suites::name(*suite));
        row(f, "suites", &list(suites))?;
        row(
            f,
            "server name (SNI)",
            hello.server_name.as_deref().unwrap_or("none"),
        )?;
        match hello.form {
            Form::Ssl2 => row(f, "form", "that of SSLv2")?,
            Form::Records(_) if hello.extensions.is_empty() => row(f, "extensions", "none")?,
            Form::Records(_) => {}
        }
        if let Some(groups) = &hello.groups {
            row(
                f,
                "groups",
                &list(groups.iter().map(|group| group_name(*group))),
            )?;
        }
        if let Some(schemes) = &hello.signature_schemes {
            let schemes = schemes.iter().map(|scheme| scheme_name(*scheme));
            row(f, "signatures", &list(schemes))?;
        }
        if !hello.protocols.is_empty() {
            row(f, "protocols (ALPN)", &hello.protocols.join(", "))?;
        }
        if let Some(resumes) = resumes(hello) {
            row(f, "resumption", resumes)?;
        }
        if !hello.secure_renegotiation && hello.highest_version() < Some(Version::TLS13) {
            row(
                f,
                "renegotiation",
                "only as before 2010 (RFC 5746 is unknown to it)",
            )?;
        }
        if hello.compression.iter().any(|method| *method != 0) {
            row(f, "compression", "offered; no server should use it")?;
        }
        Ok(())
    }
}

fn versions(hello: &Hello) -> String {
    match (&hello.supported_versions, hello.highest_version()) {
        (Some(versions), _) => list(versions.iter().map(ToString::to_string)),
        (None, Some(version)) if version <= Version::SSL3 => version.to_string(),
        (None, Some(version)) => format!("{version} at most"),
        (None, None) => hello.legacy_version.to_string(),
    }
}

fn resumes(hello: &Hello) -> Option<&'static str> {
    let later = hello.supported_versions.is_some();
    match hello.ticket {
        Ticket::Shown => Some("shows a ticket of an earlier session"),
        _ if !hello.session_id.is_empty() && !later => {
            Some("shows the session id of an earlier session")
        }
        Ticket::Wanted => Some("by tickets, or by session id"),
        Ticket::Unknown if later => None,
        Ticket::Unknown => Some("by session id alone"),
    }
}

fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    wrapped(f, &format!("  {name:<width$}", width = INDENT - 2), value)
}

/// `text` behind `first`, broken at blanks, but not within a command in backquotes, which may be pasted.
pub(super) fn wrapped(f: &mut fmt::Formatter<'_>, first: &str, text: &str) -> fmt::Result {
    let mut line = first.to_owned();
    let mut empty = true;
    let mut quoted = false;
    for word in text.split(|letter| {
        quoted ^= letter == '`';
        letter == ' ' && !quoted
    }) {
        if !empty && line.len() + 1 + word.len() > WIDTH {
            writeln!(f, "{}", line.trim_end())?;
            line = " ".repeat(first.len());
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    writeln!(f, "{line}")
}

/// IANA's names of the groups that clients of any age offer (TLS Supported Groups).
fn group_name(group: u16) -> String {
    let name = match group {
        16 => "secp256k1",
        19 => "secp192r1",
        21 => "secp224r1",
        23 => "P-256",
        24 => "P-384",
        25 => "P-521",
        29 => "X25519",
        30 => "X448",
        256 => "ffdhe2048",
        257 => "ffdhe3072",
        258 => "ffdhe4096",
        259 => "ffdhe6144",
        260 => "ffdhe8192",
        4587 => "SecP256r1MLKEM768",
        4588 => "X25519MLKEM768",
        4589 => "SecP384r1MLKEM1024",
        other => return format!("0x{other:04X}"),
    };
    name.to_owned()
}

/// A pair of hash and signature (RFC 5246), or a scheme (RFC 8446).
fn scheme_name(scheme: u16) -> String {
    let name = match scheme {
        0x0804 => "RSA-PSS+SHA256",
        0x0805 => "RSA-PSS+SHA384",
        0x0806 => "RSA-PSS+SHA512",
        0x0807 => "Ed25519",
        0x0808 => "Ed448",
        0x0809 => "RSA-PSS-PSS+SHA256",
        0x080a => "RSA-PSS-PSS+SHA384",
        0x080b => "RSA-PSS-PSS+SHA512",
        0x081a => "ECDSA+SHA256 (brainpool)",
        0x081b => "ECDSA+SHA384 (brainpool)",
        0x081c => "ECDSA+SHA512 (brainpool)",
        0x0904 => "ML-DSA-44",
        0x0905 => "ML-DSA-65",
        0x0906 => "ML-DSA-87",
        _ => "",
    };
    if !name.is_empty() {
        return name.to_owned();
    }
    let [hash, signature] = scheme.to_be_bytes();
    let hash = match hash {
        1 => "MD5",
        2 => "SHA1",
        3 => "SHA224",
        4 => "SHA256",
        5 => "SHA384",
        6 => "SHA512",
        _ => return format!("0x{scheme:04X}"),
    };
    match signature {
        1 => format!("RSA+{hash}"),
        2 => format!("DSA+{hash}"),
        3 => format!("ECDSA+{hash}"),
        _ => format!("0x{scheme:04X}"),
    }
}
