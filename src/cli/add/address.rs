//! The address that is added, and the name of its services. Never in here: a letter that a configuration, a
//! file's name or a terminal could take for something else.

use std::fmt;

/// The longest address (RFC 5321, section 4.5.3.1.3, without the brackets), in bytes.
const MAX_ADDRESS: usize = 254;
/// The longest name: a file's name is 255 bytes at most, with `.conf` and what is before it while it is written.
const MAX_NAME: usize = 200;

/// A mail address: `local@domain`, in ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Address(String);

impl Address {
    /// Reads one; the domain in small letters.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub(in crate::cli) fn parse(text: &str) -> Result<Address, String> {
        let Some((local, domain)) = text.rsplit_once('@') else {
            return Err(format!(
                "'{text}' has no @: give the whole address, as you@example.com"
            ));
        };
        if !domain.is_ascii() {
            return Err(format!(
                "'{domain}' is not in ASCII: give it as DNS has it, beginning with xn-- (`idn2 {domain}`)"
            ));
        }
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
        let is_local = !local.is_empty() && local.bytes().all(allowed);
        if !is_local || !is_host(domain) || text.len() > MAX_ADDRESS {
            return Err(format!(
                "'{text}' is no mail address: give one as you@example.com"
            ));
        }
        Ok(Address(format!("{local}@{}", domain.to_ascii_lowercase())))
    }

    /// What is behind the `@`.
    pub(super) fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// What its services are called unless `--name` says otherwise.
    pub(super) fn name(&self) -> Name {
        let plain = |letter: char| if is_plain(letter) { letter } else { '-' };
        let name: String = self.0.chars().map(plain).take(MAX_NAME).collect();
        match name.strip_prefix(['.', '-', '+', '@']) {
            Some(rest) => Name(format!("_{rest}")),
            None => Name(name),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the services of an address and their file are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Name(String);

impl Name {
    /// Reads one; `None` for what cannot be one.
    pub(in crate::cli) fn parse(text: &str) -> Option<Name> {
        let first = text.chars().next()?;
        let fits = (first.is_ascii_alphanumeric() || first == '_') && text.len() <= MAX_NAME;
        (fits && text.chars().all(is_plain)).then(|| Name(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '@' | '+' | '-')
}

/// Whether this is the name of a host, with a dot in it (RFC 1123, section 2.1).
pub(in crate::cli) fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        (1..=63).contains(&label.len())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or(text);
    // Digits alone would be an address.
    let is_name = last.bytes().any(|byte| byte.is_ascii_alphabetic());
    text.len() <= 253 && text.contains('.') && is_name && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_name_that_is_safe_everywhere() {
        for (text, name) in [
            ("you@gmx.de", "you@gmx.de"),
            ("You.There+x@GMX.de", "You.There+x@gmx.de"),
            ("a/../b@gmx.de", "a-..-b@gmx.de"),
            ("-x@gmx.de", "_x@gmx.de"),
            ("a=b#c@gmx.de", "a-b-c@gmx.de"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.name().as_str(), name);
            assert_eq!(Name::parse(name), Some(address.name()));
            assert_eq!(address.domain(), "gmx.de");
        }
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for (text, part) in [
            ("gmx.de", "has no @"),
            ("@gmx.de", "no mail address"),
            ("a@de", "no mail address"),
            ("a b@gmx.de", "no mail address"),
            ("a@gmx.de\n[x]", "no mail address"),
            ("a]@gmx.de", "no mail address"),
            ("a@192.0.2.1", "no mail address"),
            ("a@m\u{fc}ller.de", "xn--"),
            ("\u{e4}@gmx.de", "no mail address"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        for name in ["", ".a", "-a", "a/b", "a b", "a]", "\u{e4}"] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }
}
