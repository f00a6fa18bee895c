//! application/x-www-form-urlencoded: what is posted, and the query of an address. Never in here: what it means.

use zeroize::Zeroizing;

use super::Secret;

/// Names and values, in the order in which they were added; wiped, since some values are secrets.
#[derive(Default)]
pub(crate) struct Form(Zeroizing<String>);

impl Form {
    /// Without a value yet.
    pub(crate) fn new() -> Form {
        // Room for long tokens: what grows leaves copies behind.
        Form(Zeroizing::new(String::with_capacity(8 << 10)))
    }

    /// Adds one.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Form {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        escape(&mut self.0, name);
        self.0.push('=');
        escape(&mut self.0, value);
        self
    }

    /// Adds one, unless it is empty.
    pub(crate) fn with_some(self, name: &str, value: &str) -> Form {
        match value {
            "" => self,
            value => self.with(name, value),
        }
    }

    /// Adds one, where there is one.
    pub(crate) fn with_secret(self, name: &str, secret: Option<&Secret>) -> Form {
        match secret {
            Some(secret) => self.with(name, secret.reveal()),
            None => self,
        }
    }

    /// As it is posted.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Percent-encodes what RFC 3986, section 2.3, does not leave as it is.
fn escape(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte.into());
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// The first value of that name in a query, decoded.
pub(crate) fn value(query: &str, name: &str) -> Option<Zeroizing<String>> {
    let mut pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(known, _)| *known == name)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value.as_bytes();
    loop {
        rest = match *rest {
            [] => break,
            [b'+', ref behind @ ..] => {
                bytes.push(b' ');
                behind
            }
            [b'%', high, low, ref behind @ ..] => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                bytes.push((digit(high)? << 4 | digit(low)?) as u8);
                behind
            }
            [b'%', ..] => return None,
            [byte, ref behind @ ..] => {
                bytes.push(byte);
                behind
            }
        };
    }
    let text = std::str::from_utf8(&bytes).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_found_again() {
        let form = Form::new()
            .with("a", "x y&z=\u{fc}+%")
            .with_some("empty", "")
            .with_secret("none", None)
            .with_secret("secret", Some(&Secret::new("~.-_")));
        assert_eq!(form.text(), "a=x%20y%26z%3D%C3%BC%2B%25&secret=~.-_");
        assert_eq!(value(form.text(), "a").unwrap().as_str(), "x y&z=\u{fc}+%");
        assert_eq!(value("code=a+b&state", "code").unwrap().as_str(), "a b");
        assert_eq!(value("code=1&state", "state").unwrap().as_str(), "");
        for broken in ["a=%", "a=%2", "a=%zz", "a=%ff", "b=1"] {
            assert_eq!(value(broken, "a"), None, "{broken}");
        }
    }
}
