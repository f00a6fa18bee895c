//! As much of XML as the opening of an XMPP stream has: tags, and what may stand between them. Comments, processing
//! instructions, document types, CDATA and entities other than the five of XML itself are refused (RFC 6120, section
//! 11.1). Never in here: a reference that is resolved, a document that is kept.

/// A tag, or a text, may be this long, in bytes.
pub(super) const TAG_MAX: usize = 8 * 1024;

/// What stands next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// `<?xml ... ?>`
    Declaration,
    Start(Tag),
    End(String),
    /// As much of it as is there; whether it is blank.
    Text(bool),
}

/// A start tag.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tag {
    name: String,
    /// The values as they are written.
    attributes: Vec<(String, String)>,
    /// It is its own end.
    pub(super) empty: bool,
}

/// Why it is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// XML that has no place in XMPP.
    Restricted,
    NoXml,
    TooLong,
}

/// The next token, if it is there, and how many bytes it takes.
///
/// # Errors
/// It is none of these.
pub(super) fn token(bytes: &[u8]) -> Result<Option<(Token, usize)>, Fault> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    if first != b'<' {
        let end = bytes.iter().position(|&byte| byte == b'<');
        let text = &bytes[..end.unwrap_or(bytes.len())];
        let blank = text.iter().copied().all(is_blank);
        return Ok(Some((Token::Text(blank), text.len())));
    }
    let end = match bytes.get(1) {
        None => return Ok(None),
        Some(b'!') => return Err(Fault::Restricted),
        Some(b'?') => declaration_end(bytes)?,
        Some(_) => tag_end(bytes),
    };
    match end {
        Some(end) if end <= TAG_MAX => {
            let text = std::str::from_utf8(&bytes[1..end - 1]).map_err(|_| Fault::NoXml)?;
            Ok(Some((read(text)?, end)))
        }
        None if bytes.len() <= TAG_MAX => Ok(None),
        _ => Err(Fault::TooLong),
    }
}

/// The place behind `?>`. No other instruction than the declaration is one.
fn declaration_end(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    const BEGINNING: &[u8] = b"<?xml";
    let begun = bytes.len().min(BEGINNING.len());
    if bytes[..begun] != BEGINNING[..begun] || bytes.get(begun).is_some_and(|&byte| !is_blank(byte))
    {
        return Err(Fault::Restricted);
    }
    let end = bytes.windows(2).position(|two| two == b"?>");
    Ok(end.map(|at| at + 2))
}

/// The place behind the `>` that no quotes hold.
fn tag_end(bytes: &[u8]) -> Option<usize> {
    let mut quote = None;
    let end = bytes.iter().position(|&byte| {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
        quote.is_none() && byte == b'>'
    });
    end.map(|at| at + 1)
}

/// What stands between `<` and `>`.
fn read(text: &str) -> Result<Token, Fault> {
    if text.starts_with('?') {
        return Ok(Token::Declaration);
    }
    if let Some(name) = text.strip_prefix('/') {
        let name = name.trim_end_matches(is_blank_char);
        return match is_name(name) {
            true => Ok(Token::End(name.to_owned())),
            false => Err(Fault::NoXml),
        };
    }
    let (text, empty) = match text.strip_suffix('/') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let end = text.find(is_blank_char).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut attributes: Vec<(String, String)> = Vec::new();
    loop {
        let trimmed = rest.trim_start_matches(is_blank_char);
        if trimmed.is_empty() {
            break;
        }
        // A blank stands between them.
        if trimmed.len() == rest.len() {
            return Err(Fault::NoXml);
        }
        let (attribute, value, behind) = attribute(trimmed)?;
        if attributes.iter().any(|(known, _)| known == attribute) {
            return Err(Fault::NoXml);
        }
        attributes.push((attribute.to_owned(), value.to_owned()));
        rest = behind;
    }
    match is_name(name) {
        true => Ok(Token::Start(Tag {
            name: name.to_owned(),
            attributes,
            empty,
        })),
        false => Err(Fault::NoXml),
    }
}

/// Takes `name = "value"` off.
fn attribute(text: &str) -> Result<(&str, &str, &str), Fault> {
    let (name, behind) = text.split_once('=').ok_or(Fault::NoXml)?;
    let name = name.trim_end_matches(is_blank_char);
    let behind = behind.trim_start_matches(is_blank_char);
    let quote = behind
        .chars()
        .next()
        .filter(|char| matches!(char, '"' | '\''));
    let quoted = quote.and_then(|quote| behind[1..].split_once(quote));
    let (value, rest) = quoted.ok_or(Fault::NoXml)?;
    if !is_name(name)
        || value.contains('<')
        || value
            .chars()
            .any(|char| char.is_control() && !is_blank_char(char))
    {
        return Err(Fault::NoXml);
    }
    let known = |text: &str| {
        ["amp;", "lt;", "gt;", "quot;", "apos;"]
            .iter()
            .any(|entity| text.starts_with(entity))
    };
    match value.split('&').skip(1).all(known) {
        true => Ok((name, value, rest)),
        false => Err(Fault::Restricted),
    }
}

fn is_name(name: &str) -> bool {
    let odd = |char: char| char.is_control() || char.is_whitespace() || "<>&\"'=/?!".contains(char);
    !name.is_empty() && !name.contains(odd)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_blank_char(char: char) -> bool {
    u8::try_from(char).is_ok_and(is_blank)
}

impl Tag {
    /// The value of an attribute, as it is written.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The name without its prefix.
    pub(super) fn local(&self) -> &str {
        self.name
            .rsplit_once(':')
            .map_or(&self.name, |(_, local)| local)
    }

    /// Whether it is this element, by its name and its namespace, within `around`, the innermost first.
    pub(super) fn is(&self, local: &str, namespace: &str, around: &[&Tag]) -> bool {
        let declaration = match self.name.split_once(':') {
            Some((prefix, _)) => format!("xmlns:{prefix}"),
            None => "xmlns".to_owned(),
        };
        let mut tags = [self].into_iter().chain(around.iter().copied());
        let declared = tags.find_map(|tag| tag.attribute(&declaration));
        self.local() == local && declared == Some(namespace)
    }

    /// Whether an end tag of this name is its own.
    pub(super) fn ends_with(&self, name: &str) -> bool {
        self.name == name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(text: &str) -> Tag {
        match token(text.as_bytes()) {
            Ok(Some((Token::Start(tag), length))) if length == text.len() => tag,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn tags_are_taken_apart() {
        let tag = start(
            "<stream:stream  to='a.test' xmlns=\"jabber:client\"\r\n\txmlns:stream = 'urn:s>' >",
        );
        assert_eq!(tag.local(), "stream");
        assert_eq!(tag.attribute("to"), Some("a.test"));
        assert!(tag.is("stream", "urn:s>", &[]) && !tag.is("stream", "jabber:client", &[]));
        assert!(!tag.empty);
        let inner = start("<starttls/>");
        assert!(inner.empty && inner.is("starttls", "jabber:client", &[&tag]));
        assert!(start("<a:b xmlns:a='urn:a'/>").is("b", "urn:a", &[]));
        assert_eq!(
            token(b"</stream:stream >"),
            Ok(Some((Token::End("stream:stream".into()), 17)))
        );
        assert_eq!(
            token(b"<?xml version='1.0'?>"),
            Ok(Some((Token::Declaration, 21)))
        );
        assert_eq!(token(b" \n<a>"), Ok(Some((Token::Text(true), 2))));
        assert_eq!(token(b"a b"), Ok(Some((Token::Text(false), 3))));
        assert_eq!(start("<a b='&lt;&amp;'>").attribute("b"), Some("&lt;&amp;"));
    }

    #[test]
    fn a_part_of_a_tag_waits_for_the_rest() {
        let whole = b"<?xml version='1.0'?>";
        for length in 0..whole.len() {
            assert_eq!(token(&whole[..length]), Ok(None), "{length}");
        }
        for part in ["<", "<a", "<a b='>", "<a b='x'"] {
            assert_eq!(token(part.as_bytes()), Ok(None), "{part}");
        }
    }

    #[test]
    fn what_has_no_place_in_xmpp_is_refused() {
        for (text, fault) in [
            ("<!DOCTYPE a [<!ENTITY b 'c'>]>", Fault::Restricted),
            ("<!-- a -->", Fault::Restricted),
            ("<![CDATA[a]]>", Fault::Restricted),
            ("<?xml-stylesheet a?>", Fault::Restricted),
            ("<?php a?>", Fault::Restricted),
            ("<a b='&c;'>", Fault::Restricted),
            ("<a b='&#65;'>", Fault::Restricted),
            ("<a b='&'>", Fault::Restricted),
            ("<>", Fault::NoXml),
            ("< a>", Fault::NoXml),
            ("</>", Fault::NoXml),
            ("</a b>", Fault::NoXml),
            ("<a b>", Fault::NoXml),
            ("<a b=c>", Fault::NoXml),
            ("<a b='c'd='e'>", Fault::NoXml),
            ("<a b='c' b='d'>", Fault::NoXml),
            ("<a b='<'>", Fault::NoXml),
            ("<a\u{1}>", Fault::NoXml),
        ] {
            assert_eq!(token(text.as_bytes()), Err(fault), "{text}");
        }
        assert_eq!(token(b"<a\xff>"), Err(Fault::NoXml));
        let long = format!("<a b='{}", "c".repeat(TAG_MAX));
        assert_eq!(token(long.as_bytes()), Err(Fault::TooLong));
        assert_eq!(token(format!("{long}'>").as_bytes()), Err(Fault::TooLong));
    }
}
